//! `NumericRdd`: sums, means and spreads of numbers.

use std::ops::Add;
use std::panic::Location;
use std::time::Duration;

use super::Rdd;
use super::approximate::BoundedFloat;
use super::histogram::Histogram;
use crate::data::{Data, PartitionIter};
use crate::error::Result;
use crate::operator::Operator;
use crate::stat_counter::StatCounter;

/// A number that can be summed and averaged: Rust's own, up to 64 bits, and your newtypes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a number",
    label = "sums and means need Rust's integers of up to 64 bits, or floating point numbers",
    note = "`map` the records to numbers first"
)]
pub trait Number: Data + Copy {
    /// Wide enough for a sum: `i128` of integers, `f64` of floating point numbers.
    type Sum: Data + Default + Add<Output = Self::Sum>;

    /// As a sum of one.
    fn widen(self) -> Self::Sum;

    /// The nearest floating point number.
    fn to_f64(self) -> f64;
}

macro_rules! numbers {
    ($sum:ty: $($number:ty),*) => {$(
        impl Number for $number {
            type Sum = $sum;

            fn widen(self) -> $sum {
                self as $sum
            }

            fn to_f64(self) -> f64 {
                self as f64
            }
        }
    )*};
}

numbers!(i128: i8, i16, i32, i64, isize, u8, u16, u32, u64, usize);
numbers!(f64: f32, f64);

/// Operators of numbers. In the prelude; what is no [`Number`] is told so by the compiler.
///
/// ```compile_fail,E0277
/// use tidemill_core::{Context, NumericRdd};
///
/// let words = Context::local(2)?.parallelize([String::from("one")]);
/// let sum = words.sum()?; // `String` is not a number
/// # Ok::<(), tidemill_core::Error>(())
/// ```
pub trait NumericRdd<T: Data>: Sized {
    /// The numbers.
    #[doc(hidden)]
    fn numbers(&self) -> &Rdd<T>;

    /// The sum; 0 of none. Integers are summed exactly.
    ///
    /// ```
    /// use tidemill_core::{Context, NumericRdd};
    ///
    /// let ctx = Context::local(2)?;
    /// assert_eq!(ctx.parallelize([i64::MAX, i64::MAX]).sum()?, 2 * i128::from(i64::MAX));
    /// assert_eq!(ctx.empty_rdd::<f64>().sum()?, 0.0);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    fn sum(&self) -> Result<T::Sum>
    where
        T: Number,
    {
        let operator = Operator::new("sum", Location::caller());
        let add = |sum: T::Sum, number: T| sum + number.widen();
        let sums = self.numbers().act(operator, move |numbers| {
            numbers.fold(T::Sum::default(), add)
        })?;
        Ok(sums.into_iter().fold(T::Sum::default(), Add::add))
    }

    /// Count, mean, variance, largest and smallest, in one job.
    ///
    /// ```
    /// use tidemill_core::{Context, NumericRdd};
    ///
    /// let stats = Context::local(2)?.parallelize([1.0, 2.0, 3.0]).stats()?;
    /// assert_eq!((stats.count(), stats.mean(), stats.max()), (3, 2.0, 3.0));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    fn stats(&self) -> Result<StatCounter>
    where
        T: Number,
    {
        self.numbers()
            .stats_as(Operator::new("stats", Location::caller()))
    }

    /// The mean; 0 of none.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    fn mean(&self) -> Result<f64>
    where
        T: Number,
    {
        let operator = Operator::new("mean", Location::caller());
        Ok(self.numbers().stats_as(operator)?.mean())
    }

    /// The variance of these numbers; `NaN` of none. See [`StatCounter::variance`].
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    fn variance(&self) -> Result<f64>
    where
        T: Number,
    {
        let operator = Operator::new("variance", Location::caller());
        Ok(self.numbers().stats_as(operator)?.variance())
    }

    /// The root of the variance.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    fn stdev(&self) -> Result<f64>
    where
        T: Number,
    {
        let operator = Operator::new("stdev", Location::caller());
        Ok(self.numbers().stats_as(operator)?.stdev())
    }

    /// The variance of what the numbers are a sample of; `NaN` of fewer than two.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    fn sample_variance(&self) -> Result<f64>
    where
        T: Number,
    {
        let operator = Operator::new("sample_variance", Location::caller());
        Ok(self.numbers().stats_as(operator)?.sample_variance())
    }

    /// The root of the sample variance.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    fn sample_stdev(&self) -> Result<f64>
    where
        T: Number,
    {
        let operator = Operator::new("sample_stdev", Location::caller());
        Ok(self.numbers().stats_as(operator)?.sample_stdev())
    }

    /// How many numbers lie in each of `num_buckets` equal parts of the range from the smallest to
    /// the largest; the last part has both its ends. `NaN` is left out. Numbers that are all equal
    /// give one bucket.
    ///
    /// *Cost* two jobs.
    ///
    /// ```
    /// use tidemill_core::{Context, NumericRdd};
    ///
    /// let histogram = Context::local(2)?.range(0..51).histogram(2)?;
    /// assert_eq!(histogram.boundaries, [0.0, 25.0, 50.0]);
    /// assert_eq!(histogram.counts, [25, 26]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for 0 buckets, when there is no number, and when the range is infinite; else the
    /// jobs' failure.
    #[track_caller]
    fn histogram(&self, num_buckets: usize) -> Result<Histogram<f64>>
    where
        T: Number,
    {
        let operator = Operator::new("histogram", Location::caller());
        self.numbers().histogram_as(operator, num_buckets)
    }

    /// As [`sum`](Self::sum), from those partitions that are done within `timeout`; the others are
    /// cancelled. See [`Rdd::count_approx`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidemill_core::{Context, NumericRdd};
    ///
    /// let sum = Context::local(2)?.range(0..100).sum_approx(Duration::from_secs(60), 0.95)?;
    /// assert_eq!((sum.value, sum.confidence), (4950.0, 1.0));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a confidence outside `[0, 1]`; else the job's failure.
    #[track_caller]
    fn sum_approx(&self, timeout: Duration, confidence: f64) -> Result<BoundedFloat>
    where
        T: Number,
    {
        let operator = Operator::new("sum_approx", Location::caller());
        self.numbers().sum_approx_as(operator, timeout, confidence)
    }

    /// As [`mean`](Self::mean), from those partitions that are done within `timeout`; the others
    /// are cancelled. See [`Rdd::count_approx`].
    ///
    /// # Errors
    /// `Invalid` for a confidence outside `[0, 1]`; else the job's failure.
    #[track_caller]
    fn mean_approx(&self, timeout: Duration, confidence: f64) -> Result<BoundedFloat>
    where
        T: Number,
    {
        let operator = Operator::new("mean_approx", Location::caller());
        self.numbers().mean_approx_as(operator, timeout, confidence)
    }
}

impl<T: Data> NumericRdd<T> for Rdd<T> {
    fn numbers(&self) -> &Self {
        self
    }
}

impl<T: Number> Rdd<T> {
    fn stats_as(&self, operator: Operator) -> Result<StatCounter> {
        let parts = self.act(operator, stats_of::<T>)?;
        let mut stats = StatCounter::new();
        parts.iter().for_each(|part| stats.merge(part));
        Ok(stats)
    }
}

/// The figures of a partition.
pub(crate) fn stats_of<T: Number>(numbers: PartitionIter<T>) -> StatCounter {
    numbers.map(T::to_f64).collect()
}
