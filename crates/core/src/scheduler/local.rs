//! The stage scheduler of one process: N threads, tasks of older jobs first, retries.
//!
//! What a task *is* to a slot is a [`TaskRunner`]: called directly in `local`, encoded and decoded
//! in `loopback`, sent to a child process in `loopback`'s process mode.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::backend::{Backend, OnOutput};
use super::run::{Task, run_task};
use super::service::{Service, ServiceHandle};
use super::stage::{JobPlan, TaskOutput};
use crate::error::{Error, ErrorKind, Result};
use crate::operator::catch;
use crate::shuffle::lost_outputs;
use crate::storage::BlockStore;
use crate::task::{TaskContext, TaskId};
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
        let (cancel, seed) = (task.plan.cancel.clone(), task.plan.seed);
        run_task(
            &*stage.root,
            &TaskContext::new(task.id, Arc::clone(&self.blocks), cancel, seed),
        )
    }
}

/// A lost place does not count as a failed attempt, but not for ever.
const MAX_LOSSES: u32 = 16;

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

/// Waiting tasks: of the oldest job first, then by stage, then in the order they became ready.
#[derive(Default)]
struct Queue {
    waiting: BTreeMap<(u64, usize, u64), (Task, Arc<JobState>)>,
    next: u64,
    stopped: bool,
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
        loop {
            let mut queue = self.queue.lock();
            let (task, job) = loop {
                if queue.stopped {
                    return;
                }
                if let Some((_, next)) = queue.waiting.pop_first() {
                    break next;
                }
                self.work.wait(&mut queue);
            };
            drop(queue);
            let result = if task.plan.cancel.is_cancelled() {
                Err(Error::new(ErrorKind::Cancelled, "job was cancelled"))
            } else {
                // A panic outside the task proper, in a user's `Serialize` for example, must not
                // take the slot with it.
                catch(|| self.runner.run(slot, &task))
            };
            self.submit(&job, job.finish(task.id, result));
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
    fn submit(&self, job: &Arc<JobState>, ready: Vec<TaskId>) {
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
        for id in ready {
            let key = (id.job, id.stage, queue.next);
            queue.next += 1;
            let task = Task {
                id,
                plan: Arc::clone(&job.plan),
            };
            queue.waiting.insert(key, (task, Arc::clone(job)));
        }
        drop(queue);
        if num_ready == 1 {
            self.work.notify_one();
        } else {
            self.work.notify_all();
        }
    }
}

/// A job on its way.
struct JobState {
    plan: Arc<JobPlan>,
    /// Whether tasks leave the process, so that the place they run at can be lost.
    may_lose: bool,
    progress: Mutex<Progress>,
    news: Condvar,
}

#[derive(Default)]
struct Progress {
    /// For each stage: how many parents are not done, and how many of its own tasks.
    stages: Vec<StageProgress>,
    failures: std::collections::HashMap<(usize, usize), Failures>,
    outputs: Vec<(usize, usize, TaskOutput)>,
    running: usize,
    unfinished_stages: usize,
    error: Option<Error>,
}

#[derive(Default)]
struct StageProgress {
    parents_left: usize,
    tasks_left: usize,
    children: Vec<usize>,
}

#[derive(Default)]
struct Failures {
    failed: u32,
    lost: u32,
}

impl JobState {
    fn new(plan: &Arc<JobPlan>, may_lose: bool) -> Self {
        let mut stages: Vec<StageProgress> = plan
            .stages
            .iter()
            .map(|stage| StageProgress {
                parents_left: stage.parents.len(),
                tasks_left: stage.splits.len(),
                children: Vec::new(),
            })
            .collect();
        for (child, stage) in plan.stages.iter().enumerate() {
            for parent in &stage.parents {
                if let Some(parent) = stages.get_mut(*parent) {
                    parent.children.push(child);
                }
            }
        }
        let unfinished_stages = stages.len();
        let progress = Progress {
            stages,
            unfinished_stages,
            ..Progress::default()
        };
        Self {
            plan: Arc::clone(plan),
            may_lose,
            progress: Mutex::new(progress),
            news: Condvar::new(),
        }
    }

    /// Tasks of the stages that wait for nothing.
    fn first_tasks(&self) -> Vec<TaskId> {
        let mut progress = self.progress.lock();
        let mut open: Vec<usize> = (0..progress.stages.len())
            .filter(|at| {
                progress
                    .stages
                    .get(*at)
                    .is_some_and(|stage| stage.parents_left == 0)
            })
            .collect();
        self.open_stages(&mut progress, &mut open)
    }

    /// First attempts of the tasks of `open` stages, and of those behind stages without tasks.
    fn open_stages(&self, progress: &mut Progress, open: &mut Vec<usize>) -> Vec<TaskId> {
        let mut ready = Vec::new();
        while let Some(at) = open.pop() {
            let splits = self
                .plan
                .stages
                .get(at)
                .map(|stage| stage.splits.as_slice());
            let splits = splits.unwrap_or_default();
            if splits.is_empty() {
                open.extend(progress.close_stage(at));
            }
            let job = self.plan.job;
            ready.extend(splits.iter().map(|&split| TaskId {
                job,
                stage: at,
                split,
                attempt: 0,
            }));
        }
        progress.running += ready.len();
        ready
    }

    /// Takes in how a task ended. Returns the tasks that are ready because of it.
    fn finish(&self, id: TaskId, result: Result<TaskOutput>) -> Vec<TaskId> {
        let mut progress = self.progress.lock();
        progress.running -= 1;
        let mut ready = Vec::new();
        match result {
            Ok(output) => {
                if let Some(stage) = self.plan.stages.get(id.stage) {
                    stage.root.accept(id.split, &*output.value);
                }
                progress.outputs.push((id.stage, id.split, output));
                if progress.error.is_none() && progress.end_task(id.stage) {
                    let mut open = progress.close_stage(id.stage);
                    ready = self.open_stages(&mut progress, &mut open);
                }
            }
            Err(error) if progress.error.is_none() => match self.judge(&mut progress, id, error) {
                Ok(again) => {
                    progress.running += 1;
                    ready.push(again);
                }
                Err(error) => {
                    self.plan.cancel.cancel();
                    progress.error = Some(error);
                }
            },
            Err(_) => {}
        }
        if progress.is_over() {
            self.news.notify_one();
        }
        ready
    }

    /// The next attempt at a failed task, or the job's error.
    fn judge(&self, progress: &mut Progress, id: TaskId, error: Error) -> Result<TaskId> {
        let counts = progress.failures.entry((id.stage, id.split)).or_default();
        let again = TaskId {
            attempt: id.attempt + 1,
            ..id
        };
        match error.kind() {
            ErrorKind::Cancelled | ErrorKind::Closed => return Err(error),
            // The task can do nothing about it: the job is planned again, without the output.
            ErrorKind::Unavailable if lost_outputs(&error).is_some() => return Err(error),
            ErrorKind::Unavailable if self.may_lose && counts.lost < MAX_LOSSES => {
                counts.lost += 1;
                tracing::warn!(task = %id, error = %error.report(), "task was lost, trying again");
                return Ok(again);
            }
            // What cannot leave the process cannot leave it at the second try either.
            ErrorKind::Invalid | ErrorKind::Unsupported => {}
            _ => {
                counts.failed += 1;
                if counts.failed < self.plan.max_attempts {
                    tracing::warn!(task = %id, error = %error.report(), "task failed, trying again");
                    return Ok(again);
                }
            }
        }
        let failed = counts.failed.max(1);
        Err(error
            .with("failed_times", failed)
            .with("task", id)
            .with("job", &self.plan.operator))
    }

    /// So many tasks that were ready will never run.
    fn fail(&self, error: Error, num_ready: usize) {
        let mut progress = self.progress.lock();
        progress.running -= num_ready;
        progress.error.get_or_insert(error);
        self.news.notify_one();
    }
}

impl Progress {
    /// Whether that was the stage's last task.
    fn end_task(&mut self, stage: usize) -> bool {
        let Some(stage) = self.stages.get_mut(stage) else {
            return false;
        };
        stage.tasks_left = stage.tasks_left.saturating_sub(1);
        stage.tasks_left == 0
    }

    /// Marks a stage as done; returns the stages that wait for nothing else.
    fn close_stage(&mut self, stage: usize) -> Vec<usize> {
        self.unfinished_stages -= 1;
        let children = self
            .stages
            .get(stage)
            .map(|s| s.children.clone())
            .unwrap_or_default();
        let mut open = Vec::new();
        for at in children {
            if let Some(child) = self.stages.get_mut(at) {
                child.parents_left -= 1;
                if child.parents_left == 0 {
                    open.push(at);
                }
            }
        }
        open
    }

    /// Nothing is running, and either all is done or nothing more will be.
    fn is_over(&self) -> bool {
        self.running == 0 && (self.unfinished_stages == 0 || self.error.is_some())
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
        let mut progress = job.progress.lock();
        while !progress.is_over() {
            job.news.wait(&mut progress);
        }
        let outputs = std::mem::take(&mut progress.outputs);
        let error = progress.error.take();
        drop(progress);
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
            std::mem::take(&mut queue.waiting)
        };
        for (task, job) in waiting.into_values() {
            let closed = Error::new(ErrorKind::Closed, "context was stopped");
            task.plan.cancel.cancel();
            job.finish(task.id, Err(closed));
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
