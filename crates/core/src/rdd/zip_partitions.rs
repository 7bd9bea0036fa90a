//! `zip_partitions`: two RDDs, partition by partition.

use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use super::node::{AnyRdd, Dependency, Meta, Parent, RddNode, built};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::function::{Function2, Plain};
use crate::operator::Operator;
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// Applies a function to the records of partition `i` of both parents.
pub(crate) struct ZipPartitions<T, U, I, M> {
    meta: Meta,
    left: Parent<T>,
    right: Parent<U>,
    function: Arc<M>,
    output: std::marker::PhantomData<fn() -> I>,
}

impl<T, U, I, M> ZipPartitions<T, U, I, M>
where
    T: Data,
    U: Data,
    I: IntoIterator<Item: Data> + 'static,
    M: Function2<PartitionIter<T>, PartitionIter<U>, Output = I>,
{
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    fn new(meta: Meta, left: Parent<T>, right: Parent<U>, function: Arc<M>) -> Self {
        Self {
            meta,
            left,
            right,
            function,
            output: std::marker::PhantomData,
        }
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let function = Arc::new(M::decode(decoder)?);
        let (left, right) = (Parent::decode(decoder, 0)?, Parent::decode(decoder, 1)?);
        let node = Self::new(decoder.meta(), left, right, function);
        Ok(built::<I::Item>(node))
    }
}

impl<T, U, I, M> AnyRdd for ZipPartitions<T, U, I, M>
where
    T: Data,
    U: Data,
    I: IntoIterator<Item: Data> + 'static,
    M: Function2<PartitionIter<T>, PartitionIter<U>, Output = I>,
{
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        self.left.num_partitions()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        [self.left.one_to_one(), self.right.one_to_one()].concat()
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        self.function.encode(encoder)
    }
}

impl<T, U, I, M> RddNode<I::Item> for ZipPartitions<T, U, I, M>
where
    T: Data,
    U: Data,
    I: IntoIterator<Item: Data> + 'static,
    M: Function2<PartitionIter<T>, PartitionIter<U>, Output = I>,
{
    fn compute(
        self: Arc<Self>,
        split: usize,
        task: &TaskContext,
    ) -> Result<PartitionIter<I::Item>> {
        let left = self.left.iterate(split, task)?;
        let right = self.right.iterate(split, task)?;
        let operator = self.meta.operator().clone();
        let mut inner = operator.call(|| self.function.call(left, right).into_iter());
        Ok(Box::new(std::iter::from_fn(move || {
            operator.call(|| inner.next())
        })))
    }
}

impl<T: Data> Rdd<T> {
    /// Applies `f` to the records of each partition of both RDDs, empty partitions too.
    ///
    /// *Shape* the items of `I`, as many partitions. *Cost* narrow; what `f` collects is its own.
    /// *State* none.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let a = ctx.parallelize_into([1, 2, 3], 2)?;
    /// let b = ctx.parallelize_into(['x', 'y', 'z', 'w'], 2)?;
    /// let sizes = a.zip_partitions(&b, |a, b| [(a.count(), b.count())])?;
    /// assert_eq!(sizes.collect()?, [(1, 2), (2, 2)]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when the RDDs have different numbers of partitions.
    #[track_caller]
    pub fn zip_partitions<U: Data, I>(
        &self,
        other: &Rdd<U>,
        f: impl Fn(PartitionIter<T>, PartitionIter<U>) -> I + Send + Sync + 'static,
    ) -> Result<Rdd<I::Item>>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        let operator = Operator::new("zip_partitions", Location::caller());
        self.zip_partitions_with(operator, other, Arc::new(Plain(f)))
    }

    pub(crate) fn zip_partitions_with<U: Data, I, M>(
        &self,
        operator: Operator,
        other: &Rdd<U>,
        f: Arc<M>,
    ) -> Result<Rdd<I::Item>>
    where
        I: IntoIterator<Item: Data> + 'static,
        M: Function2<PartitionIter<T>, PartitionIter<U>, Output = I>,
    {
        let (left, right) = (self.num_partitions()?, other.num_partitions()?);
        if left != right {
            let message = "can only zip with an RDD of the same number of partitions: \
                           `repartition` one of them";
            return Err(Error::invalid(message)
                .with("operator", operator)
                .with("left", left)
                .with("right", right));
        }
        let depth = self.node.depth().max(other.node.depth());
        let meta = self.ctx.meta(operator, depth);
        let (left, right) = (self.node.clone(), other.node.clone());
        Ok(self.ctx.rdd(ZipPartitions::new(meta, left, right, f)))
    }
}
