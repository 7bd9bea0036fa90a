//! Arbitrary records and partitionings from a seed, for "the same as the plain computation".

use tidemill_core::{Context, Rdd, Result};

/// The seeds a property is shown with. A failure prints its seed.
pub(crate) const SEEDS: std::ops::Range<u64> = 1..6;

/// A stream of arbitrary numbers.
pub(crate) struct Arbitrary(u64);

impl Arbitrary {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    /// Up to 60 numbers of `-5..15`, so that some occur twice.
    pub(crate) fn numbers(&mut self) -> Vec<i64> {
        let len = self.below(61);
        (0..len).map(|_| self.below(20) as i64 - 5).collect()
    }

    /// Up to 60 pairs with few keys.
    pub(crate) fn pairs(&mut self) -> Vec<(i64, u64)> {
        let keys = self.numbers();
        keys.into_iter().map(|key| (key, self.below(100))).collect()
    }

    /// The records in one to seven partitions.
    pub(crate) fn rdd<T: tidemill_core::Data>(
        &mut self,
        ctx: &Context,
        records: &[T],
    ) -> Result<Rdd<T>> {
        ctx.parallelize_into(records.to_vec(), 1 + self.below(7) as usize)
    }
}
