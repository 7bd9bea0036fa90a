//! Sorting: `OrderedRdd` and `sort_by`.

use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use super::map::WithKey;
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::function::{Captured, Plain};
use crate::operator::Operator;
use crate::partition::RangePartitioner;

/// Keys sampled for each partition of the result.
const SAMPLES_PER_PARTITION: usize = 60;

/// Operators of pairs with ordered keys.
pub trait OrderedRdd<K: Data + Ord, V: Data> {
    /// The pairs in the order of their keys, over all partitions; equal keys share a partition.
    ///
    /// *Shape* `(K, V)`, as many partitions (fewer when there are few distinct keys). *Cost* one
    /// job now, over all records, that samples the keys; then one shuffle, and a partition at a
    /// time in memory. *State* none.
    ///
    /// # Errors
    /// The sampling job's failure.
    fn sort_by_key(&self, ascending: bool) -> Result<Rdd<(K, V)>>;
}

impl<K: Data + Ord, V: Data> OrderedRdd<K, V> for Rdd<(K, V)> {
    #[track_caller]
    fn sort_by_key(&self, ascending: bool) -> Result<Self> {
        let operator = Operator::new("sort_by_key", Location::caller());
        let num_partitions = self.num_partitions()?;
        sort_as(self, operator, ascending, num_partitions)
    }
}

impl<T: Data> Rdd<T> {
    /// The records in the order of what `f` says of them, over all partitions. Stable.
    ///
    /// *Shape*, *Cost* and *Errors* as [`OrderedRdd::sort_by_key`].
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let sorted = ctx.parallelize(vec![3, 1, 2]).sort_by(|x| *x, false)?;
    /// assert_eq!(sorted.collect()?, [3, 2, 1]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The sampling job's failure.
    #[track_caller]
    pub fn sort_by<K: Data + Ord>(
        &self,
        f: impl Fn(&T) -> K + Send + Sync + 'static,
        ascending: bool,
    ) -> Result<Self> {
        let operator = Operator::new("sort_by", Location::caller());
        let num_partitions = self.num_partitions()?;
        let keyed = self.map_with(operator.clone(), Arc::new(WithKey(Arc::new(Plain(f)))));
        let sorted = sort_as(&keyed, operator.clone(), ascending, num_partitions)?;
        Ok(sorted.map_with(operator, Arc::new(Plain(|(_, record): (K, T)| record))))
    }
}

fn sort_as<K: Data + Ord, V: Data>(
    pairs: &Rdd<(K, V)>,
    operator: Operator,
    ascending: bool,
    num_partitions: usize,
) -> Result<Rdd<(K, V)>> {
    let bounds = if num_partitions > 1 {
        sample_keys(pairs, &operator, num_partitions)?
    } else {
        Vec::new()
    };
    let partitioner = RangePartitioner::from_sample(bounds, num_partitions, ascending);
    let placed = pairs.shuffle_as(operator.clone(), Arc::new(partitioner));
    let sort = |ascending: &bool, _: usize, records: PartitionIter<(K, V)>| {
        let mut records: Vec<(K, V)> = records.collect();
        if *ascending {
            records.sort_by(|a, b| a.0.cmp(&b.0));
        } else {
            records.sort_by(|a, b| b.0.cmp(&a.0));
        }
        records
    };
    let function = Captured {
        captures: Arc::new(ascending),
        function: sort,
    };
    Ok(placed.map_partitions_with(operator, Arc::new(function)))
}

/// Evenly spaced keys of each partition: the same ones each time.
fn sample_keys<K: Data + Ord, V: Data>(
    pairs: &Rdd<(K, V)>,
    operator: &Operator,
    num_partitions: usize,
) -> Result<Vec<K>> {
    let wanted = num_partitions * SAMPLES_PER_PARTITION / pairs.num_partitions()?.max(1) + 1;
    // Keeps every `stride`-th key; whenever twice too many are kept, every other one goes.
    let sample = |wanted: &usize, records: PartitionIter<(K, V)>| {
        let mut kept = Vec::new();
        let mut stride = 1;
        for (at, (key, _)) in records.enumerate() {
            if at % stride == 0 {
                kept.push(key);
            }
            if kept.len() >= wanted * 2 {
                let mut keep = false;
                kept.retain(|_| {
                    keep = !keep;
                    keep
                });
                stride *= 2;
            }
        }
        kept
    };
    let function = Arc::new(Captured {
        captures: Arc::new(wanted),
        function: sample,
    });
    let splits: Vec<usize> = (0..pairs.num_partitions()?).collect();
    let sampled = pairs
        .context()
        .run_action(operator.clone(), pairs, &function, &splits)?;
    Ok(sampled.into_iter().flatten().collect())
}

impl<T: Key + Ord> Rdd<T> {
    /// The records in order. See [`sort_by`](Self::sort_by).
    ///
    /// # Errors
    /// The sampling job's failure.
    #[track_caller]
    pub fn sort(&self) -> Result<Self> {
        self.sort_by(T::clone, true)
    }
}
