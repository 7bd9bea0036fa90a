//! `JobGroup`: jobs that are cancelled together.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::registry::JobRegistry;
use crate::scope::JobScope;

/// Jobs that are cancelled together: those that run, and those that would still come. Clones are
/// the same group.
///
/// A group may have an id: then [`Context::cancel_job_group`](crate::Context::cancel_job_group)
/// finds its running jobs, and the status tracker lists them.
///
/// ```
/// use tidemill_core::{Context, ErrorKind, JobGroup};
///
/// let ctx = Context::local(1)?;
/// let group = JobGroup::named("nightly");
/// assert_eq!(group.run(|| ctx.range(0..3).count())?, 3);
/// group.cancel();
/// let refused = group.run(|| ctx.range(0..3).count());
/// assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::Cancelled));
/// assert_eq!(ctx.range(0..3).count()?, 3);
/// # Ok::<(), tidemill_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct JobGroup {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    id: Option<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_cancelled: bool,
    /// Where jobs of the group were started: mostly one context. They know the jobs, it does not.
    registries: Vec<Weak<JobRegistry>>,
}

impl JobGroup {
    /// A group without an id and without jobs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A group without jobs. Groups of the same id are cancelled together by that id, and each
    /// alone by [`cancel`](Self::cancel).
    #[must_use]
    pub fn named(id: impl Into<String>) -> Self {
        Self {
            inner: Arc::new(Inner {
                id: Some(id.into()),
                state: Mutex::default(),
            }),
        }
    }

    /// What [`named`](Self::named) was given.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.inner.id.as_deref()
    }

    /// Runs `f`. Jobs that this thread starts meanwhile are in the group.
    pub fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        JobScope::current().in_group(self).run(f)
    }

    /// Asks all jobs of the group to end, and refuses those to come: their actions return
    /// `Cancelled`.
    pub fn cancel(&self) {
        let registries = {
            let mut state = self.inner.state.lock();
            state.is_cancelled = true;
            std::mem::take(&mut state.registries)
        };
        for registry in registries.iter().filter_map(Weak::upgrade) {
            registry.cancel_where(|job| job.is_in(self));
        }
    }

    /// Notes where a job of the group was just registered. Returns whether it is refused.
    pub(crate) fn join(&self, registry: &Arc<JobRegistry>) -> bool {
        let mut state = self.inner.state.lock();
        let is_known =
            |known: &Weak<JobRegistry>| std::ptr::eq(known.as_ptr(), Arc::as_ptr(registry));
        if !state.is_cancelled && !state.registries.iter().any(is_known) {
            state.registries.retain(|other| other.strong_count() > 0);
            state.registries.push(Arc::downgrade(registry));
        }
        state.is_cancelled
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}
