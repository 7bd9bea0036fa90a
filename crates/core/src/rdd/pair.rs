//! Operators of pairs: `PairRdd`.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use super::cogroup::{CoGroup, Grouped, Side};
use super::combine_here::CombineHere;
use super::flat_map::{FlatMap, OnEachValue};
use super::map::{Map, OnValue};
use super::sample::Sampling;
use super::shuffled::{Arrived, Merged, Shuffled};
use crate::combine::{Aggregate, Combine, Functions};
use crate::data::{Data, Key};
use crate::error::Result;
use crate::function::{Function, Plain};
use crate::operator::Operator;
use crate::partition::{AnyPartitioner, HashPartitioner, PartitionedBy, Partitioner};
use crate::shuffle::{AnyShuffle, AsIs, Combined, ShuffleMap, ShuffleRead};

use super::cogroup_many::{Grouped3, Grouped4};

/// Keyed operators. In the prelude; implemented for every RDD of pairs.
///
/// What compares keys asks for a [`Key`], which floating point numbers are not:
///
/// ```compile_fail,E0277
/// use tidemill_core::{Context, PairRdd};
///
/// let pairs = Context::local(2)?.parallelize([(1.5, 2)]);
/// let sums = pairs.reduce_by_key(|a, b| a + b); // `f64` cannot be a key
/// # Ok::<(), tidemill_core::Error>(())
/// ```
///
/// A keyed operator that is not told otherwise makes as many partitions as its (larger) input
/// has. Where the input is placed by a partitioner already, that one is kept and nothing is
/// shuffled.
pub trait PairRdd<K: Data, V: Data>: Sized {
    /// The pairs.
    #[doc(hidden)]
    fn pairs(&self) -> &Rdd<(K, V)>;

    /// Applies `f` to each value.
    ///
    /// *Shape* `(K, U)`, order and partitioner kept. *Cost* narrow. *State* none.
    #[track_caller]
    fn map_values<U: Data>(&self, f: impl Fn(V) -> U + Send + Sync + 'static) -> Rdd<(K, U)> {
        let operator = Operator::new("map_values", Location::caller());
        self.pairs().map_values_with(operator, Arc::new(Plain(f)))
    }

    /// Applies `f` to each value and puts the key before each result.
    ///
    /// *Shape* `(K, items of I)`, order and partitioner kept. *Cost* narrow. *State* none.
    #[track_caller]
    fn flat_map_values<I>(&self, f: impl Fn(V) -> I + Send + Sync + 'static) -> Rdd<(K, I::Item)>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        let operator = Operator::new("flat_map_values", Location::caller());
        self.pairs()
            .flat_map_values_with(operator, Arc::new(Plain(f)))
    }

    /// The keys, duplicates kept.
    #[track_caller]
    fn keys(&self) -> Rdd<K> {
        let operator = Operator::new("keys", Location::caller());
        self.pairs()
            .map_with(operator, Arc::new(Plain(|(key, _): (K, V)| key)))
    }

    /// The values.
    #[track_caller]
    fn values(&self) -> Rdd<V> {
        let operator = Operator::new("values", Location::caller());
        self.pairs()
            .map_with(operator, Arc::new(Plain(|(_, value): (K, V)| value)))
    }

    /// One pair a key: its values combined by `f`, which must be associative and commutative.
    ///
    /// *Shape* `(K, V)`, order not kept. *Cost* one shuffle of one pair a key and partition.
    /// *State* none.
    ///
    /// ```
    /// use tidemill_core::{Context, PairRdd};
    ///
    /// let ctx = Context::local(2)?;
    /// let pairs = ctx.parallelize(vec![('a', 1), ('b', 1), ('a', 1)]);
    /// let mut counts = pairs.reduce_by_key(|x, y| x + y).collect()?;
    /// counts.sort();
    /// assert_eq!(counts, [('a', 2), ('b', 1)]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    fn reduce_by_key(&self, f: impl Fn(V, V) -> V + Send + Sync + 'static) -> Rdd<(K, V)>
    where
        K: Key,
    {
        let operator = Operator::new("reduce_by_key", Location::caller());
        let combine = Arc::new(crate::combine::Reduce(Plain(f)));
        self.pairs()
            .combine_by(operator, combine, self.pairs().own_partitioner())
    }

    /// As [`reduce_by_key`](Self::reduce_by_key), placed by `partitioner`.
    #[track_caller]
    fn reduce_by_key_with(
        &self,
        partitioner: impl Partitioner<K>,
        f: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> Rdd<(K, V)>
    where
        K: Key,
    {
        let operator = Operator::new("reduce_by_key", Location::caller());
        let combine = Arc::new(crate::combine::Reduce(Plain(f)));
        self.pairs()
            .combine_by(operator, combine, Arc::new(partitioner))
    }

    /// One pair a key: its values folded into `zero`, which is used once for each key and input
    /// partition.
    #[track_caller]
    fn fold_by_key(
        &self,
        zero: V,
        f: impl Fn(V, V) -> V + Clone + Send + Sync + 'static,
    ) -> Rdd<(K, V)>
    where
        K: Key,
    {
        let operator = Operator::new("fold_by_key", Location::caller());
        let (merge_value, merge_combiners) = (Plain(f.clone()), Plain(f));
        let combine = Arc::new(Aggregate {
            zero,
            merge_value,
            merge_combiners,
        });
        self.pairs()
            .combine_by(operator, combine, self.pairs().own_partitioner())
    }

    /// One pair a key: values taken into a copy of `zero` by `merge_value`, the results of
    /// different partitions joined by `merge_combiners`.
    #[track_caller]
    fn aggregate_by_key<C: Data>(
        &self,
        zero: C,
        merge_value: impl Fn(C, V) -> C + Send + Sync + 'static,
        merge_combiners: impl Fn(C, C) -> C + Send + Sync + 'static,
    ) -> Rdd<(K, C)>
    where
        K: Key,
    {
        let operator = Operator::new("aggregate_by_key", Location::caller());
        let (merge_value, merge_combiners) = (Plain(merge_value), Plain(merge_combiners));
        let combine = Arc::new(Aggregate {
            zero,
            merge_value,
            merge_combiners,
        });
        self.pairs()
            .combine_by(operator, combine, self.pairs().own_partitioner())
    }

    /// One pair a key: `create` makes a combiner of a first value, `merge_value` takes in one
    /// more, `merge_combiners` joins those of different partitions.
    #[track_caller]
    fn combine_by_key<C: Data>(
        &self,
        create: impl Fn(V) -> C + Send + Sync + 'static,
        merge_value: impl Fn(C, V) -> C + Send + Sync + 'static,
        merge_combiners: impl Fn(C, C) -> C + Send + Sync + 'static,
    ) -> Rdd<(K, C)>
    where
        K: Key,
    {
        let operator = Operator::new("combine_by_key", Location::caller());
        let combine = Arc::new(Functions {
            create: Plain(create),
            merge_value: Plain(merge_value),
            merge_combiners: Plain(merge_combiners),
        });
        self.pairs()
            .combine_by(operator, combine, self.pairs().own_partitioner())
    }

    /// All values of each key. To sum or count them, `reduce_by_key` ships far less.
    ///
    /// *Shape* `(K, Vec<V>)`, values in the order of the input partitions. *Cost* one shuffle of
    /// all records; all values of a key in memory. *State* none.
    #[track_caller]
    fn group_by_key(&self) -> Rdd<(K, Vec<V>)>
    where
        K: Key,
    {
        let operator = Operator::new("group_by_key", Location::caller());
        self.pairs()
            .group_values(operator, self.pairs().own_partitioner())
    }

    /// The same pairs, placed by `partitioner`; nothing happens when they are already.
    #[track_caller]
    fn partition_by(&self, partitioner: impl Partitioner<K>) -> Rdd<(K, V)>
    where
        K: Key,
    {
        let operator = Operator::new("partition_by", Location::caller());
        self.pairs().place_as(operator, Arc::new(partitioner))
    }

    /// For each key of either side: all its values of both.
    ///
    /// *Shape* `(K, (Vec<V>, Vec<W>))`, order not kept. *Cost* one shuffle a side that is not yet
    /// placed. *State* none.
    #[track_caller]
    fn cogroup<W: Data>(&self, other: &Rdd<(K, W)>) -> Rdd<Grouped<K, V, W>>
    where
        K: Key,
    {
        self.pairs()
            .cogroup_as(Operator::new("cogroup", Location::caller()), other, None)
    }

    /// For each key of both sides: each pair of a left and a right value.
    #[track_caller]
    fn join<W: Data>(&self, other: &Rdd<(K, W)>) -> Rdd<(K, (V, W))>
    where
        K: Key,
    {
        self.pairs()
            .join_as(Operator::new("join", Location::caller()), other, None)
    }

    /// As `join`, and each left value whose key the right side lacks, with `None`.
    #[track_caller]
    fn left_outer_join<W: Data>(&self, other: &Rdd<(K, W)>) -> JoinedRdd<K, V, Option<W>>
    where
        K: Key,
    {
        self.pairs().left_join_as(
            Operator::new("left_outer_join", Location::caller()),
            other,
            None,
        )
    }

    /// As `join`, and each right value whose key the left side lacks, with `None`.
    #[track_caller]
    fn right_outer_join<W: Data>(&self, other: &Rdd<(K, W)>) -> JoinedRdd<K, Option<V>, W>
    where
        K: Key,
    {
        self.pairs().right_join_as(
            Operator::new("right_outer_join", Location::caller()),
            other,
            None,
        )
    }

    /// As `join`, and the values of either side whose key the other lacks, with `None`.
    #[track_caller]
    fn full_outer_join<W: Data>(&self, other: &Rdd<(K, W)>) -> JoinedRdd<K, Option<V>, Option<W>>
    where
        K: Key,
    {
        self.pairs().full_join_as(
            Operator::new("full_outer_join", Location::caller()),
            other,
            None,
        )
    }

    /// How many pairs each key has, on the driver.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    fn count_by_key(&self) -> Result<HashMap<K, u64>>
    where
        K: Key,
    {
        self.keys().count_by_value()
    }

    /// For each key of any of three inputs: all its values of each.
    ///
    /// *Shape*, *Cost* and *State* as [`cogroup`](Self::cogroup).
    ///
    /// ```
    /// use tidemill_core::{Context, PairRdd};
    ///
    /// let ctx = Context::local(2)?;
    /// let (a, b) = (ctx.parallelize([('k', 1)]), ctx.parallelize([('k', true)]));
    /// let groups = a.cogroup3(&b, &ctx.parallelize([('k', 'x'), ('k', 'y')]));
    /// assert_eq!(groups.collect()?, [('k', (vec![1], vec![true], vec!['x', 'y']))]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    fn cogroup3<W: Data, X: Data>(
        &self,
        second: &Rdd<(K, W)>,
        third: &Rdd<(K, X)>,
    ) -> Rdd<Grouped3<K, V, W, X>>
    where
        K: Key,
    {
        let operator = Operator::new("cogroup3", Location::caller());
        self.pairs().cogroup3_as(operator, second, third)
    }

    /// For each key of any of four inputs: all its values of each.
    ///
    /// *Shape*, *Cost* and *State* as [`cogroup`](Self::cogroup).
    #[track_caller]
    fn cogroup4<W: Data, X: Data, Y: Data>(
        &self,
        second: &Rdd<(K, W)>,
        third: &Rdd<(K, X)>,
        fourth: &Rdd<(K, Y)>,
    ) -> Rdd<Grouped4<K, V, W, X, Y>>
    where
        K: Key,
    {
        let operator = Operator::new("cogroup4", Location::caller());
        self.pairs().cogroup4_as(operator, second, third, fourth)
    }

    /// The pairs whose key the other side lacks, duplicates kept.
    ///
    /// *Shape* `(K, V)`, placed as this side is, else by hash. *Cost* one shuffle of this side
    /// unless it is placed, and one of the other's keys. *State* none.
    ///
    /// ```
    /// use tidemill_core::{Context, PairRdd};
    ///
    /// let ctx = Context::local(2)?;
    /// let stock = ctx.parallelize([("tea", 3), ("milk", 1)].map(|(k, v)| (k.to_owned(), v)));
    /// let sold_out = ctx.parallelize([("milk".to_owned(), ())]);
    /// assert_eq!(stock.subtract_by_key(&sold_out).collect()?, [("tea".to_owned(), 3)]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    fn subtract_by_key<W: Data>(&self, other: &Rdd<(K, W)>) -> Rdd<(K, V)>
    where
        K: Key,
    {
        let operator = Operator::new("subtract_by_key", Location::caller());
        self.pairs().subtract_by_key_as(operator, other)
    }

    /// Part of the pairs: each is drawn with the probability that its key has in `fractions`, or,
    /// with replacement, so many times on average. A key without a fraction fails the task.
    ///
    /// *Shape* `(K, V)`, as many partitions, order and partitioner kept. *Cost* narrow. *State*
    /// none. *Guarantee* as [`Rdd::sample`].
    ///
    /// ```
    /// use tidemill_core::{Context, PairRdd, Sampling};
    ///
    /// let ctx = Context::local(2)?;
    /// let pairs = ctx.range(0..100).map(|x| (x % 2, x));
    /// let odd = pairs.sample_by_key(Sampling::without_replacement(), [(0, 0.0), (1, 1.0)])?;
    /// assert_eq!(odd.count()?, 50);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a negative fraction, and for one above 1 without replacement.
    #[track_caller]
    fn sample_by_key(
        &self,
        sampling: Sampling,
        fractions: impl IntoIterator<Item = (K, f64)>,
    ) -> Result<Rdd<(K, V)>>
    where
        K: Key,
    {
        let operator = Operator::new("sample_by_key", Location::caller());
        self.pairs().sample_by_key_as(operator, sampling, fractions)
    }

    /// As [`sample_by_key`](Self::sample_by_key), but exactly `fraction * count` pairs of each
    /// key, rounded up.
    ///
    /// *Cost* one job now, which counts each key in each partition; then narrow. The counts travel
    /// with the tasks.
    ///
    /// ```
    /// use tidemill_core::{Context, PairRdd, Sampling};
    ///
    /// let ctx = Context::local(2)?;
    /// let pairs = ctx.range(0..100).map(|x| (x % 2, x));
    /// let drawn = pairs.sample_by_key_exact(Sampling::without_replacement(), [(0, 0.1), (1, 0.5)])?;
    /// assert_eq!(drawn.count_by_key()?, [(0, 5), (1, 25)].into());
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As `sample_by_key`; `Invalid` for a key without a fraction; the counting job's failure.
    #[track_caller]
    fn sample_by_key_exact(
        &self,
        sampling: Sampling,
        fractions: impl IntoIterator<Item = (K, f64)>,
    ) -> Result<Rdd<(K, V)>>
    where
        K: Key,
    {
        let operator = Operator::new("sample_by_key_exact", Location::caller());
        self.pairs()
            .sample_by_key_exact_as(operator, sampling, fractions)
    }

    /// One value a key, on the driver: its values combined by `f`, which must be associative and
    /// commutative.
    ///
    /// *Cost* one job without a shuffle; one pair a key and partition comes to the driver.
    ///
    /// ```
    /// use tidemill_core::{Context, PairRdd};
    ///
    /// let ctx = Context::local(2)?;
    /// let pairs = ctx.parallelize([('a', 1), ('b', 1), ('a', 1)]);
    /// assert_eq!(pairs.reduce_by_key_locally(|x, y| x + y)?, [('a', 2), ('b', 1)].into());
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    fn reduce_by_key_locally(
        &self,
        f: impl Fn(V, V) -> V + Clone + Send + Sync + 'static,
    ) -> Result<HashMap<K, V>>
    where
        K: Key,
    {
        let operator = Operator::new("reduce_by_key_locally", Location::caller());
        self.pairs().reduce_locally_as(operator, f)
    }

    /// The pairs as a map on the driver; of several values of a key the last one, in the order of
    /// [`Rdd::collect`].
    ///
    /// ```
    /// use tidemill_core::{Context, PairRdd};
    ///
    /// let ctx = Context::local(2)?;
    /// let pairs = ctx.parallelize([('a', 1), ('b', 2), ('a', 3)]);
    /// assert_eq!(pairs.collect_as_map()?, [('a', 3), ('b', 2)].into());
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    fn collect_as_map(&self) -> Result<HashMap<K, V>>
    where
        K: Key,
    {
        let operator = Operator::new("collect_as_map", Location::caller());
        let parts = self
            .pairs()
            .act(operator, Iterator::collect::<Vec<(K, V)>>)?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// The values of `key`, in the order of the partitions; none when there is no such key.
    ///
    /// *Cost* one job: of one task where a partitioner says in which partition the key lies (also
    /// after `sort_by_key`), else over all partitions.
    ///
    /// ```
    /// use tidemill_core::{Context, OrderedRdd, PairRdd};
    ///
    /// let ctx = Context::local(2)?;
    /// let sorted = ctx.parallelize([(2, 'b'), (1, 'a'), (2, 'c')]).sort_by_key(true)?;
    /// assert_eq!(sorted.lookup(2)?, ['b', 'c']);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    fn lookup(&self, key: K) -> Result<Vec<V>>
    where
        K: Key,
    {
        let operator = Operator::new("lookup", Location::caller());
        self.pairs().lookup_as(operator, key)
    }
}

/// Pairs of a key and the values of two sides.
pub type JoinedRdd<K, V, W> = Rdd<(K, (V, W))>;

impl<K: Data, V: Data> PairRdd<K, V> for Rdd<(K, V)> {
    fn pairs(&self) -> &Self {
        self
    }
}

/// The keyed primitives with the operator and the function objects given.
#[doc(hidden)]
impl<K: Key, V: Data> Rdd<(K, V)> {
    pub fn combine_as<C: Data, A: Combine<V, C>>(
        &self,
        operator: Operator,
        combine: Arc<A>,
        num_partitions: usize,
    ) -> Rdd<(K, C)> {
        self.combine_by(
            operator,
            combine,
            Arc::new(HashPartitioner::new(num_partitions)),
        )
    }

    pub fn combine_placed<C: Data, A: Combine<V, C>, P: Partitioner<K>>(
        &self,
        operator: Operator,
        combine: Arc<A>,
        partitioner: Arc<P>,
    ) -> Rdd<(K, C)> {
        self.combine_by(operator, combine, partitioner)
    }

    pub fn group_placed<P: Partitioner<K>>(
        &self,
        operator: Operator,
        partitioner: Arc<P>,
    ) -> Rdd<(K, Vec<V>)> {
        self.group_values(operator, partitioner)
    }

    pub fn place_as<P: Partitioner<K>>(&self, operator: Operator, partitioner: Arc<P>) -> Self {
        let partitioner: Arc<dyn AnyPartitioner<K>> = partitioner;
        if self.partitioner() == Some(PartitionedBy::of(&partitioner)) {
            return self.clone();
        }
        self.shuffle_by(operator, partitioner)
    }

    pub(crate) fn combine_by<C: Data, A: Combine<V, C>>(
        &self,
        operator: Operator,
        combine: Arc<A>,
        partitioner: Arc<dyn AnyPartitioner<K>>,
    ) -> Rdd<(K, C)> {
        if self.partitioner() == Some(PartitionedBy::of(&partitioner)) {
            let node = CombineHere::new(self.child(operator), self.node.clone(), combine);
            return self.ctx.rdd(node);
        }
        let map_side = Combined(Arc::clone(&combine));
        self.shuffle_with(operator, partitioner, map_side, Merged::new(combine))
    }

    pub(crate) fn group_values(
        &self,
        operator: Operator,
        partitioner: Arc<dyn AnyPartitioner<K>>,
    ) -> Rdd<(K, Vec<V>)> {
        // Shipped as they are: a list for each key and map partition would be no smaller.
        let placed = if self.partitioner() == Some(PartitionedBy::of(&partitioner)) {
            self.clone()
        } else {
            self.shuffle_by(operator.clone(), partitioner)
        };
        let combine = Functions {
            create: Plain(|value: V| vec![value]),
            merge_value: Plain(|mut values: Vec<V>, value: V| {
                values.push(value);
                values
            }),
            merge_combiners: Plain(|mut a: Vec<V>, b: Vec<V>| {
                a.extend(b);
                a
            }),
        };
        let node = CombineHere::new(
            placed.child(operator),
            placed.node.clone(),
            Arc::new(combine),
        );
        self.ctx.rdd(node)
    }

    pub(crate) fn shuffle_by(
        &self,
        operator: Operator,
        partitioner: Arc<dyn AnyPartitioner<K>>,
    ) -> Self {
        self.shuffle_with(operator, partitioner, AsIs, Arrived)
    }

    pub fn cogroup_as<W: Data>(
        &self,
        operator: Operator,
        other: &Rdd<(K, W)>,
        num_partitions: Option<usize>,
    ) -> Rdd<Grouped<K, V, W>> {
        let partitioner = match num_partitions {
            Some(n) => Arc::new(HashPartitioner::new(n)),
            None => common_partitioner(&[self.placing(), other.placing()]),
        };
        self.cogroup_by(operator, other, partitioner)
    }

    pub(crate) fn cogroup_by<W: Data>(
        &self,
        operator: Operator,
        other: &Rdd<(K, W)>,
        partitioner: Arc<dyn AnyPartitioner<K>>,
    ) -> Rdd<Grouped<K, V, W>> {
        let left = self.side(&operator, &partitioner);
        let right = other.side(&operator, &partitioner);
        let depth = left.depth().max(right.depth());
        let meta = self.ctx.meta(operator, depth);
        self.ctx.rdd(CoGroup::new(meta, left, right, partitioner))
    }

    /// The partitioner the pairs are placed by, else by hash into as many partitions as there are.
    pub(crate) fn own_partitioner(&self) -> Arc<dyn AnyPartitioner<K>> {
        let placed = self.partitioner().and_then(|by| by.typed::<K>());
        placed.unwrap_or_else(|| Arc::new(HashPartitioner::new(self.partitions_or_default())))
    }

    /// What a common partitioner is chosen by.
    pub(crate) fn placing(&self) -> Placing {
        (self.partitions_or_default(), self.partitioner())
    }

    fn side(&self, operator: &Operator, partitioner: &Arc<dyn AnyPartitioner<K>>) -> Side<K, V> {
        if self.partitioner() == Some(PartitionedBy::of(partitioner)) {
            return Side::Placed(self.node.clone());
        }
        let (operator, partitioner) = (operator.clone(), Arc::clone(partitioner));
        let (map, num_maps) = self.shuffle_map::<V, _>(operator, partitioner, AsIs);
        let read = ShuffleRead::new(&*map, num_maps);
        Side::Shuffled(Some(map), read)
    }
}

/// How many partitions an input has, and what places its pairs.
pub(crate) type Placing = (usize, Option<PartitionedBy>);

/// The partitioner that one of the inputs has, else by hash into as many partitions as the largest
/// input has.
pub(crate) fn common_partitioner<K: Key>(inputs: &[Placing]) -> Arc<dyn AnyPartitioner<K>> {
    let largest = inputs.iter().map(|(n, _)| *n).max().unwrap_or(1);
    // A placement that is far too coarse is not worth the shuffle it saves.
    let usable = |by: &&PartitionedBy| by.num_partitions() * 10 > largest;
    let placed = inputs.iter().filter_map(|(_, by)| by.as_ref());
    let mut placed: Vec<&PartitionedBy> = placed.filter(usable).collect();
    placed.sort_by_key(|by| by.num_partitions());
    let found = placed.into_iter().rev().find_map(PartitionedBy::typed::<K>);
    found.unwrap_or_else(|| Arc::new(HashPartitioner::new(largest)))
}

/// What the operators of pairs share, whether the keys can be compared or not.
#[doc(hidden)]
impl<K: Data, V: Data> Rdd<(K, V)> {
    pub fn map_values_with<U: Data, M: Function<V, Output = U>>(
        &self,
        operator: Operator,
        f: Arc<M>,
    ) -> Rdd<(K, U)> {
        let function = Arc::new(OnValue(f));
        self.ctx.rdd(Map::new(
            self.child(operator),
            self.node.clone(),
            function,
            true,
        ))
    }

    pub fn flat_map_values_with<I, M>(&self, operator: Operator, f: Arc<M>) -> Rdd<(K, I::Item)>
    where
        I: IntoIterator<Item: Data> + 'static,
        M: Function<V, Output = I>,
    {
        let function = Arc::new(OnEachValue(f));
        self.ctx.rdd(FlatMap::new(
            self.child(operator),
            self.node.clone(),
            function,
            true,
        ))
    }

    pub(crate) fn shuffle_as<P: Partitioner<K>>(
        &self,
        operator: Operator,
        partitioner: Arc<P>,
    ) -> Self {
        self.shuffle_with(operator, partitioner, AsIs, Arrived)
    }

    pub(crate) fn shuffle_with<C: Data, M, R>(
        &self,
        operator: Operator,
        partitioner: Arc<dyn AnyPartitioner<K>>,
        map_side: M,
        reduce: R,
    ) -> Rdd<(K, C)>
    where
        M: crate::shuffle::MapSide<K, V, C>,
        R: super::shuffled::ReduceSide<K, C>,
    {
        let (map, num_maps) =
            self.shuffle_map::<C, M>(operator.clone(), Arc::clone(&partitioner), map_side);
        let meta = self.ctx.meta(operator, 0);
        self.ctx
            .rdd(Shuffled::new(meta, map, num_maps, partitioner, reduce))
    }

    /// The map side, and how many map tasks it has. Both sides must agree on the number, so it is
    /// settled now; why it could not be is the error of every job that needs the shuffle.
    fn shuffle_map<C: Data, M: crate::shuffle::MapSide<K, V, C>>(
        &self,
        operator: Operator,
        partitioner: Arc<dyn AnyPartitioner<K>>,
        map_side: M,
    ) -> (Arc<dyn AnyShuffle>, usize) {
        let settled = self.num_partitions();
        let num_maps = settled.as_ref().copied().unwrap_or(0);
        let cleaner = self
            .ctx
            .shuffle_cleaner(num_maps, partitioner.num_partitions());
        let (meta, parent) = (self.child(operator), self.node.clone());
        let owned = (settled, cleaner);
        let map = ShuffleMap::<K, V, C, M>::new(meta, parent, partitioner, map_side, owned);
        (map, num_maps)
    }
}
