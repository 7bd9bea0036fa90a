//! `with`: data that goes along with the functions.

use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use crate::data::{Data, PartitionIter};
use crate::error::Result;
use crate::function::Captured;
use crate::operator::Operator;

/// An RDD and the data its next operator's function wants to see.
///
/// A closure that captures cannot leave the process; this is how it gets its data instead.
///
/// ```
/// use tidemill_core::Context;
///
/// let ctx = Context::local(2)?;
/// let threshold = 3;
/// let large = ctx.range(0..6).with(threshold).filter(|threshold, x| x > threshold);
/// assert_eq!(large.collect()?, [4, 5]);
/// # Ok::<(), tidemill_core::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "call an operator on it"]
pub struct With<T: 'static, C> {
    rdd: Rdd<T>,
    captures: Arc<C>,
}

impl<T: Data, C: Data> With<T, C> {
    pub(crate) fn new(rdd: Rdd<T>, captures: C) -> Self {
        Self {
            rdd,
            captures: Arc::new(captures),
        }
    }

    fn captured<F>(&self, function: F) -> Arc<Captured<C, F>> {
        Arc::new(Captured {
            captures: Arc::clone(&self.captures),
            function,
        })
    }

    /// As [`Rdd::map`].
    #[track_caller]
    pub fn map<U: Data>(&self, f: impl Fn(&C, T) -> U + Send + Sync + 'static) -> Rdd<U> {
        self.rdd
            .map_with(Operator::new("map", Location::caller()), self.captured(f))
    }

    /// As [`Rdd::filter`].
    #[track_caller]
    pub fn filter(&self, f: impl Fn(&C, &T) -> bool + Send + Sync + 'static) -> Rdd<T> {
        self.rdd.filter_with(
            Operator::new("filter", Location::caller()),
            self.captured(f),
        )
    }

    /// As [`Rdd::flat_map`].
    #[track_caller]
    pub fn flat_map<I>(&self, f: impl Fn(&C, T) -> I + Send + Sync + 'static) -> Rdd<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        self.rdd.flat_map_with(
            Operator::new("flat_map", Location::caller()),
            self.captured(f),
        )
    }

    /// As [`Rdd::map_partitions_with_index`].
    #[track_caller]
    pub fn map_partitions_with_index<I>(
        &self,
        f: impl Fn(&C, usize, PartitionIter<T>) -> I + Send + Sync + 'static,
    ) -> Rdd<I::Item>
    where
        I: IntoIterator<Item: Data> + 'static,
    {
        let operator = Operator::new("map_partitions_with_index", Location::caller());
        self.rdd.map_partitions_with(operator, self.captured(f))
    }

    /// As [`Rdd::for_each`].
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    pub fn for_each(&self, f: impl Fn(&C, T) + Send + Sync + 'static) -> Result<()> {
        let operator = Operator::new("for_each", Location::caller());
        self.rdd.for_each_with(operator, self.captured(f))
    }
}
