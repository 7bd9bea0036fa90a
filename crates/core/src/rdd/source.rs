//! RDDs out of nothing: methods of `Context` that make them.

use std::panic::Location;

use super::Rdd;
use super::blocks::Blocks;
use super::parallelize::Parallelize;
use super::range::{Range, Steps};
use super::union::Union;
use crate::context::Context;
use crate::data::Data;
use crate::error::Result;
use crate::operator::Operator;
use crate::partition::positive;
use crate::storage::{BlockData, BlockId};

impl Context {
    /// An RDD of the driver's data, in as many partitions as tasks run at a time.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(4)?;
    /// let sizes: Vec<usize> = ctx.parallelize(0..10).glom().map(|part| part.len()).collect()?;
    /// assert_eq!(sizes, [2, 3, 2, 3]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn parallelize<T: Data>(&self, records: impl IntoIterator<Item = T>) -> Rdd<T> {
        let operator = Operator::new("parallelize", Location::caller());
        self.parallelize_as(
            operator,
            records.into_iter().collect(),
            self.default_parallelism(),
        )
    }

    /// An RDD of the driver's data in `num_partitions` partitions; slice `i` of `k` over `n`
    /// records holds those from `i*n/k` up to `(i+1)*n/k`.
    ///
    /// # Errors
    /// `Invalid` for 0 partitions.
    #[track_caller]
    pub fn parallelize_into<T: Data>(
        &self,
        records: impl IntoIterator<Item = T>,
        num_partitions: usize,
    ) -> Result<Rdd<T>> {
        let operator = Operator::new("parallelize", Location::caller());
        let k = positive(num_partitions).map_err(|e| e.with("operator", &operator))?;
        Ok(self.parallelize_as(operator, records.into_iter().collect(), k))
    }

    #[doc(hidden)]
    pub fn parallelize_as<T: Data>(&self, operator: Operator, records: Vec<T>, k: usize) -> Rdd<T> {
        self.rdd(Parallelize::new(self.meta(operator, 0), records, k))
    }

    /// An RDD without partitions.
    #[track_caller]
    pub fn empty_rdd<T: Data>(&self) -> Rdd<T> {
        self.parallelize_as(
            Operator::new("empty_rdd", Location::caller()),
            Vec::new(),
            0,
        )
    }

    /// The numbers of a range, made where they are needed.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// assert_eq!(ctx.range(0..4).collect()?, [0, 1, 2, 3]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn range(&self, numbers: std::ops::Range<i64>) -> Rdd<i64> {
        let operator = Operator::new("range", Location::caller());
        let steps = Steps::ones(&numbers);
        self.rdd(Range::new(
            self.meta(operator, 0),
            steps,
            self.default_parallelism(),
        ))
    }

    /// The numbers of a range in exactly `num_partitions` partitions.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let parts = ctx.range_into(0..3, 2)?.glom().collect()?;
    /// assert_eq!(parts, [vec![0], vec![1, 2]]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for 0 partitions.
    #[track_caller]
    pub fn range_into(
        &self,
        numbers: std::ops::Range<i64>,
        num_partitions: usize,
    ) -> Result<Rdd<i64>> {
        let operator = Operator::new("range", Location::caller());
        let n = positive(num_partitions).map_err(|e| e.with("operator", &operator))?;
        let steps = Steps::ones(&numbers);
        Ok(self.rdd(Range::new(self.meta(operator, 0), steps, n)))
    }

    /// Every `step`-th number from `start` on, before `end`. Never wraps.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// assert_eq!(ctx.range_by(5, 0, -2)?.collect()?, [5, 3, 1]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a step of 0.
    #[track_caller]
    pub fn range_by(&self, start: i64, end: i64, step: i64) -> Result<Rdd<i64>> {
        let operator = Operator::new("range", Location::caller());
        let steps = Steps::new(start, end, step).map_err(|e| e.with("operator", &operator))?;
        Ok(self.rdd(Range::new(
            self.meta(operator, 0),
            steps,
            self.default_parallelism(),
        )))
    }

    /// The records of all RDDs, in order; without partitions when there are none. See
    /// [`Rdd::union`].
    ///
    /// # Errors
    /// Those of finding out how many partitions there are.
    #[track_caller]
    pub fn union<T: Data>(&self, rdds: &[Rdd<T>]) -> Result<Rdd<T>> {
        self.union_as(Operator::new("union", Location::caller()), rdds)
    }

    #[doc(hidden)]
    pub fn union_as<T: Data>(&self, operator: Operator, rdds: &[Rdd<T>]) -> Result<Rdd<T>> {
        let depth = rdds
            .iter()
            .map(|rdd| rdd.parent().depth())
            .max()
            .unwrap_or(0);
        let parents = rdds.iter().map(|rdd| rdd.parent().clone()).collect();
        Ok(self.rdd(Union::new(self.meta(operator, depth), parents)?))
    }

    /// An RDD of stored blocks, one partition each.
    #[doc(hidden)]
    pub fn blocks_as<B: BlockData>(&self, operator: Operator, ids: Vec<BlockId>) -> Rdd<B::Item> {
        self.rdd(Blocks::<B>::new(self.meta(operator, 0), ids))
    }
}
