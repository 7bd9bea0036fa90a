//! `StatCounter`: count, mean, variance, largest and smallest of numbers, in one pass.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Count, mean, variance, largest and smallest of numbers, taken in one by one or counter by
/// counter.
///
/// The formulas are Welford's for one number and Chan's for two counters, which lose no digits
/// where a sum of squares would.
///
/// ```
/// use tidemill_core::StatCounter;
///
/// let stats: StatCounter = [1.0, 2.0, 3.0].into_iter().collect();
/// assert_eq!((stats.count(), stats.mean(), stats.sum()), (3, 2.0, 6.0));
/// assert_eq!((stats.min(), stats.max()), (1.0, 3.0));
/// assert_eq!(stats.sample_variance(), 1.0);
/// assert_eq!(
///     stats.to_string(),
///     "(count: 3, mean: 2.0, stdev: 0.816496580927726, max: 3.0, min: 1.0)"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatCounter {
    count: u64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
    max: f64,
    min: f64,
}

impl StatCounter {
    /// Of no numbers: mean 0, variance `NaN`, largest −∞, smallest ∞.
    #[must_use]
    pub fn new() -> Self {
        Self {
            count: 0,
            mean: 0.0,
            squares: 0.0,
            max: f64::NEG_INFINITY,
            min: f64::INFINITY,
        }
    }

    /// Takes in one number.
    pub fn add(&mut self, number: f64) {
        let distance = number - self.mean;
        self.count += 1;
        self.mean += distance / self.count as f64;
        self.squares += distance * (number - self.mean);
        self.max = self.max.max(number);
        self.min = self.min.min(number);
    }

    /// Takes in all numbers of another counter.
    ///
    /// ```
    /// use tidemill_core::StatCounter;
    ///
    /// let mut stats: StatCounter = [1.0, 2.0].into_iter().collect();
    /// stats.merge(&[6.0].into_iter().collect());
    /// assert_eq!((stats.count(), stats.mean()), (3, 3.0));
    /// ```
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (ours, theirs) = (self.count as f64, other.count as f64);
        let distance = other.mean - self.mean;
        // A small counter moves a large one's mean a little: the weighted mean would round more.
        self.mean = if theirs * 10.0 < ours {
            self.mean + distance * theirs / (ours + theirs)
        } else if ours * 10.0 < theirs {
            other.mean - distance * ours / (ours + theirs)
        } else {
            (self.mean * ours + other.mean * theirs) / (ours + theirs)
        };
        self.squares += other.squares + distance * distance * ours * theirs / (ours + theirs);
        self.count += other.count;
        self.max = self.max.max(other.max);
        self.min = self.min.min(other.min);
    }

    /// How many numbers there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; 0 of none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Their sum: the mean times the count.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.mean * self.count as f64
    }

    /// The largest; −∞ of none.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.max
    }

    /// The smallest; ∞ of none.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The variance of these numbers: squared distances from the mean over the count; `NaN` of
    /// none.
    #[must_use]
    pub fn variance(&self) -> f64 {
        if self.count == 0 {
            f64::NAN
        } else {
            self.squares / self.count as f64
        }
    }

    /// The variance of what these numbers are a sample of: over the count less one; `NaN` of fewer
    /// than two.
    #[must_use]
    pub fn sample_variance(&self) -> f64 {
        if self.count < 2 {
            f64::NAN
        } else {
            self.squares / (self.count - 1) as f64
        }
    }

    /// The root of the [`variance`](Self::variance).
    #[must_use]
    pub fn stdev(&self) -> f64 {
        self.variance().sqrt()
    }

    /// The root of the [`sample_variance`](Self::sample_variance).
    #[must_use]
    pub fn sample_stdev(&self) -> f64 {
        self.sample_variance().sqrt()
    }
}

impl Default for StatCounter {
    fn default() -> Self {
        Self::new()
    }
}

impl FromIterator<f64> for StatCounter {
    fn from_iter<I: IntoIterator<Item = f64>>(numbers: I) -> Self {
        let mut stats = Self::new();
        numbers.into_iter().for_each(|number| stats.add(number));
        stats
    }
}

impl fmt::Display for StatCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "(count: {}, mean: {:?}, stdev: {:?}, max: {:?}, min: {:?})",
            self.count,
            self.mean,
            self.stdev(),
            self.max,
            self.min
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[f64]) -> StatCounter {
        numbers.iter().copied().collect()
    }

    // C-163
    #[test]
    fn three_numbers_and_none() {
        let stats = of(&[1.0, 2.0, 3.0]);
        assert_eq!((stats.count(), stats.mean()), (3, 2.0));
        assert!((stats.variance() - 2.0 / 3.0).abs() < 1e-12);
        assert!((stats.stdev() - 0.816_496_580_927_726).abs() < 1e-12);
        assert_eq!((stats.sample_variance(), stats.sample_stdev()), (1.0, 1.0));
        let none = StatCounter::new();
        assert_eq!((none.mean(), none.sum()), (0.0, 0.0));
        assert!(none.variance().is_nan() && none.sample_variance().is_nan());
        assert_eq!((none.max(), none.min()), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(of(&[5.0]).sample_variance().is_nan());
    }

    // C-164
    #[test]
    fn merged_parts_equal_a_single_pass() {
        let numbers: Vec<f64> = (0..5000)
            .map(|x| f64::from(x * 7919 % 1000) + 1e6)
            .collect();
        let whole = of(&numbers);
        for cut in [0, 1, 100, 2500, 4990, 5000] {
            let (left, right) = numbers.split_at(cut);
            let mut merged = of(left);
            merged.merge(&of(right));
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs();
            assert_eq!(merged.count(), whole.count());
            assert!(near(merged.mean(), whole.mean()), "{cut}");
            assert!(near(merged.variance(), whole.variance()), "{cut}");
            assert_eq!((merged.max(), merged.min()), (whole.max(), whole.min()));
        }
        let mut nothing = StatCounter::new();
        nothing.merge(&StatCounter::new());
        assert_eq!(nothing, StatCounter::new());
    }

    // C-165
    #[test]
    fn the_text_names_all_figures() {
        let text = "(count: 3, mean: 2.0, stdev: 0.816496580927726, max: 3.0, min: 1.0)";
        assert_eq!(of(&[1.0, 2.0, 3.0]).to_string(), text);
        let text = "(count: 0, mean: 0.0, stdev: NaN, max: -inf, min: inf)";
        assert_eq!(StatCounter::new().to_string(), text);
    }
}
