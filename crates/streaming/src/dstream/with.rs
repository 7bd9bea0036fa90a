//! `with`: data that goes along with the functions of a stream.

use std::panic::Location;
use std::sync::Arc;

use tidemill_core::function::Captured;
use tidemill_core::{Data, Operator};

use super::DStream;

/// A stream and the data its next operator's function wants to see. The same as
/// [`Rdd::with`](tidemill_core::Rdd::with), batch by batch.
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
}
