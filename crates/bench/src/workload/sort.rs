//! Random pairs of numbers in the order of their keys.
//!
//! The limit sorts one half of the pairs on each of two threads and merges them.

use tidemill::core::{Context, OrderedRdd};

use super::{NUM_SLOTS, Outcome, interleave};
use crate::generator::random_pairs;
use crate::limit::both;
use crate::report::Report;

const NUM_PAIRS: usize = 4_000_000;
const NUM_PARTITIONS: usize = 8;

type Pair = (u64, u64);

pub(crate) fn measure(num_rounds: u32) -> Outcome<Report> {
    let ctx = Context::local(NUM_SLOTS)?;
    let pairs = random_pairs(NUM_PAIRS);
    let rdd = ctx.parallelize_into(pairs.clone(), NUM_PARTITIONS)?;
    let limit = || Some(Run::of(merged(&pairs)));
    let engine = || {
        let sorted = rdd.sort_by_key(true)?;
        let parts = sorted.map_partitions(|pairs| [Run::of(pairs)]).collect()?;
        let mut parts = parts.into_iter().filter(|run| run.num_pairs > 0);
        let first = parts.next();
        Ok(first.and_then(|first| parts.try_fold(first, Run::then)))
    };
    let rounds = interleave(num_rounds, limit, engine)?;
    Ok(Report::per_second(
        "sort",
        "million pairs/s",
        NUM_PAIRS as f64 / 1e6,
        &rounds,
    ))
}

/// All pairs in order, by hand.
fn merged(pairs: &[Pair]) -> impl Iterator<Item = Pair> {
    let (left, right) = pairs.split_at(pairs.len() / 2);
    let sort = |half: &[Pair]| {
        let mut half = half.to_vec();
        half.sort_unstable_by_key(|pair| pair.0);
        half
    };
    let (left, right) = both(|| sort(left), || sort(right));
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(a), Some(b)) if b.0 < a.0 => right.next(),
        (Some(_), _) => left.next(),
        (None, _) => right.next(),
    })
}

/// What is known of a run of pairs: equal values mean the same pairs in order.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Run {
    num_pairs: u64,
    is_sorted: bool,
    first: u64,
    last: u64,
    digest: u64,
}

impl Run {
    fn of(pairs: impl Iterator<Item = Pair>) -> Self {
        let mut run = Self {
            num_pairs: 0,
            is_sorted: true,
            first: u64::MAX,
            last: 0,
            digest: 0,
        };
        for (key, value) in pairs {
            run.is_sorted &= run.last <= key;
            run.first = run.first.min(key);
            run.last = key;
            run.num_pairs += 1;
            let mixed = (key ^ value.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            run.digest = run.digest.wrapping_add(mixed);
        }
        run
    }

    /// Both, when the other follows.
    fn then(self, next: Self) -> Option<Self> {
        (self.last <= next.first).then_some(Self {
            num_pairs: self.num_pairs + next.num_pairs,
            is_sorted: self.is_sorted && next.is_sorted,
            first: self.first,
            last: next.last,
            digest: self.digest.wrapping_add(next.digest),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_order_and_a_wrong_pair_are_seen() {
        let pairs = random_pairs(1_000);
        let whole = Run::of(merged(&pairs));
        assert!(whole.is_sorted);
        assert_ne!(Run::of(pairs.iter().copied()), whole);
        let mut other = pairs.clone();
        other[500].1 += 1;
        assert_ne!(Run::of(merged(&other)), whole);
        let (low, high) = (Run::of([(1, 1)].into_iter()), Run::of([(2, 2)].into_iter()));
        assert!(high.then(low).is_none());
        let both = low.then(high).unwrap();
        assert_eq!(both, Run::of([(1, 1), (2, 2)].into_iter()));
    }
}
