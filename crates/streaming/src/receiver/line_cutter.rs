//! Cutting a stream of bytes into blocks of whole lines, whatever chunks the bytes come in.

use memchr::{memchr, memchr_iter, memchr2, memrchr};
use tidemill_core::{Error, ErrorKind, Result, TextBlock};

use super::channel::BlockBuffer;

/// What happens to a line that is longer than allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LongLines {
    /// It is left out, counted and reported.
    #[default]
    Drop,
    /// The connection is given up and made again.
    Fail,
}

/// What happens to bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Utf8Policy {
    /// They are replaced by U+FFFD, counted and reported.
    #[default]
    Replace,
    /// The connection is given up and made again; the line is left out.
    Fail,
}

/// Whole lines, and the beginning of the one that is still coming.
#[derive(Debug)]
pub(crate) struct LineCutter {
    max_line_bytes: usize,
    long_lines: LongLines,
    utf8: Utf8Policy,
    bytes: Vec<u8>,
    /// The first so many bytes are whole lines, each ended by a line feed.
    complete: usize,
    num_lines: u64,
    /// The line that is coming is too long: its bytes are dropped up to its end.
    skipping: bool,
    /// The last byte was a carriage return: a line feed right after it belongs to it.
    after_return: bool,
    counts: Counts,
    told: Counts,
}

/// What was not as it should be, since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    dropped_lines: u64,
    replaced_sequences: u64,
}

impl LineCutter {
    pub(crate) fn new(max_line_bytes: usize, long_lines: LongLines, utf8: Utf8Policy) -> Self {
        Self {
            max_line_bytes,
            long_lines,
            utf8,
            bytes: Vec::new(),
            complete: 0,
            num_lines: 0,
            skipping: false,
            after_return: false,
            counts: Counts::default(),
            told: Counts::default(),
        }
    }

    /// Takes in the next bytes.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<()> {
        let mut rest = chunk;
        if let [first, ..] = rest {
            if self.after_return && *first == b'\n' {
                rest = rest.get(1..).unwrap_or_default();
            }
            self.after_return = false;
        }
        // No line can be too long when all that came since the last line end is short enough.
        let is_plain = !self.skipping && self.utf8 == Utf8Policy::Replace;
        if is_plain && self.fits(rest.len()) && memchr(b'\r', rest).is_none() {
            self.push_plain(rest);
            return Ok(());
        }
        while !rest.is_empty() {
            rest = self.push_line(rest)?;
        }
        Ok(())
    }

    /// Whether the line that is coming may have so many bytes more.
    fn fits(&self, more: usize) -> bool {
        self.bytes.len() - self.complete + more <= self.max_line_bytes
    }

    /// Takes in bytes in which no line is too long and only line feeds end one.
    fn push_plain(&mut self, chunk: &[u8]) {
        if let Some(last) = memrchr(b'\n', chunk) {
            self.complete = self.bytes.len() + last + 1;
            self.num_lines += memchr_iter(b'\n', chunk).count() as u64;
        }
        self.bytes.extend_from_slice(chunk);
    }

    /// Takes in bytes up to the next line end; returns those after it. Whatever ended the line, a
    /// line feed ends it from here on: a carriage return and the line feed of the line after next
    /// must not become a pair when the line between them is dropped.
    fn push_line<'a>(&mut self, chunk: &'a [u8]) -> Result<&'a [u8]> {
        let Some(at) = memchr2(b'\n', b'\r', chunk) else {
            if !self.skipping {
                if self.fits(chunk.len()) {
                    self.bytes.extend_from_slice(chunk);
                } else {
                    self.skipping = true;
                    self.drop_line()?;
                }
            }
            return Ok(&[]);
        };
        let pair = chunk.get(at..at + 2) == Some(b"\r\n");
        let after = at + if pair { 2 } else { 1 };
        self.after_return = after == chunk.len() && chunk.last() == Some(&b'\r');
        let (line, rest) = (
            chunk.get(..at).unwrap_or_default(),
            chunk.get(after..).unwrap_or_default(),
        );
        if std::mem::take(&mut self.skipping) {
            return Ok(rest);
        }
        if !self.fits(at) {
            self.drop_line()?;
            return Ok(rest);
        }
        self.bytes.extend_from_slice(line);
        if self.utf8 == Utf8Policy::Fail {
            self.check_utf8()?;
        }
        self.bytes.push(b'\n');
        self.complete = self.bytes.len();
        self.num_lines += 1;
        Ok(rest)
    }

    /// Forgets the line that is coming.
    fn drop_line(&mut self) -> Result<()> {
        self.bytes.truncate(self.complete);
        self.counts.dropped_lines += 1;
        if self.long_lines == LongLines::Fail {
            self.skipping = false;
            return Err(Error::new(ErrorKind::Data, "line is too long")
                .with("max_line_bytes", self.max_line_bytes)
                .with(
                    "hint",
                    "raise SocketOptions::max_line_bytes, or drop long lines",
                ));
        }
        Ok(())
    }

    /// Refuses the line at the end when it is not UTF-8.
    fn check_utf8(&mut self) -> Result<()> {
        let line = self.bytes.get(self.complete..).unwrap_or_default();
        let Err(error) = std::str::from_utf8(line) else {
            return Ok(());
        };
        let error = Error::new(ErrorKind::Data, "line is not UTF-8").caused_by(error);
        self.bytes.truncate(self.complete);
        self.counts.dropped_lines += 1;
        Err(error)
    }
}

impl BlockBuffer for LineCutter {
    type Block = TextBlock;

    fn take(&mut self) -> Option<TextBlock> {
        if self.complete == 0 {
            return None;
        }
        let tail = self.bytes.get(self.complete..).unwrap_or_default();
        // About as much will come next; what this block has too much of is given back.
        let mut next = Vec::with_capacity(self.complete.min(1 << 20).max(tail.len()));
        next.extend_from_slice(tail);
        let mut bytes = std::mem::replace(&mut self.bytes, next);
        bytes.truncate(self.complete);
        if bytes.capacity() / 2 > bytes.len() {
            bytes.shrink_to_fit();
        }
        self.complete = 0;
        let num_lines = std::mem::take(&mut self.num_lines);
        let text = String::from_utf8(bytes).unwrap_or_else(|error| {
            let bad = error
                .as_bytes()
                .utf8_chunks()
                .filter(|chunk| !chunk.invalid().is_empty());
            self.counts.replaced_sequences += bad.count() as u64;
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        });
        Some(TextBlock::new(text, num_lines))
    }

    fn end(&mut self) {
        self.after_return = false;
        self.skipping = false;
        if self.bytes.len() > self.complete {
            self.bytes.push(b'\n');
            self.complete = self.bytes.len();
            self.num_lines += 1;
        }
    }

    fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn complaint(&mut self) -> Option<Error> {
        let Counts {
            dropped_lines,
            replaced_sequences,
        } = self.counts;
        (std::mem::replace(&mut self.told, self.counts) != self.counts).then(|| {
            Error::new(ErrorKind::Data, "input was not as it should be")
                .with("dropped_lines", dropped_lines)
                .with("replaced_sequences", replaced_sequences)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use tidemill_core::storage::BlockData;

    /// The lines of all blocks when the bytes come in these chunks, a block cut after some.
    fn lines(cutter: &mut LineCutter, bytes: &[u8], chunks: &[(usize, bool)]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut counted = 0;
        let mut take = |cutter: &mut LineCutter| {
            if let Some(block) = cutter.take() {
                counted += block.num_records();
                lines.extend(TextBlock::iterate(Arc::new(block)).map(String::from));
            }
        };
        let mut rest = bytes;
        for (len, cut) in chunks.iter().cycle() {
            let (chunk, after) = rest.split_at((*len).clamp(1, rest.len().max(1)).min(rest.len()));
            cutter.push(chunk).unwrap();
            if *cut {
                take(cutter);
            }
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        cutter.end();
        take(cutter);
        assert_eq!(counted, lines.len() as u64);
        lines
    }

    fn cutter(max_line_bytes: usize) -> LineCutter {
        LineCutter::new(max_line_bytes, LongLines::Drop, Utf8Policy::Replace)
    }

    proptest! {
        // S-082
        #[test]
        fn chunks_and_cuts_do_not_change_the_lines(
            bytes in prop::collection::vec(prop::sample::select(&b"ab\r\n\xff"[..]), 0..80),
            chunks in prop::collection::vec((1_usize..9, any::<bool>()), 1..9),
            max_line_bytes in 1_usize..12,
        ) {
            let (mut one, mut other) = (cutter(max_line_bytes), cutter(max_line_bytes));
            let whole = lines(&mut one, &bytes, &[(usize::MAX, false)]);
            prop_assert_eq!(lines(&mut other, &bytes, &chunks), whole);
            prop_assert_eq!(one.counts, other.counts);
        }
    }

    #[test]
    fn a_long_line_is_dropped_and_counted_however_it_comes() {
        let bytes = b"short\nmuch too long\nlast";
        for chunk in 1..bytes.len() {
            let mut cutter = cutter(6);
            assert_eq!(
                lines(&mut cutter, bytes, &[(chunk, false)]),
                ["short", "last"]
            );
            assert_eq!(cutter.counts.dropped_lines, 1);
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut cutter = cutter(1 << 10);
        let chunk = [b'x'; 1 << 16];
        for _ in 0..1_000 {
            cutter.push(&chunk).unwrap();
        }
        assert!(cutter.bytes.capacity() <= 1 << 17);
        assert_eq!(cutter.counts.dropped_lines, 1);
    }

    #[test]
    fn a_line_of_two_gibibytes_takes_no_memory_and_the_next_one_counts() {
        let mut cutter = cutter(1 << 20);
        let chunk = vec![b'x'; 1 << 20];
        cutter.push(b"before\n").unwrap();
        for _ in 0..2_048 {
            cutter.push(&chunk).unwrap();
            assert!(cutter.bytes.capacity() <= 2 << 20);
        }
        cutter.push(b"\nafter\n").unwrap();
        assert_eq!(cutter.counts.dropped_lines, 1);
        assert_eq!(cutter.take().unwrap().num_records(), 2);
    }

    #[test]
    fn what_was_wrong_is_told_once_and_with_all_of_it() {
        let mut cutter = cutter(4);
        assert!(cutter.complaint().is_none());
        cutter.push(b"\xff\nmuch too long\n").unwrap();
        cutter.take().unwrap();
        let told = cutter.complaint().unwrap().to_string();
        assert!(
            told.ends_with("dropped_lines=1 replaced_sequences=1"),
            "{told}"
        );
        assert!(cutter.complaint().is_none());
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_and_counted() {
        let mut cutter = cutter(100);
        let bytes = b"caf\xe9\nok \xff\xfe\n";
        assert_eq!(
            lines(&mut cutter, bytes, &[(5, false)]),
            ["caf\u{fffd}", "ok \u{fffd}\u{fffd}"]
        );
        assert_eq!(cutter.counts.replaced_sequences, 3);
    }

    #[test]
    fn the_strict_policies_refuse_the_line_and_keep_those_before_it() {
        let mut strict = LineCutter::new(100, LongLines::Drop, Utf8Policy::Fail);
        assert!(strict.push(b"good\nb\xffd\n").is_err());
        assert_eq!(strict.take().unwrap().num_records(), 1);
        let mut strict = LineCutter::new(4, LongLines::Fail, Utf8Policy::Replace);
        let error = strict.push(b"good\ntoo long\n").unwrap_err();
        assert!(error.to_string().contains("max_line_bytes=4"));
        assert_eq!(strict.take().unwrap().num_records(), 1);
    }
}
