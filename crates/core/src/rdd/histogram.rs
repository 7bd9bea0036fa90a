//! `histogram`, `histogram_between`: how many records lie in each bucket.

use std::panic::Location;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Rdd;
use super::numeric::Number;
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::function::Captured;
use crate::operator::Operator;

/// How many records lie in each bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram<T> {
    /// Where the buckets begin, and where the last one ends; one more than there are buckets.
    pub boundaries: Vec<T>,
    /// The records of each bucket.
    pub counts: Vec<u64>,
}

impl<T: Data + PartialOrd> Rdd<T> {
    /// How many records lie in each bucket. Bucket `i` is from boundary `i` up to, but without,
    /// boundary `i + 1`; the last bucket has both its ends. What lies in none, `NaN` too, is left
    /// out.
    ///
    /// *Cost* one job.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let words = ctx.parallelize(["ab", "ac", "b", "bd", "ef"].map(String::from));
    /// let counts = words.histogram_between(["a", "b", "c"].map(String::from))?;
    /// assert_eq!(counts, [2, 2]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for fewer than two boundaries, and for boundaries that do not ascend; else the
    /// job's failure.
    #[track_caller]
    pub fn histogram_between(&self, boundaries: impl IntoIterator<Item = T>) -> Result<Vec<u64>> {
        let operator = Operator::new("histogram_between", Location::caller());
        let boundaries: Vec<T> = boundaries.into_iter().collect();
        let refused = if boundaries.len() < 2 {
            "a histogram needs at least two boundaries"
        } else if !boundaries.is_sorted_by(|a, b| a < b) {
            "boundaries of a histogram must ascend, without a duplicate or NaN"
        } else {
            return self.count_buckets(operator, boundaries, bucket_of);
        };
        Err(Error::invalid(refused)
            .with("operator", operator)
            .with("boundaries", boundaries.len()))
    }

    fn count_buckets<F>(&self, operator: Operator, boundaries: Vec<T>, find: F) -> Result<Vec<u64>>
    where
        F: Fn(&[T], &T) -> Option<usize> + Copy + Send + Sync + 'static,
    {
        let buckets = boundaries.len().saturating_sub(1);
        let count = move |boundaries: &Vec<T>, records: PartitionIter<T>| {
            let mut counts = vec![0_u64; boundaries.len().saturating_sub(1)];
            for record in records {
                let bucket = find(boundaries, &record).and_then(|at| counts.get_mut(at));
                if let Some(count) = bucket {
                    *count += 1;
                }
            }
            counts
        };
        let function = Arc::new(Captured {
            captures: Arc::new(boundaries),
            function: count,
        });
        let splits = self.all_splits()?;
        let parts = self.ctx.run_action(operator, self, &function, &splits)?;
        let mut counts = vec![0; buckets];
        for part in parts {
            for (count, more) in counts.iter_mut().zip(part) {
                *count += more;
            }
        }
        Ok(counts)
    }
}

/// The bucket by binary search.
fn bucket_of<T: PartialOrd>(boundaries: &[T], record: &T) -> Option<usize> {
    let at = boundaries.partition_point(|boundary| boundary <= record);
    let last = boundaries.len().checked_sub(1)?;
    if at > last {
        // At the last boundary or beyond it.
        return (boundaries.last()? == record).then(|| last.saturating_sub(1));
    }
    at.checked_sub(1)
}

/// The bucket of evenly spaced boundaries, by arithmetic: the same as [`bucket_of`] says.
fn even_bucket_of(boundaries: &[f64], number: &f64) -> Option<usize> {
    let (first, last) = (boundaries.first()?, boundaries.last()?);
    if !(*first..=*last).contains(number) {
        return None;
    }
    let buckets = boundaries.len() - 1;
    let guess = ((number - first) / (last - first) * buckets as f64) as usize;
    // Rounding may miss by one.
    let begins_after = |at: usize| boundaries.get(at).is_some_and(|start| start > number);
    let mut at = guess.min(buckets - 1);
    if begins_after(at) {
        at -= 1;
    } else if at + 1 < buckets && !begins_after(at + 1) {
        at += 1;
    }
    Some(at)
}

impl<T: Number> Rdd<T> {
    pub(crate) fn histogram_as(
        &self,
        operator: Operator,
        num_buckets: usize,
    ) -> Result<Histogram<f64>> {
        if num_buckets == 0 {
            let error = Error::invalid("a histogram needs at least one bucket");
            return Err(error
                .with("operator", operator)
                .with("buckets", num_buckets));
        }
        let bare = Arc::new(crate::function::Plain(T::to_f64));
        let numbers = self.map_with(operator.clone(), bare);
        let ends = numbers.act(operator.clone(), |numbers| {
            let known = numbers.filter(|number| !number.is_nan());
            known.fold((0_u64, f64::INFINITY, f64::NEG_INFINITY), wider)
        })?;
        let (count, min, max) = ends.into_iter().fold(
            (0, f64::INFINITY, f64::NEG_INFINITY),
            |(count, min, max), (n, low, high)| (count + n, min.min(low), max.max(high)),
        );
        let refused = if count == 0 {
            "a histogram needs at least one number: the collection is empty, or all is NaN"
        } else if !(max - min).is_finite() {
            "a histogram of so many buckets needs a finite range: give boundaries instead"
        } else if num_buckets == 1 || min == max {
            return Ok(Histogram {
                boundaries: vec![min, max],
                counts: vec![count],
            });
        } else {
            let boundaries = evenly(min, max, num_buckets);
            let counts = numbers.count_buckets(operator, boundaries.clone(), even_bucket_of)?;
            return Ok(Histogram { boundaries, counts });
        };
        Err(Error::invalid(refused)
            .with("operator", operator)
            .with("min", min)
            .with("max", max))
    }
}

fn wider((count, min, max): (u64, f64, f64), number: f64) -> (u64, f64, f64) {
    (count + 1, min.min(number), max.max(number))
}

/// The boundaries of equal parts.
fn evenly(min: f64, max: f64, num_buckets: usize) -> Vec<f64> {
    let part = |at| min + (max - min) * (at as f64 / num_buckets as f64);
    let inner = (0..num_buckets).map(part);
    inner.chain(std::iter::once(max)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_finds_the_buckets_that_the_search_finds() {
        for (min, max) in [(0.0, 1.0), (-3.7, 11.3), (1e9, 1e9 + 1.0), (0.1, 0.7)] {
            for buckets in [1, 2, 3, 7, 10, 100] {
                let boundaries = evenly(min, max, buckets);
                assert_eq!(boundaries.len(), buckets + 1);
                let between = (0..=1000).map(|i| min + (max - min) * f64::from(i) / 1000.0);
                let outside = [min - 0.1, max + 0.1, f64::NAN, f64::INFINITY];
                for number in between.chain(boundaries.clone()).chain(outside) {
                    assert_eq!(
                        even_bucket_of(&boundaries, &number),
                        bucket_of(&boundaries, &number),
                        "{number} in {boundaries:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_last_bucket_is_closed() {
        let boundaries = [0, 5, 25, 50];
        let found = [-1, 0, 4, 5, 24, 25, 49, 50, 51].map(|x| bucket_of(&boundaries, &x));
        let expected = [
            None,
            Some(0),
            Some(0),
            Some(1),
            Some(1),
            Some(2),
            Some(2),
            Some(2),
            None,
        ];
        assert_eq!(found, expected);
    }
}
