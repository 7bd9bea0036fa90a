//! `count_approx`, `sum_approx`, `mean_approx`: what can be said when the time is up.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, DiscreteCDF, Normal, Poisson, StudentsT};

use super::Rdd;
use super::numeric::{Number, stats_of};
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::function::Plain;
use crate::operator::Operator;
use crate::stat_counter::StatCounter;

/// From so many numbers on, Student's distribution is taken for the normal one.
const MANY: u64 = 100;
/// Poisson's distribution of so large a mean is taken for the normal one.
const LARGE_MEAN: f64 = 10_000.0;

/// A number that is known only so well: it lies between `low` and `high` with probability
/// `confidence`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundedFloat {
    /// The best guess.
    pub value: f64,
    /// How sure it is that the number lies within the bounds, from 0 to 1; 1 when it is exact.
    pub confidence: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

impl BoundedFloat {
    fn exact(value: f64) -> Self {
        Self {
            value,
            confidence: 1.0,
            low: value,
            high: value,
        }
    }

    fn around(value: f64, distance: f64, confidence: f64) -> Self {
        Self {
            value,
            confidence,
            low: value - distance,
            high: value + distance,
        }
    }
}

impl fmt::Display for BoundedFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:.3}, {:.3}]", self.low, self.high)
    }
}

/// What came of a job that was given only so much time.
struct Partial<R> {
    parts: Vec<R>,
    /// How much of the RDD's partitions they are, from 0 to 1.
    done: f64,
}

impl<T: Data> Rdd<T> {
    /// How many records there are, from those partitions that are done within `timeout` of the
    /// context's clock; the others are cancelled. All of them in time give the exact count.
    ///
    /// The bounds suppose that the missing partitions are like those that are done: their records
    /// follow Poisson's distribution.
    ///
    /// *Cost* one job; the result comes when all partitions are done or the timeout has passed,
    /// whichever is first.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let count = ctx.range(0..100).count_approx(Duration::from_secs(60), 0.95)?;
    /// assert_eq!((count.value, count.low, count.high, count.confidence), (100.0, 100.0, 100.0, 1.0));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a confidence outside `[0, 1]`; else the job's failure.
    #[track_caller]
    pub fn count_approx(&self, timeout: Duration, confidence: f64) -> Result<BoundedFloat> {
        let operator = Operator::new("count_approx", Location::caller());
        let partial = self.run_for(operator, timeout, confidence, |records| {
            records.count() as u64
        })?;
        Ok(estimate_count(
            partial.parts.iter().sum(),
            partial.done,
            confidence,
        ))
    }

    fn run_for<R: Data>(
        &self,
        operator: Operator,
        timeout: Duration,
        confidence: f64,
        f: impl Fn(PartitionIter<T>) -> R + Send + Sync + 'static,
    ) -> Result<Partial<R>> {
        if !(0.0..=1.0).contains(&confidence) {
            let error = Error::invalid("confidence must lie between 0 and 1");
            return Err(error
                .with("operator", operator)
                .with("confidence", confidence));
        }
        let splits = self.all_splits()?;
        let function = Arc::new(Plain(f));
        let parts = self
            .ctx
            .run_action_for(operator, self, &function, &splits, timeout)?;
        let done = parts.len() as f64 / splits.len().max(1) as f64;
        Ok(Partial {
            done: if splits.is_empty() { 1.0 } else { done },
            parts,
        })
    }
}

impl<T: Number> Rdd<T> {
    pub(crate) fn sum_approx_as(
        &self,
        operator: Operator,
        timeout: Duration,
        confidence: f64,
    ) -> Result<BoundedFloat> {
        let (stats, done) = self.stats_for(operator, timeout, confidence)?;
        Ok(estimate_sum(&stats, done, confidence))
    }

    pub(crate) fn mean_approx_as(
        &self,
        operator: Operator,
        timeout: Duration,
        confidence: f64,
    ) -> Result<BoundedFloat> {
        let (stats, done) = self.stats_for(operator, timeout, confidence)?;
        Ok(estimate_mean(&stats, done, confidence))
    }

    fn stats_for(
        &self,
        operator: Operator,
        timeout: Duration,
        confidence: f64,
    ) -> Result<(StatCounter, f64)> {
        let partial = self.run_for(operator, timeout, confidence, stats_of::<T>)?;
        let mut stats = StatCounter::new();
        partial.parts.iter().for_each(|part| stats.merge(part));
        Ok((stats, partial.done))
    }
}

/// The missing records follow Poisson's distribution, at the rate of those that were counted.
fn estimate_count(counted: u64, done: f64, confidence: f64) -> BoundedFloat {
    let counted = counted as f64;
    if done >= 1.0 {
        return BoundedFloat::exact(counted);
    }
    if done <= 0.0 {
        return BoundedFloat {
            value: 0.0,
            confidence,
            low: 0.0,
            high: f64::INFINITY,
        };
    }
    let missing = counted * (1.0 - done) / done;
    let (low, high) = poisson_bounds(missing, confidence);
    BoundedFloat {
        value: counted + missing,
        confidence,
        low: counted + low,
        high: counted + high,
    }
}

/// Between which values a Poisson number of this mean lies.
fn poisson_bounds(mean: f64, confidence: f64) -> (f64, f64) {
    let tail = (1.0 - confidence) / 2.0;
    if confidence >= 1.0 {
        return (0.0, f64::INFINITY);
    }
    match Poisson::new(mean) {
        Ok(poisson) if mean <= LARGE_MEAN => (
            poisson.inverse_cdf(tail) as f64,
            poisson.inverse_cdf(1.0 - tail) as f64,
        ),
        _ => {
            let distance = normal_quantile(confidence) * mean.sqrt();
            ((mean - distance).max(0.0), mean + distance)
        }
    }
}

/// The sum so far, and the mean times the number of records that are still missing. The variance
/// is that of a product of two independent numbers.
fn estimate_sum(stats: &StatCounter, done: f64, confidence: f64) -> BoundedFloat {
    if done >= 1.0 {
        return BoundedFloat::exact(stats.sum());
    }
    if done <= 0.0 || stats.count() == 0 {
        return BoundedFloat::around(0.0, f64::INFINITY, confidence);
    }
    let count = stats.count() as f64;
    let missing = count * (1.0 - done) / done;
    let value = stats.sum() + stats.mean() * missing;
    if stats.count() < 2 {
        return BoundedFloat::around(value, f64::INFINITY, confidence);
    }
    // Poisson's variance is its mean.
    let (count_variance, mean_variance) = (missing, stats.sample_variance() / count);
    let variance = count_variance * mean_variance
        + count_variance * stats.mean() * stats.mean()
        + mean_variance * missing * missing;
    let distance = quantile(stats.count(), confidence) * variance.sqrt();
    BoundedFloat::around(value, distance, confidence)
}

/// The interval of a sample's mean.
fn estimate_mean(stats: &StatCounter, done: f64, confidence: f64) -> BoundedFloat {
    if done >= 1.0 {
        return BoundedFloat::exact(stats.mean());
    }
    let distance = if stats.count() < 2 {
        f64::INFINITY
    } else {
        let error = (stats.sample_variance() / stats.count() as f64).sqrt();
        quantile(stats.count(), confidence) * error
    };
    BoundedFloat::around(stats.mean(), distance, confidence)
}

/// How many standard errors lie on either side of the mean of `count` numbers.
fn quantile(count: u64, confidence: f64) -> f64 {
    if count > MANY || confidence >= 1.0 {
        return normal_quantile(confidence);
    }
    match StudentsT::new(0.0, 1.0, count.saturating_sub(1) as f64) {
        Ok(students) => students.inverse_cdf(1.0 - (1.0 - confidence) / 2.0),
        Err(_) => f64::INFINITY,
    }
}

fn normal_quantile(confidence: f64) -> f64 {
    if confidence >= 1.0 {
        return f64::INFINITY;
    }
    Normal::standard().inverse_cdf(1.0 - (1.0 - confidence) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 0.01 * b.abs()
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        assert!(near(normal_quantile(0.95), 1.960));
        assert!(near(quantile(2, 0.95), 12.706));
        assert!(near(quantile(11, 0.95), 2.228));
        assert!(near(quantile(1_000, 0.95), 1.960));
        assert_eq!(quantile(10, 1.0), f64::INFINITY);
        assert!(quantile(10, 0.0).abs() < 1e-9);
        // Of Poisson's with mean 10: 2.5 % lie below 4, 97.5 % up to 17.
        assert_eq!(poisson_bounds(10.0, 0.95), (4.0, 17.0));
        let (low, high) = poisson_bounds(1e6, 0.95);
        assert!(near(low, 998_040.0) && near(high, 1_001_960.0));
        assert_eq!(poisson_bounds(0.0, 0.95), (0.0, 0.0));
    }

    #[test]
    fn what_is_done_is_exact_and_what_has_not_begun_is_unbounded() {
        let stats: StatCounter = (0..100).map(f64::from).collect();
        let exact = [
            estimate_count(100, 1.0, 0.9),
            estimate_sum(&stats, 1.0, 0.9),
            estimate_mean(&stats, 1.0, 0.9),
        ];
        assert_eq!(exact.map(|found| found.value), [100.0, 4950.0, 49.5]);
        assert!(
            exact
                .iter()
                .all(|found| found.confidence == 1.0 && found.low == found.high)
        );
        let none = StatCounter::new();
        let unknown = estimate_count(0, 0.0, 0.9);
        assert_eq!(
            (unknown.value, unknown.low, unknown.high),
            (0.0, 0.0, f64::INFINITY)
        );
        for unknown in [
            estimate_sum(&none, 0.0, 0.9),
            estimate_mean(&none, 0.0, 0.9),
        ] {
            assert_eq!(unknown.value, 0.0);
            assert_eq!(
                (unknown.low, unknown.high),
                (f64::NEG_INFINITY, f64::INFINITY)
            );
        }
    }

    #[test]
    fn half_of_even_data_bounds_the_whole() {
        let stats: StatCounter = (0..1_000).map(|x| f64::from(x % 10)).collect();
        let count = estimate_count(1_000, 0.5, 0.95);
        assert_eq!(count.value, 2_000.0);
        assert!(count.low > 1_900.0 && count.high < 2_100.0, "{count}");
        let sum = estimate_sum(&stats, 0.5, 0.95);
        assert!(near(sum.value, 9_000.0) && sum.low < 9_000.0 && sum.high > 9_000.0);
        assert!(sum.high - sum.low < 1_000.0, "{sum}");
        let mean = estimate_mean(&stats, 0.5, 0.95);
        assert!(
            near(mean.value, 4.5) && mean.high - mean.low < 0.5,
            "{mean}"
        );
    }
}
