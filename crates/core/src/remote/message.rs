//! What a driver and its executors say to each other.

use serde::{Deserialize, Serialize};

use super::lineage::EncodedTask;
use crate::error::Error;
use crate::storage::{BlockId, StorageLevel};
use crate::travel::BuildId;

/// Raised with every change of the messages. Peers of another version are refused.
pub const PROTOCOL_VERSION: u32 = 2;

/// The first message of an executor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the executor.
    pub protocol: u32,
    /// Its executable.
    pub build_id: BuildId,
    /// The secret that the driver gave to the executors it wants.
    pub secret: String,
}

/// From the driver to an executor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// The executor is welcome, or why it is not.
    Welcome(Result<(), Error>),
    /// These broadcasts are gone.
    Forget(Vec<BlockId>),
    /// Run a task.
    Run(Box<EncodedTask>),
    /// The block that was asked for: its bytes and number of records.
    Block(Option<(Vec<u8>, u64)>),
    /// Whether there was room for the block.
    Stored(bool),
}

/// From an executor to the driver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The task has ended.
    Done(Result<Vec<u8>, Error>),
    /// The task needs a block.
    Fetch(BlockId),
    /// The task has made a block: its bytes, number of records, and where to keep it.
    Store(BlockId, Vec<u8>, u64, StorageLevel),
}
