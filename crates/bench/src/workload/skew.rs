//! Pairs reduced by key, when a few keys have most of the pairs.
//!
//! The limit is the engine itself on evenly spread keys, as many different ones as the skewed pairs
//! have, so that both fill tables of the same size and send as much: skew should cost next to
//! nothing, because values of a key are combined before they are sent.

use std::collections::HashSet;

use tidemill::core::{Context, PairRdd, Rdd};

use super::{NUM_SLOTS, Outcome, interleave};
use crate::generator::{uniform_keys, zipf_keys};
use crate::report::Report;

const NUM_PAIRS: usize = 4_000_000;
const NUM_KEYS: usize = 100_000;
const NUM_PARTITIONS: usize = 8;
const EXPONENT: f64 = 1.5;

pub(crate) fn measure(num_rounds: u32) -> Outcome<Report> {
    let ctx = Context::local(NUM_SLOTS)?;
    let skewed = zipf_keys(NUM_PAIRS, NUM_KEYS, EXPONENT);
    let num_distinct = skewed.iter().collect::<HashSet<_>>().len();
    let skewed = ctx.parallelize_into(skewed, NUM_PARTITIONS)?;
    let even = ctx.parallelize_into(uniform_keys(NUM_PAIRS, num_distinct), NUM_PARTITIONS)?;
    let limit = || count(&even).unwrap_or(0);
    let rounds = interleave(num_rounds, limit, || count(&skewed))?;
    let mut report = Report::per_second("skew", "million pairs/s", NUM_PAIRS as f64 / 1e6, &rounds);
    report.note("distinct keys", num_distinct as f64);
    Ok(report)
}

/// How many pairs all keys have together.
fn count(keys: &Rdd<u64>) -> Outcome<u64> {
    let counts = keys.map(|key| (key, 1_u64)).reduce_by_key(|a, b| a + b);
    Ok(counts.values().reduce(|a, b| a + b)?)
}
