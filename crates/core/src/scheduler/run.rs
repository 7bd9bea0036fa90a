//! Running one task.

use std::sync::Arc;

use super::stage::{JobPlan, StageRoot, TaskOutput};
use crate::error::Result;
use crate::operator::catch;
use crate::rdd::node::compute_ahead;
use crate::task::{CancelToken, TaskContext, TaskId, as_task};

/// One attempt at one partition of one stage.
#[derive(Debug)]
pub struct Task {
    /// Which attempt.
    pub id: TaskId,
    /// The job it belongs to.
    pub plan: Arc<JobPlan>,
    /// What ends this attempt, where attempts are ended one by one.
    pub(super) own_cancel: Option<CancelToken>,
}

impl Task {
    /// Ends the attempt early: with its job, or alone.
    #[must_use]
    pub fn cancel(&self) -> &CancelToken {
        self.own_cancel.as_ref().unwrap_or(&self.plan.cancel)
    }
}

/// Runs `root` on one partition on this thread. A panic in it is an error like any other.
///
/// # Errors
/// Whatever made the task fail; the operator is a fact of the error.
pub fn run_task(root: &dyn StageRoot, task: &TaskContext) -> Result<TaskOutput> {
    catch(|| {
        as_task(|| {
            let split = task.id().split;
            task.check()?;
            compute_ahead(&root.input(), split, task)?;
            let output = root.run(split, task)?;
            task.check()?;
            Ok(output)
        })
    })
}
