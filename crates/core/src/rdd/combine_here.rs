//! Combining without a shuffle: pairs that are in the right partition already.

use std::sync::Arc;

use super::node::{AnyRdd, Dependency, Meta, Parent, RddNode, built};
use crate::codec::{Built, Decoder, Encoder};
use crate::combine::{Combine, combine_values, drain};
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::partition::PartitionedBy;
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// Combines values of pairs that are in the right partition already.
pub(crate) struct CombineHere<K, V, C, A> {
    meta: Meta,
    parent: Parent<(K, V)>,
    combine: Arc<A>,
    partitioner: Option<PartitionedBy>,
    output: std::marker::PhantomData<fn() -> C>,
}

impl<K: Key, V: Data, C: Data, A: Combine<V, C>> CombineHere<K, V, C, A> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    pub(crate) fn new(meta: Meta, parent: Parent<(K, V)>, combine: Arc<A>) -> Self {
        Self {
            partitioner: parent.placement(true),
            meta,
            parent,
            combine,
            output: std::marker::PhantomData,
        }
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let combine = Arc::new(A::decode(decoder)?);
        Ok(built(Self::new(
            decoder.meta(),
            Parent::decode(decoder, 0)?,
            combine,
        )))
    }
}

impl<K: Key, V: Data, C: Data, A: Combine<V, C>> AnyRdd for CombineHere<K, V, C, A> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        self.parent.num_partitions()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        self.parent.one_to_one()
    }

    fn partitioner(&self) -> Option<PartitionedBy> {
        self.partitioner.clone()
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        self.combine.encode(encoder)
    }
}

impl<K: Key, V: Data, C: Data, A: Combine<V, C>> RddNode<(K, C)> for CombineHere<K, V, C, A> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<(K, C)>> {
        let records = self.parent.iterate(split, task)?;
        let combined = combine_values(records, &*self.combine, task, self.meta.operator());
        Ok(Box::new(task.interruptible(drain(combined))))
    }
}
