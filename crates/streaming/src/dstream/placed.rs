//! `placed_by`: keyed operators with a partitioner of one's own.

use std::panic::Location;
use std::sync::Arc;

use tidemill_core::combine::{Combine, Functions, Reduce};
use tidemill_core::function::Plain;
use tidemill_core::{Data, Key, Operator, Partitioner};

use super::DStream;
use super::window::Window;

/// A stream of pairs and where its next operator puts them. The same operators as
/// [`PairDStream`](super::PairDStream) has, placed by this partitioner.
#[derive(Debug)]
#[must_use = "call an operator on it"]
pub struct Placed<K: 'static, V: 'static, P>
where
    K: Key,
    V: Data,
{
    pairs: DStream<(K, V)>,
    partitioner: Arc<P>,
}

impl<K: Key, V: Data, P: Partitioner<K>> Placed<K, V, P> {
    pub(crate) fn new(pairs: DStream<(K, V)>, partitioner: Arc<P>) -> Self {
        Self { pairs, partitioner }
    }

    pub(crate) fn pairs(&self) -> &DStream<(K, V)> {
        &self.pairs
    }

    pub(crate) fn partitioner(&self) -> Arc<P> {
        Arc::clone(&self.partitioner)
    }

    /// As [`reduce_by_key`](super::PairDStream::reduce_by_key).
    #[track_caller]
    pub fn reduce_by_key(&self, f: impl Fn(V, V) -> V + Send + Sync + 'static) -> DStream<(K, V)> {
        let operator = Operator::new("reduce_by_key", Location::caller());
        self.pairs
            .combine_as(operator, Reduce(Plain(f)), self.partitioner())
    }

    /// As [`combine_by_key`](super::PairDStream::combine_by_key).
    #[track_caller]
    pub fn combine_by_key<C: Data>(
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
        self.pairs
            .combine_as(operator, functions, self.partitioner())
    }

    /// As [`group_by_key`](super::PairDStream::group_by_key).
    #[track_caller]
    pub fn group_by_key(&self) -> DStream<(K, Vec<V>)> {
        let operator = Operator::new("group_by_key", Location::caller());
        self.pairs.group_as(operator, self.partitioner())
    }

    /// As [`reduce_by_key_and_window`](super::PairDStream::reduce_by_key_and_window).
    #[track_caller]
    pub fn reduce_by_key_and_window(
        &self,
        window: Window,
        f: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> DStream<(K, V)> {
        let operator = Operator::new("reduce_by_key_and_window", Location::caller());
        self.pairs
            .reduce_window_as(operator, window, Reduce(Plain(f)), self.partitioner())
    }

    /// As [`group_by_key_and_window`](super::PairDStream::group_by_key_and_window).
    #[track_caller]
    pub fn group_by_key_and_window(&self, window: Window) -> DStream<(K, Vec<V>)> {
        let operator = Operator::new("group_by_key_and_window", Location::caller());
        self.pairs
            .group_window_as(operator, window, self.partitioner())
    }

    /// As [`cogroup`](super::PairDStream::cogroup).
    #[track_caller]
    pub fn cogroup<W: Data>(&self, other: &DStream<(K, W)>) -> DStream<(K, (Vec<V>, Vec<W>))> {
        let operator = Operator::new("cogroup", Location::caller());
        self.pairs
            .per_two_placed(operator, other, self.partitioner(), |a, b, operator| {
                a.cogroup_as(operator.clone(), b, None)
            })
    }

    /// As [`join`](super::PairDStream::join).
    #[track_caller]
    pub fn join<W: Data>(&self, other: &DStream<(K, W)>) -> DStream<(K, (V, W))> {
        let operator = Operator::new("join", Location::caller());
        self.pairs
            .per_two_placed(operator, other, self.partitioner(), |a, b, operator| {
                a.join_as(operator.clone(), b, None)
            })
    }

    /// As [`left_outer_join`](super::PairDStream::left_outer_join).
    #[track_caller]
    pub fn left_outer_join<W: Data>(
        &self,
        other: &DStream<(K, W)>,
    ) -> DStream<(K, (V, Option<W>))> {
        let operator = Operator::new("left_outer_join", Location::caller());
        self.pairs
            .per_two_placed(operator, other, self.partitioner(), |a, b, operator| {
                a.left_join_as(operator.clone(), b, None)
            })
    }

    /// As [`right_outer_join`](super::PairDStream::right_outer_join).
    #[track_caller]
    pub fn right_outer_join<W: Data>(
        &self,
        other: &DStream<(K, W)>,
    ) -> DStream<(K, (Option<V>, W))> {
        let operator = Operator::new("right_outer_join", Location::caller());
        self.pairs
            .per_two_placed(operator, other, self.partitioner(), |a, b, operator| {
                a.right_join_as(operator.clone(), b, None)
            })
    }

    /// As [`full_outer_join`](super::PairDStream::full_outer_join).
    #[track_caller]
    pub fn full_outer_join<W: Data>(
        &self,
        other: &DStream<(K, W)>,
    ) -> DStream<(K, (Option<V>, Option<W>))> {
        let operator = Operator::new("full_outer_join", Location::caller());
        self.pairs
            .per_two_placed(operator, other, self.partitioner(), |a, b, operator| {
                a.full_join_as(operator.clone(), b, None)
            })
    }
}

/// The keyed primitives with the operator, the function object and the partitioner given.
impl<K: Key, V: Data> DStream<(K, V)> {
    pub(crate) fn combine_as<C: Data, A: Combine<V, C>, P: Partitioner<K>>(
        &self,
        operator: Operator,
        combine: A,
        partitioner: Arc<P>,
    ) -> DStream<(K, C)> {
        self.per_batch(operator, combine, move |rdd, operator, combine| {
            rdd.combine_placed(operator, combine, Arc::clone(&partitioner))
        })
    }

    pub(crate) fn group_as<P: Partitioner<K>>(
        &self,
        operator: Operator,
        partitioner: Arc<P>,
    ) -> DStream<(K, Vec<V>)> {
        self.per_batch_plain(operator, move |rdd, operator| {
            Ok(rdd.group_placed(operator, Arc::clone(&partitioner)))
        })
    }

    pub(crate) fn partition_as<P: Partitioner<K>>(
        &self,
        operator: Operator,
        partitioner: Arc<P>,
    ) -> Self {
        self.per_batch_plain(operator, move |rdd, operator| {
            Ok(rdd.place_as(operator, Arc::clone(&partitioner)))
        })
    }

    /// Both streams placed alike, then an operator that needs no shuffle any more.
    fn per_two_placed<W: Data, U: Data, P: Partitioner<K>>(
        &self,
        operator: Operator,
        other: &DStream<(K, W)>,
        partitioner: Arc<P>,
        make: impl Fn(
            &tidemill_core::Rdd<(K, V)>,
            &tidemill_core::Rdd<(K, W)>,
            &Operator,
        ) -> tidemill_core::Rdd<U>
        + Send
        + Sync
        + 'static,
    ) -> DStream<U> {
        self.per_two(operator, other, move |ours, theirs, operator, _| {
            let ours = ours.place_as(operator.clone(), Arc::clone(&partitioner));
            let theirs = theirs.place_as(operator.clone(), Arc::clone(&partitioner));
            Ok(make(&ours, &theirs, operator))
        })
    }
}
