//! `DStream<T>`: a sequence of RDDs, one for each batch.

pub(crate) mod for_each;
mod inverse_window;
mod keep;
mod map_with_state;
pub(crate) mod node;
mod pair;
pub(crate) mod per_batch;
mod placed;
mod print;
mod reduced_window;
mod save;
mod slice;
mod update_state;
pub(crate) mod window;
mod windowed;
mod with;

use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

pub use for_each::Output;
pub use map_with_state::MapWithStateDStream;
pub use pair::PairDStream;
pub use placed::Placed;
pub use save::rdd_to_file_name;
pub use window::Window;
pub use with::DStreamWith;

use tidemill_core::combine::Reduce;
use tidemill_core::function::{Function, Function2, Plain};
use tidemill_core::{Data, HashPartitioner, Key, Operator, PartitionIter, Rdd, Result};

use crate::context::Shared;
use crate::time::Time;
use node::{AnyStream, Stream, StreamNode};
use per_batch::PerBatch;

/// An error of a user's function: `?` turns every error into one.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A sequence of RDDs, one for each batch. A cheap handle on a description: nothing is computed
/// unless an output needs it.
///
/// | operators | shape | cost | state |
/// |---|---|---|---|
/// | `map`, `try_map`, `filter`, `flat_map`, `map_partitions`, `map_partitions_with_index`, `glom` | as the RDD's | narrow | none |
/// | [`PairDStream`]: `map_values`, `flat_map_values` | as the RDD's | narrow | none |
/// | `union`, `transform`, `transform_with` | as given | narrow, or what the function does | none |
/// | `count`, `reduce`, `count_by_value`, `repartition` | per batch | one shuffle | none |
/// | [`PairDStream`]: `reduce_by_key`, `combine_by_key`, `group_by_key`, `partition_by` | per batch | one shuffle | none |
/// | [`PairDStream`]: `cogroup`, `join`, `left_outer_join`, `right_outer_join`, `full_outer_join` | per batch of both | two shuffles | none |
/// | `window` | `T`, per window | narrow, all records of the window | none; keeps the windowed stream |
/// | `reduce_by_window`, `count_by_window` | one record a window | one shuffle a batch, whatever the window's length | none; keeps partial results |
/// | `count_by_value_and_window` | `(T, u64)` per window | one shuffle a batch and passes over the distinct records | none; keeps partial results |
/// | [`PairDStream`]: `reduce_by_key_and_window` | `(K, V)` per window | one shuffle a batch and passes over the keys | none; keeps partial results |
/// | [`PairDStream`]: `group_by_key_and_window` | `(K, Vec<V>)` per window | one shuffle a batch and all records of the window | none; keeps the groups |
/// | `update_state_by_key`, `update_state_by_partition` | `(K, S)`, all keys, per batch | one shuffle and a pass over all keys | a pair a key, for each remembered batch |
/// | `map_with_state` ([`state_snapshots`](MapWithStateDStream::state_snapshots): `(K, S)`, all keys) | what the function gives, per batch | one shuffle, ∝ the keys touched | an entry a key |
/// | `reduce_by_key_and_window_inverse`, `reduce_by_key_and_window_filtered` | `(K, V)` per window, all keys | one shuffle a batch, ∝ the keys that enter and leave | a pair a key; keeps the combined batches |
/// | `persist`, `cache`, `checkpoint`, `named`, `slice` | – | none | none |
/// | `print`, `print_first`, `for_each_rdd`, `for_each_partition`, `save_as_text_files`, `save_as_object_files` | outputs | one job a batch | none |
///
/// *Per batch* and *per window*: the slide is the stream's, or the window's. With
/// [`with`](Self::with) functions get data to go along, with [`PairDStream::placed_by`] keyed
/// operators another partitioner than the default one.
#[must_use = "a stream does nothing until an output needs it"]
pub struct DStream<T: 'static> {
    shared: Arc<Shared>,
    stream: Arc<Stream<T>>,
}

impl<T> Clone for DStream<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            stream: Arc::clone(&self.stream),
        }
    }
}

impl<T: Data> fmt::Debug for DStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "DStream[{}] {}",
            self.stream.id(),
            self.stream.operator()
        )
    }
}

impl<T: Data> DStream<T> {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        operator: Operator,
        slide: Duration,
        node: impl StreamNode<T>,
    ) -> Self {
        let stream = Arc::new(Stream::new(
            shared.next_stream(),
            operator,
            slide,
            Box::new(node),
        ));
        Self {
            shared: Arc::clone(shared),
            stream,
        }
    }

    pub(crate) fn stream(&self) -> &Arc<Stream<T>> {
        &self.stream
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn any(&self) -> Arc<dyn AnyStream> {
        self.stream.clone()
    }

    /// How often it has an RDD: every batch, or every few.
    #[must_use]
    pub fn slide_duration(&self) -> Duration {
        self.stream.slide()
    }

    /// Names the operator. The name is its address in messages and checkpoints; without one it
    /// goes by its kind and place.
    pub fn named(self, name: &str) -> Self {
        self.stream.rename(name);
        self
    }

    /// Applies `f` to each record. See [`Rdd::map`].
    ///
    /// *Shape* `U`, the same slide, partitions and order. *Cost* narrow. *State* none.
    #[track_caller]
    pub fn map<U: Data>(&self, f: impl Fn(T) -> U + Send + Sync + 'static) -> DStream<U> {
        self.map_with(Operator::new("map", Location::caller()), Plain(f))
    }

    /// Applies `f` to each record; an `Err` fails the batch. See [`Rdd::try_map`].
    ///
    /// *Shape* `U`, the same slide, partitions and order. *Cost* narrow. *State* none.
    #[track_caller]
    pub fn try_map<U: Data, E>(
        &self,
        f: impl Fn(T) -> Result<U, E> + Send + Sync + 'static,
    ) -> DStream<U>
    where
        E: Into<BoxError> + 'static,
    {
        self.try_map_with(Operator::new("try_map", Location::caller()), Plain(f))
    }

    /// Keeps the records for which `f` holds. See [`Rdd::filter`].
    ///
    /// *Shape* `T`, the same slide, partitions and order. *Cost* narrow. *State* none.
    #[track_caller]
    pub fn filter(&self, f: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        self.filter_with(Operator::new("filter", Location::caller()), Plain(f))
    }

    /// Applies `f` to each record and chains what it returns. See [`Rdd::flat_map`].
    ///
    /// *Shape* the items of `I`, the same slide, partitions and order. *Cost* narrow. *State* none.
    #[track_caller]
    pub fn flat_map<I>(&self, f: impl Fn(T) -> I + Send + Sync + 'static) -> DStream<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        self.flat_map_with(Operator::new("flat_map", Location::caller()), Plain(f))
    }

    /// Applies `f` to the records of each partition, empty ones too. See [`Rdd::map_partitions`].
    ///
    /// *Shape* the items of `I`, the same slide and partitions. *Cost* narrow. *State* none.
    #[track_caller]
    pub fn map_partitions<I>(
        &self,
        f: impl Fn(PartitionIter<T>) -> I + Send + Sync + 'static,
    ) -> DStream<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        let operator = Operator::new("map_partitions", Location::caller());
        self.map_each_partition_with(operator, Plain(f))
    }

    /// Applies `f` to the number and the records of each partition, empty ones too. See
    /// [`Rdd::map_partitions_with_index`].
    ///
    /// *Shape* the items of `I`, the same slide and partitions. *Cost* narrow. *State* none.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tidemill_core::Context;
    /// # use tidemill_streaming::{QueueMode, RddQueue, StreamingContext};
    /// # let ssc = StreamingContext::new(&Context::local(1)?, Duration::from_secs(1))?;
    /// let numbers = ssc.queue_stream(&RddQueue::<u64>::new(), QueueMode::All);
    /// let placed = numbers.map_partitions_with_index(|at, records| records.map(move |x| (at, x)));
    /// assert!(format!("{placed:?}").contains("map_partitions_with_index at "));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn map_partitions_with_index<I>(
        &self,
        f: impl Fn(usize, PartitionIter<T>) -> I + Send + Sync + 'static,
    ) -> DStream<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        let operator = Operator::new("map_partitions_with_index", Location::caller());
        self.map_partitions_with(operator, Plain(f))
    }

    /// Each partition as one list. See [`Rdd::glom`].
    #[track_caller]
    pub fn glom(&self) -> DStream<Vec<T>> {
        let operator = Operator::new("glom", Location::caller());
        self.per_batch_plain(operator, |rdd, operator| Ok(rdd.glom_as(operator)))
    }

    /// Hands `captures` to the functions of the next operator: a closure that captures cannot
    /// leave the process, data handed over like this can.
    pub fn with<C: Data>(&self, captures: C) -> DStreamWith<T, C> {
        DStreamWith::new(self.clone(), captures)
    }

    /// The records of both streams.
    ///
    /// *Shape* `T`, the same slide; this stream's partitions, then the other's. *Cost* narrow.
    /// *State* none. Streams of different contexts or slides are refused at start.
    #[track_caller]
    pub fn union(&self, other: &Self) -> Self {
        let operator = Operator::new("union", Location::caller());
        self.per_two(operator, other, |ours, theirs, operator, _| {
            ours.context()
                .union_as(operator.clone(), &[ours.clone(), theirs.clone()])
        })
    }

    /// The same records in exactly `num_partitions` partitions; 0 counts as 1.
    ///
    /// *Shape* `T`, order not kept. *Cost* one shuffle. *State* none.
    #[track_caller]
    pub fn repartition(&self, num_partitions: usize) -> Self {
        let operator = Operator::new("repartition", Location::caller());
        self.per_batch_plain(operator, move |rdd, operator| {
            rdd.repartition_as(operator, num_partitions.max(1))
        })
    }

    /// How many records each batch has: one number a batch, 0 for an empty one.
    ///
    /// *Shape* `u64`, one record. *Cost* one shuffle of one number a partition. *State* none.
    #[track_caller]
    pub fn count(&self) -> DStream<u64> {
        self.count_as(Operator::new("count", Location::caller()))
    }

    pub(crate) fn count_as(&self, operator: Operator) -> DStream<u64> {
        let add = Arc::new(Reduce(Plain(|a: u64, b: u64| a + b)));
        self.per_batch_plain(operator, move |rdd, operator| {
            let count = |records: PartitionIter<T>| std::iter::once(((), records.count() as u64));
            let counts = rdd.map_each_partition_with(operator.clone(), Arc::new(Plain(count)));
            let zero = rdd
                .context()
                .parallelize_as(operator.clone(), vec![((), 0)], 1);
            let all = rdd.context().union_as(operator.clone(), &[counts, zero])?;
            let total = all.combine_as(operator.clone(), Arc::clone(&add), 1);
            Ok(total.map_with(operator, Arc::new(Plain(|((), count)| count))))
        })
    }

    /// The records of each batch joined by `f`, which must be associative and commutative.
    ///
    /// *Shape* `T`, one record, none for an empty batch. *Cost* one shuffle of one record a
    /// partition. *State* none.
    #[track_caller]
    pub fn reduce(&self, f: impl Fn(T, T) -> T + Send + Sync + 'static) -> Self {
        self.reduce_with(Operator::new("reduce", Location::caller()), Plain(f))
    }

    pub(crate) fn reduce_with<M: Function2<T, T, Output = T>>(
        &self,
        operator: Operator,
        f: M,
    ) -> Self {
        self.per_batch(operator, Reduce(f), |rdd, operator, f| {
            let keyed = rdd.map_with(operator.clone(), Arc::new(Plain(|record: T| ((), record))));
            let reduced = keyed.combine_as(operator.clone(), f, 1);
            reduced.map_with(operator, Arc::new(Plain(|((), record): ((), T)| record)))
        })
    }

    /// The RDD that `f` makes of each batch's RDD. `f` runs on the driver, once a batch, before
    /// the batch's jobs; an `Err` fails the batch, later ones go on.
    ///
    /// ```
    /// use tidemill_streaming::{StreamingContext, BoxError};
    /// # fn example(lines: &tidemill_streaming::DStream<u32>) {
    /// let sorted = lines.transform(|rdd, _time| Ok(rdd.sort_by(|x| *x, true)?));
    /// # }
    /// ```
    #[track_caller]
    pub fn transform<U: Data>(
        &self,
        f: impl Fn(&Rdd<T>, Time) -> Result<Rdd<U>, BoxError> + Send + Sync + 'static,
    ) -> DStream<U> {
        let operator = Operator::new("transform", Location::caller());
        let node = PerBatch::new(self, move |rdd, operator: &Operator, time| {
            operator
                .call_on_driver(|| f(rdd, time))
                .map_err(|e| user_error(operator, time, e))
        });
        self.child(operator, node)
    }

    /// The RDD that `f` makes of each batch's RDDs of both streams.
    #[track_caller]
    pub fn transform_with<W: Data, U: Data>(
        &self,
        other: &DStream<W>,
        f: impl Fn(&Rdd<T>, &Rdd<W>, Time) -> Result<Rdd<U>, BoxError> + Send + Sync + 'static,
    ) -> DStream<U> {
        let operator = Operator::new("transform_with", Location::caller());
        self.per_two(operator, other, move |ours, theirs, operator, time| {
            operator
                .call_on_driver(|| f(ours, theirs, time))
                .map_err(|e| user_error(operator, time, e))
        })
    }

    pub(crate) fn map_with<U: Data, M: Function<T, Output = U>>(
        &self,
        operator: Operator,
        f: M,
    ) -> DStream<U> {
        self.per_batch(operator, f, |rdd, operator, f| rdd.map_with(operator, f))
    }

    pub(crate) fn filter_with<M>(&self, operator: Operator, f: M) -> Self
    where
        M: for<'a> Function<&'a T, Output = bool>,
    {
        self.per_batch(operator, f, |rdd, operator, f| rdd.filter_with(operator, f))
    }

    pub(crate) fn flat_map_with<I, M>(&self, operator: Operator, f: M) -> DStream<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
        M: Function<T, Output = I>,
    {
        self.per_batch(operator, f, |rdd, operator, f| {
            rdd.flat_map_with(operator, f)
        })
    }

    pub(crate) fn try_map_with<U, E, M>(&self, operator: Operator, f: M) -> DStream<U>
    where
        U: Data,
        E: Into<BoxError> + 'static,
        M: Function<T, Output = Result<U, E>>,
    {
        self.per_batch(operator, f, |rdd, operator, f| {
            rdd.try_map_with(operator, f)
        })
    }

    pub(crate) fn map_each_partition_with<I, M>(&self, operator: Operator, f: M) -> DStream<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
        M: Function<PartitionIter<T>, Output = I>,
    {
        self.per_batch(operator, f, |rdd, operator, f| {
            rdd.map_each_partition_with(operator, f)
        })
    }

    pub(crate) fn map_partitions_with<I, M>(&self, operator: Operator, f: M) -> DStream<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
        M: Function2<usize, PartitionIter<T>, Output = I>,
    {
        self.per_batch(operator, f, |rdd, operator, f| {
            rdd.map_partitions_with(operator, f)
        })
    }

    pub(crate) fn child<U: Data>(
        &self,
        operator: Operator,
        node: impl StreamNode<U>,
    ) -> DStream<U> {
        DStream::new(&self.shared, operator, self.slide_duration(), node)
    }
}

pub(crate) fn user_error(operator: &Operator, time: Time, error: BoxError) -> tidemill_core::Error {
    use tidemill_core::{Error, ErrorKind};
    // An error of the engine keeps its kind: a cancelled job is not the user's fault.
    let error = match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::new(ErrorKind::User, "function returned an error").caused_by(error),
    };
    error.with("output", operator).with("batch_time", time)
}

impl<T: Key> DStream<T> {
    /// How often each record occurs in each batch.
    ///
    /// *Shape* `(T, u64)`. *Cost* one shuffle of the distinct records. *State* none.
    #[track_caller]
    pub fn count_by_value(&self) -> DStream<(T, u64)> {
        let operator = Operator::new("count_by_value", Location::caller());
        let ones = self.map_with(operator.clone(), Plain(|record: T| (record, 1)));
        let partitioner = ones.default_partitioner();
        ones.combine_as(operator, Reduce(Plain(|a: u64, b: u64| a + b)), partitioner)
    }
}

impl<T: Data> DStream<T> {
    /// By hash, over as many partitions as the context's default parallelism.
    pub(crate) fn default_partitioner(&self) -> Arc<HashPartitioner> {
        let num_partitions = self.shared.ctx.default_parallelism();
        Arc::new(HashPartitioner::new(num_partitions))
    }
}
