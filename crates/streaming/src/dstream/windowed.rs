//! `window` and what is composed of it: the batches of a window side by side.

use std::panic::Location;
use std::sync::Arc;

use tidemill_core::combine::{Functions, Reduce};
use tidemill_core::function::{Function2, Plain};
use tidemill_core::{Data, HashPartitioner, Key, Operator, Partitioner, Rdd, Result};

use super::DStream;
use super::node::{AnyStream, Batch, Stream, StreamNode};
use super::window::Window;
use crate::time::Time;

/// The union of the parent's RDDs in a window.
struct Windowed<T: 'static> {
    parent: DStream<T>,
    window: Window,
}

impl<T: Data> StreamNode<T> for Windowed<T> {
    fn compute(&self, operator: &Operator, time: Time, batch: &Batch) -> Result<Option<Rdd<T>>> {
        let begin = time - self.window.span();
        let rdds = self.parent.stream().rdds_within(batch, begin, time)?;
        let ctx = &self.parent.shared().ctx;
        ctx.union_as(operator.clone(), &rdds).map(Some)
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        vec![self.parent.any()]
    }

    fn reads_back(&self) -> std::time::Duration {
        self.window.span()
    }

    fn validate(&self, operator: &Operator) -> Result<()> {
        self.window.validate(operator, self.parent.slide_duration())
    }

    fn kept_by(&self) -> Option<&Arc<Stream<T>>> {
        Some(self.parent.stream())
    }
}

impl<T: Data> DStream<T> {
    /// All records of the last batches, again and again.
    ///
    /// *Shape* `T`, the window's slide; the partitions of each batch in order of time, or where
    /// the batches are placed alike, one partition for each of theirs. *Cost* narrow, but all
    /// records of the window. *State* none; the windowed stream's RDDs are kept in memory for the
    /// length of the window, unless it is an input whose blocks are stored anyway.
    ///
    /// ```
    /// use tidemill_streaming::Window;
    /// # use std::time::Duration;
    /// # use tidemill_core::Context;
    /// # use tidemill_streaming::{QueueMode, RddQueue, StreamingContext};
    /// # let ssc = StreamingContext::new(&Context::local(1)?, Duration::from_secs(1))?;
    /// # let words = ssc.queue_stream(&RddQueue::<String>::new(), QueueMode::All);
    ///
    /// let secs = Duration::from_secs;
    /// let windowed = words.window(Window::of(secs(30)).every(secs(10)));
    /// assert_eq!(windowed.slide_duration(), secs(10));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn window(&self, window: Window) -> Self {
        self.window_as(Operator::new("window", Location::caller()), window)
    }

    fn window_as(&self, operator: Operator, window: Window) -> Self {
        self.stream().keep_by_default();
        let node = Windowed {
            parent: self.clone(),
            window,
        };
        let slide = window.slide_over(self.slide_duration());
        Self::new(self.shared(), operator, slide, node)
    }

    /// All records of a window joined by `f`, which must be associative; earlier batches come
    /// first, so that it need not be commutative between batches.
    ///
    /// *Shape* `T`, one record, none for a window without records. *Cost* one shuffle of one
    /// record a partition and batch, whatever the window's length. *State* none.
    ///
    /// ```
    /// use tidemill_streaming::Window;
    /// # use std::time::Duration;
    /// # use tidemill_core::Context;
    /// # use tidemill_streaming::{QueueMode, RddQueue, StreamingContext};
    /// # let ssc = StreamingContext::new(&Context::local(1)?, Duration::from_secs(1))?;
    /// # let numbers = ssc.queue_stream(&RddQueue::<u64>::new(), QueueMode::All);
    ///
    /// let window = Window::of(Duration::from_secs(30)).every(Duration::from_secs(10));
    /// let largest = numbers.reduce_by_window(window, |a, b| a.max(b));
    /// assert_eq!(largest.slide_duration(), Duration::from_secs(10));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce_by_window(
        &self,
        window: Window,
        f: impl Fn(T, T) -> T + Send + Sync + 'static,
    ) -> Self {
        let operator = Operator::new("reduce_by_window", Location::caller());
        self.reduce_window_with(operator, window, Plain(f))
    }

    pub(crate) fn reduce_window_with<M: Function2<T, T, Output = T>>(
        &self,
        operator: Operator,
        window: Window,
        f: M,
    ) -> Self {
        let keyed = self.map_with(operator.clone(), Plain(|record: T| ((), record)));
        let one = Arc::new(HashPartitioner::new(1));
        let reduced = keyed.reduce_window_as(operator.clone(), window, Reduce(f), one);
        reduced.map_with(operator, Plain(|((), record): ((), T)| record))
    }

    /// How many records a window has: one number, 0 for a window without records.
    ///
    /// *Shape* `u64`, one record. *Cost* one shuffle of one number a partition and batch, whatever
    /// the window's length. *State* none.
    ///
    /// ```
    /// use tidemill_streaming::Window;
    /// # use std::time::Duration;
    /// # use tidemill_core::Context;
    /// # use tidemill_streaming::{QueueMode, RddQueue, StreamingContext};
    /// # let ssc = StreamingContext::new(&Context::local(1)?, Duration::from_secs(1))?;
    /// # let numbers = ssc.queue_stream(&RddQueue::<u64>::new(), QueueMode::All);
    ///
    /// let window = Window::of(Duration::from_secs(30)).every(Duration::from_secs(10));
    /// let counts = numbers.count_by_window(window);
    /// assert_eq!(counts.slide_duration(), Duration::from_secs(10));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn count_by_window(&self, window: Window) -> DStream<u64> {
        let operator = Operator::new("count_by_window", Location::caller());
        self.count_as(operator.clone()).reduce_window_with(
            operator,
            window,
            Plain(|a: u64, b: u64| a + b),
        )
    }
}

impl<T: Key> DStream<T> {
    /// How often each record occurs in a window. Records that have left it are not listed.
    ///
    /// *Shape* `(T, u64)`, order not kept. *Cost* one shuffle of the distinct records of a batch,
    /// and a few passes over those of the window, whatever its length. *State* none.
    ///
    /// ```
    /// use tidemill_streaming::Window;
    /// # use std::time::Duration;
    /// # use tidemill_core::Context;
    /// # use tidemill_streaming::{QueueMode, RddQueue, StreamingContext};
    /// # let ssc = StreamingContext::new(&Context::local(1)?, Duration::from_secs(1))?;
    /// # let numbers = ssc.queue_stream(&RddQueue::<u64>::new(), QueueMode::All);
    ///
    /// let window = Window::of(Duration::from_secs(30)).every(Duration::from_secs(10));
    /// let counts = numbers.count_by_value_and_window(window);
    /// assert_eq!(counts.slide_duration(), Duration::from_secs(10));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn count_by_value_and_window(&self, window: Window) -> DStream<(T, u64)> {
        let operator = Operator::new("count_by_value_and_window", Location::caller());
        let ones = self.map_with(operator.clone(), Plain(|record: T| (record, 1)));
        let partitioner = ones.default_partitioner();
        let add = Reduce(Plain(|a: u64, b: u64| a + b));
        ones.reduce_window_as(operator, window, add, partitioner)
    }
}

impl<K: Key, V: Data> DStream<(K, V)> {
    /// Each batch is grouped once and kept; a window chains its batches' lists.
    pub(crate) fn group_window_as<P: Partitioner<K>>(
        &self,
        operator: Operator,
        window: Window,
        partitioner: Arc<P>,
    ) -> DStream<(K, Vec<V>)> {
        let grouped = self.group_as(operator.clone(), Arc::clone(&partitioner));
        let chained = Functions {
            create: Plain(|values: Vec<V>| values),
            merge_value: Plain(chain::<V>),
            merge_combiners: Plain(chain::<V>),
        };
        grouped.window_as(operator.clone(), window).per_batch(
            operator,
            chained,
            move |rdd, operator, chained| {
                rdd.combine_placed(operator, chained, Arc::clone(&partitioner))
            },
        )
    }
}

fn chain<V>(mut earlier: Vec<V>, later: Vec<V>) -> Vec<V> {
    earlier.extend(later);
    earlier
}
