//! Sorting: `OrderedRdd` and `sort_by`.

use std::ops::RangeInclusive;
use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use super::map::WithKey;
use super::merge_runs::MergeRuns;
use super::node::Meta;
use super::shuffled::ReduceSide;
use crate::codec::{Decoder, Encoder};
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::function::{Captured, Plain};
use crate::operator::Operator;
use crate::partition::{AnyPartitioner, Partitioner, RangePartitioner, positive};
use crate::shuffle::{AsIs, MapSide, ShuffleRead};
use crate::task::TaskContext;
use crate::travel::Portable;

/// Keys sampled for each partition of the result.
const SAMPLES_PER_PARTITION: usize = 60;

/// Operators of pairs with ordered keys.
pub trait OrderedRdd<K: Data + Ord, V: Data> {
    /// The pairs in the order of their keys, over all partitions; equal keys share a partition.
    ///
    /// *Shape* `(K, V)`, as many partitions (fewer when there are few distinct keys). *Cost* one
    /// job now, over all records, that samples the keys; then one shuffle, sorted where it is
    /// written and merged where it is read. *State* none.
    ///
    /// # Errors
    /// The sampling job's failure.
    fn sort_by_key(&self, ascending: bool) -> Result<Rdd<(K, V)>>;

    /// As [`sort_by_key`](Self::sort_by_key), into at most `num_partitions` partitions.
    ///
    /// ```
    /// use tidemill_core::{Context, OrderedRdd};
    ///
    /// let ctx = Context::local(2)?;
    /// let sorted = ctx.parallelize([(2, 'b'), (1, 'a')]).sort_by_key_into(true, 1)?;
    /// assert_eq!(sorted.collect()?, [(1, 'a'), (2, 'b')]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for 0 partitions; else the sampling job's failure.
    fn sort_by_key_into(&self, ascending: bool, num_partitions: usize) -> Result<Rdd<(K, V)>>;

    /// The pairs placed by `partitioner`, each partition in the order of its keys: cheaper than
    /// placing first and sorting later. No order over the partitions.
    ///
    /// *Shape* `(K, V)`. *Cost* one shuffle, sorted where it is written and merged where it is
    /// read. *State* none.
    ///
    /// ```
    /// use tidemill_core::{Context, HashPartitioner, OrderedRdd};
    ///
    /// let ctx = Context::local(2)?;
    /// let pairs = ctx.parallelize([(3, 'c'), (1, 'a'), (2, 'b')]);
    /// let parts = pairs.repartition_and_sort_within_partitions(HashPartitioner::new(2), true);
    /// assert!(parts.glom().collect()?.iter().all(|part| part.is_sorted()));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    fn repartition_and_sort_within_partitions(
        &self,
        partitioner: impl Partitioner<K>,
        ascending: bool,
    ) -> Rdd<(K, V)>;

    /// The pairs whose keys lie in `keys`, both ends included.
    ///
    /// *Shape* `(K, V)`, order kept; where the pairs are in the order of their keys
    /// ([`sort_by_key`](Self::sort_by_key)), only the partitions that can hold such keys. *Cost*
    /// narrow. *State* none.
    ///
    /// ```
    /// use tidemill_core::{Context, OrderedRdd};
    ///
    /// let ctx = Context::local(2)?;
    /// let sorted = ctx.range(0..100).map(|x| (x, ())).sort_by_key_into(true, 10)?;
    /// let some = sorted.filter_by_range(3..=5);
    /// assert_eq!((some.count()?, some.num_partitions()?), (3, 1));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    fn filter_by_range(&self, keys: RangeInclusive<K>) -> Rdd<(K, V)>;
}

impl<K: Data + Ord, V: Data> OrderedRdd<K, V> for Rdd<(K, V)> {
    #[track_caller]
    fn sort_by_key(&self, ascending: bool) -> Result<Self> {
        let operator = Operator::new("sort_by_key", Location::caller());
        let num_partitions = self.num_partitions()?;
        sort_as(self, operator, ascending, num_partitions)
    }

    #[track_caller]
    fn sort_by_key_into(&self, ascending: bool, num_partitions: usize) -> Result<Self> {
        let operator = Operator::new("sort_by_key", Location::caller());
        let n = positive(num_partitions).map_err(|e| e.with("operator", &operator))?;
        sort_as(self, operator, ascending, n)
    }

    #[track_caller]
    fn repartition_and_sort_within_partitions(
        &self,
        partitioner: impl Partitioner<K>,
        ascending: bool,
    ) -> Self {
        let operator = Operator::new("repartition_and_sort_within_partitions", Location::caller());
        place_and_sort(self, operator, ascending, Arc::new(partitioner))
    }

    #[track_caller]
    fn filter_by_range(&self, keys: RangeInclusive<K>) -> Self {
        let operator = Operator::new("filter_by_range", Location::caller());
        self.filter_by_range_as(operator, keys)
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
    Ok(place_and_sort(
        pairs,
        operator,
        ascending,
        Arc::new(partitioner),
    ))
}

fn place_and_sort<K: Data + Ord, V: Data, P: Partitioner<K>>(
    pairs: &Rdd<(K, V)>,
    operator: Operator,
    ascending: bool,
    partitioner: Arc<P>,
) -> Rdd<(K, V)> {
    let sorted = Sorted { ascending };
    pairs.shuffle_with(operator, partitioner, sorted, sorted)
}

/// Sorts what a map task sends to each partition, and merges what arrives there; equal keys stay in
/// the order they had.
#[derive(Clone, Copy)]
struct Sorted {
    ascending: bool,
}

impl Portable for Sorted {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&self.ascending)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        let ascending = decoder.take()?;
        Ok(Self { ascending })
    }
}

impl<K: Data + Ord, V: Data> MapSide<K, V, V> for Sorted {
    fn bucket(
        &self,
        records: PartitionIter<(K, V)>,
        partitioner: &dyn AnyPartitioner<K>,
        task: &TaskContext,
        meta: &Meta,
    ) -> Result<Vec<Vec<(K, V)>>> {
        let mut buckets = AsIs.bucket(records, partitioner, task, meta)?;
        for bucket in &mut buckets {
            task.check()?;
            // Two comparisons that do not ask which way: sorting is nothing but comparisons.
            meta.operator().call(|| match self.ascending {
                true => bucket.sort_by(|a, b| a.0.cmp(&b.0)),
                false => bucket.sort_by(|a, b| b.0.cmp(&a.0)),
            });
        }
        Ok(buckets)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        Portable::encode(self, encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Portable::decode(decoder)
    }
}

impl<K: Data + Ord, V: Data> ReduceSide<K, V> for Sorted {
    fn reduce(
        &self,
        read: &ShuffleRead<K, V>,
        split: usize,
        task: &TaskContext,
        meta: &Meta,
    ) -> Result<PartitionIter<(K, V)>> {
        let (runs, operator) = (read.buckets(split, task)?, meta.operator().clone());
        Ok(if self.ascending {
            let merged = MergeRuns::new(runs, operator, |a: &(K, V), b: &(K, V)| a.0.cmp(&b.0));
            Box::new(task.interruptible(merged))
        } else {
            let merged = MergeRuns::new(runs, operator, |a: &(K, V), b: &(K, V)| b.0.cmp(&a.0));
            Box::new(task.interruptible(merged))
        })
    }
}

/// Evenly spaced keys of each partition: the same ones each time.
fn sample_keys<K: Data + Ord, V: Data>(
    pairs: &Rdd<(K, V)>,
    operator: &Operator,
    num_partitions: usize,
) -> Result<Vec<K>> {
    let wanted = num_partitions * SAMPLES_PER_PARTITION / pairs.num_partitions()?.max(1) + 1;
    // Keeps every `stride`-th key; whenever twice too many are kept, every other one goes.
    let sample = |wanted: &usize, mut records: PartitionIter<(K, V)>| {
        let mut kept = Vec::new();
        let (mut stride, mut passed_over) = (1, 0);
        while let Some((key, _)) = records.nth(passed_over) {
            kept.push(key);
            passed_over = stride - 1;
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
