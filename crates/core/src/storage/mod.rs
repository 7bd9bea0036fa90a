//! Blocks: the records of one partition, kept between tasks.

mod memory;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use memory::MemoryStore;

use crate::codec;
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};

/// Where the records of a cached RDD are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StorageLevel {
    /// Nowhere: computed each time.
    #[default]
    None,
    /// As values in memory; what does not fit is computed again when needed.
    MemoryOnly,
}

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
}

impl BlockId {
    /// Whether memory pressure may drop the block: only what can be computed again.
    #[must_use]
    pub fn is_evictable(&self) -> bool {
        matches!(self, Self::Rdd { .. })
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
        }
    }
}

/// Records that can be kept as one block: a `Vec<T>`, or a type that packs its records tighter.
pub trait BlockData: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The record type.
    type Item: Data;

    /// How many records there are.
    fn num_records(&self) -> u64;

    /// Estimate of the memory taken, in bytes.
    fn size_bytes(&self) -> usize;

    /// The records in order; the block stays where it is.
    fn iterate(block: Arc<Self>) -> PartitionIter<Self::Item>;
}

impl<T: Data> BlockData for Vec<T> {
    type Item = T;

    fn num_records(&self) -> u64 {
        self.len() as u64
    }

    fn size_bytes(&self) -> usize {
        // The heap part of a record is seen by encoding a few of them.
        const SAMPLES: usize = 8;
        let step = (self.len() / SAMPLES).max(1);
        let mut sampled = 0;
        let mut encoded = 0;
        for record in self.iter().step_by(step).take(SAMPLES) {
            sampled += 1;
            encoded += codec::encode(record).map_or(0, |bytes| bytes.len());
        }
        let mean = encoded.checked_div(sampled).unwrap_or(0);
        self.len() * mean.max(size_of::<T>())
    }

    fn iterate(block: Arc<Self>) -> PartitionIter<T> {
        let mut at = 0;
        Box::new(std::iter::from_fn(move || {
            let record = block.get(at).cloned();
            at += 1;
            record
        }))
    }
}

/// One block: values in this process, or bytes from another. Cheap to clone.
#[derive(Clone)]
pub struct Block {
    repr: Repr,
    num_records: u64,
    size_bytes: usize,
}

#[derive(Clone)]
enum Repr {
    Values {
        values: Arc<dyn Any + Send + Sync>,
        encode: fn(&(dyn Any + Send + Sync)) -> Result<Vec<u8>>,
    },
    Encoded(Arc<[u8]>),
}

impl Block {
    /// A block of values.
    #[must_use]
    pub fn of<B: BlockData>(values: B) -> Self {
        Self::shared(Arc::new(values))
    }

    /// A block of values that others hold too.
    #[must_use]
    pub fn shared<B: BlockData>(values: Arc<B>) -> Self {
        let (num_records, size_bytes) = (values.num_records(), values.size_bytes());
        Self {
            repr: Repr::Values {
                values,
                encode: encode_as::<B>,
            },
            num_records,
            size_bytes,
        }
    }

    /// A block that came from another process.
    #[must_use]
    pub fn encoded(bytes: Vec<u8>, num_records: u64) -> Self {
        let size_bytes = bytes.len();
        Self {
            repr: Repr::Encoded(bytes.into()),
            num_records,
            size_bytes,
        }
    }

    /// How many records there are.
    #[must_use]
    pub fn num_records(&self) -> u64 {
        self.num_records
    }

    /// Estimate of the memory taken, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// The values.
    ///
    /// # Errors
    /// `Internal` when the block holds another type, `Data` when its bytes are damaged.
    pub fn read<B: BlockData>(&self) -> Result<Arc<B>> {
        match &self.repr {
            Repr::Values { values, .. } => Arc::clone(values).downcast::<B>().map_err(|_| {
                Error::internal("block holds another type")
                    .with("wanted", std::any::type_name::<B>())
            }),
            Repr::Encoded(bytes) => codec::decode::<B>(bytes).map(Arc::new),
        }
    }

    /// The encoded values.
    ///
    /// # Errors
    /// `Invalid` when a value cannot be encoded.
    pub fn to_bytes(&self) -> Result<Arc<[u8]>> {
        match &self.repr {
            Repr::Values { values, encode } => encode(&**values).map(Into::into),
            Repr::Encoded(bytes) => Ok(Arc::clone(bytes)),
        }
    }
}

fn encode_as<B: BlockData>(values: &(dyn Any + Send + Sync)) -> Result<Vec<u8>> {
    match values.downcast_ref::<B>() {
        Some(values) => codec::encode(values),
        None => Err(Error::internal("block holds another type")),
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("num_records", &self.num_records)
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

/// Keeps blocks by id. Implementations: memory here, a peer's memory for executors.
pub trait BlockStore: Send + Sync + fmt::Debug + 'static {
    /// The block, if it is kept.
    ///
    /// # Errors
    /// `Unavailable` when the place it is kept at does not answer.
    fn get(&self, id: BlockId) -> Result<Option<Block>>;

    /// Keeps a block, replacing one of the same id. Returns whether there was room: a block that
    /// may be evicted is turned away when it does not fit, any other is always kept.
    ///
    /// # Errors
    /// `Unavailable` when the place it is to be kept at does not answer.
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
}
