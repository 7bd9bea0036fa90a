//! `Text`: the string type of lines and words.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::FusedIterator;
use std::ops::{Deref, Range};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Immutable UTF-8 text. Up to 15 bytes are kept inline; a longer text may be a slice that shares
/// the block it was cut from, so cutting never allocates.
///
/// A long slice keeps its whole block alive: [`detach`](Text::detach) what is kept for long.
///
/// ```
/// use tidemill_core::Text;
///
/// let line = Text::from("to be or not to be");
/// let words: Vec<Text> = line.split(' ').collect();
/// assert_eq!(words.len(), 6);
/// assert_eq!(words.last().map(Text::as_str), Some("be"));
/// ```
#[derive(Clone, Default)]
pub struct Text {
    /// Inline: the bytes, zeros, and in the last one the length; equal texts are equal arrays.
    /// In a block: where the slice starts and how long it is, as two little-endian numbers.
    bytes: [u8; WIDTH],
    /// `None` for at most [`MAX_INLINE`] bytes, always; the cuts are at character boundaries.
    block: Option<Arc<String>>,
}

/// One vector register: made, compared and hashed as a whole.
const WIDTH: usize = 16;

/// The longest text that is kept inline, in bytes.
const MAX_INLINE: usize = WIDTH - 1;

/// For each length the bytes that belong to the text, and the length in the last one.
const MASKS: [([u8; WIDTH], [u8; WIDTH]); WIDTH] = masks();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn masks() -> [([u8; WIDTH], [u8; WIDTH]); WIDTH] {
    let mut masks = [([0; WIDTH], [0; WIDTH]); WIDTH];
    let mut len = 0;
    while len < WIDTH {
        masks[len].1[MAX_INLINE] = len as u8;
        let mut at = 0;
        while at < len {
            masks[len].0[at] = 0xff;
            at += 1;
        }
        len += 1;
    }
    masks
}

impl Text {
    /// The empty text.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; WIDTH],
            block: None,
        }
    }

    /// The characters.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.block {
            None => std::str::from_utf8(self.inline()).unwrap_or_default(),
            Some(block) => block.get(self.range()).unwrap_or_default(),
        }
    }

    /// The bytes of the characters. Cheaper than those of [`as_str`](Self::as_str).
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.block {
            None => self.inline(),
            Some(block) => block.as_bytes().get(self.range()).unwrap_or_default(),
        }
    }

    /// Length in bytes.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.range().len()
    }

    /// Whether there is no character.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn inline(&self) -> &[u8] {
        let [.., len] = self.bytes;
        self.bytes.get(..usize::from(len)).unwrap_or_default()
    }

    /// Where the text is in [`memory`](Self::memory).
    #[inline]
    fn range(&self) -> Range<usize> {
        if self.block.is_none() {
            let [.., len] = self.bytes;
            return 0..usize::from(len);
        }
        let both = u128::from_le_bytes(self.bytes);
        let (start, len) = (both as u64 as usize, (both >> 64) as usize);
        start..start + len
    }

    /// What the text is a part of.
    #[inline]
    fn memory(&self) -> &[u8] {
        match &self.block {
            None => &self.bytes,
            Some(block) => block.as_bytes(),
        }
    }

    /// A text of the bytes in `range` of [`memory`](Self::memory), which are whole characters.
    #[inline]
    fn cut(&self, memory: &[u8], range: Range<usize>) -> Self {
        let Some((mask, len)) = MASKS.get(range.len()) else {
            return self.share(range);
        };
        let tail = memory.get(range.start..).unwrap_or_default();
        let mut bytes = match tail.first_chunk::<WIDTH>() {
            Some(bytes) => *bytes,
            None => {
                let mut bytes = [0; WIDTH];
                for (to, from) in bytes.iter_mut().zip(tail) {
                    *to = *from;
                }
                bytes
            }
        };
        for ((byte, mask), len) in bytes.iter_mut().zip(mask).zip(len) {
            *byte = *byte & mask | len;
        }
        Self { bytes, block: None }
    }

    /// Not inlined: where it is, the short ones pass through general registers too.
    #[inline(never)]
    fn share(&self, range: Range<usize>) -> Self {
        Self {
            bytes: (range.start as u128 | (range.len() as u128) << 64).to_le_bytes(),
            block: self.block.clone(),
        }
    }

    /// The part in the byte range, sharing this text's memory or inline; `None` when the range is
    /// outside or cuts a character.
    #[must_use]
    #[inline]
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        self.as_str().get(range.clone())?;
        let start = self.range().start;
        Some(self.cut(self.memory(), start + range.start..start + range.end))
    }

    /// This text without leading and trailing white space.
    #[must_use]
    pub fn trim(&self) -> Self {
        let whole = self.as_str();
        let start = self.range().start + (whole.len() - whole.trim_start().len());
        self.cut(self.memory(), start..start + whole.trim().len())
    }

    /// The parts between the `separator`s, as Rust's and Java's `split` give them except that
    /// trailing empty parts are kept: `"a,,"` has three parts. Owning, so it can leave `flat_map`.
    #[must_use]
    pub fn split(&self, separator: char) -> Split {
        Split {
            rest: Some(self.range()),
            text: self.clone(),
            separator,
        }
    }

    /// The runs of characters that are not white space (Unicode). Owning.
    #[must_use]
    pub fn words(&self) -> Words {
        Words {
            text: self.clone(),
            at: 0,
        }
    }

    /// A text that shares nothing: long slices are copied into memory of their own.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self::from(self.as_str())
    }
}

/// Iterator of [`Text::split`].
#[derive(Clone, Debug)]
pub struct Split {
    text: Text,
    separator: char,
    /// What is not cut yet, as a part of the text's memory.
    rest: Option<Range<usize>>,
}

impl Iterator for Split {
    type Item = Text;

    #[inline]
    fn next(&mut self) -> Option<Text> {
        let Range { start, end } = self.rest.clone()?;
        let memory = self.text.memory();
        let rest = memory.get(start..end)?;
        let found = if self.separator.is_ascii() {
            find_byte(rest, self.separator as u8)
        } else {
            let mut utf8 = [0; 4];
            memchr::memmem::find(rest, self.separator.encode_utf8(&mut utf8).as_bytes())
        };
        let part = match found {
            Some(at) => {
                let next = start + at + self.separator.len_utf8();
                self.rest = Some(next..end);
                start..start + at
            }
            None => {
                self.rest = None;
                start..end
            }
        };
        Some(self.text.cut(memory, part))
    }
}

impl FusedIterator for Split {}

/// Words are short: a plain loop beats a vectorised search's set-up.
#[inline]
fn find_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    bytes.iter().position(|b| *b == byte)
}

/// Iterator of [`Text::words`].
#[derive(Clone, Debug)]
pub struct Words {
    text: Text,
    at: usize,
}

impl Iterator for Words {
    type Item = Text;

    #[inline]
    fn next(&mut self) -> Option<Text> {
        let rest = self.text.as_str().get(self.at..)?;
        let trimmed = rest.trim_start();
        let start = self.at + (rest.len() - trimmed.len());
        let len = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        self.at = start + len;
        let word = trimmed.get(..len)?;
        if word.is_empty() {
            None
        } else {
            self.text.slice(start..start + word.len())
        }
    }
}

impl FusedIterator for Words {}

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Text {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (&self.block, &other.block) {
            (None, None) => self.bytes == other.bytes,
            _ => self.as_bytes() == other.as_bytes(),
        }
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl Hash for Text {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.block {
            None => state.write_u128(u128::from_le_bytes(self.bytes)),
            Some(_) => state.write(self.as_bytes()),
        }
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Text {
    #[inline]
    fn from(text: &str) -> Self {
        if text.len() > MAX_INLINE {
            Self::from(text.to_owned())
        } else {
            Self::new().cut(text.as_bytes(), 0..text.len())
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        if text.len() > MAX_INLINE {
            Self {
                bytes: ((text.len() as u128) << 64).to_le_bytes(),
                block: Some(Arc::new(text)),
            }
        } else {
            Self::from(text.as_str())
        }
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.as_str().to_owned()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn split_and_words_are_those_of_str(text in "[ab ,é\u{2003}\t]{0,60}") {
            let owned = Text::from(text.as_str());
            for separator in [' ', ',', 'é'] {
                let ours: Vec<String> = owned.split(separator).map(String::from).collect();
                let theirs: Vec<&str> = text.split(separator).collect();
                prop_assert_eq!(ours, theirs);
            }
            let ours: Vec<String> = owned.words().map(String::from).collect();
            let theirs: Vec<&str> = text.split_whitespace().collect();
            prop_assert_eq!(ours, theirs);
            let trimmed = owned.trim();
            prop_assert_eq!(trimmed.as_str(), text.trim());
        }
    }

    #[test]
    fn slices_respect_character_boundaries() {
        let text = Text::from("é is two bytes and this text is long enough to be shared");
        assert_eq!(text.slice(0..1), None);
        assert_eq!(text.slice(0..2).unwrap(), "é");
        assert_eq!(text.slice(0..1000), None);
    }
}
