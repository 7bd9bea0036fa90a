//! Pairs reduced by key, when a few keys have most of the pairs.
//!
//! The limit is the engine itself on evenly spread keys: skew should cost next to nothing, because
//! values of a key are combined before they are sent.

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
    let even = ctx.parallelize_into(uniform_keys(NUM_PAIRS, NUM_KEYS), NUM_PARTITIONS)?;
    let skewed = ctx.parallelize_into(zipf_keys(NUM_PAIRS, NUM_KEYS, EXPONENT), NUM_PARTITIONS)?;
    let limit = || count(&even).unwrap_or(0);
    let rounds = interleave(num_rounds, limit, || count(&skewed))?;
    Ok(Report::per_second(
        "skew",
        "million pairs/s",
        NUM_PAIRS as f64 / 1e6,
        &rounds,
    ))
}

/// How many pairs all keys have together.
fn count(keys: &Rdd<u64>) -> Outcome<u64> {
    let counts = keys.map(|key| (key, 1_u64)).reduce_by_key(|a, b| a + b);
    Ok(counts.values().reduce(|a, b| a + b)?)
}
