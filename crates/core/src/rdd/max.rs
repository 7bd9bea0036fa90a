//! `max`, `min`: the largest and the smallest record.

use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use super::actions::ReducePartition;
use super::map::WithKey;
use crate::data::Data;
use crate::error::{Error, Result};
use crate::function::Plain;
use crate::operator::Operator;

impl<T: Data + Ord> Rdd<T> {
    /// The largest record. Floating point numbers have no largest one: see `stats`.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// assert_eq!(ctx.parallelize([1, 5, 43, 10]).max()?, 43);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when there is no record; else the job's failure.
    #[track_caller]
    pub fn max(&self) -> Result<T> {
        let operator = Operator::new("max", Location::caller());
        self.chosen(operator, |a: T, b: T| if b > a { b } else { a })
    }

    /// The smallest record.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// assert_eq!(ctx.parallelize([2, 5, 43, 10]).min()?, 2);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when there is no record; else the job's failure.
    #[track_caller]
    pub fn min(&self) -> Result<T> {
        let operator = Operator::new("min", Location::caller());
        self.chosen(operator, |a: T, b: T| if b < a { b } else { a })
    }
}

impl<T: Data> Rdd<T> {
    /// The record of which `f` says the most; of several the first.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// assert_eq!(ctx.parallelize([1, 5, 43, 10]).max_by_key(|x| x.to_string())?, 5);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when there is no record; else the job's failure.
    #[track_caller]
    pub fn max_by_key<K: Data + Ord>(
        &self,
        f: impl Fn(&T) -> K + Send + Sync + 'static,
    ) -> Result<T> {
        let operator = Operator::new("max_by_key", Location::caller());
        let keyed = self.map_with(operator.clone(), Arc::new(WithKey(Arc::new(Plain(f)))));
        let larger = |a: (K, T), b: (K, T)| if b.0 > a.0 { b } else { a };
        keyed.chosen(operator, larger).map(|(_, record)| record)
    }

    /// The record of which `f` says the least; of several the first.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// assert_eq!(ctx.parallelize([2, 5, 43, 10]).min_by_key(|x| x.to_string())?, 10);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when there is no record; else the job's failure.
    #[track_caller]
    pub fn min_by_key<K: Data + Ord>(
        &self,
        f: impl Fn(&T) -> K + Send + Sync + 'static,
    ) -> Result<T> {
        let operator = Operator::new("min_by_key", Location::caller());
        let keyed = self.map_with(operator.clone(), Arc::new(WithKey(Arc::new(Plain(f)))));
        let smaller = |a: (K, T), b: (K, T)| if b.0 < a.0 { b } else { a };
        keyed.chosen(operator, smaller).map(|(_, record)| record)
    }

    /// The record that is left when of two always one is chosen.
    fn chosen(
        &self,
        operator: Operator,
        choose: impl Fn(T, T) -> T + Copy + Send + Sync + 'static,
    ) -> Result<T> {
        let function = Arc::new(ReducePartition(Plain(choose)));
        let splits = self.all_splits()?;
        let parts: Vec<Option<T>> =
            self.ctx
                .run_action(operator.clone(), self, &function, &splits)?;
        parts.into_iter().flatten().reduce(choose).ok_or_else(|| {
            let message = "an empty collection has no largest or smallest record";
            Error::invalid(message).with("operator", operator)
        })
    }
}
