//! `filter`: keeps the records for which a function holds.

use std::sync::Arc;

use super::node::{AnyRdd, Dependency, Meta, Parent, RddNode, built};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::Result;
use crate::function::Function;
use crate::partition::PartitionedBy;
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// Keeps the records for which the function holds.
pub(crate) struct Filter<T, M> {
    meta: Meta,
    parent: Parent<T>,
    predicate: Arc<M>,
    partitioner: Option<PartitionedBy>,
}

impl<T: Data, M: for<'a> Function<&'a T, Output = bool>> Filter<T, M> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    pub(crate) fn new(meta: Meta, parent: Parent<T>, predicate: Arc<M>) -> Self {
        Self {
            partitioner: parent.placement(true),
            meta,
            parent,
            predicate,
        }
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let predicate = Arc::new(M::decode(decoder)?);
        Ok(built(Self::new(
            decoder.meta(),
            Parent::decode(decoder, 0)?,
            predicate,
        )))
    }
}

impl<T: Data, M: for<'a> Function<&'a T, Output = bool>> AnyRdd for Filter<T, M> {
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
        self.predicate.encode(encoder)
    }
}

impl<T: Data, M: for<'a> Function<&'a T, Output = bool>> RddNode<T> for Filter<T, M> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<T>> {
        let records = self.parent.iterate(split, task)?;
        Ok(Box::new(records.filter(move |record| {
            self.meta.operator().call(|| self.predicate.call(record))
        })))
    }
}
