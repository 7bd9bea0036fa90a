//! Shuffles: records exchanged by key between two stages.
//!
//! A map task sorts its records into one bucket for each reduce partition and keeps the buckets
//! as blocks; a reduce task reads its bucket of every map task, in map order, so that the same
//! input always arrives in the same order.

use std::any::Any;
use std::sync::{Arc, Weak};

use crate::codec::{Built, Decoder, Encoder};
use crate::combine::Combine;
use crate::data::{Data, Key, PartitionIter};
use crate::error::{Error, Result};
use crate::partition::AnyPartitioner;
use crate::rdd::node::{AnyParent, Meta, Parent};
use crate::scheduler::{ShuffleTracker, StageRoot, TaskOutput};
use crate::storage::{Block, BlockData, BlockId, BlockStore, StorageLevel};
use crate::task::TaskContext;
use crate::travel::{Descriptor, DescriptorName};

/// The map side of a shuffle, as the scheduler sees it.
pub trait AnyShuffle: Send + Sync {
    /// Counts up in a context.
    fn id(&self) -> u64;

    /// What the map tasks run.
    fn root(self: Arc<Self>) -> Arc<dyn StageRoot>;

    /// How many map tasks there are, as the reduce side believes: settled at the definition.
    ///
    /// # Errors
    /// Why it could not be found out then: a missing input path, for example.
    fn num_maps(&self) -> Result<usize>;
}

/// How the map side groups records before it sends them.
pub(crate) trait MapSide<K, V, C>: Send + Sync + Sized + 'static {
    fn bucket(
        &self,
        records: PartitionIter<(K, V)>,
        partitioner: &dyn AnyPartitioner<K>,
        task: &TaskContext,
        meta: &Meta,
    ) -> Result<Vec<Vec<(K, C)>>>;
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()>;
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self>;
}

/// Sends every record as it is.
pub(crate) struct AsIs;

impl<K: Data, V: Data> MapSide<K, V, V> for AsIs {
    fn bucket(
        &self,
        records: PartitionIter<(K, V)>,
        partitioner: &dyn AnyPartitioner<K>,
        _task: &TaskContext,
        meta: &Meta,
    ) -> Result<Vec<Vec<(K, V)>>> {
        let mut buckets = empty_buckets(partitioner.num_partitions());
        for (key, value) in records {
            push(
                &mut buckets,
                partitioner.partition(&key),
                (key, value),
                meta,
            )?;
        }
        Ok(buckets)
    }

    fn encode(&self, _: &mut Encoder<'_>) -> Result<()> {
        Ok(())
    }

    fn decode(_: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self)
    }
}

/// Combines the values of a key before they are sent.
pub(crate) struct Combined<A>(pub(crate) Arc<A>);

impl<K: Key, V: Data, C: Data, A: Combine<V, C>> MapSide<K, V, C> for Combined<A> {
    fn bucket(
        &self,
        records: PartitionIter<(K, V)>,
        partitioner: &dyn AnyPartitioner<K>,
        task: &TaskContext,
        meta: &Meta,
    ) -> Result<Vec<Vec<(K, C)>>> {
        let combined = crate::combine::combine_values(records, &*self.0, task, meta.operator());
        let mut buckets = empty_buckets(partitioner.num_partitions());
        for bucket in &mut buckets {
            bucket.reserve(combined.len() / partitioner.num_partitions().max(1) + 1);
        }
        for (key, combiner) in crate::combine::drain(combined) {
            push(
                &mut buckets,
                partitioner.partition(&key),
                (key, combiner),
                meta,
            )?;
        }
        Ok(buckets)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self(Arc::new(A::decode(decoder)?)))
    }
}

fn empty_buckets<R>(num_reduces: usize) -> Vec<Vec<R>> {
    std::iter::repeat_with(Vec::new).take(num_reduces).collect()
}

#[inline]
fn push<R>(buckets: &mut [Vec<R>], reduce: usize, record: R, meta: &Meta) -> Result<()> {
    match buckets.get_mut(reduce) {
        Some(bucket) => bucket.push(record),
        None => {
            return Err(
                Error::invalid("partitioner returned a partition it does not have")
                    .with("operator", meta.operator())
                    .with("partition", reduce),
            );
        }
    }
    Ok(())
}

/// The map side of a shuffle of `(K, V)` records that arrive as `(K, C)`.
pub(crate) struct ShuffleMap<K, V, C, M> {
    meta: Meta,
    id: u64,
    parent: Parent<(K, V)>,
    partitioner: Arc<dyn AnyPartitioner<K>>,
    map_side: M,
    num_maps: Result<usize>,
    /// Forgets the map outputs with the shuffle; none in an executor, which does not own them.
    _cleaner: Option<Cleaner>,
    types: std::marker::PhantomData<fn() -> C>,
}

impl<K: Data, V: Data, C: Data, M: MapSide<K, V, C>> ShuffleMap<K, V, C, M> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    pub(crate) fn new(
        meta: Meta,
        parent: Parent<(K, V)>,
        partitioner: Arc<dyn AnyPartitioner<K>>,
        map_side: M,
        (num_maps, cleaner): (Result<usize>, Cleaner),
    ) -> Arc<Self> {
        let types = std::marker::PhantomData;
        let (id, _cleaner) = (cleaner.shuffle, Some(cleaner));
        Arc::new(Self {
            meta,
            id,
            parent,
            partitioner,
            map_side,
            num_maps,
            _cleaner,
            types,
        })
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let id = decoder.take()?;
        let partitioner = decode_partitioner(decoder)?;
        let map_side = M::decode(decoder)?;
        let root: Arc<dyn StageRoot> = Arc::new(Self {
            meta: decoder.meta(),
            id,
            parent: Parent::decode(decoder, 0)?,
            partitioner,
            map_side,
            num_maps: Err(Error::internal("an executor plans no stages")),
            _cleaner: None,
            types: std::marker::PhantomData,
        });
        Ok(Box::new(root))
    }
}

impl<K: Data, V: Data, C: Data, M: MapSide<K, V, C>> AnyShuffle for ShuffleMap<K, V, C, M> {
    fn id(&self) -> u64 {
        self.id
    }

    fn root(self: Arc<Self>) -> Arc<dyn StageRoot> {
        self
    }

    fn num_maps(&self) -> Result<usize> {
        self.num_maps.clone()
    }
}

impl<K: Data, V: Data, C: Data, M: MapSide<K, V, C>> StageRoot for ShuffleMap<K, V, C, M> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn input(&self) -> Arc<dyn AnyParent> {
        Arc::new(self.parent.clone())
    }

    fn run(&self, split: usize, task: &TaskContext) -> Result<TaskOutput> {
        let records = self.parent.iterate(split, task)?;
        let buckets = self
            .map_side
            .bucket(records, &*self.partitioner, task, &self.meta)?;
        task.check()?;
        for (reduce, bucket) in buckets.into_iter().enumerate() {
            // A later attempt replaces what an earlier one may have left.
            if !bucket.is_empty() || task.id().attempt > 0 {
                let id = BlockId::Shuffle {
                    shuffle: self.id,
                    map: split,
                    reduce,
                };
                task.blocks()
                    .put(id, Block::of(bucket).at(StorageLevel::MemoryAndDisk))?;
            }
        }
        Ok(Box::new(()))
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&self.id)?;
        encode_partitioner(&self.partitioner, encoder)?;
        self.map_side.encode(encoder)
    }

    fn encode_output(&self, _: &(dyn Any + Send)) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn decode_output(&self, _: &[u8]) -> Result<TaskOutput> {
        Ok(Box::new(()))
    }
}

/// Forgets a shuffle's map outputs when its last user is gone.
pub(crate) struct Cleaner {
    pub(crate) shuffle: u64,
    pub(crate) num_maps: usize,
    pub(crate) num_reduces: usize,
    pub(crate) blocks: Weak<dyn BlockStore>,
    pub(crate) tracker: Weak<ShuffleTracker>,
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        if let Some(tracker) = self.tracker.upgrade() {
            tracker.forget(self.shuffle);
        }
        if let Some(blocks) = self.blocks.upgrade() {
            let (shuffle, num_reduces) = (self.shuffle, self.num_reduces);
            blocks.remove(&mut (0..self.num_maps).flat_map(|map| {
                (0..num_reduces).map(move |reduce| BlockId::Shuffle {
                    shuffle,
                    map,
                    reduce,
                })
            }));
        }
    }
}

/// The reduce side: where a node finds what the map tasks sent it.
#[derive(Clone, Debug)]
pub(crate) struct ShuffleRead<K, C> {
    id: u64,
    num_maps: usize,
    types: std::marker::PhantomData<fn() -> (K, C)>,
}

impl<K: Data, C: Data> ShuffleRead<K, C> {
    pub(crate) fn new(id: u64, num_maps: usize) -> Self {
        Self {
            id,
            num_maps,
            types: std::marker::PhantomData,
        }
    }

    /// The buckets for partition `reduce`, in map order; empty ones are left out.
    pub(crate) fn buckets(
        &self,
        reduce: usize,
        task: &TaskContext,
    ) -> Result<Vec<Arc<Vec<(K, C)>>>> {
        let mut buckets = Vec::with_capacity(self.num_maps);
        for map in 0..self.num_maps {
            let id = BlockId::Shuffle {
                shuffle: self.id,
                map,
                reduce,
            };
            if let Some(block) = task.blocks().get(id)? {
                buckets.push(block.read()?);
            }
        }
        Ok(buckets)
    }

    /// The records for partition `reduce`, in map order.
    pub(crate) fn records(
        &self,
        reduce: usize,
        task: &TaskContext,
    ) -> Result<PartitionIter<(K, C)>> {
        let buckets = self.buckets(reduce, task)?;
        Ok(Box::new(task.interruptible(
            buckets.into_iter().flat_map(Vec::<(K, C)>::iterate),
        )))
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&(self.id, self.num_maps))
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        let (id, num_maps) = decoder.take()?;
        Ok(Self::new(id, num_maps))
    }
}

pub(crate) fn encode_partitioner<K: 'static>(
    partitioner: &Arc<dyn AnyPartitioner<K>>,
    encoder: &mut Encoder<'_>,
) -> Result<()> {
    let name = encoder.image().name_of(partitioner.descriptor());
    encoder.put(&(name, partitioner.to_bytes()?))
}

pub(crate) fn decode_partitioner<K: 'static>(
    decoder: &mut Decoder<'_>,
) -> Result<Arc<dyn AnyPartitioner<K>>> {
    let (name, bytes): (DescriptorName, Vec<u8>) = decoder.take()?;
    let built = decoder.build_value(name, &bytes)?;
    built
        .downcast::<Arc<dyn AnyPartitioner<K>>>()
        .map(|boxed| *boxed)
        .map_err(|_| {
            Error::data("task carries a partitioner for other keys")
                .with("operator", decoder.operator())
        })
}
