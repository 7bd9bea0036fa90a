//! Running one task.

use std::sync::Arc;

use super::stage::{JobPlan, StageRoot, TaskOutput};
use crate::accumulator::Updates;
use crate::error::{Error, Result};
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
    as_task(task, || {
        let result = catch(|| {
            let split = task.id().split;
            task.check()?;
            compute_ahead(&root.input(), split, task)?;
            let value = root.run(split, task)?;
            task.check()?;
            Ok(value)
        });
        let value = task.complete(result)?;
        let updates = task.take_updates();
        Ok(TaskOutput { value, updates })
    })
}

/// Writes down what a task gave.
///
/// # Errors
/// `Invalid` when a value cannot be encoded.
pub fn encode_output(root: &dyn StageRoot, output: &TaskOutput) -> Result<Vec<u8>> {
    let mut bytes = root.encode_output(&*output.value)?;
    let value_len = bytes.len() as u64;
    output.updates.encode_to(&mut bytes)?;
    bytes.extend(value_len.to_le_bytes());
    Ok(bytes)
}

/// Reads back what [`encode_output`] wrote.
///
/// # Errors
/// `Data` when the bytes are damaged.
pub fn decode_output(root: &dyn StageRoot, bytes: &[u8]) -> Result<TaskOutput> {
    let damaged = || Error::data("result of a task is damaged");
    let (rest, len) = bytes.split_last_chunk::<8>().ok_or_else(damaged)?;
    let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| damaged())?;
    let (value, updates) = rest.split_at_checked(len).ok_or_else(damaged)?;
    Ok(TaskOutput {
        value: root.decode_output(value)?,
        updates: Updates::decode(updates)?,
    })
}
