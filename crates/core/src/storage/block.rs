//! Blocks as values: records in memory, or their bytes.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StorageLevel;
use super::records::Records;
use crate::codec;
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};

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
        Box::new(Records::of(block))
    }
}

/// One block: values in this process, or bytes from another. Cheap to clone.
#[derive(Clone)]
pub struct Block {
    repr: Repr,
    num_records: u64,
    size_bytes: usize,
    level: StorageLevel,
}

#[derive(Clone)]
enum Repr {
    Values {
        values: Arc<dyn Any + Send + Sync>,
        encode: fn(&(dyn Any + Send + Sync)) -> Result<Vec<u8>>,
    },
    Encoded(Arc<Encoded>),
}

struct Encoded {
    bytes: Arc<[u8]>,
    /// The values, where [`Block::read_once`] asked for them.
    values: OnceLock<Arc<dyn Any + Send + Sync>>,
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
            level: StorageLevel::MemoryOnly,
        }
    }

    /// A block that came from another process.
    #[must_use]
    pub fn encoded(bytes: Vec<u8>, num_records: u64) -> Self {
        let size_bytes = bytes.len();
        let encoded = Encoded {
            bytes: bytes.into(),
            values: OnceLock::new(),
        };
        Self {
            repr: Repr::Encoded(Arc::new(encoded)),
            num_records,
            size_bytes,
            level: StorageLevel::MemoryOnly,
        }
    }

    /// The same block, to be kept at `level`. Unless told otherwise, blocks stay in memory.
    #[must_use]
    pub fn at(mut self, level: StorageLevel) -> Self {
        self.level = level;
        self
    }

    /// Where it is to be kept.
    #[must_use]
    pub fn level(&self) -> StorageLevel {
        self.level
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
            Repr::Values { values, .. } => downcast(values),
            Repr::Encoded(encoded) => codec::decode::<B>(&encoded.bytes).map(Arc::new),
        }
    }

    /// The values, which stay with the block once they were decoded: for what many tasks read.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_once<B: BlockData>(&self) -> Result<Arc<B>> {
        let Repr::Encoded(encoded) = &self.repr else {
            return self.read();
        };
        if let Some(values) = encoded.values.get() {
            return downcast(values);
        }
        let values: Arc<B> = self.read()?;
        downcast(encoded.values.get_or_init(|| values))
    }

    /// The same block without the values that [`read_once`](Self::read_once) has decoded.
    #[must_use]
    pub(crate) fn undecoded(mut self) -> Self {
        if let Repr::Encoded(encoded) = &self.repr {
            self.repr = Repr::Encoded(Arc::new(Encoded {
                bytes: Arc::clone(&encoded.bytes),
                values: OnceLock::new(),
            }));
        }
        self
    }

    /// The encoded values.
    ///
    /// # Errors
    /// `Invalid` when a value cannot be encoded.
    pub fn to_bytes(&self) -> Result<Arc<[u8]>> {
        match &self.repr {
            Repr::Values { values, encode } => encode(&**values).map(Into::into),
            Repr::Encoded(encoded) => Ok(Arc::clone(&encoded.bytes)),
        }
    }

    /// The same block as bytes.
    ///
    /// # Errors
    /// `Invalid` when a value cannot be encoded.
    pub fn to_encoded(&self) -> Result<Self> {
        match &self.repr {
            Repr::Values { values, encode } => {
                Ok(Self::encoded(encode(&**values)?, self.num_records).at(self.level))
            }
            Repr::Encoded(_) => Ok(self.clone()),
        }
    }
}

fn downcast<B: BlockData>(values: &Arc<dyn Any + Send + Sync>) -> Result<Arc<B>> {
    Arc::clone(values).downcast::<B>().map_err(|_| {
        Error::internal("block holds another type").with("wanted", std::any::type_name::<B>())
    })
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
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}
