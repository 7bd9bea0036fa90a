//! Where the separators of a text are, found 64 bytes at a time.
//!
//! Words are so short that a search for the end of each costs a mispredicted branch for each;
//! here the branch is taken once for 64 bytes, and the ends of words are bits of a number.

/// How many bytes are searched at once: as many as a number has bits.
const WINDOW: usize = 64;

/// What separates.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Separator {
    /// This ASCII character.
    Byte(u8),
    /// White space, in a text that is all ASCII.
    WhiteSpace,
}

/// The separators of a part of the memory, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Separators {
    separator: Separator,
    /// Those in the window that were not given out yet: bit `i` is byte `window + i`.
    found: u64,
    window: usize,
    next_window: usize,
}

impl Separators {
    /// The separators from byte `start` on.
    pub(crate) fn new(separator: Separator, start: usize) -> Self {
        Self {
            separator,
            found: 0,
            window: start,
            next_window: start,
        }
    }

    /// Where the next one is in `memory`, before byte `end`. Both must be the same in every call.
    #[inline]
    pub(crate) fn next(&mut self, memory: &[u8], end: usize) -> Option<usize> {
        while self.found == 0 {
            if self.next_window >= end {
                return None;
            }
            self.window = self.next_window;
            self.next_window += WINDOW;
            let part = memory.get(self.window..).unwrap_or_default();
            self.found = find(part, self.separator);
            if end < self.next_window {
                self.found &= (1 << (end - self.window)) - 1;
            }
        }
        let at = self.window + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        Some(at)
    }
}

/// The separators among the first [`WINDOW`] bytes, as bits.
#[inline]
fn find(memory: &[u8], separator: Separator) -> u64 {
    if let Some(window) = memory.first_chunk::<WINDOW>() {
        return find_in_window(window, separator);
    }
    let mut window = [0; WINDOW];
    for (to, from) in window.iter_mut().zip(memory) {
        *to = *from;
    }
    find_in_window(&window, separator)
}

#[inline]
fn find_in_window(window: &[u8; WINDOW], separator: Separator) -> u64 {
    match separator {
        Separator::Byte(byte) => {
            let pattern = u64::from_le_bytes([byte; 8]);
            gather(window, |bytes| zero_bytes(bytes ^ pattern))
        }
        Separator::WhiteSpace => gather(window, white_space),
    }
}

/// The upper bit of each byte.
const UPPER: u64 = 0x8080_8080_8080_8080;
/// A one in each byte.
const ONES: u64 = 0x0101_0101_0101_0101;

/// The upper bit of each byte that is zero, and no other bit.
#[inline]
fn zero_bytes(bytes: u64) -> u64 {
    !(((bytes & !UPPER) + !UPPER) | bytes) & UPPER
}

/// The upper bit of each byte that is a space or one of `\t \n \x0b \x0c \r`; all are ASCII.
#[inline]
fn white_space(bytes: u64) -> u64 {
    let bytes = bytes & !UPPER;
    let control = (bytes + (0x80 - 0x09) * ONES) & !(bytes + (0x80 - 0x0e) * ONES) & UPPER;
    control | zero_bytes(bytes ^ (0x20 * ONES))
}

/// One bit for each byte of the window, from the upper bits that `search` sets in eight bytes.
#[inline]
fn gather(window: &[u8; WINDOW], search: impl Fn(u64) -> u64) -> u64 {
    let (eights, _) = window.as_chunks::<8>();
    // Bit `i` of byte `b` is for byte `b` of the `i`-th eight …
    let mut bits = 0;
    for (i, eight) in eights.iter().enumerate() {
        bits |= search(u64::from_le_bytes(*eight)) >> (7 - i);
    }
    // … so the eight by eight bits are transposed (Hacker's Delight, 7-3).
    for (shift, mask) in [
        (7, 0x00aa_00aa_00aa_00aa),
        (14, 0x0000_cccc_0000_cccc),
        (28, 0x0000_0000_f0f0_f0f0),
    ] {
        let swapped = (bits ^ (bits >> shift)) & mask;
        bits ^= swapped ^ (swapped << shift);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(separator: Separator, memory: &[u8], start: usize, end: usize) -> Vec<usize> {
        let mut separators = Separators::new(separator, start);
        std::iter::from_fn(|| separators.next(memory, end)).collect()
    }

    proptest! {
        #[test]
        fn every_separator_of_the_part_is_found_and_none_else(
            memory in proptest::collection::vec(prop_oneof![Just(b' '), Just(b','), 0_u8..=255], 0..300),
            byte in prop_oneof![Just(b' '), Just(b','), 0_u8..128],
            a in 0_usize..300,
            b in 0_usize..300,
        ) {
            let (start, end) = (a.min(b).min(memory.len()), a.max(b).min(memory.len()));
            let expected: Vec<usize> = (start..end).filter(|at| memory[*at] == byte).collect();
            prop_assert_eq!(all(Separator::Byte(byte), &memory, start, end), expected);
            let ascii: Vec<u8> = memory.iter().map(|byte| byte & 0x7f).collect();
            let expected: Vec<usize> = (start..end)
                .filter(|at| char::from(ascii[*at]).is_whitespace())
                .collect();
            prop_assert_eq!(all(Separator::WhiteSpace, &ascii, start, end), expected);
        }
    }
}
