//! `sample`: each record with a chance of its own.

use std::panic::Location;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Rdd;
use super::map_partitions::MapPartitions;
use super::node::Meta;
use crate::context::Context;
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::function::Captured;
use crate::operator::Operator;
use crate::random::Random;

/// How the sampling operators draw: whether a record can be drawn twice, and from which seed.
///
/// ```
/// use tidemill_core::{Context, Sampling};
///
/// let ctx = Context::local(2)?;
/// let numbers = ctx.range(0..1_000);
/// let tenth = numbers.sample(Sampling::without_replacement().seed(7), 0.1)?;
/// let again = numbers.sample(Sampling::without_replacement().seed(7), 0.1)?;
/// assert_eq!(tenth.collect()?, again.collect()?);
/// assert!((50..150).contains(&tenth.count()?));
/// # Ok::<(), tidemill_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Sampling {
    replacement: bool,
    seed: Option<u64>,
}

impl Sampling {
    /// A record is drawn once or not at all.
    pub fn without_replacement() -> Self {
        Self {
            replacement: false,
            seed: None,
        }
    }

    /// A record can be drawn several times.
    pub fn with_replacement() -> Self {
        Self {
            replacement: true,
            seed: None,
        }
    }

    /// Draws the same records of the same RDD each time. Default: a seed of the operator's own,
    /// made from the context's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn has_replacement(self) -> bool {
        self.replacement
    }

    /// The seed, or one that no other node of the context has.
    pub(crate) fn seed_of(self, ctx: &Context, meta: &Meta) -> u64 {
        own_seed(self.seed, ctx, meta)
    }

    /// Refuses what is no rate of such a sample.
    pub(crate) fn check(self, fraction: f64, operator: &Operator) -> Result<()> {
        let refused = if !fraction.is_finite() || fraction < 0.0 {
            "fraction of a sample must be a number that is not negative"
        } else if !self.replacement && fraction > 1.0 {
            "fraction of a sample without replacement must be at most 1: to draw records more \
             than once, sample with replacement"
        } else {
            return Ok(());
        };
        Err(Error::invalid(refused)
            .with("operator", operator)
            .with("fraction", fraction))
    }
}

/// `seed`, or one that no other node of the context has.
pub(crate) fn own_seed(seed: Option<u64>, ctx: &Context, meta: &Meta) -> u64 {
    seed.unwrap_or_else(|| Random::new(ctx.seed(), meta.id()).next_u64())
}

/// What the tasks of a sample know.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Rule {
    replacement: bool,
    fraction: f64,
    seed: u64,
}

impl<T: Data> Rdd<T> {
    /// Part of the records: each is drawn with probability `fraction`, or, with replacement,
    /// `fraction` times on average. How many come out is therefore not exact; for that, see
    /// [`take_sample`](Self::take_sample).
    ///
    /// *Shape* `T`, as many partitions, order and partitioner kept. *Cost* narrow. *State* none.
    /// *Guarantee* the same seed draws the same records, as long as the RDD gives its records in
    /// the same order.
    ///
    /// ```
    /// # use tidemill_core::Sampling;
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let twice = ctx.range(0..1_000).sample(Sampling::with_replacement(), 2.0)?;
    /// assert!((1_700..2_300).contains(&twice.count()?));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a negative fraction, and for one above 1 without replacement.
    #[track_caller]
    pub fn sample(&self, sampling: Sampling, fraction: f64) -> Result<Self> {
        let operator = Operator::new("sample", Location::caller());
        sampling.check(fraction, &operator)?;
        let meta = self.child(operator);
        let rule = Rule {
            replacement: sampling.replacement,
            fraction,
            seed: sampling.seed_of(&self.ctx, &meta),
        };
        let function = Arc::new(Captured {
            captures: Arc::new(rule),
            function: draw::<T>,
        });
        let parent = self.node.clone();
        Ok(self
            .ctx
            .rdd(MapPartitions::new(meta, parent, function, true)))
    }
}

fn draw<T: Data>(rule: &Rule, split: usize, records: PartitionIter<T>) -> PartitionIter<T> {
    let mut random = Random::new(rule.seed, split as u64);
    let fraction = rule.fraction;
    if rule.replacement {
        Box::new(records.flat_map(move |record| copies(record, random.poisson(fraction))))
    } else {
        Box::new(records.filter(move |_| random.unit() < fraction))
    }
}

/// The record, so many times.
pub(crate) fn copies<T: Clone>(record: T, times: u64) -> std::iter::RepeatN<T> {
    std::iter::repeat_n(record, usize::try_from(times).unwrap_or(usize::MAX))
}
