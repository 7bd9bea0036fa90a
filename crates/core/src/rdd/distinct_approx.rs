//! `count_approx_distinct`, `count_approx_distinct_by_key`: different records, counted by a sketch.

use std::hash::Hash;
use std::panic::Location;
use std::sync::Arc;

use datasketches::hll::{HllSketch, HllType, HllUnion};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Rdd;
use crate::combine::Aggregate;
use crate::data::{Data, Key};
use crate::error::{Error, Result};
use crate::function::Plain;
use crate::operator::Operator;
use crate::travel::stable_hash;

/// The least precision that is used, whatever is asked for.
const LEAST_PRECISION: u8 = 4;
/// What the precision of a relative standard deviation is measured from.
const DEVIATION_OF_ONE: f64 = 1.054;

/// A HyperLogLog sketch of 2ᵖ registers. Equal records leave it as it is; its size does not depend
/// on how many there are.
#[derive(Clone)]
struct Sketch(HllSketch);

impl Sketch {
    /// Of the precision that gives the relative standard deviation.
    fn new(relative_sd: f64) -> Result<Self> {
        let precision = precision(relative_sd);
        let sketch = precision.and_then(|p| HllSketch::new(p, HllType::Hll8).ok());
        sketch.map(Self).ok_or_else(|| {
            let message = "relative standard deviation must be a number from 0.00073 on";
            Error::invalid(message).with("relative_sd", relative_sd)
        })
    }

    fn with<T: Hash>(mut self, record: &T) -> Self {
        self.0.update(stable_hash(record));
        self
    }

    fn merged(self, other: &Self) -> Self {
        // It exists for the precision of every sketch that does.
        match HllUnion::new(self.0.lg_config_k()) {
            Ok(mut both) => {
                both.update(&self.0);
                both.update(&other.0);
                Self(both.to_sketch(HllType::Hll8))
            }
            Err(_) => self,
        }
    }

    fn estimate(&self) -> u64 {
        self.0.estimate().round() as u64
    }
}

impl Serialize for Sketch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sketch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        let sketch = HllSketch::deserialize(&bytes).map_err(de::Error::custom)?;
        Ok(Self(sketch))
    }
}

/// `ceil(2 log₂(1.054 / sd))`, at least 4.
fn precision(relative_sd: f64) -> Option<u8> {
    if !(relative_sd > 0.0 && relative_sd.is_finite()) {
        return None;
    }
    let exact = (2.0 * (DEVIATION_OF_ONE / relative_sd).log2()).ceil();
    // A cast of a float stops at the ends of the integer's range.
    Some((exact as u8).max(LEAST_PRECISION))
}

impl<T: Key> Rdd<T> {
    /// About how many different records there are. The count is off by `relative_sd` of itself in
    /// a typical case, by three times that hardly ever: a HyperLogLog sketch of
    /// `2^ceil(2 log2(1.054 / relative_sd))` bytes a partition. 0.05 is a good start.
    ///
    /// *Cost* one job without a shuffle. *Guarantee* the same records give the same count,
    /// however they are partitioned.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let about = ctx.range(0..10_000).map(|x| x % 1_000).count_approx_distinct(0.05)?;
    /// assert!((850..1_150).contains(&about));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a deviation below 0.00073, which is that of the largest sketch; else the
    /// job's failure.
    #[track_caller]
    pub fn count_approx_distinct(&self, relative_sd: f64) -> Result<u64> {
        let operator = Operator::new("count_approx_distinct", Location::caller());
        let zero = Sketch::new(relative_sd).map_err(|e| e.with("operator", &operator))?;
        let take_in = |sketch: Sketch, record: T| sketch.with(&record);
        let sketch = self.aggregate_as(operator, zero, take_in, |a, b| a.merged(&b))?;
        Ok(sketch.estimate())
    }
}

impl<K: Key, V: Data + Hash> Rdd<(K, V)> {
    /// About how many different values each key has. See
    /// [`count_approx_distinct`](Self::count_approx_distinct).
    ///
    /// *Shape* `(K, u64)`, placed by key. *Cost* one shuffle of one sketch a key and partition.
    /// *State* none.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let pairs = ctx.range(0..1_000).map(|x| (x % 2, x % 10));
    /// let mut counts = pairs.count_approx_distinct_by_key(0.05)?.collect()?;
    /// counts.sort();
    /// assert_eq!(counts, [(0, 5), (1, 5)]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a deviation below 0.00073.
    #[track_caller]
    pub fn count_approx_distinct_by_key(&self, relative_sd: f64) -> Result<Rdd<(K, u64)>> {
        let operator = Operator::new("count_approx_distinct_by_key", Location::caller());
        let zero = Sketch::new(relative_sd).map_err(|e| e.with("operator", &operator))?;
        let combine = Arc::new(Aggregate {
            zero,
            merge_value: Plain(|sketch: Sketch, value: V| sketch.with(&value)),
            merge_combiners: Plain(|a: Sketch, b: Sketch| a.merged(&b)),
        });
        let sketches = self.combine_by(operator.clone(), combine, self.own_partitioner());
        let estimate = Arc::new(Plain(|sketch: Sketch| sketch.estimate()));
        Ok(sketches.map_values_with(operator, estimate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    // C-162
    #[test]
    fn precision_follows_the_deviation() {
        let found = [0.05, 0.03, 0.01, 0.4, 5.0].map(precision);
        assert_eq!(found, [Some(9), Some(11), Some(14), Some(4), Some(4)]);
        assert_eq!(precision(0.000_73), Some(21));
        assert!(Sketch::new(0.000_73).is_ok());
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 0.000_72, 1e-300] {
            assert!(Sketch::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sketch_survives_the_trip_and_merges_alike() {
        let of = |numbers: std::ops::Range<u64>| {
            let empty = Sketch::new(0.05).unwrap();
            numbers.fold(empty, |sketch, number| sketch.with(&number))
        };
        for len in [0, 5, 1_000, 100_000] {
            let sketch = of(0..len);
            let bytes = codec::encode(&sketch).unwrap();
            let back: Sketch = codec::decode(&bytes).unwrap();
            assert_eq!(back.estimate(), sketch.estimate());
            let merged = of(0..len / 2).merged(&of(len / 3..len)).estimate();
            let off = (merged as f64 - len as f64).abs();
            assert!(off <= 0.2 * len as f64, "{len}: {merged}");
        }
    }
}
