//! `Text`: the string type of lines and words.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::FusedIterator;
use std::ops::{Deref, Range};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::separators::{Separator, Separators};

/// Immutable UTF-8 text. Up to 15 bytes are kept inline; a longer text is a slice that shares the
/// block it was cut from, so cutting never allocates.
///
/// A long slice keeps its whole block alive: [`detach`](Text::detach) what is kept for long.
/// [`as_str`](Text::as_str) of a short text looks at its bytes once more; comparing, hashing,
/// `len` and `as_bytes` do not. The reasons are in `docs/design/0002-what-text-is.md`.
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
        self.part(self.range())
    }

    /// The characters in `range` of [`memory`](Self::memory), which are whole.
    #[inline]
    fn part(&self, range: Range<usize>) -> &str {
        let part = match &self.block {
            None => self
                .bytes
                .get(range)
                .and_then(|bytes| std::str::from_utf8(bytes).ok()),
            Some(block) => block.get(range),
        };
        part.unwrap_or_default()
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
    #[inline]
    pub fn split(&self, separator: char) -> Split {
        let ends = match u8::try_from(separator) {
            Ok(byte) if byte.is_ascii() => {
                Ends::Near(Separators::new(Separator::Byte(byte), self.range().start))
            }
            _ => Ends::Far(separator),
        };
        Split {
            text: self.clone(),
            rest: Some(self.range()),
            ends,
        }
    }

    /// The runs of characters that are not white space (Unicode). Owning.
    #[must_use]
    #[inline]
    pub fn words(&self) -> Words {
        let ends = self
            .as_bytes()
            .is_ascii()
            .then(|| Separators::new(Separator::WhiteSpace, self.range().start));
        Words {
            text: self.clone(),
            rest: self.range(),
            ends,
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
    /// What is not cut yet, as a part of the text's memory; `None` after the last part.
    rest: Option<Range<usize>>,
    ends: Ends,
}

/// How the end of a part is found.
#[derive(Clone, Debug)]
enum Ends {
    Near(Separators),
    /// At a character that is not ASCII.
    Far(char),
}

impl Iterator for Split {
    type Item = Text;

    #[inline]
    fn next(&mut self) -> Option<Text> {
        let Range { start, end } = self.rest.clone()?;
        let memory = self.text.memory();
        let (at, len) = match &mut self.ends {
            Ends::Near(separators) => (separators.next(memory, end), 1),
            Ends::Far(separator) => (
                find_char(memory, start..end, *separator),
                separator.len_utf8(),
            ),
        };
        self.rest = at.map(|at| at + len..end);
        Some(self.text.cut(memory, start..at.unwrap_or(end)))
    }
}

impl FusedIterator for Split {}

fn find_char(memory: &[u8], range: Range<usize>, wanted: char) -> Option<usize> {
    let mut utf8 = [0; 4];
    let wanted = wanted.encode_utf8(&mut utf8).as_bytes();
    let at = memchr::memmem::find(memory.get(range.clone())?, wanted)?;
    Some(range.start + at)
}

/// Iterator of [`Text::words`].
#[derive(Clone, Debug)]
pub struct Words {
    text: Text,
    /// What is not cut yet, as a part of the text's memory.
    rest: Range<usize>,
    /// `None` for a text that is not all ASCII.
    ends: Option<Separators>,
}

impl Iterator for Words {
    type Item = Text;

    #[inline]
    fn next(&mut self) -> Option<Text> {
        let memory = self.text.memory();
        let Some(separators) = &mut self.ends else {
            return self.next_far();
        };
        while !self.rest.is_empty() {
            let Range { start, end } = self.rest;
            let at = separators.next(memory, end).unwrap_or(end);
            self.rest = end.min(at + 1)..end;
            if start < at {
                return Some(self.text.cut(memory, start..at));
            }
        }
        None
    }
}

impl Words {
    /// The next word of a text that is not all ASCII.
    fn next_far(&mut self) -> Option<Text> {
        let rest = self.text.part(self.rest.clone());
        let word = rest.split_whitespace().next()?;
        let start = self.rest.end - rest.trim_start().len();
        self.rest.start = start + word.len();
        Some(self.text.cut(self.text.memory(), start..self.rest.start))
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
        struct AnyStr;

        impl serde::de::Visitor<'_> for AnyStr {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text::from(text))
            }

            fn visit_string<E>(self, text: String) -> Result<Text, E> {
                Ok(Text::from(text))
            }
        }

        deserializer.deserialize_str(AnyStr)
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
    use crate::travel::stable_hash;
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

    // Short and long, inline and in a block, at the start, in the middle and at the end of it.
    proptest! {
        #[test]
        fn equal_texts_are_equal_wherever_they_came_from(
            before in "[a\u{e9}]{0,20}",
            text in "[ab\u{e9}\0]{0,20}",
            after in "[a\u{e9}]{0,20}",
        ) {
            let whole = Text::from(format!("{before}{text}{after}"));
            let cut = whole.slice(before.len()..before.len() + text.len()).unwrap();
            let copied = Text::from(text.as_str());
            prop_assert_eq!(&cut, &copied);
            prop_assert_eq!(cut.cmp(&copied), Ordering::Equal);
            prop_assert_eq!(stable_hash(&cut), stable_hash(&copied));
            prop_assert_eq!(cut.as_str(), text.as_str());
            prop_assert_eq!(cut.as_bytes(), text.as_bytes());
            prop_assert_eq!(cut.len(), text.len());
            prop_assert_eq!(&cut.detach(), &cut);
            let bytes = crate::codec::encode(&cut).unwrap();
            prop_assert_eq!(crate::codec::decode::<Text>(&bytes).unwrap(), cut);
        }

        #[test]
        fn texts_are_ordered_as_str(a in "[ab\u{e9}\0]{0,20}", b in "[ab\u{e9}\0]{0,20}") {
            let (x, y) = (Text::from(a.as_str()), Text::from(b.as_str()));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x == y, a == b);
        }

        #[test]
        fn long_texts_are_cut_as_str(text in "([a-f]{0,9}[ ,\u{e9}\t]){0,40}") {
            let owned = Text::from(text.as_str());
            for separator in [' ', 'é'] {
                let ours: Vec<Text> = owned.split(separator).collect();
                let theirs: Vec<Text> = text.split(separator).map(Text::from).collect();
                prop_assert_eq!(ours, theirs);
            }
            let ours: Vec<Text> = owned.words().collect();
            let theirs: Vec<Text> = text.split_whitespace().map(Text::from).collect();
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn only_long_parts_keep_their_block_alive() {
        let block = Text::from("short and a_very_long_word_of_letters");
        let words: Vec<Text> = block.words().collect();
        let kept: Vec<bool> = words.iter().map(|word| word.block.is_some()).collect();
        assert_eq!(kept, [false, false, true]);
        let detached = words[2].detach();
        assert_eq!(detached.memory().len(), detached.len());
    }

    #[test]
    fn slices_respect_character_boundaries() {
        let text = Text::from("é is two bytes and this text is long enough to be shared");
        assert_eq!(text.slice(0..1), None);
        assert_eq!(text.slice(0..2).unwrap(), "é");
        assert_eq!(text.slice(0..1000), None);
    }
}
