//! The seam between a job and the machines that run it.

use std::fmt;
use std::sync::Arc;

use super::service::{Service, ServiceHandle};
use super::stage::{JobPlan, TaskOutput};
use crate::error::Result;
use crate::storage::BlockStore;
use crate::travel::Image;

/// Receives `(stage, split, output)` of each task that succeeded, once per task, in any order.
pub type OnOutput<'a> = &'a mut dyn FnMut(usize, usize, TaskOutput);

/// Runs whole jobs, and long-lived services.
pub trait Backend: Send + Sync + fmt::Debug + 'static {
    /// For messages and logs, for example `local[2]`.
    fn name(&self) -> &str;

    /// How many tasks run at a time.
    fn num_slots(&self) -> usize;

    /// Where the driver's blocks are.
    fn blocks(&self) -> &Arc<dyn BlockStore>;

    /// The executable's image when tasks leave the process: their closures are then checked before
    /// a stream starts. `None` when they stay.
    fn image(&self) -> Option<&Image> {
        None
    }

    /// Runs a job to its end; blocks the caller, takes no slot of its own.
    ///
    /// # Errors
    /// The cause of the first task that failed for good, with the task's and job's facts added;
    /// `Cancelled` when the plan's token was cancelled; `Closed` after [`stop`](Self::stop).
    fn run(&self, plan: &Arc<JobPlan>, on_output: OnOutput<'_>) -> Result<()>;

    /// Starts a service: a receiver, a block server. It takes no slot.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be started, `Closed` after [`stop`](Self::stop).
    fn start_service(&self, service: Arc<dyn Service>) -> Result<ServiceHandle>;

    /// Ends all jobs and services and waits for them. Harmless when called again.
    fn stop(&self);
}
