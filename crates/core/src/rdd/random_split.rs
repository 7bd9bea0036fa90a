//! `random_split`: pieces of given weights.

use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use super::map_partitions::MapPartitions;
use super::sample::own_seed;
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::function::Captured;
use crate::operator::Operator;
use crate::random::Random;

impl<T: Data> Rdd<T> {
    /// The records dealt out at random to one RDD for each weight: each record is in exactly one
    /// piece, in the piece of weight `w` with probability `w / sum of the weights`.
    ///
    /// Every piece reads this RDD and draws the same numbers, so this RDD must give its records
    /// in the same order each time: [`cache`](Self::cache) it when it does not. Without a `seed`
    /// the context's is used; each call then draws anew.
    ///
    /// *Shape* `T`, as many partitions each, order and partitioner kept. *Cost* narrow, once for
    /// each piece. *State* none.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let pieces = ctx.range(0..100).random_split(&[3.0, 1.0], Some(7))?;
    /// let mut all = pieces[0].union(&pieces[1])?.collect()?;
    /// all.sort();
    /// assert_eq!(all, (0..100).collect::<Vec<i64>>());
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a negative weight, and when the weights add up to nothing.
    #[track_caller]
    pub fn random_split(&self, weights: &[f64], seed: Option<u64>) -> Result<Vec<Self>> {
        let operator = Operator::new("random_split", Location::caller());
        let bounds = bounds(weights).map_err(|error| error.with("operator", &operator))?;
        let seed = own_seed(seed, &self.ctx, &self.child(operator.clone()));
        let piece = |(low, high): (f64, f64)| {
            let function = Arc::new(Captured {
                captures: Arc::new((low, high, seed)),
                function: within::<T>,
            });
            let (meta, parent) = (self.child(operator.clone()), self.node.clone());
            self.ctx
                .rdd(MapPartitions::new(meta, parent, function, true))
        };
        Ok(bounds.into_iter().map(piece).collect())
    }
}

/// Records whose number lies in `[low, high)`.
fn within<T: Data>(
    (low, high, seed): &(f64, f64, u64),
    split: usize,
    records: PartitionIter<T>,
) -> PartitionIter<T> {
    let piece = *low..*high;
    let mut random = Random::new(*seed, split as u64);
    Box::new(records.filter(move |_| piece.contains(&random.unit())))
}

/// The part of `[0, 1)` that each weight has; together they leave nothing out.
fn bounds(weights: &[f64]) -> Result<Vec<(f64, f64)>> {
    if let Some(bad) = weights.iter().find(|w| !w.is_finite() || **w < 0.0) {
        return Err(
            Error::invalid("weight must be a number that is not negative").with("weight", bad),
        );
    }
    let sum: f64 = weights.iter().sum();
    if sum <= 0.0 || !sum.is_finite() {
        let message = "weights must add up to a number above 0";
        return Err(Error::invalid(message).with("sum", sum));
    }
    let last = weights.iter().rposition(|weight| *weight > 0.0);
    let mut low = 0.0;
    let cut = |(at, weight): (usize, &f64)| {
        // The last piece takes what rounding has left.
        let high = match last {
            Some(last) if at >= last => 1.0,
            _ => low + weight / sum,
        };
        (std::mem::replace(&mut low, high), high)
    };
    Ok(weights.iter().enumerate().map(cut).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_normalised_and_leave_nothing_out() {
        assert_eq!(bounds(&[1.0, 3.0]).unwrap(), [(0.0, 0.25), (0.25, 1.0)]);
        assert_eq!(
            bounds(&[0.0, 0.5, 0.0]).unwrap(),
            [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
        );
        let many = bounds(&[0.1; 10]).unwrap();
        assert!(many.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert_eq!(many.last().unwrap().1, 1.0);
        for bad in [
            &[][..],
            &[0.0],
            &[1.0, -1.0],
            &[f64::NAN],
            &[f64::MAX, f64::MAX],
        ] {
            assert!(bounds(bad).is_err(), "{bad:?}");
        }
    }
}
