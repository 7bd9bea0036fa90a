//! Operators of streams of pairs: `PairDStream`.

use std::panic::Location;
use std::sync::Arc;

use tidemill_core::function::{Function, Plain};
use tidemill_core::{Data, Key, Operator, Partitioner};

use super::DStream;
use super::placed::Placed;
use super::window::Window;

/// Keyed operators, batch by batch: the same as [`PairRdd`](tidemill_core::PairRdd) has, in as
/// many partitions as the context's default parallelism, or as [`placed_by`](Self::placed_by)
/// says.
pub trait PairDStream<K: Key, V: Data>: Sized {
    #[doc(hidden)]
    fn pairs(&self) -> &DStream<(K, V)>;

    /// The same pairs, for a keyed operator that is to place them by `partitioner`.
    ///
    /// ```
    /// use tidemill_core::HashPartitioner;
    /// use tidemill_streaming::PairDStream;
    /// # use std::time::Duration;
    /// # use tidemill_core::Context;
    /// # use tidemill_streaming::{QueueMode, RddQueue, StreamingContext};
    /// # let ssc = StreamingContext::new(&Context::local(1)?, Duration::from_secs(1))?;
    /// # let pairs = ssc.queue_stream(&RddQueue::<(String, u64)>::new(), QueueMode::All);
    ///
    /// let counts = pairs.placed_by(HashPartitioner::new(16)).reduce_by_key(|a, b| a + b);
    /// assert!(format!("{counts:?}").contains("reduce_by_key at "));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    fn placed_by<P: Partitioner<K>>(&self, partitioner: P) -> Placed<K, V, P> {
        Placed::new(self.pairs().clone(), Arc::new(partitioner))
    }

    /// The pairs of each batch, placed by `partitioner`; nothing happens when they are already.
    ///
    /// *Shape* `(K, V)`, order not kept. *Cost* one shuffle of all records. *State* none.
    ///
    /// ```
    /// use tidemill_core::HashPartitioner;
    /// use tidemill_streaming::PairDStream;
    /// # use std::time::Duration;
    /// # use tidemill_core::Context;
    /// # use tidemill_streaming::{QueueMode, RddQueue, StreamingContext};
    /// # let ssc = StreamingContext::new(&Context::local(1)?, Duration::from_secs(1))?;
    /// # let pairs = ssc.queue_stream(&RddQueue::<(String, u64)>::new(), QueueMode::All);
    ///
    /// let placed = pairs.partition_by(HashPartitioner::new(16));
    /// assert!(format!("{placed:?}").contains("partition_by at "));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    fn partition_by(&self, partitioner: impl Partitioner<K>) -> DStream<(K, V)> {
        let operator = Operator::new("partition_by", Location::caller());
        self.pairs().partition_as(operator, Arc::new(partitioner))
    }

    /// Applies `f` to each value. *Cost* narrow.
    #[track_caller]
    fn map_values<U: Data>(&self, f: impl Fn(V) -> U + Send + Sync + 'static) -> DStream<(K, U)> {
        let operator = Operator::new("map_values", Location::caller());
        self.pairs().map_values_with(operator, Plain(f))
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
        self.pairs().flat_map_values_with(operator, Plain(f))
    }

    /// One pair a key and batch: its values combined by `f`, which must be associative and
    /// commutative.
    ///
    /// *Shape* `(K, V)`, order not kept. *Cost* one shuffle of one pair a key and partition.
    /// *State* none.
    #[track_caller]
    fn reduce_by_key(&self, f: impl Fn(V, V) -> V + Send + Sync + 'static) -> DStream<(K, V)> {
        default(self).reduce_by_key(f)
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
        default(self).combine_by_key(create, merge_value, merge_combiners)
    }

    /// All values of each key and batch. *Cost* one shuffle of all records.
    #[track_caller]
    fn group_by_key(&self) -> DStream<(K, Vec<V>)> {
        default(self).group_by_key()
    }

    /// One pair for each key of a window: its values combined by `f`, which must be associative;
    /// earlier batches come first, so that it need not be commutative between batches.
    ///
    /// Windows overlap, and so does the work for them: partial results are kept, and a window
    /// takes three of them, whatever its length. No batch does more than another, and no inverse
    /// of `f` is needed.
    ///
    /// *Shape* `(K, V)`, the window's slide, order not kept; keys that have left the window are
    /// gone. *Cost* one shuffle of one pair a key and partition of a batch, then a few passes over
    /// the window's keys; where the slide is longer than the longest span that divides both it and
    /// the window, a few more for each of those spans. *State* none: up to half as many partial
    /// results as the window has batches are kept in memory, and one that is dropped is made again
    /// of the batches, which are remembered for the length of the window.
    ///
    /// ```
    /// use tidemill_streaming::{PairDStream, Window};
    /// # use std::time::Duration;
    /// # use tidemill_core::Context;
    /// # use tidemill_streaming::{QueueMode, RddQueue, StreamingContext};
    /// # let ssc = StreamingContext::new(&Context::local(1)?, Duration::from_secs(1))?;
    /// # let words = ssc.queue_stream(&RddQueue::<String>::new(), QueueMode::All);
    ///
    /// let secs = Duration::from_secs;
    /// let last_half_minute = words
    ///     .map(|word| (word, 1))
    ///     .reduce_by_key_and_window(Window::of(secs(30)).every(secs(10)), |a, b| a + b);
    /// assert_eq!(last_half_minute.slide_duration(), secs(10));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    fn reduce_by_key_and_window(
        &self,
        window: Window,
        f: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> DStream<(K, V)> {
        default(self).reduce_by_key_and_window(window, f)
    }

    /// All values of each key of a window, those of earlier batches first.
    ///
    /// *Shape* `(K, Vec<V>)`, the window's slide, order of keys not kept. *Cost* one shuffle of
    /// all records of a batch; all records of the window are read. *State* none; each batch's
    /// groups are kept in memory for the length of the window.
    ///
    /// ```
    /// use tidemill_streaming::{PairDStream, Window};
    /// # use std::time::Duration;
    /// # use tidemill_core::Context;
    /// # use tidemill_streaming::{QueueMode, RddQueue, StreamingContext};
    /// # let ssc = StreamingContext::new(&Context::local(1)?, Duration::from_secs(1))?;
    /// # let pairs = ssc.queue_stream(&RddQueue::<(String, u64)>::new(), QueueMode::All);
    ///
    /// let window = Window::of(Duration::from_secs(30)).every(Duration::from_secs(10));
    /// let groups = pairs.group_by_key_and_window(window);
    /// assert_eq!(groups.slide_duration(), Duration::from_secs(10));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    fn group_by_key_and_window(&self, window: Window) -> DStream<(K, Vec<V>)> {
        default(self).group_by_key_and_window(window)
    }

    /// For each key of either stream's batch: all its values of both. *Cost* two shuffles.
    #[track_caller]
    fn cogroup<W: Data>(&self, other: &DStream<(K, W)>) -> DStream<(K, (Vec<V>, Vec<W>))> {
        default(self).cogroup(other)
    }

    /// For each key of both streams' batch: each pair of a left and a right value. *Cost* two
    /// shuffles.
    #[track_caller]
    fn join<W: Data>(&self, other: &DStream<(K, W)>) -> DStream<(K, (V, W))> {
        default(self).join(other)
    }

    /// As `join`, and each left value whose key the right batch lacks, with `None`.
    #[track_caller]
    fn left_outer_join<W: Data>(&self, other: &DStream<(K, W)>) -> DStream<(K, (V, Option<W>))> {
        default(self).left_outer_join(other)
    }

    /// As `join`, and each right value whose key the left batch lacks, with `None`.
    #[track_caller]
    fn right_outer_join<W: Data>(&self, other: &DStream<(K, W)>) -> DStream<(K, (Option<V>, W))> {
        default(self).right_outer_join(other)
    }

    /// As `join`, and the values of either batch whose key the other lacks, with `None`.
    #[track_caller]
    fn full_outer_join<W: Data>(
        &self,
        other: &DStream<(K, W)>,
    ) -> DStream<(K, (Option<V>, Option<W>))> {
        default(self).full_outer_join(other)
    }
}

/// Placed as nothing else is said.
fn default<K: Key, V: Data>(
    pairs: &impl PairDStream<K, V>,
) -> Placed<K, V, tidemill_core::HashPartitioner> {
    let pairs = pairs.pairs();
    Placed::new(pairs.clone(), pairs.default_partitioner())
}

impl<K: Key, V: Data> PairDStream<K, V> for DStream<(K, V)> {
    fn pairs(&self) -> &Self {
        self
    }
}

impl<K: Key, V: Data> DStream<(K, V)> {
    pub(crate) fn map_values_with<U: Data, M: Function<V, Output = U>>(
        &self,
        operator: Operator,
        f: M,
    ) -> DStream<(K, U)> {
        self.per_batch(operator, f, |rdd, operator, f| {
            rdd.map_values_with(operator, f)
        })
    }

    pub(crate) fn flat_map_values_with<I, M>(
        &self,
        operator: Operator,
        f: M,
    ) -> DStream<(K, I::Item)>
    where
        I: IntoIterator<Item: Data> + 'static,
        M: Function<V, Output = I>,
    {
        self.per_batch(operator, f, |rdd, operator, f| {
            rdd.flat_map_values_with(operator, f)
        })
    }
}
