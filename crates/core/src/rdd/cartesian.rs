//! `cartesian`: every record of one RDD with every record of another.

use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use super::node::{AnyRdd, Dependency, Meta, Narrow, Parent, RddNode, built};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::operator::Operator;
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// Partition `i * n + j` has the pairs of partition `i` on the left and `j` of `n` on the right.
struct Cartesian<T, U> {
    meta: Meta,
    left: Parent<T>,
    right: Parent<U>,
    num_left: usize,
    num_right: usize,
}

impl<T: Data, U: Data> Cartesian<T, U> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let (num_left, num_right) = decoder.take()?;
        Ok(built(Self {
            meta: decoder.meta(),
            left: Parent::decode(decoder, 0)?,
            right: Parent::decode(decoder, 1)?,
            num_left,
            num_right,
        }))
    }

    /// The partitions that `split` reads on either side.
    fn sides(&self, split: usize) -> (usize, usize) {
        let n = self.num_right.max(1);
        (split / n, split % n)
    }
}

impl<T: Data, U: Data> AnyRdd for Cartesian<T, U> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        Ok(self.num_left * self.num_right)
    }

    fn dependencies(&self) -> Vec<Dependency> {
        let splits = 0..self.num_left * self.num_right;
        let (left, right): (Vec<_>, Vec<_>) = splits
            .map(|split| self.sides(split))
            .map(|(left, right)| (vec![left], vec![right]))
            .unzip();
        vec![
            self.left.dependency(Narrow::Groups(left.into())),
            self.right.dependency(Narrow::Groups(right.into())),
        ]
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&(self.num_left, self.num_right))
    }
}

impl<T: Data, U: Data> RddNode<(T, U)> for Cartesian<T, U> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<(T, U)>> {
        let (left, right) = self.sides(split);
        let lefts = self.left.iterate(left, task)?;
        let rights: Arc<Vec<U>> = Arc::new(self.right.iterate(right, task)?.collect());
        let pairs = lefts.flat_map(move |left| {
            let rights = Arc::clone(&rights);
            (0..rights.len()).filter_map(move |at| Some((left.clone(), rights.get(at)?.clone())))
        });
        Ok(Box::new(task.interruptible(pairs)))
    }
}

impl<T: Data> Rdd<T> {
    /// Every record of this RDD with every record of the other.
    ///
    /// *Shape* `(T, U)`, partitions of the left times partitions of the right; left-major order
    /// in each. *Cost* narrow; each partition of either side is read once for each partition of
    /// the other (keep them in memory when they cost much), one of the right in memory at a time.
    /// *State* none.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let a = ctx.parallelize_into([1, 2], 1)?;
    /// let b = ctx.parallelize_into(['x', 'y'], 1)?;
    /// let pairs = a.cartesian(&b)?.collect()?;
    /// assert_eq!(pairs, [(1, 'x'), (1, 'y'), (2, 'x'), (2, 'y')]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when the product of the partitions is no number.
    #[track_caller]
    pub fn cartesian<U: Data>(&self, other: &Rdd<U>) -> Result<Rdd<(T, U)>> {
        let operator = Operator::new("cartesian", Location::caller());
        let (num_left, num_right) = (self.num_partitions()?, other.num_partitions()?);
        if num_left.checked_mul(num_right).is_none() {
            let error = Error::invalid("too many pairs of partitions: `coalesce` both sides first");
            return Err(error.with("operator", operator));
        }
        let depth = self.node.depth().max(other.node.depth());
        Ok(self.ctx.rdd(Cartesian {
            meta: self.ctx.meta(operator, depth),
            left: self.node.clone(),
            right: other.node.clone(),
            num_left,
            num_right,
        }))
    }
}
