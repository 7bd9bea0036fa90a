//! `tree_reduce`, `tree_aggregate`: results joined where the data is, level by level, so that the
//! driver joins only a few.

use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use super::actions::{FoldPartition, ReducePartition};
use crate::codec::{Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::function::{Captured, Function, Plain};
use crate::operator::Operator;
use crate::partition::IndexPartitioner;
use crate::travel::Portable;

impl<T: Data> Rdd<T> {
    /// As [`reduce`](Self::reduce), with `depth` levels of tasks that join the partitions'
    /// results; neighbours are joined, so `f` need not be commutative.
    ///
    /// *Cost* one job with one small shuffle a level; 1 level is `reduce`, 2 are enough for some
    /// thousand partitions.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// assert_eq!(ctx.range_into(0..101, 20)?.tree_reduce(2, |a, b| a + b)?, 5050);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for depth 0, and when there is no record; else the job's failure.
    #[track_caller]
    pub fn tree_reduce(
        &self,
        depth: usize,
        f: impl Fn(T, T) -> T + Clone + Send + Sync + 'static,
    ) -> Result<T> {
        let operator = Operator::new("tree_reduce", Location::caller());
        let reduce = Arc::new(ReducePartition(Plain(f.clone())));
        let parts = self.map_each_partition_with(operator.clone(), Arc::clone(&reduce));
        let reduced = parts.join_in_levels(operator.clone(), depth, &reduce)?;
        reduced.into_iter().reduce(f).ok_or_else(|| {
            Error::invalid("can not reduce an empty collection").with("operator", operator)
        })
    }

    /// As [`aggregate`](Self::aggregate), with `depth` levels of tasks that join the partitions'
    /// results; neighbours are joined. `zero` is used once for each partition and nowhere else.
    ///
    /// *Cost* as [`tree_reduce`](Self::tree_reduce).
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let count = ctx.range_into(0..100, 20)?.tree_aggregate(2, 0, |n, _| n + 1, |a, b| a + b)?;
    /// assert_eq!(count, 100);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for depth 0; else the job's failure.
    #[track_caller]
    pub fn tree_aggregate<C: Data>(
        &self,
        depth: usize,
        zero: C,
        merge_value: impl Fn(C, T) -> C + Send + Sync + 'static,
        merge_results: impl Fn(C, C) -> C + Clone + Send + Sync + 'static,
    ) -> Result<C> {
        let operator = Operator::new("tree_aggregate", Location::caller());
        let fold = Arc::new(Once(FoldPartition {
            zero: zero.clone(),
            function: Plain(merge_value),
        }));
        let parts = self.map_each_partition_with(operator.clone(), fold);
        let join = Arc::new(ReducePartition(Plain(merge_results.clone())));
        let joined = parts.join_in_levels(operator, depth, &join)?;
        Ok(joined.into_iter().reduce(merge_results).unwrap_or(zero))
    }

    /// Joins what the partitions have, neighbours first, and brings the last level to the driver.
    fn join_in_levels<M>(&self, operator: Operator, depth: usize, join: &Arc<M>) -> Result<Vec<T>>
    where
        M: Function<PartitionIter<T>, Output = Option<T>>,
    {
        if depth == 0 {
            let error = Error::invalid("depth of a tree must be at least 1");
            return Err(error.with("operator", operator).with("depth", depth));
        }
        let mut parts = self.clone();
        let mut from = self.num_partitions()?;
        for to in levels(from, depth) {
            let place = |(from, to): &(usize, usize), split: usize, parts: PartitionIter<T>| {
                let target = split * to / from;
                parts.map(move |part| (target, part))
            };
            let place = Arc::new(Captured {
                captures: Arc::new((from, to)),
                function: place,
            });
            let placed = parts
                .map_partitions_with(operator.clone(), place)
                .shuffle_as(operator.clone(), Arc::new(IndexPartitioner(to)));
            let bare = Arc::new(Plain(|(_, part): (usize, T)| part));
            let arrived = placed.map_with(operator.clone(), bare);
            parts = arrived.map_each_partition_with(operator.clone(), Arc::clone(join));
            from = to;
        }
        let last = parts.act(operator, Iterator::collect::<Vec<T>>)?;
        Ok(last.into_iter().flatten().collect())
    }
}

/// How many partitions each level has, the first one left out. A level is worth its shuffle while
/// it leaves the driver less to join than it makes of tasks.
fn levels(num_partitions: usize, depth: usize) -> Vec<usize> {
    let exponent = u32::try_from(depth).unwrap_or(u32::MAX);
    let reaches = |scale: &usize| scale.saturating_pow(exponent) >= num_partitions;
    let scale = (2..).find(reaches).unwrap_or(2);
    let mut levels = Vec::new();
    let mut left = num_partitions;
    while left > scale + left.div_ceil(scale) {
        left /= scale;
        levels.push(left);
    }
    levels
}

/// What a function says of a partition, as its only record.
struct Once<M>(M);

impl<M: Portable> Portable for Once<M> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        M::decode(decoder).map(Self)
    }
}

impl<A, M: Function<A>> Function<A> for Once<M> {
    type Output = Option<M::Output>;

    fn call(&self, argument: A) -> Self::Output {
        Some(self.0.call(argument))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // C-155
    #[test]
    fn levels_follow_the_root_of_the_partitions() {
        assert_eq!(levels(100, 2), [10]);
        assert_eq!(levels(1000, 2), [31]);
        assert_eq!(levels(100, 3), [20, 4]);
        for few in 0..4 {
            assert!(levels(few, 2).is_empty());
        }
        assert!(levels(10_000, 1).is_empty());
        assert!(levels(usize::MAX >> 1, 40).iter().all(|n| *n > 0));
    }
}
