//! `with`: data that goes along with the functions of a stream.

use std::panic::Location;
use std::sync::Arc;

use tidemill_core::combine::{Functions, Reduce};
use tidemill_core::function::Captured;
use tidemill_core::{Data, Key, Operator, PartitionIter, Result};

use super::for_each::Output;
use super::window::Window;
use super::{BoxError, DStream};

/// A stream and the data its next operator's function wants to see. The same as
/// [`Rdd::with`](tidemill_core::Rdd::with), batch by batch.
///
/// Each operator of [`DStream`] and [`PairDStream`](super::PairDStream) with a function that tasks
/// call is here, and hands the data to the function as its first argument.
#[derive(Debug)]
#[must_use = "call an operator on it"]
pub struct DStreamWith<T: 'static, C>
where
    T: Data,
{
    stream: DStream<T>,
    captures: Arc<C>,
}

impl<T: Data, C: Data> DStreamWith<T, C> {
    pub(crate) fn new(stream: DStream<T>, captures: C) -> Self {
        Self {
            stream,
            captures: Arc::new(captures),
        }
    }

    pub(crate) fn stream(&self) -> &DStream<T> {
        &self.stream
    }

    pub(crate) fn captured<F>(&self, function: F) -> Captured<C, F> {
        Captured {
            captures: Arc::clone(&self.captures),
            function,
        }
    }

    /// As [`DStream::map`].
    #[track_caller]
    pub fn map<U: Data>(&self, f: impl Fn(&C, T) -> U + Send + Sync + 'static) -> DStream<U> {
        self.stream
            .map_with(Operator::new("map", Location::caller()), self.captured(f))
    }

    /// As [`DStream::try_map`].
    #[track_caller]
    pub fn try_map<U: Data, E>(
        &self,
        f: impl Fn(&C, T) -> Result<U, E> + Send + Sync + 'static,
    ) -> DStream<U>
    where
        E: Into<BoxError> + 'static,
    {
        let operator = Operator::new("try_map", Location::caller());
        self.stream.try_map_with(operator, self.captured(f))
    }

    /// As [`DStream::filter`].
    #[track_caller]
    pub fn filter(&self, f: impl Fn(&C, &T) -> bool + Send + Sync + 'static) -> DStream<T> {
        self.stream.filter_with(
            Operator::new("filter", Location::caller()),
            self.captured(f),
        )
    }

    /// As [`DStream::flat_map`].
    #[track_caller]
    pub fn flat_map<I>(&self, f: impl Fn(&C, T) -> I + Send + Sync + 'static) -> DStream<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        self.stream.flat_map_with(
            Operator::new("flat_map", Location::caller()),
            self.captured(f),
        )
    }

    /// As [`DStream::map_partitions`].
    #[track_caller]
    pub fn map_partitions<I>(
        &self,
        f: impl Fn(&C, PartitionIter<T>) -> I + Send + Sync + 'static,
    ) -> DStream<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        let operator = Operator::new("map_partitions", Location::caller());
        self.stream
            .map_each_partition_with(operator, self.captured(f))
    }

    /// As [`DStream::map_partitions_with_index`].
    #[track_caller]
    pub fn map_partitions_with_index<I>(
        &self,
        f: impl Fn(&C, usize, PartitionIter<T>) -> I + Send + Sync + 'static,
    ) -> DStream<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        let operator = Operator::new("map_partitions_with_index", Location::caller());
        self.stream.map_partitions_with(operator, self.captured(f))
    }

    /// As [`DStream::reduce`].
    #[track_caller]
    pub fn reduce(&self, f: impl Fn(&C, T, T) -> T + Send + Sync + 'static) -> DStream<T> {
        let operator = Operator::new("reduce", Location::caller());
        self.stream.reduce_with(operator, self.captured(f))
    }

    /// As [`DStream::reduce_by_window`].
    #[track_caller]
    pub fn reduce_by_window(
        &self,
        window: Window,
        f: impl Fn(&C, T, T) -> T + Send + Sync + 'static,
    ) -> DStream<T> {
        let operator = Operator::new("reduce_by_window", Location::caller());
        self.stream
            .reduce_window_with(operator, window, self.captured(f))
    }

    /// As [`DStream::for_each_partition`].
    #[track_caller]
    pub fn for_each_partition<E>(
        &self,
        f: impl Fn(&C, PartitionIter<T>) -> Result<(), E> + Send + Sync + 'static,
    ) -> Output
    where
        E: Into<BoxError> + 'static,
    {
        let operator = Operator::new("for_each_partition", Location::caller());
        self.stream
            .for_each_partition_with(operator, self.captured(f))
    }
}

impl<K: Key, V: Data, C: Data> DStreamWith<(K, V), C> {
    /// As [`map_values`](super::PairDStream::map_values).
    #[track_caller]
    pub fn map_values<U: Data>(
        &self,
        f: impl Fn(&C, V) -> U + Send + Sync + 'static,
    ) -> DStream<(K, U)> {
        let operator = Operator::new("map_values", Location::caller());
        self.stream.map_values_with(operator, self.captured(f))
    }

    /// As [`flat_map_values`](super::PairDStream::flat_map_values).
    #[track_caller]
    pub fn flat_map_values<I>(
        &self,
        f: impl Fn(&C, V) -> I + Send + Sync + 'static,
    ) -> DStream<(K, I::Item)>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        let operator = Operator::new("flat_map_values", Location::caller());
        self.stream.flat_map_values_with(operator, self.captured(f))
    }

    /// As [`reduce_by_key`](super::PairDStream::reduce_by_key).
    #[track_caller]
    pub fn reduce_by_key(
        &self,
        f: impl Fn(&C, V, V) -> V + Send + Sync + 'static,
    ) -> DStream<(K, V)> {
        let operator = Operator::new("reduce_by_key", Location::caller());
        let partitioner = self.stream.default_partitioner();
        self.stream
            .combine_as(operator, Reduce(self.captured(f)), partitioner)
    }

    /// As [`combine_by_key`](super::PairDStream::combine_by_key).
    #[track_caller]
    pub fn combine_by_key<U: Data>(
        &self,
        create: impl Fn(&C, V) -> U + Send + Sync + 'static,
        merge_value: impl Fn(&C, U, V) -> U + Send + Sync + 'static,
        merge_combiners: impl Fn(&C, U, U) -> U + Send + Sync + 'static,
    ) -> DStream<(K, U)> {
        let operator = Operator::new("combine_by_key", Location::caller());
        let functions = Functions {
            create: self.captured(create),
            merge_value: self.captured(merge_value),
            merge_combiners: self.captured(merge_combiners),
        };
        let partitioner = self.stream.default_partitioner();
        self.stream.combine_as(operator, functions, partitioner)
    }

    /// As [`reduce_by_key_and_window`](super::PairDStream::reduce_by_key_and_window).
    #[track_caller]
    pub fn reduce_by_key_and_window(
        &self,
        window: Window,
        f: impl Fn(&C, V, V) -> V + Send + Sync + 'static,
    ) -> DStream<(K, V)> {
        let operator = Operator::new("reduce_by_key_and_window", Location::caller());
        let partitioner = self.stream.default_partitioner();
        self.stream
            .reduce_window_as(operator, window, Reduce(self.captured(f)), partitioner)
    }
}
