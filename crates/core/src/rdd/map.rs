//! `map` and what is built on it: one record in, one record out.

use std::sync::Arc;

use super::node::{AnyRdd, Dependency, Meta, Parent, RddNode, built};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::Result;
use crate::function::Function;
use crate::partition::PartitionedBy;
use crate::task::TaskContext;
use crate::travel::{Descriptor, Portable};

/// Applies a function to each record.
pub(crate) struct Map<T, U, M> {
    meta: Meta,
    parent: Parent<T>,
    function: Arc<M>,
    /// The parent's, when the function leaves keys as they are.
    partitioner: Option<PartitionedBy>,
    output: std::marker::PhantomData<fn() -> U>,
}

impl<T: Data, U: Data, M: Function<T, Output = U>> Map<T, U, M> {
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
        Ok(built(Self::new(
            decoder.meta(),
            Parent::decode(decoder, 0)?,
            function,
            false,
        )))
    }
}

impl<T: Data, U: Data, M: Function<T, Output = U>> AnyRdd for Map<T, U, M> {
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

impl<T: Data, U: Data, M: Function<T, Output = U>> RddNode<U> for Map<T, U, M> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<U>> {
        let records = self.parent.iterate(split, task)?;
        Ok(Box::new(records.map(move |record| {
            self.meta.operator().call(|| self.function.call(record))
        })))
    }
}

/// Applies a function to the value of a pair: `map_values`.
#[derive(Debug)]
pub(crate) struct OnValue<M>(pub(crate) Arc<M>);

impl<M: Portable> Portable for OnValue<M> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self(Arc::new(M::decode(decoder)?)))
    }
}

impl<K, V, M: Function<V>> Function<(K, V)> for OnValue<M> {
    type Output = (K, M::Output);

    #[inline]
    fn call(&self, (key, value): (K, V)) -> (K, M::Output) {
        (key, self.0.call(value))
    }
}

/// Puts what a function says of a record in front of it: `key_by`.
#[derive(Debug)]
pub(crate) struct WithKey<M>(pub(crate) Arc<M>);

impl<M: Portable> Portable for WithKey<M> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self(Arc::new(M::decode(decoder)?)))
    }
}

impl<T, K, M: for<'a> Function<&'a T, Output = K>> Function<T> for WithKey<M> {
    type Output = (K, T);

    #[inline]
    fn call(&self, record: T) -> (K, T) {
        (self.0.call(&record), record)
    }
}
