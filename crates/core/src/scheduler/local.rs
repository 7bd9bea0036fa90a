//! The stage scheduler of one process: N threads that take tasks from one queue.
//!
//! What a task *is* to a slot is a [`TaskRunner`]: called directly in `local`, encoded and decoded
//! in `loopback`, sent to a child process in `loopback`'s process mode.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::backend::{Backend, OnOutput};
use super::job_state::JobState;
use super::pools::{FairQueue, Share};
use super::run::{Task, run_task};
use super::service::{Service, ServiceHandle};
use super::stage::{JobPlan, TaskOutput};
use crate::error::{Error, ErrorKind, Result};
use crate::operator::catch;
use crate::storage::BlockStore;
use crate::task::TaskContext;
use crate::travel::Image;

/// Runs one task in one slot.
pub trait TaskRunner: Send + Sync + fmt::Debug + 'static {
    /// Runs the task; blocks the slot's thread.
    ///
    /// # Errors
    /// The task's failure. `Unavailable` says that the place it ran at was lost: the attempt is
    /// made again and does not count.
    fn run(&self, slot: usize, task: &Task) -> Result<TaskOutput>;

    /// The executable's image when tasks leave the process.
    fn image(&self) -> Option<&Image> {
        None
    }
}

/// Calls the task where it is.
#[derive(Debug)]
struct InPlace {
    blocks: Arc<dyn BlockStore>,
}

impl TaskRunner for InPlace {
    fn run(&self, _slot: usize, task: &Task) -> Result<TaskOutput> {
        let stage = stage_of(task)?;
        let (cancel, seed) = (task.cancel().clone(), task.plan.seed);
        run_task(
            &*stage.root,
            &TaskContext::new(task.id, Arc::clone(&self.blocks), cancel, seed),
        )
    }
}

/// A backend of N threads.
pub struct ThreadBackend {
    name: String,
    num_slots: usize,
    blocks: Arc<dyn BlockStore>,
    shared: Arc<Shared>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    runner: Arc<dyn TaskRunner>,
}

/// Waiting tasks.
#[derive(Default)]
struct Queue {
    /// Of the oldest job first, then by stage, then in the order they became ready.
    fifo: BTreeMap<(u64, usize, u64), Waiting>,
    next: u64,
    /// Of jobs that share by pools.
    fair: FairQueue<Waiting>,
    stopped: bool,
}

type Waiting = (Task, Arc<JobState>);

impl Queue {
    fn push(&mut self, task: Task, job: &Arc<JobState>) {
        let (id, waiting) = (task.id, Arc::clone(job));
        if let Some(pool) = &job.plan().pool {
            self.fair.push(pool, (id.job, id.stage), (task, waiting));
        } else {
            let key = (id.job, id.stage, self.next);
            self.next += 1;
            self.fifo.insert(key, (task, waiting));
        }
    }

    /// The task that goes next, and what it takes of its pool.
    fn pop(&mut self) -> Option<(Option<Share>, Waiting)> {
        if let Some((_, next)) = self.fifo.pop_first() {
            return Some((None, next));
        }
        let (share, next) = self.fair.pop()?;
        Some((Some(share), next))
    }

    fn drain(&mut self) -> Vec<Waiting> {
        let mut waiting: Vec<_> = std::mem::take(&mut self.fifo).into_values().collect();
        waiting.append(&mut self.fair.drain());
        waiting
    }
}

impl ThreadBackend {
    /// Runs tasks where they are, on `num_slots` threads.
    ///
    /// # Errors
    /// `Unavailable` when the machine gives no threads.
    pub fn local(name: &str, num_slots: usize, blocks: Arc<dyn BlockStore>) -> Result<Self> {
        let runner = Arc::new(InPlace {
            blocks: Arc::clone(&blocks),
        });
        Self::new(name, num_slots, blocks, runner)
    }

    /// Hands tasks to `runner`, on `num_slots` threads.
    ///
    /// # Errors
    /// `Unavailable` when the machine gives no threads.
    pub fn new(
        name: &str,
        num_slots: usize,
        blocks: Arc<dyn BlockStore>,
        runner: Arc<dyn TaskRunner>,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            runner,
        });
        let backend = Self {
            name: name.to_owned(),
            num_slots,
            blocks,
            shared: Arc::clone(&shared),
            threads: Mutex::default(),
        };
        for slot in 0..num_slots {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new()
                .name(format!("task-{slot}"))
                .spawn(move || shared.work(slot))
                .map_err(|e| Error::unavailable("no thread for a task slot").caused_by(e))?;
            backend.threads.lock().push(thread);
        }
        Ok(backend)
    }
}

impl Shared {
    /// The life of a slot.
    fn work(&self, slot: usize) {
        let mut share: Option<Share> = None;
        loop {
            let mut queue = self.queue.lock();
            // What the last task took of its pool is given back with the lock that is needed anyway.
            if let Some(share) = share.take() {
                queue.fair.release(&share);
            }
            let (task, job) = loop {
                if queue.stopped {
                    return;
                }
                if let Some((taken, next)) = queue.pop() {
                    share = taken;
                    break next;
                }
                self.work.wait(&mut queue);
            };
            drop(queue);
            let is_started = job.start(&task, slot);
            let result = if is_started {
                // A panic outside the task proper, in a user's `Serialize` for example, must not
                // take the slot with it.
                catch(|| self.runner.run(slot, &task))
            } else {
                Err(Error::new(ErrorKind::Cancelled, "job was cancelled"))
            };
            let ran_in = is_started.then_some(slot);
            self.submit(&job, job.finish(task.id, ran_in, result));
            // This may be the last handle of the lineage, and values of the user may panic.
            let freed = catch(|| {
                drop((task, job));
                Ok(())
            });
            if let Err(error) = freed {
                tracing::error!(error = %error.report(), "a value failed while it was dropped");
            }
        }
    }

    /// Queues tasks that have become ready.
    fn submit(&self, job: &Arc<JobState>, ready: Vec<Task>) {
        if ready.is_empty() {
            return;
        }
        let num_ready = ready.len();
        let mut queue = self.queue.lock();
        if queue.stopped {
            drop(queue);
            job.fail(
                Error::new(ErrorKind::Closed, "context was stopped"),
                num_ready,
            );
            return;
        }
        for task in ready {
            queue.push(task, job);
        }
        drop(queue);
        if num_ready == 1 {
            self.work.notify_one();
        } else {
            self.work.notify_all();
        }
    }
}

impl Backend for ThreadBackend {
    fn name(&self) -> &str {
        &self.name
    }

    fn num_slots(&self) -> usize {
        self.num_slots
    }

    fn blocks(&self) -> &Arc<dyn BlockStore> {
        &self.blocks
    }

    fn image(&self) -> Option<&Image> {
        self.shared.runner.image()
    }

    fn run(&self, plan: &Arc<JobPlan>, on_output: OnOutput<'_>) -> Result<()> {
        let job = Arc::new(JobState::new(plan, self.image().is_some()));
        self.shared.submit(&job, job.first_tasks());
        job.wait(|ready| self.shared.submit(&job, ready));
        let (outputs, error) = job.take();
        for (stage, split, output) in outputs {
            on_output(stage, split, output);
        }
        error.map_or(Ok(()), Err)
    }

    fn start_service(&self, service: Arc<dyn Service>) -> Result<ServiceHandle> {
        ServiceHandle::spawn(service)
    }

    fn stop(&self) {
        let waiting = {
            let mut queue = self.shared.queue.lock();
            queue.stopped = true;
            self.shared.work.notify_all();
            queue.drain()
        };
        for (task, job) in waiting {
            let closed = Error::new(ErrorKind::Closed, "context was stopped");
            task.plan.cancel.cancel();
            job.finish(task.id, None, Err(closed));
        }
        let this = std::thread::current().id();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // The last handle of a context may be dropped inside a task: it cannot wait for itself.
            if thread.thread().id() != this {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for ThreadBackend {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for ThreadBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadBackend")
            .field("name", &self.name)
            .field("num_slots", &self.num_slots)
            .finish_non_exhaustive()
    }
}

pub(crate) fn stage_of(task: &Task) -> Result<&super::stage::Stage> {
    task.plan
        .stages
        .get(task.id.stage)
        .ok_or_else(|| Error::internal("task of a stage that its plan does not have"))
}
