//! `Rdd<T>`: an immutable, lazy, partitioned collection.

pub(crate) mod action;
mod actions;
mod approximate;
mod binary_records;
mod blocks;
mod cartesian;
pub(crate) mod checkpoint;
mod coalesce;
mod cogroup;
mod cogroup_many;
mod combine_here;
mod debug_string;
mod distinct_approx;
mod exact_sample;
mod file_source;
mod filter;
mod filter_by_range;
mod flat_map;
mod group_by;
mod histogram;
mod intersection;
mod join;
mod keyed_actions;
mod local_iterator;
mod map;
mod map_partitions;
mod max;
mod merge_runs;
mod named;
pub mod node;
mod numeric;
mod object_file;
mod pair;
mod parallelize;
pub(crate) mod persist;
mod pipe;
mod random_split;
mod range;
mod sample;
mod sample_by_key;
mod save;
mod save_folder;
mod save_parts;
mod shuffled;
mod sort;
mod source;
mod subtract;
mod take_sample;
mod text_file;
mod tree;
mod try_map;
mod union;
mod whole_files;
mod with;
mod zip;
mod zip_partitions;
mod zip_with;

use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

pub use approximate::BoundedFloat;
pub use binary_records::BinaryRecords;
pub use cogroup_many::{Grouped3, Grouped4};
pub use file_source::{FileFormat, FileSplit};
pub use histogram::Histogram;
pub use local_iterator::LocalIterator;
pub use numeric::{Number, NumericRdd};
pub use pair::{JoinedRdd, PairRdd};
pub use pipe::PipeCommand;
pub use sample::Sampling;
pub use save::{Compression, SaveOptions};
pub use sort::OrderedRdd;
pub use text_file::TextLines;
pub use with::With;

use crate::context::Context;
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::function::{Captured, Function, Function2, Plain};
use crate::operator::Operator;
use crate::partition::{IndexPartitioner, PartitionedBy, positive};
use node::{Meta, Parent};

/// An immutable, lazy, partitioned collection. A cheap handle: cloning copies no data.
///
/// Transformations return a new RDD and run nothing; actions (`collect`, `count`, …) run a job.
#[must_use = "an RDD does nothing until an action asks for its records"]
pub struct Rdd<T: 'static> {
    ctx: Context,
    node: Parent<T>,
}

impl<T> Clone for Rdd<T> {
    fn clone(&self) -> Self {
        Self {
            ctx: self.ctx.clone(),
            node: self.node.clone(),
        }
    }
}

impl<T> fmt::Debug for Rdd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Rdd[{}] {}",
            self.node.node().meta().id(),
            self.node.operator()
        )
    }
}

impl<T: Data> Rdd<T> {
    pub(crate) fn new(ctx: Context, node: Parent<T>) -> Self {
        Self { ctx, node }
    }

    pub(crate) fn parent(&self) -> &Parent<T> {
        &self.node
    }

    /// Meta data of a node that reads this RDD.
    fn child(&self, operator: Operator) -> Meta {
        self.ctx.meta(operator, self.node.depth())
    }

    /// The context it belongs to.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// Its number, counting up in the context.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.node.node().meta().id()
    }

    /// The operator that made it.
    #[must_use]
    pub fn operator(&self) -> &Operator {
        self.node.operator()
    }

    /// How many partitions it has.
    ///
    /// # Errors
    /// Those of finding out: a missing input path, for example.
    pub fn num_partitions(&self) -> Result<usize> {
        self.node.num_partitions()
    }

    /// How its records are placed, when that is known.
    #[must_use]
    pub fn partitioner(&self) -> Option<PartitionedBy> {
        self.node.node().partitioner()
    }

    /// Partitions of a keyed operator that was given none: as many as this RDD has.
    pub(crate) fn partitions_or_default(&self) -> usize {
        self.num_partitions()
            .unwrap_or_else(|_| self.ctx.default_parallelism())
            .max(1)
    }

    /// Applies `f` to each record.
    ///
    /// *Shape* `U`, as many records and partitions, order kept. *Cost* narrow. *State* none.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// assert_eq!(ctx.range(0..3).map(|x| x * 10).collect()?, [0, 10, 20]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn map<U: Data>(&self, f: impl Fn(T) -> U + Send + Sync + 'static) -> Rdd<U> {
        self.map_with(Operator::new("map", Location::caller()), Arc::new(Plain(f)))
    }

    /// Applies `f` to each record; an `Err` fails the task like a panic.
    ///
    /// *Shape* `U`, as many records and partitions, order kept. *Cost* narrow. *State* none.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let texts = ctx.parallelize(vec!["1".to_owned(), "x".to_owned()]);
    /// let error = texts.try_map(|text| text.parse::<i32>()).collect().unwrap_err();
    /// assert!(error.report().contains("invalid digit"));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn try_map<U: Data, E>(
        &self,
        f: impl Fn(T) -> Result<U, E> + Send + Sync + 'static,
    ) -> Rdd<U>
    where
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    {
        self.try_map_with(
            Operator::new("try_map", Location::caller()),
            Arc::new(Plain(f)),
        )
    }

    /// Keeps the records for which `f` holds.
    ///
    /// *Shape* `T`, as many partitions, order and partitioner kept. *Cost* narrow. *State* none.
    #[track_caller]
    pub fn filter(&self, f: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        self.filter_with(
            Operator::new("filter", Location::caller()),
            Arc::new(Plain(f)),
        )
    }

    /// Applies `f` to each record and chains what it returns.
    ///
    /// *Shape* the items of `I`, as many partitions, order kept. *Cost* narrow. *State* none.
    #[track_caller]
    pub fn flat_map<I>(&self, f: impl Fn(T) -> I + Send + Sync + 'static) -> Rdd<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        self.flat_map_with(
            Operator::new("flat_map", Location::caller()),
            Arc::new(Plain(f)),
        )
    }

    /// Applies `f` to the records of each partition, empty partitions too.
    ///
    /// *Shape* the items of `I`, as many partitions. *Cost* narrow; what `f` collects is its own.
    /// *State* none.
    #[track_caller]
    pub fn map_partitions<I>(
        &self,
        f: impl Fn(PartitionIter<T>) -> I + Send + Sync + 'static,
    ) -> Rdd<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        let operator = Operator::new("map_partitions", Location::caller());
        let function = map_partitions::AnyPartition(Arc::new(Plain(f)));
        self.map_partitions_with(operator, Arc::new(function))
    }

    /// Applies `f` to the number and the records of each partition, empty partitions too.
    ///
    /// *Shape* the items of `I`, as many partitions. *Cost* narrow. *State* none.
    #[track_caller]
    pub fn map_partitions_with_index<I>(
        &self,
        f: impl Fn(usize, PartitionIter<T>) -> I + Send + Sync + 'static,
    ) -> Rdd<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        let operator = Operator::new("map_partitions_with_index", Location::caller());
        self.map_partitions_with(operator, Arc::new(Plain(f)))
    }

    /// Hands `captures` to the functions of the next operator.
    pub fn with<C: Data>(&self, captures: C) -> With<T, C> {
        With::new(self.clone(), captures)
    }

    /// Each partition as one list.
    ///
    /// *Shape* `Vec<T>`, one a partition, empty ones too. *Cost* narrow. *State* none.
    #[track_caller]
    pub fn glom(&self) -> Rdd<Vec<T>> {
        self.glom_as(Operator::new("glom", Location::caller()))
    }

    /// The records of both, duplicates kept.
    ///
    /// *Shape* `T`, this RDD's partitions and then the other's, order kept; two RDDs placed by
    /// equal partitioners are joined partition by partition and stay placed. *Cost* narrow.
    /// *State* none.
    ///
    /// # Errors
    /// Those of finding out how many partitions there are.
    #[track_caller]
    pub fn union(&self, other: &Self) -> Result<Self> {
        let operator = Operator::new("union", Location::caller());
        self.ctx.union_as(operator, &[self.clone(), other.clone()])
    }

    /// The same records in fewer partitions, without a shuffle.
    ///
    /// *Shape* `T`, at most `num_partitions` partitions, each a run of consecutive ones; order
    /// kept. *Cost* narrow. *State* none.
    ///
    /// # Errors
    /// `Invalid` for 0 partitions.
    #[track_caller]
    pub fn coalesce(&self, num_partitions: usize) -> Result<Self> {
        let operator = Operator::new("coalesce", Location::caller());
        let k = positive(num_partitions).map_err(|e| e.with("operator", &operator))?;
        Ok(self.ctx.rdd(coalesce::Coalesce::new(
            self.child(operator),
            self.node.clone(),
            k,
        )?))
    }

    /// The same records spread evenly over exactly `num_partitions` partitions.
    ///
    /// *Shape* `T`, order not kept. *Cost* one shuffle. *State* none.
    ///
    /// # Errors
    /// `Invalid` for 0 partitions.
    #[track_caller]
    pub fn repartition(&self, num_partitions: usize) -> Result<Self> {
        self.repartition_as(
            Operator::new("repartition", Location::caller()),
            num_partitions,
        )
    }

    /// Puts `f` of each record in front of it.
    ///
    /// *Shape* `(K, T)`, order kept. *Cost* narrow. *State* none.
    #[track_caller]
    pub fn key_by<K: Data>(&self, f: impl Fn(&T) -> K + Send + Sync + 'static) -> Rdd<(K, T)> {
        let operator = Operator::new("key_by", Location::caller());
        self.map_with(operator, Arc::new(map::WithKey(Arc::new(Plain(f)))))
    }
}

impl<T: Key> Rdd<T> {
    /// Each record once.
    ///
    /// *Shape* `T`, as many partitions, order not kept. *Cost* one shuffle of the distinct records
    /// of each partition. *State* none.
    #[track_caller]
    pub fn distinct(&self) -> Self {
        self.distinct_as(
            Operator::new("distinct", Location::caller()),
            self.partitions_or_default(),
        )
    }

    /// Each record once, in `num_partitions` partitions.
    ///
    /// # Errors
    /// `Invalid` for 0 partitions.
    #[track_caller]
    pub fn distinct_into(&self, num_partitions: usize) -> Result<Self> {
        let operator = Operator::new("distinct", Location::caller());
        let n = positive(num_partitions).map_err(|e| e.with("operator", &operator))?;
        Ok(self.distinct_as(operator, n))
    }

    fn distinct_as(&self, operator: Operator, num_partitions: usize) -> Self {
        let keys = self.as_keys(operator.clone(), num_partitions);
        keys.map_with(operator, Arc::new(Plain(|(record, ()): (T, ())| record)))
    }

    /// Each record once, as a key placed by hash.
    pub(crate) fn as_keys(&self, operator: Operator, num_partitions: usize) -> Rdd<(T, ())> {
        let pairs = self.map_with(operator.clone(), Arc::new(Plain(|record: T| (record, ()))));
        let combine = Arc::new(crate::combine::Reduce(Plain(|(), ()| ())));
        pairs.combine_as::<(), _>(operator, combine, num_partitions)
    }
}

/// The primitives with the operator and the function object given: what the methods above, the
/// streams and the language bindings are made of.
#[doc(hidden)]
impl<T: Data> Rdd<T> {
    pub fn map_with<U: Data, M: Function<T, Output = U>>(
        &self,
        operator: Operator,
        f: Arc<M>,
    ) -> Rdd<U> {
        self.ctx.rdd(map::Map::new(
            self.child(operator),
            self.node.clone(),
            f,
            false,
        ))
    }

    pub fn try_map_with<U, E, M>(&self, operator: Operator, f: Arc<M>) -> Rdd<U>
    where
        U: Data,
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
        M: Function<T, Output = Result<U, E>>,
    {
        self.ctx.rdd(try_map::TryMap::new(
            self.child(operator),
            self.node.clone(),
            f,
        ))
    }

    pub fn filter_with<M>(&self, operator: Operator, f: Arc<M>) -> Self
    where
        M: for<'a> Function<&'a T, Output = bool>,
    {
        self.ctx.rdd(filter::Filter::new(
            self.child(operator),
            self.node.clone(),
            f,
        ))
    }

    pub fn flat_map_with<I, M>(&self, operator: Operator, f: Arc<M>) -> Rdd<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
        M: Function<T, Output = I>,
    {
        self.ctx.rdd(flat_map::FlatMap::new(
            self.child(operator),
            self.node.clone(),
            f,
            false,
        ))
    }

    pub fn map_partitions_with<I, M>(&self, operator: Operator, f: Arc<M>) -> Rdd<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
        M: Function2<usize, PartitionIter<T>, Output = I>,
    {
        let node =
            map_partitions::MapPartitions::new(self.child(operator), self.node.clone(), f, false);
        self.ctx.rdd(node)
    }

    /// Any function object of a partition, without its number.
    pub fn map_each_partition_with<I, M>(&self, operator: Operator, f: Arc<M>) -> Rdd<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
        M: Function<PartitionIter<T>, Output = I>,
    {
        self.map_partitions_with(operator, Arc::new(map_partitions::AnyPartition(f)))
    }

    pub fn glom_as(&self, operator: Operator) -> Rdd<Vec<T>> {
        let collect = |records: PartitionIter<T>| std::iter::once(records.collect::<Vec<T>>());
        self.map_each_partition_with(operator, Arc::new(Plain(collect)))
    }

    pub fn repartition_as(&self, operator: Operator, num_partitions: usize) -> Result<Self> {
        let n = positive(num_partitions).map_err(|e| e.with("operator", &operator))?;
        // Round robin from a place that differs from partition to partition, so that many small
        // partitions do not all begin with the first.
        let deal = |n: &usize, split: usize, records: PartitionIter<T>| {
            let n = *n;
            records
                .enumerate()
                .map(move |(at, record)| ((split.wrapping_mul(7) + at) % n, record))
        };
        let dealt = Captured {
            captures: Arc::new(n),
            function: deal,
        };
        let numbered = self.map_partitions_with(operator.clone(), Arc::new(dealt));
        let shuffled = numbered.shuffle_as(operator.clone(), Arc::new(IndexPartitioner(n)));
        Ok(shuffled.map_with(operator, Arc::new(Plain(|(_, record): (usize, T)| record))))
    }
}
