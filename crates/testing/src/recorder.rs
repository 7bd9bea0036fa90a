//! A backend that writes down what it is asked for.

use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_core::Result;
use tidemill_core::scheduler::{Backend, JobPlan, OnOutput, Service, ServiceHandle};
use tidemill_core::storage::BlockStore;
use tidemill_core::travel::Image;

/// Passes everything on to another backend, and remembers the jobs.
#[derive(Debug)]
pub struct Recorder {
    inner: Arc<dyn Backend>,
    jobs: Mutex<Vec<JobRecord>>,
}

/// One job as it was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// The kind of the action, for example `collect`.
    pub action: String,
    /// Parents before children, the result stage last.
    pub stages: Vec<StageRecord>,
}

/// One stage of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageRecord {
    /// How many tasks it has.
    pub num_tasks: usize,
    /// The stages before it, by position.
    pub parents: Vec<usize>,
}

impl JobRecord {
    /// Tasks of all stages.
    #[must_use]
    pub fn num_tasks(&self) -> usize {
        self.stages.iter().map(|stage| stage.num_tasks).sum()
    }
}

impl Recorder {
    /// In front of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Self {
            inner,
            jobs: Mutex::default(),
        }
    }

    /// The jobs since the last call, oldest first.
    pub fn take_jobs(&self) -> Vec<JobRecord> {
        std::mem::take(&mut self.jobs.lock())
    }
}

impl Backend for Recorder {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn num_slots(&self) -> usize {
        self.inner.num_slots()
    }

    fn blocks(&self) -> &Arc<dyn BlockStore> {
        self.inner.blocks()
    }

    fn image(&self) -> Option<&Image> {
        self.inner.image()
    }

    fn run(&self, plan: &Arc<JobPlan>, on_output: OnOutput<'_>) -> Result<()> {
        let stages = plan.stages.iter().map(|stage| StageRecord {
            num_tasks: stage.splits.len(),
            parents: stage.parents.clone(),
        });
        self.jobs.lock().push(JobRecord {
            action: plan.operator.kind().to_owned(),
            stages: stages.collect(),
        });
        self.inner.run(plan, on_output)
    }

    fn start_service(&self, service: Arc<dyn Service>) -> Result<ServiceHandle> {
        self.inner.start_service(service)
    }

    fn stop(&self) {
        self.inner.stop();
    }
}
