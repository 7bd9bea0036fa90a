//! Blocks: the records of one partition, kept between tasks.

mod block;
mod checked;
mod disk;
mod level;
mod memory;
mod records;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use block::{Block, BlockData};
pub use level::StorageLevel;
pub use memory::{MemoryStore, StorageLimits};

pub(crate) use checked::{PieceReader, write_head, write_piece};
pub(crate) use disk::make_unique_folder;
pub(crate) use records::Records;

use crate::error::Result;

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BlockId {
    /// Partition `split` of a cached RDD.
    Rdd {
        /// The RDD's id.
        rdd: u64,
        /// The partition.
        split: usize,
    },
    /// What map task `map` of a shuffle has for reduce partition `reduce`.
    Shuffle {
        /// The shuffle's id.
        shuffle: u64,
        /// The map partition.
        map: usize,
        /// The reduce partition.
        reduce: usize,
    },
    /// Block number `number` received by an input stream.
    Input {
        /// The input stream's id.
        stream: usize,
        /// Counts up from 0 for each stream.
        number: u64,
    },
    /// The value of a broadcast.
    Broadcast {
        /// The broadcast's id.
        id: u64,
        /// Counts up from 0 with each `unpersist`: an executor's older copy is out of date.
        generation: u32,
    },
}

impl BlockId {
    /// Whether memory pressure may drop the block: only what can be computed again.
    #[must_use]
    pub fn is_evictable(&self) -> bool {
        matches!(self, Self::Rdd { .. })
    }

    /// Whether nobody can make the block again.
    fn is_precious(&self) -> bool {
        matches!(self, Self::Input { .. } | Self::Broadcast { .. })
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rdd { rdd, split } => write!(f, "rdd_{rdd}_{split}"),
            Self::Shuffle {
                shuffle,
                map,
                reduce,
            } => write!(f, "shuffle_{shuffle}_{map}_{reduce}"),
            Self::Input { stream, number } => write!(f, "input-{stream}-{number}"),
            Self::Broadcast { id, generation } => write!(f, "broadcast_{id}_{generation}"),
        }
    }
}

/// Keeps blocks by id. Implementations: memory here, a peer's memory for executors.
pub trait BlockStore: Send + Sync + fmt::Debug + 'static {
    /// The block, if it is kept.
    ///
    /// # Errors
    /// `Unavailable` when the place it is kept at does not answer.
    fn get(&self, id: BlockId) -> Result<Option<Block>>;

    /// Keeps a block at its level, replacing one of the same id. Returns whether there was room: a
    /// cached partition is turned away when it does not fit, any other block is always kept.
    ///
    /// # Errors
    /// `Unavailable` when the place it is to be kept at does not answer, or its disk is full.
    fn put(&self, id: BlockId, block: Block) -> Result<bool>;

    /// Forgets these blocks; those that are not kept are passed over.
    fn remove(&self, ids: &mut dyn Iterator<Item = BlockId>);

    /// Whether the block is kept.
    ///
    /// # Errors
    /// `Unavailable` when the place it is kept at does not answer.
    fn contains(&self, id: BlockId) -> Result<bool> {
        Ok(self.get(id)?.is_some())
    }

    /// Gives up what lies outside the process's memory. Called when the context stops.
    fn close(&self) {}
}
