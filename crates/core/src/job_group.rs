//! `JobGroup`: jobs that are cancelled together.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::task::CancelToken;

/// Jobs that are cancelled together: those that run, and those that would still come. Clones are
/// the same group.
///
/// ```
/// use tidemill_core::{Context, ErrorKind, JobGroup};
///
/// let ctx = Context::local(1)?;
/// let group = JobGroup::new();
/// group.cancel();
/// let refused = group.run(|| ctx.range(0..3).count());
/// assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::Cancelled));
/// assert_eq!(ctx.range(0..3).count()?, 3);
/// # Ok::<(), tidemill_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct JobGroup {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    is_cancelled: bool,
    running: HashMap<u64, CancelToken>,
    next_job: u64,
}

thread_local! {
    static CURRENT: RefCell<Option<JobGroup>> = const { RefCell::new(None) };
}

impl JobGroup {
    /// A group without jobs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The group that this thread's jobs are in.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Runs `f`. Jobs that this thread starts meanwhile are in the group.
    pub fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        /// Put back also when a panic unwinds.
        struct Leave(Option<JobGroup>);
        impl Drop for Leave {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _leave = Leave(CURRENT.replace(Some(self.clone())));
        f()
    }

    /// Asks all jobs of the group to end, and refuses those to come: their actions return
    /// `Cancelled`.
    pub fn cancel(&self) {
        let mut state = self.state.lock();
        state.is_cancelled = true;
        state.running.values().for_each(CancelToken::cancel);
    }
}

/// A job in a group, until it is dropped.
pub(crate) struct Member {
    group: JobGroup,
    job: u64,
}

/// Puts the job of `token` into this thread's group, if it has one.
pub(crate) fn join_group(token: &CancelToken) -> Option<Member> {
    let group = CURRENT.with_borrow(Clone::clone)?;
    let job = {
        let mut state = group.state.lock();
        if state.is_cancelled {
            token.cancel();
        }
        let job = state.next_job;
        state.next_job += 1;
        state.running.insert(job, token.clone());
        job
    };
    Some(Member { group, job })
}

impl Drop for Member {
    fn drop(&mut self) {
        self.group.state.lock().running.remove(&self.job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jobs_of_the_group_are_cancelled() {
        let group = JobGroup::new();
        let (ours, theirs) = (CancelToken::new(), CancelToken::new());
        let member = group.run(|| join_group(&ours));
        assert!(join_group(&theirs).is_none());
        group.cancel();
        assert!(ours.is_cancelled() && !theirs.is_cancelled());
        drop(member);
        assert!(group.state.lock().running.is_empty());
        let late = CancelToken::new();
        let _member = group.run(|| join_group(&late));
        assert!(late.is_cancelled());
    }
}
