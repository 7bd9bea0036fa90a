//! `try_map`: a function that may fail; its error is a failure of the task.

use std::error::Error as StdError;
use std::sync::Arc;

use super::node::{AnyRdd, Dependency, Meta, Parent, RddNode, built};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::Result;
use crate::function::Function;
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// Applies a fallible function to each record.
pub(crate) struct TryMap<T, U, E, M> {
    meta: Meta,
    parent: Parent<T>,
    function: Arc<M>,
    output: std::marker::PhantomData<fn() -> (U, E)>,
}

impl<T, U, E, M> TryMap<T, U, E, M>
where
    T: Data,
    U: Data,
    E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    M: Function<T, Output = Result<U, E>>,
{
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    pub(crate) fn new(meta: Meta, parent: Parent<T>, function: Arc<M>) -> Self {
        Self {
            meta,
            parent,
            function,
            output: std::marker::PhantomData,
        }
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let function = Arc::new(M::decode(decoder)?);
        Ok(built::<U>(Self::new(
            decoder.meta(),
            Parent::decode(decoder, 0)?,
            function,
        )))
    }
}

impl<T, U, E, M> AnyRdd for TryMap<T, U, E, M>
where
    T: Data,
    U: Data,
    E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    M: Function<T, Output = Result<U, E>>,
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

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        self.function.encode(encoder)
    }
}

impl<T, U, E, M> RddNode<U> for TryMap<T, U, E, M>
where
    T: Data,
    U: Data,
    E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    M: Function<T, Output = Result<U, E>>,
{
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<U>> {
        let records = self.parent.iterate(split, task)?;
        Ok(Box::new(records.map(move |record| {
            let operator = self.meta.operator();
            operator
                .call(|| self.function.call(record))
                .unwrap_or_else(|e| operator.fail(e))
        })))
    }
}
