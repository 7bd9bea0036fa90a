//! `JobScope`: what the jobs that a thread starts are marked with.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::job_group::JobGroup;

/// Marks of jobs: group, description, tags, pool, and properties of the user's own.
///
/// A scope is a value. [`run`](Self::run) lays it on the current thread for the time of a call;
/// jobs take it with them when they start. A new thread begins with an empty scope: hand it
/// [`current`](Self::current) to go on in the same one.
///
/// ```
/// use tidemill_core::{Context, JobScope};
///
/// let ctx = Context::local(1)?;
/// let scope = JobScope::current().described("word counts").tag("etl")?;
/// scope.run(|| {
///     assert!(JobScope::current().tags().eq(["etl"]));
///     ctx.range(0..3).count()
/// })?;
/// assert_eq!(JobScope::current().tags().count(), 0);
/// let job = ctx.status().job(0).ok_or("remembered")?;
/// assert_eq!(job.description.as_deref(), Some("word counts"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct JobScope {
    group: Option<JobGroup>,
    description: Option<String>,
    tags: BTreeSet<String>,
    pool: Option<String>,
    properties: Arc<BTreeMap<String, String>>,
    is_quiet: bool,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<JobScope>>> = const { RefCell::new(None) };
}

impl JobScope {
    /// This thread's.
    pub fn current() -> Self {
        let current = CURRENT.with_borrow(Clone::clone);
        current.map(|scope| Self::clone(&scope)).unwrap_or_default()
    }

    /// This thread's, shared; `None` when it is empty.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Runs `f`. Jobs that this thread starts meanwhile are marked with this scope.
    pub fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        /// Put back also when a panic unwinds.
        struct Leave(Option<Arc<JobScope>>);
        impl Drop for Leave {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _leave = Leave(CURRENT.replace(Some(Arc::new(self.clone()))));
        f()
    }

    /// In a group that can be cancelled as a whole, in place of the group it was in.
    pub fn in_group(mut self, group: &JobGroup) -> Self {
        self.group = Some(group.clone());
        self
    }

    /// In no group.
    pub fn without_group(mut self) -> Self {
        self.group = None;
        self
    }

    /// What a person reads in place of the action's name.
    pub fn described(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// With one more tag, by which jobs can be cancelled.
    ///
    /// # Errors
    /// `Invalid` for an empty tag or one with a comma, which lists of tags are separated by.
    pub fn tag(mut self, tag: impl Into<String>) -> Result<Self> {
        let tag = tag.into();
        if tag.is_empty() || tag.contains(',') {
            return Err(
                Error::invalid("a job tag must not be empty or hold a comma")
                    .with("tag", format!("{tag:?}")),
            );
        }
        self.tags.insert(tag);
        Ok(self)
    }

    /// Without a tag that it may have.
    pub fn without_tag(mut self, tag: &str) -> Self {
        self.tags.remove(tag);
        self
    }

    /// Without tags.
    pub fn without_tags(mut self) -> Self {
        self.tags.clear();
        self
    }

    /// In the [`Pool`](crate::Pool) of that name, where the context schedules fairly. One that the
    /// context was not told of has weight 1 and no minimum share.
    pub fn in_pool(mut self, name: impl Into<String>) -> Self {
        self.pool = Some(name.into());
        self
    }

    /// With a property of the user's own, in place of one of the same key.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.properties).insert(key.into(), value.into());
        self
    }

    /// Without a property that it may have.
    pub fn without_property(mut self, key: &str) -> Self {
        Arc::make_mut(&mut self.properties).remove(key);
        self
    }

    /// Left out by the progress bar.
    pub fn quiet(mut self) -> Self {
        self.is_quiet = true;
        self
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> Option<&JobGroup> {
        self.group.as_ref()
    }

    /// The description.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The tags, in order.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(String::as_str)
    }

    /// The pool's name.
    #[must_use]
    pub fn pool(&self) -> Option<&str> {
        self.pool.as_deref()
    }

    /// A property's value.
    #[must_use]
    pub fn property_of(&self, key: &str) -> Option<&str> {
        self.properties.get(key).map(String::as_str)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    pub(crate) fn has_tag(&self, tag: &str) -> bool {
        self.tags.contains(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // C-069
    #[test]
    fn tags_are_added_removed_and_cleared() {
        let tags = |scope: &JobScope| scope.tags().map(str::to_owned).collect::<Vec<_>>();
        let both = JobScope::default().tag("b").unwrap().tag("a").unwrap();
        assert_eq!(tags(&both), ["a", "b"]);
        assert_eq!(tags(&both.clone().without_tag("b").without_tag("c")), ["a"]);
        assert!(tags(&both.without_tags()).is_empty());
        for bad in ["", "a,b"] {
            let error = JobScope::default().tag(bad).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Invalid);
        }
    }

    #[test]
    fn a_scope_is_left_when_its_call_ends_or_panics() {
        let outer = JobScope::default().described("outer");
        outer.run(|| {
            let inner = JobScope::current().in_pool("p");
            let failed = crate::catch(|| inner.run(|| -> Result<()> { panic!("as it should") }));
            assert!(failed.is_err());
            let here = JobScope::current();
            assert_eq!((here.description(), here.pool()), (Some("outer"), None));
        });
        assert_eq!(JobScope::current().description(), None);
    }

    #[test]
    fn another_thread_has_a_scope_of_its_own() {
        let scope = JobScope::default().property("user", "ada");
        scope.run(|| {
            let seen = std::thread::spawn(|| JobScope::current().property_of("user").is_some());
            assert!(!seen.join().unwrap());
            let none = JobScope::current().without_property("user");
            assert_eq!(none.property_of("user"), None);
            assert_eq!(JobScope::current().property_of("user"), Some("ada"));
        });
    }
}
