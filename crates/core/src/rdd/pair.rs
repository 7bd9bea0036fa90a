//! Operators of pairs: `PairRdd`.

use std::panic::Location;
use std::sync::Arc;

use super::cogroup::{CoGroup, Grouped, Side};
use super::flat_map::{FlatMap, OnEachValue};
use super::map::{Map, OnValue};
use super::node::Parent;
use super::shuffled::{Arrived, Merged, Shuffled};
use super::{Rdd, node};
use crate::combine::{Aggregate, Combine, Functions, combine_values, drain};
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::function::{Function, Plain};
use crate::operator::Operator;
use crate::partition::{AnyPartitioner, HashPartitioner, PartitionedBy, Partitioner};
use crate::shuffle::{AnyShuffle, AsIs, Combined, ShuffleMap, ShuffleRead};

/// Keyed operators. In the prelude; implemented for every RDD of pairs.
///
/// A keyed operator that is not told otherwise makes as many partitions as its (larger) input
/// has. Where the input is placed by a partitioner already, that one is kept and nothing is
/// shuffled.
pub trait PairRdd<K: Key, V: Data>: Sized {
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
    fn reduce_by_key(&self, f: impl Fn(V, V) -> V + Send + Sync + 'static) -> Rdd<(K, V)> {
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
    ) -> Rdd<(K, V)> {
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
    ) -> Rdd<(K, V)> {
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
    ) -> Rdd<(K, C)> {
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
    ) -> Rdd<(K, C)> {
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
    fn group_by_key(&self) -> Rdd<(K, Vec<V>)> {
        let operator = Operator::new("group_by_key", Location::caller());
        self.pairs()
            .group_by(operator, self.pairs().own_partitioner())
    }

    /// The same pairs, placed by `partitioner`; nothing happens when they are already.
    #[track_caller]
    fn partition_by(&self, partitioner: impl Partitioner<K>) -> Rdd<(K, V)> {
        let operator = Operator::new("partition_by", Location::caller());
        self.pairs().place_as(operator, Arc::new(partitioner))
    }

    /// For each key of either side: all its values of both.
    ///
    /// *Shape* `(K, (Vec<V>, Vec<W>))`, order not kept. *Cost* one shuffle a side that is not yet
    /// placed. *State* none.
    #[track_caller]
    fn cogroup<W: Data>(&self, other: &Rdd<(K, W)>) -> Rdd<Grouped<K, V, W>> {
        self.pairs()
            .cogroup_as(Operator::new("cogroup", Location::caller()), other, None)
    }

    /// For each key of both sides: each pair of a left and a right value.
    #[track_caller]
    fn join<W: Data>(&self, other: &Rdd<(K, W)>) -> Rdd<(K, (V, W))> {
        self.pairs()
            .join_as(Operator::new("join", Location::caller()), other, None)
    }

    /// As `join`, and each left value whose key the right side lacks, with `None`.
    #[track_caller]
    fn left_outer_join<W: Data>(&self, other: &Rdd<(K, W)>) -> JoinedRdd<K, V, Option<W>> {
        self.pairs().left_join_as(
            Operator::new("left_outer_join", Location::caller()),
            other,
            None,
        )
    }

    /// As `join`, and each right value whose key the left side lacks, with `None`.
    #[track_caller]
    fn right_outer_join<W: Data>(&self, other: &Rdd<(K, W)>) -> JoinedRdd<K, Option<V>, W> {
        self.pairs().right_join_as(
            Operator::new("right_outer_join", Location::caller()),
            other,
            None,
        )
    }

    /// As `join`, and the values of either side whose key the other lacks, with `None`.
    #[track_caller]
    fn full_outer_join<W: Data>(&self, other: &Rdd<(K, W)>) -> JoinedRdd<K, Option<V>, Option<W>> {
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
    fn count_by_key(&self) -> Result<std::collections::HashMap<K, u64>> {
        self.keys().count_by_value()
    }
}

/// Pairs of a key and the values of two sides.
pub type JoinedRdd<K, V, W> = Rdd<(K, (V, W))>;

impl<K: Key, V: Data> PairRdd<K, V> for Rdd<(K, V)> {
    fn pairs(&self) -> &Self {
        self
    }
}

/// The keyed primitives with the operator and the function objects given.
#[doc(hidden)]
impl<K: Key, V: Data> Rdd<(K, V)> {
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
        self.group_by(operator, partitioner)
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

    fn group_by(
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
        let partitioner = self.common_partitioner(other, num_partitions);
        let left = self.side(&operator, &partitioner);
        let right = other.side(&operator, &partitioner);
        let depth = left.depth().max(right.depth());
        let meta = self.ctx.meta(operator, depth);
        self.ctx.rdd(CoGroup::new(meta, left, right, partitioner))
    }

    /// The partitioner the pairs are placed by, else by hash into as many partitions as there are.
    fn own_partitioner(&self) -> Arc<dyn AnyPartitioner<K>> {
        let placed = self.partitioner().and_then(|by| by.typed::<K>());
        placed.unwrap_or_else(|| Arc::new(HashPartitioner::new(self.partitions_or_default())))
    }

    /// The partitioner one of the sides has, else by hash into as many as the larger side has.
    fn common_partitioner<W: Data>(
        &self,
        other: &Rdd<(K, W)>,
        num_partitions: Option<usize>,
    ) -> Arc<dyn AnyPartitioner<K>> {
        if let Some(n) = num_partitions {
            return Arc::new(HashPartitioner::new(n));
        }
        let (ours, theirs) = (self.partitions_or_default(), other.partitions_or_default());
        let largest = ours.max(theirs);
        // A placement that is far too coarse is not worth the shuffle it saves.
        let usable = |by: Option<PartitionedBy>| by.filter(|by| by.num_partitions() * 10 > largest);
        let mut placed: Vec<PartitionedBy> = usable(self.partitioner())
            .into_iter()
            .chain(usable(other.partitioner()))
            .collect();
        placed.sort_by_key(PartitionedBy::num_partitions);
        let found = placed.iter().rev().find_map(PartitionedBy::typed::<K>);
        found.unwrap_or_else(|| Arc::new(HashPartitioner::new(largest)))
    }

    fn side(&self, operator: &Operator, partitioner: &Arc<dyn AnyPartitioner<K>>) -> Side<K, V> {
        if self.partitioner() == Some(PartitionedBy::of(partitioner)) {
            return Side::Placed(self.node.clone());
        }
        let (operator, partitioner) = (operator.clone(), Arc::clone(partitioner));
        let (map, num_maps) = self.shuffle_map::<V, _>(operator, partitioner, AsIs);
        let read = ShuffleRead::new(map.id(), num_maps);
        Side::Shuffled(Some(map), read)
    }

    pub fn join_as<W: Data>(
        &self,
        operator: Operator,
        other: &Rdd<(K, W)>,
        num_partitions: Option<usize>,
    ) -> JoinedRdd<K, V, W> {
        let groups = self.cogroup_as(operator.clone(), other, num_partitions);
        groups.flat_map_values_with(
            operator,
            Arc::new(Plain(|(left, right)| pairs(left, right))),
        )
    }

    pub fn left_join_as<W: Data>(
        &self,
        operator: Operator,
        other: &Rdd<(K, W)>,
        num_partitions: Option<usize>,
    ) -> JoinedRdd<K, V, Option<W>> {
        let groups = self.cogroup_as(operator.clone(), other, num_partitions);
        let join = |(left, right)| pairs(left, optional(right));
        groups.flat_map_values_with(operator, Arc::new(Plain(join)))
    }

    pub fn right_join_as<W: Data>(
        &self,
        operator: Operator,
        other: &Rdd<(K, W)>,
        num_partitions: Option<usize>,
    ) -> JoinedRdd<K, Option<V>, W> {
        let groups = self.cogroup_as(operator.clone(), other, num_partitions);
        let join = |(left, right)| pairs(optional(left), right);
        groups.flat_map_values_with(operator, Arc::new(Plain(join)))
    }

    pub fn full_join_as<W: Data>(
        &self,
        operator: Operator,
        other: &Rdd<(K, W)>,
        num_partitions: Option<usize>,
    ) -> JoinedRdd<K, Option<V>, Option<W>> {
        let groups = self.cogroup_as(operator.clone(), other, num_partitions);
        let join = |(left, right)| pairs(optional(left), optional(right));
        groups.flat_map_values_with(operator, Arc::new(Plain(join)))
    }
}

/// Each left value with each right value.
fn pairs<V: Clone, W: Clone>(left: Vec<V>, right: Vec<W>) -> impl Iterator<Item = (V, W)> {
    left.into_iter().flat_map(move |value| {
        right
            .clone()
            .into_iter()
            .map(move |other| (value.clone(), other))
    })
}

/// The values, or one `None` when there are none.
fn optional<V>(values: Vec<V>) -> Vec<Option<V>> {
    if values.is_empty() {
        vec![None]
    } else {
        values.into_iter().map(Some).collect()
    }
}

impl<K: Data, V: Data> Rdd<(K, V)> {
    pub(crate) fn shuffle_as<P: Partitioner<K>>(
        &self,
        operator: Operator,
        partitioner: Arc<P>,
    ) -> Self {
        self.shuffle_with(operator, partitioner, AsIs, Arrived)
    }

    fn shuffle_with<C: Data, M, R>(
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

/// Combines values of pairs that are in the right partition already.
struct CombineHere<K, V, C, A> {
    meta: node::Meta,
    parent: Parent<(K, V)>,
    combine: Arc<A>,
    partitioner: Option<PartitionedBy>,
    output: std::marker::PhantomData<fn() -> C>,
}

impl<K: Key, V: Data, C: Data, A: Combine<V, C>> CombineHere<K, V, C, A> {
    const DESCRIPTOR: &'static crate::travel::Descriptor =
        &crate::travel::Descriptor::of::<Self>(Self::build);

    fn new(meta: node::Meta, parent: Parent<(K, V)>, combine: Arc<A>) -> Self {
        Self {
            partitioner: parent.placement(true),
            meta,
            parent,
            combine,
            output: std::marker::PhantomData,
        }
    }

    fn build(decoder: &mut crate::codec::Decoder<'_>) -> Result<crate::codec::Built> {
        let combine = Arc::new(A::decode(decoder)?);
        Ok(node::built(Self::new(
            decoder.meta(),
            Parent::decode(decoder, 0)?,
            combine,
        )))
    }
}

impl<K: Key, V: Data, C: Data, A: Combine<V, C>> node::AnyRdd for CombineHere<K, V, C, A> {
    fn meta(&self) -> &node::Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        self.parent.num_partitions()
    }

    fn dependencies(&self) -> Vec<node::Dependency> {
        self.parent.one_to_one()
    }

    fn partitioner(&self) -> Option<PartitionedBy> {
        self.partitioner.clone()
    }

    fn descriptor(&self) -> &'static crate::travel::Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut crate::codec::Encoder<'_>) -> Result<()> {
        self.combine.encode(encoder)
    }
}

impl<K: Key, V: Data, C: Data, A: Combine<V, C>> node::RddNode<(K, C)> for CombineHere<K, V, C, A> {
    fn compute(
        self: Arc<Self>,
        split: usize,
        task: &crate::task::TaskContext,
    ) -> Result<PartitionIter<(K, C)>> {
        let records = self.parent.iterate(split, task)?;
        let combined = combine_values(records, &*self.combine, task, self.meta.operator());
        Ok(Box::new(task.interruptible(drain(combined))))
    }
}
