//! `to_local_iterator`: the records on the driver, a partition at a time.

use std::panic::Location;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::Rdd;
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::function::Plain;
use crate::operator::Operator;
use crate::scope::JobScope;

impl<T: Data> Rdd<T> {
    /// The records in the order of [`collect`](Self::collect), on the driver, with one partition
    /// in memory at a time.
    ///
    /// *Cost* one job a partition, run when the iterator reaches it: an RDD that costs much is
    /// best kept in memory first. A failure is the last item.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let mut sum = 0;
    /// for record in ctx.range(0..10).to_local_iterator()? {
    ///     sum += record?;
    /// }
    /// assert_eq!(sum, 45);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of finding out how many partitions there are.
    #[track_caller]
    pub fn to_local_iterator(&self) -> Result<LocalIterator<T>> {
        Ok(LocalIterator {
            rdd: self.clone(),
            operator: Operator::new("to_local_iterator", Location::caller()),
            splits: 0..self.num_partitions()?,
            records: Vec::new().into_iter(),
            prefetch: false,
            ahead: None,
        })
    }
}

/// The records of an RDD, fetched partition by partition. Made by [`Rdd::to_local_iterator`].
#[must_use = "nothing is fetched until it is asked for a record"]
pub struct LocalIterator<T: 'static> {
    rdd: Rdd<T>,
    operator: Operator,
    /// Those not yet asked for.
    splits: std::ops::Range<usize>,
    records: std::vec::IntoIter<T>,
    prefetch: bool,
    ahead: Option<JoinHandle<Result<Vec<T>>>>,
}

impl<T: Data> LocalIterator<T> {
    /// Fetches the next partition while the records of one are being consumed: two partitions in
    /// memory, less waiting.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let records: Result<Vec<i64>, _> = ctx.range(0..4).to_local_iterator()?.prefetch().collect();
    /// assert_eq!(records?, [0, 1, 2, 3]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    pub fn prefetch(mut self) -> Self {
        self.prefetch = true;
        self
    }

    /// The next partition that was not asked for yet.
    fn fetch(&mut self) -> Option<Result<Vec<T>>> {
        let fetched = match self.ahead.take() {
            Some(ahead) => ahead.join().unwrap_or_else(|_| {
                Err(Error::internal(
                    "the thread that fetches a partition panicked",
                ))
            }),
            None => fetch(&self.rdd, self.operator.clone(), self.splits.next()?),
        };
        if self.prefetch && fetched.is_ok() {
            self.ahead = self.splits.next().and_then(|split| self.fetch_ahead(split));
        }
        Some(fetched)
    }

    /// A machine that gives no thread fetches without one.
    fn fetch_ahead(&mut self, split: usize) -> Option<JoinHandle<Result<Vec<T>>>> {
        let (rdd, operator, scope) = (self.rdd.clone(), self.operator.clone(), JobScope::current());
        let run = move || scope.run(|| fetch(&rdd, operator, split));
        let thread = std::thread::Builder::new()
            .name("prefetch".to_owned())
            .spawn(run);
        if thread.is_err() {
            self.splits.start = split;
        }
        thread.ok()
    }
}

fn fetch<T: Data>(rdd: &Rdd<T>, operator: Operator, split: usize) -> Result<Vec<T>> {
    let collect = Arc::new(Plain(|records: PartitionIter<T>| {
        records.collect::<Vec<T>>()
    }));
    let mut parts = rdd
        .context()
        .run_action(operator, rdd, &collect, &[split])?;
    Ok(parts.pop().unwrap_or_default())
}

impl<T: Data> Iterator for LocalIterator<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        loop {
            if let Some(record) = self.records.next() {
                return Some(Ok(record));
            }
            match self.fetch()? {
                Ok(records) => self.records = records.into_iter(),
                Err(error) => {
                    // Nothing comes after a failure.
                    self.splits.start = self.splits.end;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl<T> std::fmt::Debug for LocalIterator<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalIterator")
            .field("operator", &self.operator)
            .field("splits", &self.splits)
            .finish_non_exhaustive()
    }
}
