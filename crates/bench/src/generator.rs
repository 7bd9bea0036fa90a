//! Input that is the same for everyone, everywhere: seeded, and never timed.
//!
//! Lines of about 99 bytes; words drawn by Zipf's law with exponent 1 from a vocabulary of 20,000
//! lower-case words of 3 to 10 letters, without `z`, so that [`PATTERN`] is in no ordinary line.

/// The seed of partition 0; partition `i` has this plus `i`.
const SEED: u64 = 42;
const NUM_WORDS: usize = 20_000;
/// A line ends with the word that reaches this length.
const FULL_LINE_BYTES: usize = 95;
/// What grep looks for.
pub(crate) const PATTERN: &str = "zqzxjz";
/// One line in this many has the pattern.
const HIT_EVERY: u64 = 100;

/// Vigna's SplitMix64.
#[derive(Debug)]
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// The vocabulary, and how often each word is drawn.
#[derive(Debug)]
pub(crate) struct Generator {
    words: Vec<String>,
    /// Walker's alias method: for each column the part of it, of 2³², that is its own word, and
    /// the word that has the rest.
    columns: Vec<(u64, usize)>,
}

impl Generator {
    pub(crate) fn new() -> Self {
        let mut random = SplitMix64(SEED);
        let mut seen = std::collections::HashSet::new();
        let mut words = Vec::with_capacity(NUM_WORDS);
        while words.len() < NUM_WORDS {
            let letters = 3 + random.below(8);
            let word: String = (0..letters)
                .map(|_| char::from(b'a' + random.below(25) as u8))
                .collect();
            if seen.insert(word.clone()) {
                words.push(word);
            }
        }
        let columns = zipf_columns(NUM_WORDS, 1.0);
        Self { words, columns }
    }

    fn word(&self, random: &mut SplitMix64) -> &str {
        let at = draw(&self.columns, random);
        self.words.get(at).map_or("", String::as_str)
    }

    /// Block number `partition`: lines of words, about `bytes` long, and how many lines. One line
    /// in a hundred has [`PATTERN`] somewhere when `with_hits`.
    pub(crate) fn block(&self, partition: u64, bytes: usize, with_hits: bool) -> (String, u64) {
        let mut random = SplitMix64(SEED + partition);
        let mut text = String::with_capacity(bytes + 2 * FULL_LINE_BYTES);
        let mut num_lines = 0;
        while text.len() < bytes {
            let start = text.len();
            let hit = with_hits && random.below(HIT_EVERY) == 0;
            let hit_at = random.below(FULL_LINE_BYTES as u64) as usize;
            let mut pending = hit;
            while text.len() - start < FULL_LINE_BYTES {
                if text.len() > start {
                    text.push(' ');
                }
                if pending && text.len() - start + 11 > hit_at {
                    text.push_str(PATTERN);
                    pending = false;
                } else {
                    text.push_str(self.word(&mut random));
                }
            }
            text.push('\n');
            num_lines += 1;
        }
        (text, num_lines)
    }

    /// `num_blocks` blocks, made on two threads.
    pub(crate) fn blocks(
        &self,
        num_blocks: u64,
        bytes: usize,
        with_hits: bool,
    ) -> Vec<(String, u64)> {
        let make = |from: u64, to: u64| -> Vec<_> {
            (from..to)
                .map(|i| self.block(i, bytes, with_hits))
                .collect()
        };
        let (mut blocks, rest) = crate::limit::both(
            || make(0, num_blocks / 2),
            || make(num_blocks / 2, num_blocks),
        );
        blocks.extend(rest);
        blocks
    }
}

/// `num` random pairs, the same ones each time.
pub(crate) fn random_pairs(num: usize) -> Vec<(u64, u64)> {
    let mut random = SplitMix64(SEED);
    (0..num).map(|_| (random.next(), random.next())).collect()
}

/// `num` random keys out of `num_keys`, all of them as likely.
pub(crate) fn uniform_keys(num: usize, num_keys: usize) -> Vec<u64> {
    let mut random = SplitMix64(SEED);
    (0..num).map(|_| random.below(num_keys as u64)).collect()
}

/// `num` random keys out of `num_keys` by Zipf's law with this exponent.
pub(crate) fn zipf_keys(num: usize, num_keys: usize, exponent: f64) -> Vec<u64> {
    let columns = zipf_columns(num_keys, exponent);
    let mut random = SplitMix64(SEED);
    (0..num)
        .map(|_| draw(&columns, &mut random) as u64)
        .collect()
}

/// One rank out of an alias table.
fn draw(columns: &[(u64, usize)], random: &mut SplitMix64) -> usize {
    let column = random.below(columns.len() as u64) as usize;
    let coin = random.next() >> 32;
    match columns.get(column) {
        Some((own, other)) if coin >= *own => *other,
        _ => column,
    }
}

/// The alias table of Zipf's law over `n` ranks.
fn zipf_columns(n: usize, exponent: f64) -> Vec<(u64, usize)> {
    const WHOLE: f64 = 4_294_967_296.0;
    let weight = |rank: usize| (rank as f64).powf(-exponent);
    let total: f64 = (1..=n).map(weight).sum();
    let mut share: Vec<f64> = (1..=n)
        .map(|rank| n as f64 * weight(rank) / total)
        .collect();
    let mut columns: Vec<(u64, usize)> = (0..n).map(|i| (WHOLE as u64, i)).collect();
    // Shares fall with the rank: the large ones, in front, fill up the small ones, from behind.
    let mut large = 0;
    let mut small = (0..n).rev();
    let mut open = small.next();
    while let Some(filled) = open.filter(|filled| *filled > large) {
        let own = share.get(filled).copied().unwrap_or(1.0);
        if let Some(column) = columns.get_mut(filled) {
            *column = ((own * WHOLE) as u64, large);
        }
        let Some(rest) = share.get_mut(large) else {
            break;
        };
        *rest -= 1.0 - own;
        open = small.next();
        // A giver that has become small itself is filled up by the next one.
        while let Some(own) = share.get(large).copied().filter(|own| *own < 1.0) {
            let giver = large + 1;
            if open.is_none_or(|small| small <= giver) {
                return columns;
            }
            if let (Some(column), Some(rest)) = (columns.get_mut(large), share.get_mut(giver)) {
                *column = ((own * WHOLE) as u64, giver);
                *rest -= 1.0 - own;
            }
            large = giver;
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_come_out_each_time_and_look_as_described() {
        let generator = Generator::new();
        let (text, num_lines) = generator.block(0, 1_000_000, false);
        assert_eq!(
            (text.clone(), num_lines),
            Generator::new().block(0, 1_000_000, false)
        );
        assert_ne!(text, generator.block(1, 1_000_000, false).0);
        assert_eq!(text.lines().count() as u64, num_lines);
        let mean_bytes = text.len() as f64 / num_lines as f64;
        assert!((97.0..101.0).contains(&mean_bytes), "{mean_bytes}");
        assert!(!text.contains('z'));
    }

    #[test]
    fn words_follow_zipf() {
        let generator = Generator::new();
        let (text, _) = generator.block(0, 5_000_000, false);
        let mut counts = std::collections::HashMap::new();
        for word in text.split_whitespace() {
            *counts.entry(word).or_insert(0_u32) += 1;
        }
        let num_words: u32 = counts.values().sum();
        for rank in [1, 2, 10, 100] {
            // The harmonic number of 20,000 is 10.48.
            let expected = f64::from(num_words) / (10.48 * f64::from(rank));
            let found = counts[generator.words[rank as usize - 1].as_str()];
            let ratio = f64::from(found) / expected;
            assert!((0.85..1.15).contains(&ratio), "rank {rank}: {ratio}");
        }
    }

    #[test]
    fn skewed_keys_follow_zipf_too() {
        let keys = zipf_keys(1_000_000, 10_000, 1.5);
        assert_eq!(keys, zipf_keys(1_000_000, 10_000, 1.5));
        let share = |key| keys.iter().filter(|k| **k == key).count() as f64 / 1e6;
        // Zeta(1.5) up to 10,000 is 2.592.
        for (key, expected) in [(0, 0.3858), (1, 0.1364), (9, 0.0122)] {
            assert!((share(key) / expected - 1.0).abs() < 0.05, "{key}");
        }
    }

    #[test]
    fn one_line_in_a_hundred_is_a_hit() {
        let (text, num_lines) = Generator::new().block(0, 5_000_000, true);
        let hits = text.lines().filter(|line| line.contains(PATTERN)).count();
        let share = hits as f64 / num_lines as f64;
        assert!((0.008..0.012).contains(&share), "{share}");
    }
}
