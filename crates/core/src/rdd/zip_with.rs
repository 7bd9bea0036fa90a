//! `zip_with_index`, `zip_with_unique_id`: each record with a number.

use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use crate::data::{Data, PartitionIter};
use crate::error::Result;
use crate::function::{Captured, Plain};
use crate::operator::Operator;

impl<T: Data> Rdd<T> {
    /// Each record with its position over all partitions, from 0 on.
    ///
    /// *Shape* `(T, u64)`, order kept. *Cost* one job now, which counts all partitions but the
    /// last, when there is more than one; then narrow. *State* none. *Guarantee* the positions
    /// stay as long as the RDD gives its records in the same order.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let letters = ctx.parallelize_into(['a', 'b', 'c'], 2)?;
    /// assert_eq!(letters.zip_with_index()?.collect()?, [('a', 0), ('b', 1), ('c', 2)]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The counting job's failure.
    #[track_caller]
    pub fn zip_with_index(&self) -> Result<Rdd<(T, u64)>> {
        let operator = Operator::new("zip_with_index", Location::caller());
        let starts = self.starts(&operator)?;
        let number = |starts: &Vec<u64>, split: usize, records: PartitionIter<T>| {
            records.zip(starts.get(split).copied().unwrap_or(0)..)
        };
        let function = Captured {
            captures: Arc::new(starts),
            function: number,
        };
        Ok(self.map_partitions_with(operator, Arc::new(function)))
    }

    /// The position of each partition's first record.
    fn starts(&self, operator: &Operator) -> Result<Vec<u64>> {
        let splits: Vec<usize> = (1..self.num_partitions()?).map(|split| split - 1).collect();
        if splits.is_empty() {
            return Ok(vec![0]);
        }
        let count = Arc::new(Plain(|records: PartitionIter<T>| records.count() as u64));
        let counts = self
            .ctx
            .run_action(operator.clone(), self, &count, &splits)?;
        let mut start = 0;
        let ends = counts.into_iter().map(|count| {
            start += count;
            start
        });
        Ok(std::iter::once(0).chain(ends).collect())
    }

    /// Each record with a number that no other record has: record `j` of partition `k` of `n`
    /// has `j * n + k`. There are gaps, and no job.
    ///
    /// *Shape* `(T, u64)`, order kept. *Cost* narrow. *State* none.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let letters = ctx.parallelize_into('a'..='e', 3)?.zip_with_unique_id()?;
    /// let expected = [('a', 0), ('b', 1), ('c', 4), ('d', 2), ('e', 5)];
    /// assert_eq!(letters.collect()?, expected);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of finding out how many partitions there are.
    #[track_caller]
    pub fn zip_with_unique_id(&self) -> Result<Rdd<(T, u64)>> {
        let operator = Operator::new("zip_with_unique_id", Location::caller());
        let number = |step: &usize, split: usize, records: PartitionIter<T>| {
            records.zip((split as u64..).step_by(*step))
        };
        let function = Captured {
            captures: Arc::new(self.num_partitions()?.max(1)),
            function: number,
        };
        Ok(self.map_partitions_with(operator, Arc::new(function)))
    }
}
