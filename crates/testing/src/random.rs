//! Seeded random numbers: the same seed, the same numbers, for ever.

/// A small generator (splitmix64): a failure that its seed is printed with can be seen again.
///
/// ```
/// use tidemill_testing::Random;
///
/// let mut random = Random::new(7);
/// assert_eq!(random.below(100), Random::new(7).below(100));
/// assert!(random.below(3) < 3);
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Begins at `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`; 0 when there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next_u64() % end).unwrap_or(0)
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.next_u64().to_le_bytes()[0]
    }

    /// So many bytes.
    pub fn bytes(&mut self, num_bytes: usize) -> Vec<u8> {
        (0..num_bytes).map(|_| self.byte()).collect()
    }
}
