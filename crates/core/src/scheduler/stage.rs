//! Stages and plans: a job as it is handed to a backend.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::monitor::JobMonitor;
use super::pools::Pool;
use super::speculation::Speculation;
use crate::accumulator::Updates;
use crate::clock::Clock;
use crate::codec::Encoder;
use crate::error::Result;
use crate::operator::Operator;
use crate::rdd::node::{AnyParent, Meta};
use crate::task::{CancelToken, TaskContext};
use crate::travel::Descriptor;

/// What a [`StageRoot`] makes of one partition, its type known to it.
pub type TaskValue = Box<dyn Any + Send>;

/// What a task gives back.
#[derive(Debug)]
pub struct TaskOutput {
    /// What the stage's root made of the partition.
    pub value: TaskValue,
    /// What was added to accumulators on the way.
    pub updates: Updates,
}

/// The last step of a stage: an action's function, or the map side of a shuffle.
pub trait StageRoot: Send + Sync {
    /// Id and operator, as for a node.
    fn meta(&self) -> &Meta;

    /// The lineage it consumes.
    fn input(&self) -> Arc<dyn AnyParent>;

    /// Consumes one partition.
    ///
    /// # Errors
    /// Whatever made the task fail.
    fn run(&self, split: usize, task: &TaskContext) -> Result<TaskValue>;

    /// Takes note, in the driver, that the task of `split` succeeded with `output`. A backend calls
    /// it once for each task, before any task of a later stage starts.
    fn accept(&self, split: usize, output: &(dyn Any + Send)) {
        let _ = (split, output);
    }

    /// Whether two attempts at one partition may run side by side. An output that keeps state or
    /// writes outside must say no.
    fn may_be_twinned(&self) -> bool {
        true
    }

    /// What names the root's type to another process.
    fn descriptor(&self) -> &'static Descriptor;

    /// Writes the root down, without its lineage.
    ///
    /// # Errors
    /// `Invalid` when a closure or value cannot leave the process.
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()>;

    /// Writes down what [`run`](Self::run) gave.
    ///
    /// # Errors
    /// `Invalid` when the value cannot be encoded.
    fn encode_output(&self, output: &(dyn Any + Send)) -> Result<Vec<u8>>;

    /// Reads back what [`encode_output`](Self::encode_output) wrote.
    ///
    /// # Errors
    /// `Data` when the bytes are damaged.
    fn decode_output(&self, bytes: &[u8]) -> Result<TaskValue>;
}

/// Tasks that can run side by side once the stages before them are done.
pub struct Stage {
    /// What the tasks run.
    pub root: Arc<dyn StageRoot>,
    /// The partitions to run it on.
    pub splits: Vec<usize>,
    /// Stages of the same plan that must be done first, by position.
    pub parents: Vec<usize>,
    /// The shuffle whose map side this is; `None` for the stage that gives the job's results.
    pub shuffle: Option<u64>,
    /// Whether a slow task may get a second attempt beside the first: the root and every operator
    /// of the stage must allow it.
    pub may_be_twinned: bool,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("operator", &self.root.meta().operator().to_string())
            .field("num_tasks", &self.splits.len())
            .field("parents", &self.parents)
            .field("shuffle", &self.shuffle)
            .finish()
    }
}

/// A whole job: its stages, parents before children, the result stage last.
#[derive(Debug)]
pub struct JobPlan {
    /// Counts up in a context; an older job's tasks go first.
    pub job: u64,
    /// The stages.
    pub stages: Vec<Stage>,
    /// The action that asked for the job.
    pub operator: Operator,
    /// Ends the job early.
    pub cancel: CancelToken,
    /// How often one task may fail, at least 1.
    pub max_attempts: u32,
    /// The run's seed.
    pub seed: u64,
    /// The pool whose share of the slots the tasks take; `None` where the oldest job goes first.
    pub pool: Option<Arc<Pool>>,
    /// What tasks may take, and what is done about slow ones.
    pub rules: JobRules,
    /// To be told of stages and attempts.
    pub monitor: Arc<JobMonitor>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

/// What tasks may take, and what is done about slow ones. Default: no limits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JobRules {
    /// When a slow task gets a second attempt; `None` for never.
    pub speculation: Option<Speculation>,
    /// How long one attempt may run.
    pub task_timeout: Option<Duration>,
    /// How many encoded bytes a job's results may have.
    pub max_result_bytes: Option<u64>,
}

/// How often running tasks are looked at where nothing else says so.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

impl JobRules {
    /// Whether running attempts must be looked at.
    pub(super) fn are_watched(&self) -> bool {
        self.speculation.is_some() || self.task_timeout.is_some()
    }

    /// How often; `None` for never.
    pub(super) fn watch_interval(&self) -> Option<Duration> {
        let interval = self
            .speculation
            .map_or(WATCH_INTERVAL, |rule| rule.interval);
        match self.task_timeout {
            Some(timeout) => Some(interval.min(timeout)),
            None => self.speculation.map(|_| interval),
        }
    }
}
