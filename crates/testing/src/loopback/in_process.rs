//! Tasks as bytes, without leaving the thread.

use std::sync::Arc;

use tidemill_core::codec;
use tidemill_core::remote::{EncodedTask, decode_task, encode_task};
use tidemill_core::scheduler::{
    Task, TaskOutput, TaskRunner, decode_output, encode_output, run_task,
};
use tidemill_core::storage::BlockStore;
use tidemill_core::travel::Image;
use tidemill_core::{Error, Result, TaskContext};

use super::faults::{Fate, Fates};
use super::{image, root_of};

/// Runs what a task's bytes say, never the task itself.
#[derive(Debug)]
pub(super) struct InProcess {
    blocks: Arc<dyn BlockStore>,
    fates: Arc<Fates>,
    image: Image,
}

impl InProcess {
    pub(super) fn new(blocks: Arc<dyn BlockStore>, fates: Arc<Fates>) -> Result<Self> {
        Ok(Self {
            blocks,
            fates,
            image: image()?,
        })
    }

    /// The executor's part.
    fn execute(&self, bytes: &[u8], task: &Task) -> Result<Vec<u8>> {
        let encoded: EncodedTask = codec::decode(bytes)?;
        let root = decode_task(&encoded, &self.image)?;
        let cancel = task.cancel().clone();
        let blocks = Arc::clone(&self.blocks);
        let ctx = TaskContext::new(encoded.id, blocks, cancel, encoded.seed);
        let output = run_task(&*root, &ctx)?;
        encode_output(&*root, &output)
    }
}

impl TaskRunner for InProcess {
    fn image(&self) -> Option<&Image> {
        Some(&self.image)
    }

    fn run(&self, slot: usize, task: &Task) -> Result<TaskOutput> {
        let root = root_of(task)?;
        let encoded = encode_task(root, task.id, task.plan.seed, &self.image)?;
        let bytes = codec::encode(&encoded)?;
        while self.fates.next() == Fate::Lost {
            self.fates.wait_in_vain();
        }
        let result = self.execute(&bytes, task);
        match self.fates.next() {
            Fate::Arrives => decode_output(root, &result?),
            Fate::Lost => {
                self.fates.wait_in_vain();
                Err(Error::unavailable("executor was not heard of in time").with("slot", slot))
            }
            Fate::ExecutorDies => Err(Error::unavailable("executor died").with("slot", slot)),
        }
    }
}
