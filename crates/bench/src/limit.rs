//! What a hand-written loop does on the same bytes: the limit that the engine is measured against.

use foldhash::fast::{FixedState, RandomState};
use hashbrown::HashMap;
use memchr::memmem;
use std::hash::BuildHasher;

/// Counts of words, the words being slices of the input.
pub(crate) type Counts<'a> = HashMap<&'a [u8], u64, RandomState>;

/// Counts the words of `blocks` on this thread.
pub(crate) fn count_words<'a>(blocks: &[&'a [u8]]) -> Counts<'a> {
    let mut counts = HashMap::with_hasher(RandomState::default());
    for block in blocks {
        for line in block.split(|byte| *byte == b'\n') {
            for word in line.split(|byte| *byte == b' ') {
                *counts.entry(word).or_insert(0) += 1;
            }
        }
    }
    counts
}

/// Counts the lines of `blocks` that contain `pattern`, on this thread.
pub(crate) fn count_hits(blocks: &[&[u8]], pattern: &[u8]) -> u64 {
    let mut hits = 0;
    for block in blocks {
        for line in block.split(|byte| *byte == b'\n') {
            if memmem::find(line, pattern).is_some() {
                hits += 1;
            }
        }
    }
    hits
}

/// `f` of the two halves of `blocks`, on two threads.
pub(crate) fn on_two_threads<'a, R: Send>(
    blocks: &[&'a [u8]],
    f: impl Fn(&[&'a [u8]]) -> R + Sync,
) -> (R, R) {
    let (left, right) = blocks.split_at(blocks.len() / 2);
    both(|| f(left), || f(right))
}

/// Runs `a` on another thread and `b` on this one.
pub(crate) fn both<R: Send>(a: impl FnOnce() -> R + Send, b: impl FnOnce() -> R) -> (R, R) {
    std::thread::scope(|scope| {
        let left = scope.spawn(a);
        let right = b();
        match left.join() {
            Ok(left) => (left, right),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A sum over words and counts that does not depend on their order, and that adds up over the
/// parts of a text: equal sums mean equal counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checksum {
    /// How many words there were.
    pub(crate) num_words: u64,
    digest: u64,
}

impl Checksum {
    pub(crate) fn add(&mut self, word: &[u8], count: u64) {
        let hash = FixedState::with_seed(1).hash_one(word);
        self.num_words += count;
        self.digest = self.digest.wrapping_add(hash.wrapping_mul(count));
    }

    /// The sum of both.
    pub(crate) fn merge(&mut self, other: Self) {
        self.num_words += other.num_words;
        self.digest = self.digest.wrapping_add(other.digest);
    }

    pub(crate) fn of_counts<'a>(counts: impl IntoIterator<Item = (&'a [u8], u64)>) -> Self {
        let mut sum = Self::default();
        for (word, count) in counts {
            sum.add(word, count);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_adds_up_over_parts_and_sees_a_wrong_count() {
        let whole = Checksum::of_counts(count_words(&[b"a b a\nc a"]));
        let mut parts = Checksum::default();
        for part in [&b"a b"[..], b"a\nc a"] {
            for (word, count) in count_words(&[part]) {
                parts.add(word, count);
            }
        }
        assert_eq!(whole, parts);
        assert_ne!(
            whole,
            Checksum::of_counts([(&b"a"[..], 2), (b"b", 2), (b"c", 1)])
        );
    }
}
