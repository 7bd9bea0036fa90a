//! `cogroup`: all values of a key from two RDDs, side by side.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::node::{AnyRdd, Dependency, Meta, Parent, RddNode, built};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::partition::{AnyPartitioner, PartitionedBy};
use crate::shuffle::{AnyShuffle, ShuffleRead, decode_partitioner, encode_partitioner};
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// Where one of the two inputs comes from.
pub(crate) enum Side<K, V> {
    /// It is placed by the result's partitioner already.
    Placed(Parent<(K, V)>),
    /// It goes through a shuffle. The map side is `None` in an executor.
    Shuffled(Option<Arc<dyn AnyShuffle>>, ShuffleRead<K, V>),
}

impl<K: Data, V: Data> Side<K, V> {
    fn iterate(&self, split: usize, task: &TaskContext) -> Result<PartitionIter<(K, V)>> {
        match self {
            Self::Placed(parent) => parent.iterate(split, task),
            Self::Shuffled(_, read) => read.records(split, task),
        }
    }

    fn dependency(&self) -> Option<Dependency> {
        match self {
            Self::Placed(parent) => parent.one_to_one().pop(),
            Self::Shuffled(map, _) => map.as_ref().map(|map| Dependency::Shuffle(Arc::clone(map))),
        }
    }

    fn encode(&self, splits: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        match self {
            Self::Placed(_) => encoder.put(&true),
            Self::Shuffled(_, read) => {
                encoder.put(&false)?;
                read.encode(splits, encoder)
            }
        }
    }

    /// `next_parent` counts the parents taken so far.
    fn decode(decoder: &mut Decoder<'_>, next_parent: &mut usize) -> Result<Self> {
        if decoder.take::<bool>()? {
            *next_parent += 1;
            Ok(Self::Placed(Parent::decode(decoder, *next_parent - 1)?))
        } else {
            Ok(Self::Shuffled(None, ShuffleRead::decode(decoder)?))
        }
    }

    pub(crate) fn depth(&self) -> u32 {
        match self {
            Self::Placed(parent) => parent.depth(),
            Self::Shuffled(..) => 0,
        }
    }
}

/// A key with all its values of both sides.
pub(crate) type Grouped<K, V, W> = (K, (Vec<V>, Vec<W>));

/// All values of each key from two inputs.
pub(crate) struct CoGroup<K, V, W> {
    meta: Meta,
    left: Side<K, V>,
    right: Side<K, W>,
    partitioner: Arc<dyn AnyPartitioner<K>>,
}

impl<K: Key, V: Data, W: Data> CoGroup<K, V, W> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    pub(crate) fn new(
        meta: Meta,
        left: Side<K, V>,
        right: Side<K, W>,
        partitioner: Arc<dyn AnyPartitioner<K>>,
    ) -> Self {
        Self {
            meta,
            left,
            right,
            partitioner,
        }
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let partitioner = decode_partitioner(decoder)?;
        let mut next_parent = 0;
        let left = Side::decode(decoder, &mut next_parent)?;
        let right = Side::decode(decoder, &mut next_parent)?;
        Ok(built(Self::new(decoder.meta(), left, right, partitioner)))
    }
}

impl<K: Key, V: Data, W: Data> AnyRdd for CoGroup<K, V, W> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        Ok(self.partitioner.num_partitions())
    }

    fn dependencies(&self) -> Vec<Dependency> {
        self.left
            .dependency()
            .into_iter()
            .chain(self.right.dependency())
            .collect()
    }

    fn partitioner(&self) -> Option<PartitionedBy> {
        Some(PartitionedBy::of(&self.partitioner))
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, splits: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        encode_partitioner(&self.partitioner, encoder)?;
        self.left.encode(splits, encoder)?;
        self.right.encode(splits, encoder)
    }
}

impl<K: Key, V: Data, W: Data> RddNode<Grouped<K, V, W>> for CoGroup<K, V, W> {
    fn compute(
        self: Arc<Self>,
        split: usize,
        task: &TaskContext,
    ) -> Result<PartitionIter<Grouped<K, V, W>>> {
        let mut groups: HashMap<K, (Vec<V>, Vec<W>), FixedState> =
            HashMap::with_hasher(FixedState::with_seed(task.seed()));
        for (key, value) in self.left.iterate(split, task)? {
            groups.entry(key).or_default().0.push(value);
        }
        for (key, value) in self.right.iterate(split, task)? {
            groups.entry(key).or_default().1.push(value);
        }
        Ok(Box::new(task.interruptible(groups.into_iter())))
    }
}
