//! `Text`: the string type of lines and words.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::FusedIterator;
use std::ops::{Deref, Range};

use hipstr::HipStr;
use serde::{Deserialize, Serialize};

/// Immutable UTF-8 text. Up to 23 bytes are kept inline; a longer text may be a slice that shares
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
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(HipStr<'static>);

impl Text {
    /// The empty text.
    #[must_use]
    pub const fn new() -> Self {
        Self(HipStr::new())
    }

    /// The characters.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The part in the byte range, sharing this text's memory or inline; `None` when the range is
    /// outside or cuts a character.
    #[must_use]
    #[inline]
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        self.0.try_slice(range).ok().map(Self)
    }

    /// `part`, which must be borrowed from this text, as a text of its own; copied when it is not.
    #[must_use]
    #[inline]
    pub fn share(&self, part: &str) -> Self {
        match self.0.try_slice_ref(part) {
            Some(slice) => Self(slice),
            None => Self::from(part),
        }
    }

    /// This text without leading and trailing white space.
    #[must_use]
    pub fn trim(&self) -> Self {
        self.share(self.as_str().trim())
    }

    /// The parts between the `separator`s, as Rust's and Java's `split` give them except that
    /// trailing empty parts are kept: `"a,,"` has three parts. Owning, so it can leave `flat_map`.
    #[must_use]
    pub fn split(&self, separator: char) -> Split {
        Split {
            text: self.clone(),
            separator,
            rest: Some(0),
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
    rest: Option<usize>,
}

impl Iterator for Split {
    type Item = Text;

    #[inline]
    fn next(&mut self) -> Option<Text> {
        let start = self.rest?;
        let rest = self.text.as_str().get(start..)?;
        let found = if self.separator.is_ascii() {
            find_byte(rest.as_bytes(), self.separator as u8)
        } else {
            rest.find(self.separator)
        };
        let part = match found {
            Some(at) => {
                self.rest = Some(start + at + self.separator.len_utf8());
                rest.get(..at)?
            }
            None => {
                self.rest = None;
                rest
            }
        };
        Some(self.text.share(part))
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
            Some(self.text.share(word))
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

impl Hash for Text {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.as_str()
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
        Self(HipStr::from(text))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(HipStr::from(text))
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
