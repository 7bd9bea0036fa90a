//! Shuffles: records exchanged by key between two stages.
//!
//! A map task sorts its records into one bucket for each reduce partition and keeps the buckets
//! as blocks; a reduce task reads its bucket of every map task, in map order, so that the same
//! input always arrives in the same order.

mod tracker;

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tracker::{Filled, lost_output};
pub(crate) use tracker::{ShuffleTracker, lost_outputs};

use crate::codec::{self, Built, Decoder, Encoder};
use crate::combine::Combine;
use crate::data::{Data, Key, PartitionIter};
use crate::error::{Error, Result};
use crate::partition::AnyPartitioner;
use crate::rdd::node::{AnyParent, Meta, Parent};
use crate::scheduler::{StageRoot, TaskValue};
use crate::storage::{Block, BlockId, BlockStore, Records, StorageLevel};
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

    /// Forgets all map outputs. A job that needs them makes them again.
    fn clean(&self);

    /// Knows which map outputs exist.
    fn tracker(&self) -> &Arc<ShuffleTracker>;
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
        let num_reduces = partitioner.num_partitions();
        let mut buckets = buckets_for(records.size_hint().0, num_reduces);
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
        let mut buckets = buckets_for(combined.len(), partitioner.num_partitions());
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

/// Room is made for so many records at most: an iterator of the user may promise any number.
const MAX_ROOM: usize = 1 << 20;

/// Empty buckets with room for about as many records altogether, spread evenly. Growing would touch
/// twice the memory; room that is left over is not touched at all.
fn buckets_for<R>(num_records: usize, num_reduces: usize) -> Vec<Vec<R>> {
    let even = num_records.min(MAX_ROOM) / num_reduces.max(1);
    let room = even + even / 4;
    std::iter::repeat_with(|| Vec::with_capacity(room))
        .take(num_reduces)
        .collect()
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
    /// Forgets the map outputs with the shuffle. In an executor, which does not own them, there
    /// are none.
    cleaner: Cleaner,
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
        Arc::new(Self {
            meta,
            id: cleaner.shuffle,
            parent,
            partitioner,
            map_side,
            num_maps,
            cleaner,
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
            cleaner: Cleaner::of_nothing(id),
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

    fn clean(&self) {
        self.cleaner.clean();
    }

    fn tracker(&self) -> &Arc<ShuffleTracker> {
        &self.cleaner.tracker
    }
}

impl<K: Data, V: Data, C: Data, M: MapSide<K, V, C>> StageRoot for ShuffleMap<K, V, C, M> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn input(&self) -> Arc<dyn AnyParent> {
        Arc::new(self.parent.clone())
    }

    fn run(&self, split: usize, task: &TaskContext) -> Result<TaskValue> {
        let records = self.parent.iterate(split, task)?;
        let buckets = self
            .map_side
            .bucket(records, &*self.partitioner, task, &self.meta)?;
        task.check()?;
        let mut filled = Filled::none_of(buckets.len());
        for (reduce, bucket) in buckets.into_iter().enumerate() {
            if !bucket.is_empty() {
                filled.add(reduce);
                let id = BlockId::Shuffle {
                    shuffle: self.id,
                    map: split,
                    reduce,
                };
                task.blocks()
                    .put(id, Block::of(bucket).at(StorageLevel::MemoryAndDisk))?;
            }
        }
        Ok(Box::new(filled))
    }

    fn accept(&self, split: usize, output: &(dyn Any + Send)) {
        if let Some(filled) = output.downcast_ref::<Filled>() {
            self.cleaner.tracker.mark(self.id, split, filled.clone());
        }
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&self.id)?;
        encode_partitioner(&self.partitioner, encoder)?;
        self.map_side.encode(encoder)
    }

    fn encode_output(&self, output: &(dyn Any + Send)) -> Result<Vec<u8>> {
        let filled = output.downcast_ref::<Filled>();
        codec::encode(filled.ok_or_else(|| Error::internal("task output of another type"))?)
    }

    fn decode_output(&self, bytes: &[u8]) -> Result<TaskValue> {
        Ok(Box::new(codec::decode::<Filled>(bytes)?))
    }
}

/// Forgets a shuffle's map outputs when its last user is gone.
pub(crate) struct Cleaner {
    pub(crate) shuffle: u64,
    pub(crate) num_maps: usize,
    pub(crate) num_reduces: usize,
    pub(crate) blocks: Weak<dyn BlockStore>,
    pub(crate) tracker: Arc<ShuffleTracker>,
}

impl Cleaner {
    fn of_nothing(shuffle: u64) -> Self {
        Self {
            shuffle,
            num_maps: 0,
            num_reduces: 0,
            blocks: Weak::<crate::storage::MemoryStore>::new(),
            tracker: Arc::default(),
        }
    }

    fn clean(&self) {
        self.tracker.forget(self.shuffle);
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

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.clean();
    }
}

/// The reduce side: where a node finds what the map tasks sent it.
#[derive(Clone, Debug)]
pub(crate) struct ShuffleRead<K, C> {
    id: u64,
    num_maps: usize,
    sources: Sources,
    types: std::marker::PhantomData<fn() -> (K, C)>,
}

/// Which map tasks have something for a reduce partition.
#[derive(Clone, Debug)]
enum Sources {
    /// In the driver.
    Tracked(Arc<ShuffleTracker>),
    /// In an executor: for the partitions that its task may read, or which map output is lost.
    Sent(HashMap<usize, Result<Vec<usize>, usize>>),
}

impl<K: Data, C: Data> ShuffleRead<K, C> {
    pub(crate) fn new(map: &dyn AnyShuffle, num_maps: usize) -> Self {
        Self {
            id: map.id(),
            num_maps,
            sources: Sources::Tracked(Arc::clone(map.tracker())),
            types: std::marker::PhantomData,
        }
    }

    /// The map tasks that have something for partition `reduce`, in order.
    fn sources(&self, reduce: usize) -> Result<Vec<usize>> {
        match &self.sources {
            Sources::Tracked(tracker) => tracker.sources(self.id, self.num_maps, reduce),
            Sources::Sent(sources) => match sources.get(&reduce) {
                Some(Ok(maps)) => Ok(maps.clone()),
                Some(Err(map)) => Err(lost_output(self.id, *map, reduce)),
                None => Err(Error::data("task does not say where its records are")
                    .with("partition", reduce)),
            },
        }
    }

    /// The buckets for partition `reduce`, in map order; empty ones are left out.
    pub(crate) fn buckets(
        &self,
        reduce: usize,
        task: &TaskContext,
    ) -> Result<Vec<Arc<Vec<(K, C)>>>> {
        let sources = self.sources(reduce)?;
        let mut buckets = Vec::with_capacity(sources.len());
        for map in sources {
            let id = BlockId::Shuffle {
                shuffle: self.id,
                map,
                reduce,
            };
            let block = task.blocks().get(id)?;
            let block = block.ok_or_else(|| lost_output(self.id, map, reduce))?;
            buckets.push(block.read()?);
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
        Ok(Box::new(
            task.interruptible(buckets.into_iter().flat_map(Records::of)),
        ))
    }

    /// Writes down what is needed to read the partitions `splits`. A lost map output is for the
    /// task to find: one that has its records from the cache reads none.
    pub(crate) fn encode(&self, splits: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        let mut sources = Vec::with_capacity(splits.len());
        for &reduce in splits {
            let maps = match self.sources(reduce) {
                Ok(maps) => Ok(maps),
                Err(error) => match lost_outputs(&error) {
                    Some((_, map)) => Err(map),
                    None => return Err(error),
                },
            };
            sources.push((reduce, maps));
        }
        encoder.put(&(self.id, self.num_maps, sources))
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        type Sent = Vec<(usize, Result<Vec<usize>, usize>)>;
        let (id, num_maps, sources): (_, _, Sent) = decoder.take()?;
        Ok(Self {
            id,
            num_maps,
            sources: Sources::Sent(sources.into_iter().collect()),
            types: std::marker::PhantomData,
        })
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::context::Context;
    use crate::rdd::PairRdd;
    use crate::scheduler::ThreadBackend;
    use crate::storage::MemoryStore;

    /// Keeps no map output.
    #[derive(Debug)]
    struct Losing {
        inner: MemoryStore,
        num_lost: AtomicUsize,
    }

    impl BlockStore for Losing {
        fn get(&self, id: BlockId) -> Result<Option<Block>> {
            self.inner.get(id)
        }

        fn put(&self, id: BlockId, block: Block) -> Result<bool> {
            if let BlockId::Shuffle { .. } = id {
                self.num_lost.fetch_add(1, Ordering::Relaxed);
                return Ok(true);
            }
            self.inner.put(id, block)
        }

        fn remove(&self, ids: &mut dyn Iterator<Item = BlockId>) {
            self.inner.remove(ids);
        }
    }

    // C-211
    #[test]
    fn a_job_gives_up_when_map_outputs_are_lost_again_and_again() {
        let blocks = Arc::new(Losing {
            inner: MemoryStore::new(1000),
            num_lost: AtomicUsize::new(0),
        });
        let store: Arc<dyn BlockStore> = blocks.clone();
        let backend = ThreadBackend::local("local[1]", 1, store).unwrap();
        let ctx = Context::builder().backend(Arc::new(backend)).build();
        let pairs = ctx.unwrap().parallelize_into([(1, 1), (1, 2)], 2).unwrap();
        let error = pairs.reduce_by_key(|a, b| a + b).collect().unwrap_err();
        assert_eq!(error.fact("lost_times"), Some("4"), "{error}");
        assert_eq!(error.kind(), crate::ErrorKind::Unavailable);
        assert_eq!(blocks.num_lost.load(Ordering::Relaxed), 4 * 2);
    }

    #[test]
    fn a_job_survives_the_loss_of_more_shuffles_than_it_may_lose_one() {
        let blocks: Arc<dyn BlockStore> = Arc::new(MemoryStore::new(1 << 20));
        let backend = ThreadBackend::local("local[1]", 1, Arc::clone(&blocks)).unwrap();
        let ctx = Context::builder().backend(Arc::new(backend)).build();
        let mut pairs = ctx.unwrap().parallelize_into([(1, 1), (2, 2)], 2).unwrap();
        let num_shuffles = 6;
        for _ in 0..num_shuffles {
            pairs = pairs.map(|(k, v)| (k + 1, v)).reduce_by_key(|a, b| a + b);
        }
        let mut expected = pairs.collect().unwrap();
        let of_shuffle = |shuffle| {
            (0..4).map(move |at| BlockId::Shuffle {
                shuffle,
                map: at / 2,
                reduce: at % 2,
            })
        };
        blocks.remove(&mut (0..num_shuffles).flat_map(of_shuffle));
        let mut found = pairs.collect().unwrap();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    // C-230
    #[test]
    fn a_map_output_with_a_damaged_file_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let builder = Context::builder().master("local[2]".parse().unwrap());
        let builder = builder.max_shuffle_bytes(0).spill_folder(folder.path());
        let ctx = builder.build().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let records = (0..200).map(|x| (x % 50, x));
        let sums = ctx
            .parallelize_into(records, 4)
            .unwrap()
            .map(move |pair| {
                counted.fetch_add(1, Ordering::Relaxed);
                pair
            })
            .reduce_by_key(|a, b| a + b);
        let collect = || {
            let mut sums = sums.collect().unwrap();
            sums.sort_unstable();
            sums
        };
        let expected = collect();
        assert_eq!(calls.load(Ordering::Relaxed), 200);
        let spilled = std::fs::read_dir(folder.path()).unwrap().next().unwrap();
        let files = std::fs::read_dir(spilled.unwrap().path()).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        assert_eq!(files.len(), 16, "all map outputs are on disk");
        let mut bytes = std::fs::read(&files[5]).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&files[5], bytes).unwrap();
        std::fs::remove_file(&files[6]).unwrap();
        assert_eq!(collect(), expected);
        // Both files are of map task 1, which is all that runs again.
        assert_eq!(calls.load(Ordering::Relaxed), 250);
    }

    #[test]
    fn map_outputs_whose_files_are_all_gone_are_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let builder = Context::builder().master("local[2]".parse().unwrap());
        let builder = builder.max_shuffle_bytes(0).spill_folder(folder.path());
        let ctx = builder.build().unwrap();
        let pairs = ctx.parallelize_into((0..200).map(|x| (x % 50, x)), 10);
        let sums = pairs.unwrap().reduce_by_key(|a, b| a + b);
        let expected = sums.collect().unwrap();
        let spilled = std::fs::read_dir(folder.path()).unwrap().next().unwrap();
        for file in std::fs::read_dir(spilled.unwrap().path()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        assert_eq!(sums.collect().unwrap(), expected);
    }
}
