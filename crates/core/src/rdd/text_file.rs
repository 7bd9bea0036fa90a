//! `text_file`: the lines of local files.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::Location;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use memchr::{memchr2, memrchr2};

use super::Rdd;
use super::file_source::{FileFormat, FileSplit};
use crate::codec::{Decoder, Encoder};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::files::{FileOptions, FoundFile, unreadable};
use crate::lines::Lines;
use crate::operator::Operator;
use crate::text::Text;
use crate::travel::Portable;

/// How much of a file is read at a time. The lines in it share one piece of memory.
const CHUNK_BYTES: usize = 256 << 10;

impl Context {
    /// The lines of local files: a file, a folder (its direct files), a glob (`*`, `?`, `[ab]`,
    /// `{a,b}`), or a comma-separated list of them. Names that begin with `_` or `.` are skipped;
    /// files that end in `.gz` are decompressed.
    ///
    /// *Shape* [`Text`], in the order of the files and of the lines; partitions of at most 32 MiB,
    /// one for a `.gz` file. *Cost* read again by each action unless cached. *State* none.
    /// A missing path is an error of the action. Malformed UTF-8 is replaced.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let lines = ctx.text_file("Cargo.toml");
    /// assert!(lines.filter(|line| line.starts_with("[dependencies]")).count()? > 0);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn text_file(&self, path: &str) -> Rdd<Text> {
        let operator = Operator::new("text_file", Location::caller()).named(path);
        self.files(operator, path, TextLines, FileOptions::default())
    }

    /// As [`text_file`](Self::text_file), in at least about `min_partitions` partitions.
    #[track_caller]
    pub fn text_file_into(&self, path: &str, min_partitions: usize) -> Rdd<Text> {
        let operator = Operator::new("text_file", Location::caller()).named(path);
        let options = FileOptions {
            min_partitions: Some(min_partitions),
            ..FileOptions::default()
        };
        self.files(operator, path, TextLines, options)
    }

    /// As [`text_file`](Self::text_file), with options.
    ///
    /// ```
    /// use tidemill_core::{Context, FileOptions};
    ///
    /// let ctx = Context::local(2)?;
    /// let options = FileOptions { ignore_missing_files: true, ..FileOptions::default() };
    /// assert_eq!(ctx.text_file_with("no/such/file", options).count()?, 0);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn text_file_with(&self, path: &str, options: FileOptions) -> Rdd<Text> {
        let operator = Operator::new("text_file", Location::caller()).named(path);
        self.files(operator, path, TextLines, options)
    }
}

/// Lines of UTF-8 text. Malformed sequences are replaced.
#[derive(Clone, Copy, Debug)]
pub struct TextLines;

impl Portable for TextLines {
    fn encode(&self, _: &mut Encoder<'_>) -> Result<()> {
        Ok(())
    }

    fn decode(_: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self)
    }
}

impl FileFormat for TextLines {
    type Item = Text;
    type Records = FileLines;

    fn cut(&self, file: &FoundFile, split_bytes: u64) -> Result<Vec<FileSplit>> {
        if file.size_bytes == 0 {
            return Ok(Vec::new());
        }
        Ok(match Coding::of(&file.path)? {
            Coding::Plain => FileSplit::cut(file, split_bytes),
            Coding::Gzip => vec![FileSplit::whole(file)],
        })
    }

    fn open(&self, split: &FileSplit) -> Result<FileLines> {
        FileLines::open(split, CHUNK_BYTES)
    }
}

/// How a file's bytes are packed, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Plain,
    Gzip,
}

impl Coding {
    fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(OsStr::to_str) {
            Some("gz") => Ok(Self::Gzip),
            Some(other @ ("bz2" | "deflate" | "zst" | "lz4" | "snappy" | "xz")) => {
                let error = "files compressed like this cannot be read: only .gz can";
                Err(Error::new(ErrorKind::Unsupported, error)
                    .with("path", path.display())
                    .with("extension", other))
            }
            _ => Ok(Self::Plain),
        }
    }

    fn unpack(self, file: File) -> Box<dyn Read> {
        match self {
            Self::Plain => Box::new(file),
            Self::Gzip => Box::new(MultiGzDecoder::new(io::BufReader::new(file))),
        }
    }
}

/// The bytes of a whole file, decompressed.
pub(super) fn open_decoded(path: &Path) -> Result<Box<dyn Read>> {
    let coding = Coding::of(path)?;
    let file = File::open(path).map_err(|e| unreadable(path, e))?;
    Ok(coding.unpack(file))
}

/// The lines that begin in one part of a file, as slices of the chunks it is read in.
pub struct FileLines {
    reader: Box<dyn Read>,
    path: PathBuf,
    chunk_bytes: usize,
    /// Offset of the first byte of `carry`.
    at: u64,
    /// Lines that begin here or later are another part's.
    end: u64,
    /// What was read and not yet cut: the beginning of a line.
    carry: Vec<u8>,
    /// Whether the reader has no more.
    is_at_eof: bool,
    /// Whether the first line begins before the part.
    skips_first: bool,
    lines: Lines,
}

impl FileLines {
    fn open(split: &FileSplit, chunk_bytes: usize) -> Result<Self> {
        let failed = |e| unreadable(&split.path, e);
        let coding = Coding::of(&split.path)?;
        let mut file = File::open(&split.path).map_err(failed)?;
        // From one byte before the start: a line that begins exactly there is ours.
        let at = split.start.saturating_sub(1);
        if at > 0 {
            file.seek(SeekFrom::Start(at)).map_err(failed)?;
        }
        let (reader, end) = match coding {
            Coding::Plain => (coding.unpack(file), split.end),
            // Nobody knows how much is in it.
            Coding::Gzip => (coding.unpack(file), u64::MAX),
        };
        Ok(Self {
            reader,
            path: split.path.clone(),
            chunk_bytes,
            at,
            end,
            carry: Vec::new(),
            is_at_eof: false,
            skips_first: split.start > 0,
            lines: Lines::new(Text::new()),
        })
    }

    /// Cuts the next lines; `false` when there are none.
    fn fill(&mut self) -> io::Result<bool> {
        while self.at < self.end && !(self.is_at_eof && self.carry.is_empty()) {
            // The last byte again: a carriage return there may have waited for its line feed.
            let scanned = self.carry.len().saturating_sub(1);
            self.read_chunk()?;
            let whole = if self.is_at_eof {
                self.carry.len()
            } else {
                whole_lines(&self.carry, scanned)
            };
            let ours = self.lines_before_end(whole);
            if ours == 0 {
                continue;
            }
            let rest = self.carry.split_off(ours);
            let block = std::mem::replace(&mut self.carry, rest);
            self.at += ours as u64;
            let text = String::from_utf8(block)
                .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
            self.lines = Lines::new(Text::from(text));
            if std::mem::take(&mut self.skips_first) {
                self.lines.next();
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Reads one chunk more, or what there is. A byte-order mark at the beginning is dropped.
    fn read_chunk(&mut self) -> io::Result<()> {
        let is_first = self.at == 0 && self.carry.is_empty() && !self.is_at_eof;
        if self.is_at_eof {
            return Ok(());
        }
        self.carry.reserve(self.chunk_bytes + 64);
        let mut chunk = (&mut self.reader).take(self.chunk_bytes as u64);
        let len = chunk.read_to_end(&mut self.carry)?;
        self.is_at_eof = len < self.chunk_bytes;
        if is_first && self.carry.starts_with(b"\xEF\xBB\xBF") {
            // The first line begins at the mark, wherever the part ends.
            self.carry.drain(..3);
            self.end = self.end.saturating_sub(3).max(1);
        }
        Ok(())
    }

    /// How many of the first `whole` bytes belong to lines that begin before the part's end.
    fn lines_before_end(&self, whole: usize) -> usize {
        let Ok(left) = usize::try_from(self.end - self.at) else {
            return whole;
        };
        let bytes = self.carry.get(..whole).unwrap_or_default();
        // The line that holds the part's last byte is the last of ours.
        let from = left.saturating_sub(1);
        let Some(found) = bytes
            .get(from..)
            .and_then(|tail| memchr2(b'\n', b'\r', tail))
        else {
            return whole;
        };
        let found = from + found;
        let is_pair = bytes.get(found..found + 2) == Some(b"\r\n");
        found + 1 + usize::from(is_pair)
    }
}

/// How many bytes are whole lines, looking for the last line's end from `from` on. A carriage
/// return at the very end says nothing yet.
fn whole_lines(bytes: &[u8], from: usize) -> usize {
    let sure = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let new = sure.get(from..).unwrap_or_default();
    memrchr2(b'\n', b'\r', new).map_or(0, |at| from + at + 1)
}

impl Iterator for FileLines {
    type Item = Result<Text>;

    #[inline]
    fn next(&mut self) -> Option<Result<Text>> {
        loop {
            if let Some(line) = self.lines.next() {
                return Some(Ok(line));
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(damaged(&self.path, error))),
            }
        }
    }
}

/// The error of reading on in a file: damaged when its contents are at fault.
pub(super) fn damaged(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            Error::data("file is damaged")
                .with("path", path.display())
                .caused_by(error)
        }
        _ => unreadable(path, error),
    }
}

impl std::fmt::Debug for FileLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileLines")
            .field("path", &self.path)
            .field("at", &self.at)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines_in_parts(content: &[u8], split_bytes: u64, chunk_bytes: usize) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        std::fs::write(&path, content).unwrap();
        let size_bytes = content.len() as u64;
        FileSplit::cut(&FoundFile { path, size_bytes }, split_bytes)
            .iter()
            .flat_map(|split| FileLines::open(split, chunk_bytes).unwrap())
            .map(|line| line.unwrap().into())
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        // C-038
        #[test]
        fn parts_lose_and_double_no_line(
            content in "[ab\r\n]{0,60}", split_bytes in 1_u64..20, chunk_bytes in 3_usize..20
        ) {
            let expected: Vec<String> = Lines::new(Text::from(&*content)).map(String::from).collect();
            prop_assert_eq!(lines_in_parts(content.as_bytes(), split_bytes, chunk_bytes), expected);
        }
    }

    // C-035
    #[test]
    fn a_byte_order_mark_is_skipped() {
        for split_bytes in 1..10 {
            let lines = lines_in_parts(b"\xEF\xBB\xBFa\nb", split_bytes, 3);
            assert_eq!(lines, ["a", "b"], "{split_bytes}");
        }
    }

    #[test]
    fn malformed_text_is_replaced() {
        assert_eq!(lines_in_parts(b"a\xFFb\nc", 100, 4), ["a\u{FFFD}b", "c"]);
    }
}
