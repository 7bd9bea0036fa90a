//! Lines of text: cutting them out of a block without copying.

use std::iter::FusedIterator;
use std::sync::Arc;

use memchr::memchr2;
use serde::{Deserialize, Serialize};

use crate::data::PartitionIter;
use crate::storage::BlockData;
use crate::text::Text;

/// The lines of a text, as slices that share it. `\n`, `\r\n` and `\r` end a line; a terminator
/// at the very end does not begin another, empty one.
#[derive(Clone, Debug)]
pub struct Lines {
    text: Text,
    at: usize,
}

impl Lines {
    /// The lines of `text`.
    #[must_use]
    pub fn new(text: Text) -> Self {
        Self { text, at: 0 }
    }
}

impl Iterator for Lines {
    type Item = Text;

    #[inline]
    fn next(&mut self) -> Option<Text> {
        let rest = self.text.as_str().get(self.at..)?;
        if rest.is_empty() {
            return None;
        }
        let bytes = rest.as_bytes();
        let (len, terminator) = match memchr2(b'\n', b'\r', bytes) {
            Some(at) if bytes.get(at..at + 2) == Some(b"\r\n") => (at, 2),
            Some(at) => (at, 1),
            None => (bytes.len(), 0),
        };
        let start = self.at;
        self.at += len + terminator;
        self.text.slice(start..start + len)
    }
}

impl FusedIterator for Lines {}

/// A block of whole lines in one piece of memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TextBlock {
    text: Text,
    num_lines: u64,
}

impl TextBlock {
    /// A block of the lines of `text`, of which there are `num_lines`.
    #[must_use]
    pub fn new(text: String, num_lines: u64) -> Self {
        Self {
            text: Text::from(text),
            num_lines,
        }
    }

    /// The lines in one piece.
    #[must_use]
    pub fn text(&self) -> &Text {
        &self.text
    }
}

impl BlockData for TextBlock {
    type Item = Text;

    fn num_records(&self) -> u64 {
        self.num_lines
    }

    fn size_bytes(&self) -> usize {
        self.text.len()
    }

    fn iterate(block: Arc<Self>) -> PartitionIter<Text> {
        Box::new(Lines::new(block.text.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &str) -> Vec<String> {
        Lines::new(Text::from(text)).map(String::from).collect()
    }

    // C-034
    #[test]
    fn all_three_terminators_end_a_line() {
        assert_eq!(lines("a\nb\r\nc\rd"), ["a", "b", "c", "d"]);
        assert_eq!(lines("a\n\n\r\n"), ["a", "", ""]);
        assert_eq!(lines(""), [""; 0]);
        assert_eq!(lines("\r\r\n"), ["", ""]);
    }

    proptest! {
        #[test]
        fn without_carriage_returns_the_lines_are_those_of_str(text in "[ab\n é]{0,80}") {
            let theirs: Vec<&str> = text.lines().collect();
            prop_assert_eq!(lines(&text), theirs);
        }
    }
}
