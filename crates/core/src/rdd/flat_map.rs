//! `flat_map`: one record in, any number of records out.

use std::sync::Arc;

use super::node::{AnyRdd, Dependency, Meta, Parent, RddNode, built};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::Result;
use crate::function::Function;
use crate::partition::PartitionedBy;
use crate::task::TaskContext;
use crate::travel::{Descriptor, Portable};

/// Applies a function to each record and chains what it returns.
pub(crate) struct FlatMap<T, I, M> {
    meta: Meta,
    parent: Parent<T>,
    function: Arc<M>,
    /// The parent's, when the function leaves keys as they are.
    partitioner: Option<PartitionedBy>,
    output: std::marker::PhantomData<fn() -> I>,
}

impl<T, I, M> FlatMap<T, I, M>
where
    T: Data,
    I: IntoIterator<Item: Data> + 'static,
    M: Function<T, Output = I>,
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

impl<T, I, M> AnyRdd for FlatMap<T, I, M>
where
    T: Data,
    I: IntoIterator<Item: Data> + 'static,
    M: Function<T, Output = I>,
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

impl<T, I, M> RddNode<I::Item> for FlatMap<T, I, M>
where
    T: Data,
    I: IntoIterator<Item: Data> + 'static,
    M: Function<T, Output = I>,
{
    fn compute(
        self: Arc<Self>,
        split: usize,
        task: &TaskContext,
    ) -> Result<PartitionIter<I::Item>> {
        let records = self.parent.iterate(split, task)?;
        Ok(Box::new(Flattened {
            records,
            inner: None,
            node: self,
            until_check: CHECK_EVERY,
            task: task.clone(),
        }))
    }
}

/// What the function returned for the record at hand, then for the next. Both the call and the
/// walk through what it returned run user code, so both are blamed on the operator.
struct Flattened<T, I: IntoIterator, M> {
    records: PartitionIter<T>,
    inner: Option<I::IntoIter>,
    node: Arc<FlatMap<T, I, M>>,
    /// Counts down to the next look at the task's cancellation.
    until_check: u32,
    task: TaskContext,
}

/// A source looks at the task's cancellation at each record. What comes of one record may be
/// endless, so it is looked at here too, seldom enough to cost nothing.
const CHECK_EVERY: u32 = 1 << 10;

impl<T, I: IntoIterator, M: Function<T, Output = I>> Iterator for Flattened<T, I, M> {
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        let operator = self.node.meta.operator();
        loop {
            // Before a record is at hand: it would have to be kept over the call.
            self.until_check -= 1;
            if self.until_check == 0 {
                self.until_check = CHECK_EVERY;
                self.task.abort_if_cancelled();
            }
            if let Some(inner) = &mut self.inner
                && let Some(record) = operator.call(|| inner.next())
            {
                return Some(record);
            }
            let record = self.records.next()?;
            self.inner = Some(operator.call(|| self.node.function.call(record).into_iter()));
        }
    }
}

/// Applies a function to the value of a pair and puts the key before each result:
/// `flat_map_values`.
#[derive(Debug)]
pub(crate) struct OnEachValue<M>(pub(crate) Arc<M>);

impl<M: Portable> Portable for OnEachValue<M> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self(Arc::new(M::decode(decoder)?)))
    }
}

impl<K, V, I: IntoIterator, M: Function<V, Output = I>> Function<(K, V)> for OnEachValue<M> {
    type Output = Keyed<K, I::IntoIter>;

    fn call(&self, (key, value): (K, V)) -> Self::Output {
        Keyed {
            key,
            values: self.0.call(value).into_iter(),
        }
    }
}

/// Values of one key, each with the key before it.
#[derive(Debug)]
pub(crate) struct Keyed<K, I> {
    key: K,
    values: I,
}

impl<K: Clone, I: Iterator> Iterator for Keyed<K, I> {
    type Item = (K, I::Item);

    fn next(&mut self) -> Option<Self::Item> {
        self.values.next().map(|value| (self.key.clone(), value))
    }
}
