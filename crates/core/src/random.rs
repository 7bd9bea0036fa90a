//! Random numbers from a seed: the same ones in every process and in every attempt.

/// A generator of one stream of numbers: Vigna's SplitMix64. Fast and even; not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

/// The largest mean that [`Random::poisson`] draws in one go: `exp` of less would vanish.
const POISSON_STEP: f64 = 30.0;

impl Random {
    /// The numbers of stream `stream` of `seed`: a partition's, for example.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        // Two rounds, so that neighbouring streams do not run through each other's numbers.
        let start = Self(seed).next_u64() ^ Self(!stream).next_u64();
        Self(Self(start).next_u64())
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `[0, 1)`, evenly.
    #[inline]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `bound`, evenly up to one part in 2⁶⁴; 0 when `bound` is 0.
    #[inline]
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// How often something happens that happens `mean` times on average. Knuth's product of
    /// uniform numbers, a step of the mean at a time: Poisson numbers add up.
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        let (mut left, mut count) = (mean, 0);
        while left > 0.0 {
            let floor = (-left.min(POISSON_STEP)).exp();
            let mut product = self.unit();
            while product > floor {
                count += 1;
                product *= self.unit();
            }
            left -= POISSON_STEP;
        }
        count
    }

    /// Puts `items` into a random order: Fisher and Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let at = self.below(end as u64 + 1) as usize;
            items.swap(end, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_repeats_and_differs_from_the_next() {
        let numbers = |seed, stream| -> Vec<u64> {
            let mut random = Random::new(seed, stream);
            (0..8).map(|_| random.next_u64()).collect()
        };
        assert_eq!(numbers(1, 2), numbers(1, 2));
        for other in [numbers(1, 3), numbers(2, 2), numbers(2, 1)] {
            assert!(numbers(1, 2).iter().all(|x| !other.contains(x)));
        }
    }

    #[test]
    fn means_are_as_asked() {
        let mut random = Random::new(7, 0);
        let draws = 20_000;
        for mean in [0.0, 0.1, 2.5, 75.0] {
            let sum: u64 = (0..draws).map(|_| random.poisson(mean)).sum();
            // Five standard deviations of the sum.
            let (expected, sigma) = (mean * f64::from(draws), (mean * f64::from(draws)).sqrt());
            assert!(
                (sum as f64 - expected).abs() <= 5.0 * sigma,
                "{mean}: {sum}"
            );
        }
        let sum: f64 = (0..draws).map(|_| random.unit()).sum();
        assert!((sum / f64::from(draws) - 0.5).abs() < 0.011, "{sum}");
    }

    #[test]
    fn a_shuffle_keeps_the_items_and_any_may_come_first() {
        let mut firsts = [0_u32; 4];
        let mut random = Random::new(3, 0);
        for _ in 0..4_000 {
            let mut items = [0, 1, 2, 3];
            random.shuffle(&mut items);
            firsts[items[0]] += 1;
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2, 3]);
        }
        assert!(firsts.iter().all(|n| (850..1150).contains(n)), "{firsts:?}");
    }
}
