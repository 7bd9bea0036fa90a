//! Operators of streams of pairs: `PairDStream`.

use std::panic::Location;

use tidemill_core::combine::Functions;
use tidemill_core::function::Plain;
use tidemill_core::{Data, Key, Operator, Rdd};

use super::DStream;

/// Keyed operators, batch by batch: the same as [`PairRdd`](tidemill_core::PairRdd) has, in as
/// many partitions as the context's default parallelism.
pub trait PairDStream<K: Key, V: Data>: Sized {
    #[doc(hidden)]
    fn pairs(&self) -> &DStream<(K, V)>;

    /// Applies `f` to each value. *Cost* narrow.
    #[track_caller]
    fn map_values<U: Data>(&self, f: impl Fn(V) -> U + Send + Sync + 'static) -> DStream<(K, U)> {
        let operator = Operator::new("map_values", Location::caller());
        self.pairs()
            .per_batch(operator, Plain(f), |rdd, operator, f| {
                rdd.map_values_with(operator, f)
            })
    }

    /// Applies `f` to each value and puts the key before each result. *Cost* narrow.
    #[track_caller]
    fn flat_map_values<I>(
        &self,
        f: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> DStream<(K, I::Item)>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        let operator = Operator::new("flat_map_values", Location::caller());
        self.pairs()
            .per_batch(operator, Plain(f), |rdd, operator, f| {
                rdd.flat_map_values_with(operator, f)
            })
    }

    /// One pair a key and batch: its values combined by `f`, which must be associative and
    /// commutative.
    ///
    /// *Shape* `(K, V)`, order not kept. *Cost* one shuffle of one pair a key and partition.
    /// *State* none.
    #[track_caller]
    fn reduce_by_key(&self, f: impl Fn(V, V) -> V + Send + Sync + 'static) -> DStream<(K, V)> {
        self.pairs()
            .reduce_as(Operator::new("reduce_by_key", Location::caller()), Plain(f))
    }

    /// One pair a key and batch: `create` makes a combiner of a first value, `merge_value` takes
    /// in one more, `merge_combiners` joins those of different partitions. *Cost* one shuffle.
    #[track_caller]
    fn combine_by_key<C: Data>(
        &self,
        create: impl Fn(V) -> C + Send + Sync + 'static,
        merge_value: impl Fn(C, V) -> C + Send + Sync + 'static,
        merge_combiners: impl Fn(C, C) -> C + Send + Sync + 'static,
    ) -> DStream<(K, C)> {
        let operator = Operator::new("combine_by_key", Location::caller());
        let functions = Functions {
            create: Plain(create),
            merge_value: Plain(merge_value),
            merge_combiners: Plain(merge_combiners),
        };
        self.pairs()
            .per_batch(operator, functions, |rdd, operator, functions| {
                rdd.combine_as(operator, functions, rdd.context().default_parallelism())
            })
    }

    /// All values of each key and batch. *Cost* one shuffle of all records.
    #[track_caller]
    fn group_by_key(&self) -> DStream<(K, Vec<V>)> {
        let operator = Operator::new("group_by_key", Location::caller());
        self.pairs().per_batch_plain(operator, |rdd, operator| {
            Ok(rdd.group_as(operator, rdd.context().default_parallelism()))
        })
    }

    /// For each key of either stream's batch: all its values of both. *Cost* two shuffles.
    #[track_caller]
    fn cogroup<W: Data>(&self, other: &DStream<(K, W)>) -> DStream<(K, (Vec<V>, Vec<W>))> {
        let operator = Operator::new("cogroup", Location::caller());
        self.pairs()
            .per_two(operator, other, |ours, theirs, operator, _| {
                Ok(ours.cogroup_as(operator.clone(), theirs, partitions(ours)))
            })
    }

    /// For each key of both streams' batch: each pair of a left and a right value. *Cost* two
    /// shuffles.
    #[track_caller]
    fn join<W: Data>(&self, other: &DStream<(K, W)>) -> DStream<(K, (V, W))> {
        let operator = Operator::new("join", Location::caller());
        self.pairs()
            .per_two(operator, other, |ours, theirs, operator, _| {
                Ok(ours.join_as(operator.clone(), theirs, partitions(ours)))
            })
    }

    /// As `join`, and each left value whose key the right batch lacks, with `None`.
    #[track_caller]
    fn left_outer_join<W: Data>(&self, other: &DStream<(K, W)>) -> DStream<(K, (V, Option<W>))> {
        let operator = Operator::new("left_outer_join", Location::caller());
        self.pairs()
            .per_two(operator, other, |ours, theirs, operator, _| {
                Ok(ours.left_join_as(operator.clone(), theirs, partitions(ours)))
            })
    }

    /// As `join`, and each right value whose key the left batch lacks, with `None`.
    #[track_caller]
    fn right_outer_join<W: Data>(&self, other: &DStream<(K, W)>) -> DStream<(K, (Option<V>, W))> {
        let operator = Operator::new("right_outer_join", Location::caller());
        self.pairs()
            .per_two(operator, other, |ours, theirs, operator, _| {
                Ok(ours.right_join_as(operator.clone(), theirs, partitions(ours)))
            })
    }

    /// As `join`, and the values of either batch whose key the other lacks, with `None`.
    #[track_caller]
    fn full_outer_join<W: Data>(
        &self,
        other: &DStream<(K, W)>,
    ) -> DStream<(K, (Option<V>, Option<W>))> {
        let operator = Operator::new("full_outer_join", Location::caller());
        self.pairs()
            .per_two(operator, other, |ours, theirs, operator, _| {
                Ok(ours.full_join_as(operator.clone(), theirs, partitions(ours)))
            })
    }
}

fn partitions<T: Data>(rdd: &Rdd<T>) -> Option<usize> {
    Some(rdd.context().default_parallelism())
}

impl<K: Key, V: Data> PairDStream<K, V> for DStream<(K, V)> {
    fn pairs(&self) -> &Self {
        self
    }
}
