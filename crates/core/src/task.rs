//! What a running task knows.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::accumulator::Updates;
use crate::data::Data;
use crate::error::{Error, ErrorKind, Result};
use crate::operator::{abort_task, catch};
use crate::storage::BlockStore;

/// Asks the tasks of a job to stop. Clones share one flag.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    is_set: AtomicBool,
    /// Set along with this one, so that asking costs one load, however deep the family.
    children: Mutex<Vec<Weak<Self>>>,
}

impl CancelToken {
    /// A token that nobody has cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the stop. Running tasks end at their next record, waiting ones never start.
    pub fn cancel(&self) {
        let mut open = vec![Arc::clone(&self.0)];
        while let Some(flag) = open.pop() {
            let mut children = flag.children.lock();
            flag.is_set.store(true, Ordering::Release);
            open.extend(children.drain(..).filter_map(|child| child.upgrade()));
        }
    }

    /// A token that is cancelled with this one, or alone: of one attempt of a job.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::new();
        let mut children = self.0.children.lock();
        if self.is_cancelled() {
            child.0.is_set.store(true, Ordering::Release);
        } else {
            // Only before the list would grow: a job may have very many attempts.
            if children.len() == children.capacity() {
                children.retain(|other| other.strong_count() > 0);
            }
            children.push(Arc::downgrade(&child.0));
        }
        drop(children);
        child
    }

    /// Whether the stop was asked for.
    #[must_use]
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_set.load(Ordering::Relaxed)
    }
}

/// Which attempt at which partition of which stage and job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The job, counting up from 0 in a context.
    pub job: u64,
    /// The stage, counting up from 0 in a job.
    pub stage: usize,
    /// The partition.
    pub split: usize,
    /// 0 for the first attempt.
    pub attempt: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}.{}.{}",
            self.job, self.stage, self.split, self.attempt
        )
    }
}

/// The surroundings of one running task: its ids, the block store, and whether it should stop.
#[derive(Clone)]
pub struct TaskContext {
    inner: Rc<Inner>,
}

struct Inner {
    id: TaskId,
    blocks: Arc<dyn BlockStore>,
    cancel: CancelToken,
    seed: u64,
    /// Partitions that were computed ahead because the lineage above them is very long.
    ready: RefCell<HashMap<(u64, usize), Arc<dyn Any + Send + Sync>>>,
    /// What the task has added to accumulators so far.
    updates: RefCell<Updates>,
    /// What is to be told when the task ends, in the order it was asked for.
    listeners: RefCell<Vec<Listener>>,
}

/// Learns how a task ended.
type Listener = Box<dyn FnOnce(&TaskContext, Result<(), &Error>)>;

impl TaskContext {
    /// The surroundings of a task that is about to run on this thread.
    #[must_use]
    pub fn new(id: TaskId, blocks: Arc<dyn BlockStore>, cancel: CancelToken, seed: u64) -> Self {
        Self {
            inner: Rc::new(Inner {
                id,
                blocks,
                cancel,
                seed,
                ready: RefCell::default(),
                updates: RefCell::default(),
                listeners: RefCell::default(),
            }),
        }
    }

    /// The task that runs on this thread; `None` in the driver.
    ///
    /// ```
    /// use tidemill_core::{Context, TaskContext};
    ///
    /// let ctx = Context::local(2)?;
    /// let split = |_: i64| TaskContext::current().map(|task| task.id().split);
    /// let splits = ctx.parallelize_into(0..2, 2)?.map(split).collect()?;
    /// assert_eq!(splits, [Some(0), Some(1)]);
    /// assert!(TaskContext::current().is_none());
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Calls `f` when the task ends, with the error if it fails: where the task runs, on its
    /// thread, the last one asked for first. A panic in `f` fails the task, after all were called.
    pub fn on_completion(&self, f: impl FnOnce(&Self, Result<(), &Error>) + 'static) {
        self.inner.listeners.borrow_mut().push(Box::new(f));
    }

    /// Tells the listeners how the task ended. What it gave, unless one of them fails.
    pub(crate) fn complete<R>(&self, mut result: Result<R>) -> Result<R> {
        let next = || self.inner.listeners.borrow_mut().pop();
        let mut failure = None;
        while let Some(listener) = next() {
            let ended = result.as_ref().map(drop);
            let told = catch(|| {
                listener(self, ended);
                Ok(())
            });
            failure = failure.or(told.err());
        }
        if let (Ok(_), Some(error)) = (&result, failure) {
            result = Err(error.with("function", "a completion listener of the task"));
        }
        result
    }

    /// Adds to the task's own value of accumulator `id`.
    pub(crate) fn update<A: Data>(
        &self,
        id: u64,
        zero: impl FnOnce() -> A,
        add: impl FnOnce(&mut A),
    ) {
        // Taken out meanwhile: `add` is the user's, and may add to other accumulators.
        let taken = self.inner.updates.borrow_mut().take(id);
        let mut value = taken.unwrap_or_else(|| Box::new(zero()));
        add(&mut value);
        self.inner.updates.borrow_mut().put(id, value);
    }

    pub(crate) fn take_updates(&self) -> Updates {
        self.inner.updates.take()
    }

    /// Which task this is.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.inner.id
    }

    /// Where blocks are kept.
    #[must_use]
    pub fn blocks(&self) -> &Arc<dyn BlockStore> {
        &self.inner.blocks
    }

    /// The run's seed: the same in every process and attempt, so that maps iterate alike.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// `iter`, ended by the task's cancellation. Sources wrap themselves in it.
    pub fn interruptible<I: Iterator>(&self, iter: I) -> impl Iterator<Item = I::Item> + use<I> {
        let cancel = self.inner.cancel.clone();
        iter.inspect(move |_| {
            if cancel.is_cancelled() {
                abort_task(cancelled());
            }
        })
    }

    /// Unwinds to the task's edge once the job was cancelled.
    #[cold]
    #[inline(never)]
    pub(crate) fn abort_if_cancelled(&self) {
        if self.inner.cancel.is_cancelled() {
            abort_task(cancelled());
        }
    }

    /// # Errors
    /// `Cancelled` once the job was cancelled.
    pub fn check(&self) -> Result<()> {
        if self.inner.cancel.is_cancelled() {
            Err(cancelled())
        } else {
            Ok(())
        }
    }

    pub(crate) fn put_ready<T: Send + Sync + 'static>(
        &self,
        rdd: u64,
        split: usize,
        records: Vec<T>,
    ) {
        let records: Arc<Vec<T>> = Arc::new(records);
        self.inner.ready.borrow_mut().insert((rdd, split), records);
    }

    /// Records that were computed ahead. They stay: a task may read a partition twice.
    pub(crate) fn ready<T: Send + Sync + 'static>(
        &self,
        rdd: u64,
        split: usize,
    ) -> Option<Arc<Vec<T>>> {
        let ready = self.inner.ready.borrow();
        if ready.is_empty() {
            return None;
        }
        Arc::clone(ready.get(&(rdd, split))?).downcast().ok()
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "job was cancelled")
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskContext").field(&self.id()).finish()
    }
}

thread_local! {
    static CURRENT: RefCell<Option<TaskContext>> = const { RefCell::new(None) };
}

/// Whether this thread is running a task: actions are refused there.
pub(crate) fn is_in_task() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Runs `f` as `task`.
pub(crate) fn as_task<R>(task: &TaskContext, f: impl FnOnce() -> R) -> R {
    /// Put back also when a panic unwinds.
    struct Leave(Option<TaskContext>);
    impl Drop for Leave {
        fn drop(&mut self) {
            drop(CURRENT.replace(self.0.take()));
        }
    }
    let _leave = Leave(CURRENT.replace(Some(task.clone())));
    f()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_cancelled_with_its_parent_and_alone() {
        let job = CancelToken::new();
        let (one, other) = (job.child(), job.child());
        one.cancel();
        assert!(one.is_cancelled() && !job.is_cancelled() && !other.is_cancelled());
        let grandchild = other.child();
        job.cancel();
        assert!(other.is_cancelled() && grandchild.is_cancelled());
        assert!(job.child().is_cancelled());
    }
}
