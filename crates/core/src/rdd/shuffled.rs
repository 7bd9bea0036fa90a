//! The reduce side of a shuffle.

use std::sync::Arc;

use super::node::{AnyRdd, Dependency, Meta, RddNode, built};
use crate::codec::{Built, Decoder, Encoder};
use crate::combine::{Combine, drain, merge_combiners};
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::partition::{AnyPartitioner, PartitionedBy};
use crate::shuffle::{AnyShuffle, ShuffleRead, decode_partitioner, encode_partitioner};
use crate::task::TaskContext;
use crate::travel::{Descriptor, Portable};

/// What happens to the records of one partition after they have arrived.
pub(crate) trait ReduceSide<K, C>: Portable {
    fn reduce(
        &self,
        read: &ShuffleRead<K, C>,
        split: usize,
        task: &TaskContext,
        meta: &Meta,
    ) -> Result<PartitionIter<(K, C)>>;
}

/// Leaves the records as they arrived.
pub(crate) struct Arrived;

impl Portable for Arrived {
    fn encode(&self, _: &mut Encoder<'_>) -> Result<()> {
        Ok(())
    }

    fn decode(_: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self)
    }
}

impl<K: Data, C: Data> ReduceSide<K, C> for Arrived {
    fn reduce(
        &self,
        read: &ShuffleRead<K, C>,
        split: usize,
        task: &TaskContext,
        _: &Meta,
    ) -> Result<PartitionIter<(K, C)>> {
        read.records(split, task)
    }
}

/// Joins the combiners of each key.
pub(crate) struct Merged<V, A> {
    combine: Arc<A>,
    value: std::marker::PhantomData<fn() -> V>,
}

impl<V, A> Merged<V, A> {
    pub(crate) fn new(combine: Arc<A>) -> Self {
        Self {
            combine,
            value: std::marker::PhantomData,
        }
    }
}

impl<V: 'static, A: Portable> Portable for Merged<V, A> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.combine.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self::new(Arc::new(A::decode(decoder)?)))
    }
}

impl<K: Key, V: 'static, C: Data, A: Combine<V, C>> ReduceSide<K, C> for Merged<V, A> {
    fn reduce(
        &self,
        read: &ShuffleRead<K, C>,
        split: usize,
        task: &TaskContext,
        meta: &Meta,
    ) -> Result<PartitionIter<(K, C)>> {
        let combiners = merge_combiners(read, split, &*self.combine, task, meta.operator())?;
        Ok(Box::new(task.interruptible(drain(combiners))))
    }
}

/// Records that a shuffle brought together, placed by its partitioner.
pub(crate) struct Shuffled<K, C, R> {
    meta: Meta,
    /// The map side; `None` in an executor, where the outputs exist already.
    map: Option<Arc<dyn AnyShuffle>>,
    read: ShuffleRead<K, C>,
    partitioner: Arc<dyn AnyPartitioner<K>>,
    reduce: R,
}

impl<K: Data, C: Data, R: ReduceSide<K, C>> Shuffled<K, C, R> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    pub(crate) fn new(
        meta: Meta,
        map: Arc<dyn AnyShuffle>,
        num_maps: usize,
        partitioner: Arc<dyn AnyPartitioner<K>>,
        reduce: R,
    ) -> Self {
        let read = ShuffleRead::new(&*map, num_maps);
        Self {
            meta,
            map: Some(map),
            read,
            partitioner,
            reduce,
        }
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let read = ShuffleRead::decode(decoder)?;
        let partitioner = decode_partitioner(decoder)?;
        let reduce = R::decode(decoder)?;
        Ok(built(Self {
            meta: decoder.meta(),
            map: None,
            read,
            partitioner,
            reduce,
        }))
    }
}

impl<K: Data, C: Data, R: ReduceSide<K, C>> AnyRdd for Shuffled<K, C, R> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        Ok(self.partitioner.num_partitions())
    }

    fn dependencies(&self) -> Vec<Dependency> {
        self.map
            .iter()
            .map(|map| Dependency::Shuffle(Arc::clone(map)))
            .collect()
    }

    fn partitioner(&self) -> Option<PartitionedBy> {
        Some(PartitionedBy::of(&self.partitioner))
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, splits: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        self.read.encode(splits, encoder)?;
        encode_partitioner(&self.partitioner, encoder)?;
        self.reduce.encode(encoder)
    }
}

impl<K: Data, C: Data, R: ReduceSide<K, C>> RddNode<(K, C)> for Shuffled<K, C, R> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<(K, C)>> {
        self.reduce.reduce(&self.read, split, task, &self.meta)
    }
}
