//! `JobMonitor`: what a backend tells of a job on its way.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::stage::Stage;
use crate::error::Error;
use crate::listener::{EventBus, JobEvent, TaskOutcome};
use crate::operator::Operator;
use crate::status::{StageId, StageInfo, StageStatus};
use crate::task::TaskId;

/// Counts a job's tasks, for the status tracker, and tells listeners, where there are any.
///
/// A backend calls it for every stage and attempt; without listeners that costs a few relaxed
/// atomic operations a task.
#[derive(Debug)]
pub struct JobMonitor {
    job: u64,
    stages: Vec<StageMonitor>,
    bus: Option<EventBus>,
}

#[derive(Debug)]
struct StageMonitor {
    operator: Operator,
    num_tasks: usize,
    status: AtomicU8,
    shards: [Shard; NUM_SHARDS],
    failed: AtomicUsize,
    killed: AtomicUsize,
}

/// What is counted for every task is counted by slot, each count in a cache line of its own: slots
/// that share a line would spend a tenth of the time of an empty task on it.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard {
    started: AtomicUsize,
    completed: AtomicUsize,
}

/// Slots beyond so many share.
const NUM_SHARDS: usize = 8;

const WAITING: u8 = 0;
const ACTIVE: u8 = 1;
const DONE: u8 = 2;
const FAILED: u8 = 3;

impl StageMonitor {
    fn shard(&self, slot: usize) -> &Shard {
        let [first, ..] = &self.shards;
        self.shards.get(slot % NUM_SHARDS).unwrap_or(first)
    }
}

impl JobMonitor {
    pub(crate) fn new(job: u64, stages: &[Stage], bus: Option<EventBus>) -> Self {
        let stages = stages.iter().map(|stage| StageMonitor {
            operator: stage.root.meta().operator().clone(),
            num_tasks: stage.splits.len(),
            status: AtomicU8::new(WAITING),
            shards: Default::default(),
            failed: AtomicUsize::new(0),
            killed: AtomicUsize::new(0),
        });
        let stages = stages.collect();
        Self { job, stages, bus }
    }

    /// The tasks of a stage are about to wait for slots. Once a stage.
    pub fn stage_submitted(&self, stage: usize) {
        if let Some(monitor) = self.stages.get(stage) {
            monitor.status.store(ACTIVE, Ordering::Relaxed);
        }
        self.post_stage(stage, |stage, time_ms| JobEvent::StageSubmitted {
            stage,
            time_ms,
        });
    }

    /// An attempt at a task is about to run in a slot.
    pub fn task_started(&self, task: TaskId, slot: usize) {
        if let Some(stage) = self.stages.get(task.stage) {
            stage.shard(slot).started.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(bus) = &self.bus {
            bus.post(|time_ms| JobEvent::TaskStarted {
                task,
                slot,
                time_ms,
            });
        }
    }

    /// An attempt that was started in a slot has ended.
    pub fn task_ended(&self, task: TaskId, slot: usize, outcome: TaskOutcome) {
        if let Some(stage) = self.stages.get(task.stage) {
            let counter = match outcome {
                TaskOutcome::Succeeded => &stage.shard(slot).completed,
                TaskOutcome::Failed(_) => &stage.failed,
                TaskOutcome::Cancelled | TaskOutcome::Superseded => &stage.killed,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(bus) = &self.bus {
            bus.post(|time_ms| JobEvent::TaskEnded {
                task,
                outcome,
                time_ms,
            });
        }
    }

    /// A stage that was submitted has ended, after all its attempts.
    pub fn stage_completed(&self, stage: usize, failure: Option<&Error>) {
        if let Some(monitor) = self.stages.get(stage) {
            let status = if failure.is_some() { FAILED } else { DONE };
            monitor.status.store(status, Ordering::Relaxed);
        }
        self.post_stage(stage, |stage, time_ms| JobEvent::StageCompleted {
            stage,
            failure: failure.cloned(),
            time_ms,
        });
    }

    /// The job has failed: whatever was submitted and has not ended, ends.
    pub fn fail_open_stages(&self, error: &Error) {
        for (at, stage) in self.stages.iter().enumerate() {
            if stage.status.load(Ordering::Relaxed) == ACTIVE {
                self.stage_completed(at, Some(error));
            }
        }
    }

    pub(crate) fn post(&self, event: impl FnOnce(i64) -> JobEvent) {
        if let Some(bus) = &self.bus {
            bus.post(event);
        }
    }

    fn post_stage(&self, stage: usize, event: impl FnOnce(StageInfo, i64) -> JobEvent) {
        if let Some(bus) = &self.bus
            && let Some(info) = self.stage(stage)
        {
            bus.post(|time_ms| event(info, time_ms));
        }
    }

    pub(crate) fn has_listeners(&self) -> bool {
        self.bus.is_some()
    }

    /// One stage as it is now.
    pub(crate) fn stage(&self, at: usize) -> Option<StageInfo> {
        let stage = self.stages.get(at)?;
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        // Ends are read before starts: an attempt that ends meanwhile must not be counted below 0.
        let completed = stage
            .shards
            .iter()
            .map(|shard| count(&shard.completed))
            .sum();
        let failed = count(&stage.failed);
        let ended = completed + failed + count(&stage.killed);
        let started: usize = stage.shards.iter().map(|shard| count(&shard.started)).sum();
        Some(StageInfo {
            id: StageId {
                job: self.job,
                stage: at,
            },
            operator: stage.operator.clone(),
            status: match stage.status.load(Ordering::Relaxed) {
                WAITING => StageStatus::Waiting,
                ACTIVE => StageStatus::Active,
                DONE => StageStatus::Succeeded,
                _ => StageStatus::Failed,
            },
            num_tasks: stage.num_tasks,
            num_active_tasks: started.saturating_sub(ended),
            num_completed_tasks: completed,
            num_failed_tasks: failed,
        })
    }

    pub(crate) fn stages(&self) -> Vec<StageInfo> {
        let all = 0..self.stages.len();
        all.filter_map(|at| self.stage(at)).collect()
    }
}
