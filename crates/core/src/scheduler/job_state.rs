//! A job on its way through a backend of threads.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::attempts::{Attempts, Late};
use super::run::Task;
use super::stage::{JobPlan, TaskOutput};
use crate::clock::Waiter;
use crate::error::{Error, ErrorKind, Result};
use crate::listener::TaskOutcome;
use crate::operator::catch;
use crate::shuffle::lost_outputs;
use crate::task::TaskId;

/// A lost place does not count as a failed attempt, but not for ever.
const MAX_LOSSES: u32 = 16;

/// A job on its way.
pub(super) struct JobState {
    plan: Arc<JobPlan>,
    /// Whether tasks leave the process, so that the place they run at can be lost.
    may_lose: bool,
    progress: Mutex<Progress>,
    /// Before any task could run; 0 if attempts are not watched.
    begun_ms: i64,
    news: Condvar,
    /// Woken when the job is over, if attempts are watched.
    over: Waiter,
}

#[derive(Default)]
struct Progress {
    /// For each stage: how many parents are not done, and how many of its own tasks.
    stages: Vec<StageProgress>,
    failures: HashMap<(usize, usize), Failures>,
    outputs: Vec<(usize, usize, TaskOutput)>,
    result_bytes: u64,
    running: usize,
    unfinished_stages: usize,
    error: Option<Error>,
    /// What is known of attempts, if they are watched.
    attempts: Option<Attempts>,
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
    pub(super) fn new(plan: &Arc<JobPlan>, may_lose: bool) -> Self {
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
        let progress = Progress {
            unfinished_stages: stages.len(),
            stages,
            attempts: plan.rules.are_watched().then(Attempts::default),
            ..Progress::default()
        };
        Self {
            plan: Arc::clone(plan),
            may_lose,
            progress: Mutex::new(progress),
            begun_ms: match plan.rules.are_watched() {
                true => plan.clock.now_ms(),
                false => 0,
            },
            news: Condvar::new(),
            over: Waiter::new(),
        }
    }

    pub(super) fn plan(&self) -> &Arc<JobPlan> {
        &self.plan
    }

    /// Tasks of the stages that wait for nothing.
    pub(super) fn first_tasks(&self) -> Vec<Task> {
        let mut progress = self.progress.lock();
        let stages = progress.stages.iter().enumerate();
        let mut open: Vec<usize> = stages
            .filter(|(_, stage)| stage.parents_left == 0)
            .map(|(at, _)| at)
            .collect();
        let ready = self.open_stages(&mut progress, &mut open);
        // A job without tasks is over before it has begun.
        self.tell_if_over(&progress);
        ready
    }

    /// First attempts of the tasks of `open` stages, and of those behind stages without tasks.
    fn open_stages(&self, progress: &mut Progress, open: &mut Vec<usize>) -> Vec<Task> {
        let mut ready = Vec::new();
        while let Some(at) = open.pop() {
            self.plan.monitor.stage_submitted(at);
            let stage = self.plan.stages.get(at);
            let splits = stage.map(|stage| stage.splits.as_slice());
            let splits = splits.unwrap_or_default();
            if splits.is_empty() {
                self.plan.monitor.stage_completed(at, None);
                open.extend(progress.close_stage(at));
            }
            let ids = splits.iter().map(|&split| TaskId {
                job: self.plan.job,
                stage: at,
                split,
                attempt: 0,
            });
            ready.extend(ids.map(|id| self.task(progress, id)));
        }
        ready
    }

    /// An attempt that will run, and is waited for from now on.
    fn task(&self, progress: &mut Progress, id: TaskId) -> Task {
        progress.running += 1;
        let attempts = progress.attempts.as_mut();
        Task {
            id,
            plan: Arc::clone(&self.plan),
            own_cancel: attempts.map(|attempts| attempts.add(id, &self.plan.cancel)),
        }
    }

    /// An attempt is about to run in a slot. Returns whether it still should.
    pub(super) fn start(&self, task: &Task, slot: usize) -> bool {
        if task.cancel().is_cancelled() {
            return false;
        }
        if task.own_cancel.is_some() {
            let now_us = self.plan.clock.monotonic_us();
            let mut progress = self.progress.lock();
            let attempts = progress.attempts.as_mut();
            if !attempts.is_some_and(|attempts| attempts.start(task.id, slot, now_us)) {
                return false;
            }
            // Under the lock: the attempt may be written off at any other time.
            self.plan.monitor.task_started(task.id, slot);
        } else {
            self.plan.monitor.task_started(task.id, slot);
        }
        true
    }

    /// Takes in how a task ended; `slot` is where it ran, if it ran at all. Returns the tasks that
    /// are ready because of it.
    pub(super) fn finish(
        &self,
        id: TaskId,
        slot: Option<usize>,
        result: Result<TaskOutput>,
    ) -> Vec<Task> {
        let bytes = self.measure(id, &result);
        let mut progress = self.progress.lock();
        let now_us = match &progress.attempts {
            Some(_) => self.plan.clock.monotonic_us(),
            None => 0,
        };
        let attempts = progress.attempts.as_mut();
        // The result of an attempt that was written off is dropped, after the lock.
        if attempts.is_some_and(|attempts| !attempts.end(id, now_us, result.is_ok())) {
            return Vec::new();
        }
        let charged = bytes.and_then(|bytes| self.charge(&mut progress, bytes));
        let result = result.and_then(|output| charged.map(|()| output));
        self.settle(&mut progress, id, slot, result)
    }

    /// Takes in the end of an attempt that was waited for.
    fn settle(
        &self,
        progress: &mut Progress,
        id: TaskId,
        slot: Option<usize>,
        result: Result<TaskOutput>,
    ) -> Vec<Task> {
        progress.running -= 1;
        if let Some(slot) = slot {
            self.plan.monitor.task_ended(id, slot, outcome_of(&result));
        }
        let mut ready = Vec::new();
        match result {
            Ok(output) => {
                self.write_off_twins(progress, id);
                if let Some(stage) = self.plan.stages.get(id.stage) {
                    stage.root.accept(id.split, &*output.value);
                }
                progress.outputs.push((id.stage, id.split, output));
                if progress.error.is_none() && progress.end_task(id.stage) {
                    self.plan.monitor.stage_completed(id.stage, None);
                    let mut open = progress.close_stage(id.stage);
                    ready = self.open_stages(progress, &mut open);
                }
            }
            Err(error) if progress.error.is_none() => match self.judge(progress, id, error) {
                Ok(Some(again)) => ready.push(self.task(progress, again)),
                Ok(None) => {}
                Err(error) => {
                    self.plan.cancel.cancel();
                    progress.error = Some(error);
                }
            },
            Err(_) => {}
        }
        self.tell_if_over(progress);
        ready
    }

    /// The other attempts at a task that has succeeded are told to end and no longer waited for.
    ///
    /// What they may still do is harmless: their results and accumulators are dropped, and a block
    /// they put replaces an equal one as a whole, since a task's output depends on its input alone.
    /// They hold the lineage, so that a shuffle's blocks are forgotten only after them.
    fn write_off_twins(&self, progress: &mut Progress, id: TaskId) {
        let Some(attempts) = &mut progress.attempts else {
            return;
        };
        for (twin, slot) in attempts.write_off(id.stage, id.split) {
            progress.running -= 1;
            if let Some(slot) = slot {
                let outcome = TaskOutcome::Superseded;
                self.plan.monitor.task_ended(twin, slot, outcome);
            }
        }
    }

    /// The next attempt at a failed task, or the job's error; `None` while a twin still runs.
    fn judge(&self, progress: &mut Progress, id: TaskId, error: Error) -> Result<Option<TaskId>> {
        let next_attempt = progress
            .attempts
            .as_ref()
            .map(|known| known.next_number(id));
        let has_twin = progress
            .attempts
            .as_ref()
            .is_some_and(|known| known.has_other(id));
        let counts = progress.failures.entry((id.stage, id.split)).or_default();
        let again = (!has_twin).then_some(TaskId {
            attempt: next_attempt.unwrap_or(id.attempt + 1),
            ..id
        });
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

    /// How large a result is, where results are limited.
    fn measure(&self, id: TaskId, result: &Result<TaskOutput>) -> Result<u64> {
        let last = self.plan.stages.len().checked_sub(1);
        let is_limited = self.plan.rules.max_result_bytes.is_some() && last == Some(id.stage);
        match (result, self.plan.stages.get(id.stage)) {
            (Ok(output), Some(stage)) if is_limited => {
                // Values of the user may panic while they are encoded.
                let bytes = catch(|| stage.root.encode_output(&*output.value))?;
                Ok(bytes.len() as u64)
            }
            _ => Ok(0),
        }
    }

    /// Counts the bytes of a result that is about to be taken.
    fn charge(&self, progress: &mut Progress, bytes: u64) -> Result<()> {
        progress.result_bytes = progress.result_bytes.saturating_add(bytes);
        let total = progress.result_bytes;
        match self.plan.rules.max_result_bytes {
            Some(limit) if total > limit => {
                let error = Error::invalid("a job's results are larger than `max_result_bytes`");
                Err(error.with("bytes", total).with("max_result_bytes", limit))
            }
            _ => Ok(()),
        }
    }

    /// So many tasks that were ready will never run.
    pub(super) fn fail(&self, error: Error, num_ready: usize) {
        let mut progress = self.progress.lock();
        progress.running -= num_ready;
        progress.error.get_or_insert(error);
        self.tell_if_over(&progress);
    }

    fn tell_if_over(&self, progress: &Progress) {
        if progress.is_over() {
            self.news.notify_one();
            if progress.attempts.is_some() {
                self.over.wake();
            }
        }
    }

    /// Waits until the job is over. Slow attempts are looked after meanwhile, if they are watched:
    /// `submit` gets what that makes ready.
    pub(super) fn wait(&self, mut submit: impl FnMut(Vec<Task>)) {
        if let Some(interval) = self.plan.rules.watch_interval() {
            let clock = &self.plan.clock;
            let interval_ms = i64::try_from(interval.as_millis())
                .unwrap_or(i64::MAX)
                .max(1);
            let mut next_ms = self.begun_ms.saturating_add(interval_ms);
            while clock.wait_until(next_ms, &self.over) {
                submit(self.look_after());
                next_ms = next_ms.saturating_add(interval_ms).max(clock.now_ms());
            }
        }
        let mut progress = self.progress.lock();
        while !progress.is_over() {
            self.news.wait(&mut progress);
        }
    }

    /// Ends attempts that ran too long, and makes twins of slow ones. Returns what is ready.
    fn look_after(&self) -> Vec<Task> {
        let now_us = self.plan.clock.monotonic_us();
        let mut progress = self.progress.lock();
        let late = match &progress.attempts {
            Some(attempts) => attempts.late(&self.plan, now_us),
            None => Vec::new(),
        };
        let mut ready = Vec::new();
        for late in late {
            match late {
                Late::Expired(id, ran_us) => ready.extend(self.expire(&mut progress, id, ran_us)),
                // A job that has failed waits for attempts to end, and makes none.
                Late::Slow(_) if progress.error.is_some() => {}
                Late::Slow(twin) => {
                    tracing::info!(task = %twin, "task is slow, a second attempt is made");
                    ready.push(self.task(&mut progress, twin));
                }
            }
        }
        ready
    }

    /// An attempt ran too long: a failure, and nobody waits for it.
    fn expire(&self, progress: &mut Progress, id: TaskId, ran_us: u64) -> Vec<Task> {
        let attempts = progress.attempts.as_mut();
        // Written off with its twin a moment ago.
        let Some(slot) = attempts.and_then(|attempts| attempts.abandon(id)) else {
            return Vec::new();
        };
        let error = Error::new(ErrorKind::User, "task ran longer than `task_timeout`");
        let error = error.with("ran_ms", Duration::from_micros(ran_us).as_millis());
        self.settle(progress, id, Some(slot), Err(error))
    }

    /// The outputs of the tasks, and why the job failed. Once, after [`wait`](Self::wait).
    pub(super) fn take(&self) -> (Vec<(usize, usize, TaskOutput)>, Option<Error>) {
        let mut progress = self.progress.lock();
        let outputs = std::mem::take(&mut progress.outputs);
        let error = progress.error.take();
        if let Some(error) = &error {
            self.plan.monitor.fail_open_stages(error);
        }
        (outputs, error)
    }
}

fn outcome_of(result: &Result<TaskOutput>) -> TaskOutcome {
    match result {
        Ok(_) => TaskOutcome::Succeeded,
        Err(error) if error.kind() == ErrorKind::Cancelled => TaskOutcome::Cancelled,
        Err(error) => TaskOutcome::Failed(error.clone()),
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
