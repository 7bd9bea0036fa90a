//! `map_partitions`: a function of a whole partition.

use std::sync::Arc;

use super::node::{AnyRdd, Dependency, Meta, Parent, RddNode, built};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::Result;
use crate::function::{Function, Function2};
use crate::partition::PartitionedBy;
use crate::task::TaskContext;
use crate::travel::{Descriptor, Portable};

/// Applies a function to the number and the records of each partition, empty ones too.
pub(crate) struct MapPartitions<T, I, M> {
    meta: Meta,
    parent: Parent<T>,
    function: Arc<M>,
    /// The parent's, when the function leaves keys as they are.
    partitioner: Option<PartitionedBy>,
    output: std::marker::PhantomData<fn() -> I>,
}

impl<T, I, M> MapPartitions<T, I, M>
where
    T: Data,
    I: IntoIterator<Item: Data> + 'static,
    M: Function2<usize, PartitionIter<T>, Output = I>,
{
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    pub(crate) fn new(meta: Meta, parent: Parent<T>, function: Arc<M>, keeps_keys: bool) -> Self {
        Self {
            partitioner: parent.placement(keeps_keys),
            meta,
            parent,
            function,
            output: std::marker::PhantomData,
        }
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let function = Arc::new(M::decode(decoder)?);
        let parent = Parent::decode(decoder, 0)?;
        Ok(built::<I::Item>(Self::new(
            decoder.meta(),
            parent,
            function,
            false,
        )))
    }
}

impl<T, I, M> AnyRdd for MapPartitions<T, I, M>
where
    T: Data,
    I: IntoIterator<Item: Data> + 'static,
    M: Function2<usize, PartitionIter<T>, Output = I>,
{
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
        self.function.encode(encoder)
    }
}

impl<T, I, M> RddNode<I::Item> for MapPartitions<T, I, M>
where
    T: Data,
    I: IntoIterator<Item: Data> + 'static,
    M: Function2<usize, PartitionIter<T>, Output = I>,
{
    fn compute(
        self: Arc<Self>,
        split: usize,
        task: &TaskContext,
    ) -> Result<PartitionIter<I::Item>> {
        let records = self.parent.iterate(split, task)?;
        let operator = self.meta.operator().clone();
        let mut inner = operator.call(|| self.function.call(split, records).into_iter());
        Ok(Box::new(std::iter::from_fn(move || {
            operator.call(|| inner.next())
        })))
    }
}

/// A function that does not ask for the partition's number.
#[derive(Debug)]
pub(crate) struct AnyPartition<M>(pub(crate) Arc<M>);

impl<M: Portable> Portable for AnyPartition<M> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self(Arc::new(M::decode(decoder)?)))
    }
}

impl<T, M: Function<T>> Function2<usize, T> for AnyPartition<M> {
    type Output = M::Output;

    fn call(&self, _: usize, records: T) -> M::Output {
        self.0.call(records)
    }
}
