//! What is known of jobs, now and lately.

use std::fmt;
use std::sync::Arc;

use crate::operator::Operator;
use crate::registry::JobRegistry;
use crate::scheduler::Backend;

/// A stage of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId {
    /// The job, counting up from 0 in a context.
    pub job: u64,
    /// The stage, counting up from 0 in a job.
    pub stage: usize,
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.stage)
    }
}

/// How a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobStatus {
    /// Its action has not returned.
    Running,
    /// Its action has returned a result.
    Succeeded,
    /// Its action has returned an error.
    Failed,
}

/// How a stage is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StageStatus {
    /// For the stages before it, or for ever if the job has failed.
    Waiting,
    /// Its tasks run or wait for slots.
    Active,
    /// All its tasks have succeeded.
    Succeeded,
    /// Its job failed before it had ended.
    Failed,
}

/// A job, at the moment it was asked for.
#[derive(Clone, Debug)]
pub struct JobInfo {
    /// Counts up from 0 in a context.
    pub id: u64,
    /// Who asked for it.
    pub action: Operator,
    /// The group's id.
    pub group: Option<String>,
    /// From its [`JobScope`](crate::JobScope).
    pub description: Option<String>,
    /// From its scope, in order.
    pub tags: Vec<String>,
    /// The pool it is in, where jobs are scheduled fairly.
    pub pool: Option<String>,
    /// How it is doing.
    pub status: JobStatus,
    /// Its stages, parents before children. Stages whose results existed already are not among
    /// them.
    pub stages: Vec<StageInfo>,
}

/// A stage, at the moment it was asked for.
#[derive(Clone, Debug)]
pub struct StageInfo {
    /// Which one.
    pub id: StageId,
    /// The action, or the operator that shuffles what it gives.
    pub operator: Operator,
    /// How it is doing.
    pub status: StageStatus,
    /// How many tasks it has.
    pub num_tasks: usize,
    /// Attempts in slots now.
    pub num_active_tasks: usize,
    /// Tasks that have succeeded.
    pub num_completed_tasks: usize,
    /// Attempts that have failed.
    pub num_failed_tasks: usize,
}

/// Where tasks run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorInfo {
    /// For example `local[2]`.
    pub name: String,
    /// How many tasks run at a time.
    pub num_slots: usize,
    /// How many run now.
    pub num_active_tasks: usize,
}

/// Answers questions about the jobs of a context: those that run, and the latest thousand that
/// have ended.
///
/// ```
/// use tidemill_core::{Context, JobStatus};
///
/// let ctx = Context::local(2)?;
/// ctx.range(0..10).count()?;
/// let status = ctx.status();
/// assert!(status.active_jobs().is_empty());
/// assert_eq!(status.jobs_in_group(None), [0]);
/// let job = status.job(0).ok_or("remembered")?;
/// assert_eq!((job.status, job.stages.len()), (JobStatus::Succeeded, 1));
/// assert_eq!(job.stages[0].num_completed_tasks, 2);
/// assert!(status.job(1).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct StatusTracker {
    jobs: Arc<JobRegistry>,
    backend: Arc<dyn Backend>,
}

impl StatusTracker {
    pub(crate) fn new(jobs: Arc<JobRegistry>, backend: Arc<dyn Backend>) -> Self {
        Self { jobs, backend }
    }

    /// Ids of the jobs that run, oldest first.
    #[must_use]
    pub fn active_jobs(&self) -> Vec<u64> {
        self.jobs.running().iter().map(|job| job.id()).collect()
    }

    /// Stages whose tasks run or wait for slots, oldest job first.
    #[must_use]
    pub fn active_stages(&self) -> Vec<StageId> {
        let running = self.jobs.running();
        let stages = running.iter().flat_map(|job| job.monitor().stages());
        let active = stages.filter(|stage| stage.status == StageStatus::Active);
        active.map(|stage| stage.id).collect()
    }

    /// Ids of the jobs in the group of that id, those that have ended included; `None` asks for
    /// jobs in no group, or in one without an id.
    #[must_use]
    pub fn jobs_in_group(&self, group: Option<&str>) -> Vec<u64> {
        let known = self.jobs.known();
        let members = known.iter().filter(|job| job.group_id() == group);
        members.map(|job| job.id()).collect()
    }

    /// A job; `None` when it is not known, or not any more.
    #[must_use]
    pub fn job(&self, id: u64) -> Option<JobInfo> {
        Some(self.jobs.find(id)?.info())
    }

    /// A stage; `None` when it is not known, or not any more.
    #[must_use]
    pub fn stage(&self, id: StageId) -> Option<StageInfo> {
        self.jobs.find(id.job)?.monitor().stage(id.stage)
    }

    /// Where tasks run. One entry: a backend of several machines is still one to its context.
    #[must_use]
    pub fn executors(&self) -> Vec<ExecutorInfo> {
        let running = self.jobs.running();
        let stages = running.iter().flat_map(|job| job.monitor().stages());
        vec![ExecutorInfo {
            name: self.backend.name().to_owned(),
            num_slots: self.backend.num_slots(),
            num_active_tasks: stages.map(|stage| stage.num_active_tasks).sum(),
        }]
    }
}

impl fmt::Debug for StatusTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusTracker")
            .field("active_jobs", &self.active_jobs())
            .finish_non_exhaustive()
    }
}
