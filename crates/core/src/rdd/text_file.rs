//! `text_file`: the lines of local files.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::GlobBuilder;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::node::{AnyRdd, Dependency, Meta, RddNode, built, no_such_partition};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::PartitionIter;
use crate::error::{Error, Result};
use crate::operator::abort_task;
use crate::task::TaskContext;
use crate::text::Text;
use crate::travel::Descriptor;

/// Longest part of a file read by one task.
const MAX_SPLIT_BYTES: u64 = 32 << 20;

/// Lines of the files that a path, a comma-separated list of paths, or globs name.
pub(crate) struct TextFile {
    meta: Meta,
    path: String,
    min_partitions: usize,
    /// Found when first needed: a missing path is an error of the action, not of the definition.
    splits: Mutex<Option<Arc<[FileSplit]>>>,
}

/// The lines that begin in `[start, end)` of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FileSplit {
    file: PathBuf,
    start: u64,
    end: u64,
}

impl TextFile {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    pub(crate) fn new(meta: Meta, path: &str, min_partitions: usize) -> Self {
        Self {
            meta,
            path: path.to_owned(),
            min_partitions,
            splits: Mutex::new(None),
        }
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let splits: Vec<FileSplit> = decoder.take()?;
        let splits = Mutex::new(Some(splits.into()));
        Ok(built(Self {
            meta: decoder.meta(),
            path: String::new(),
            min_partitions: 1,
            splits,
        }))
    }

    fn splits(&self) -> Result<Arc<[FileSplit]>> {
        let mut splits = self.splits.lock();
        if let Some(splits) = &*splits {
            return Ok(Arc::clone(splits));
        }
        let found: Arc<[FileSplit]> = self.find_splits()?.into();
        *splits = Some(Arc::clone(&found));
        Ok(found)
    }

    fn find_splits(&self) -> Result<Vec<FileSplit>> {
        let mut files = Vec::new();
        for path in paths(&self.path) {
            files.extend(find_files(path).map_err(|e| e.with("operator", self.meta.operator()))?);
        }
        let total: u64 = files.iter().map(|(_, len)| len).sum();
        let goal = total / (self.min_partitions as u64).max(1);
        let split_bytes = goal.clamp(1, MAX_SPLIT_BYTES);
        Ok(files
            .into_iter()
            .flat_map(|(file, len)| cut(&file, len, split_bytes))
            .collect())
    }
}

/// The paths of a list. A comma inside braces belongs to a glob.
fn paths(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    let comma = move |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    list.split(comma)
        .map(str::trim)
        .filter(|path| !path.is_empty())
}

/// Parts of about `split_bytes`; a tail of up to a tenth goes with the part before it.
fn cut(file: &Path, len: u64, split_bytes: u64) -> Vec<FileSplit> {
    let mut splits = Vec::new();
    let mut start = 0;
    while start < len {
        let rest = len - start;
        let take = if rest * 10 > split_bytes * 11 {
            split_bytes
        } else {
            rest
        };
        splits.push(FileSplit {
            file: file.to_path_buf(),
            start,
            end: start + take,
        });
        start += take;
    }
    splits
}

fn missing(path: &str) -> Error {
    Error::invalid("input path does not exist: Input path does not exist").with("path", path)
}

/// The files under one path or glob, sorted, with their lengths. Names that begin with `_` or `.`
/// are skipped; a folder stands for the files directly in it.
fn find_files(pattern: &str) -> Result<Vec<(PathBuf, u64)>> {
    let plain = pattern.strip_prefix("file://").unwrap_or(pattern);
    let matches = if plain.contains(['*', '?', '[', '{']) {
        expand(plain)?
    } else {
        vec![plain.into()]
    };
    let mut files = Vec::new();
    for path in matches {
        let info = std::fs::metadata(&path).map_err(|e| missing(plain).caused_by(e))?;
        if info.is_dir() {
            for child in children(&path)? {
                let info = std::fs::metadata(&child).map_err(|e| unreadable(&child, e))?;
                if info.is_dir() {
                    return Err(Error::invalid(
                        "not a file: folders inside an input folder are not read",
                    )
                    .with("path", child.display()));
                }
                files.push((child, info.len()));
            }
        } else {
            files.push((path, info.len()));
        }
    }
    Ok(files)
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::unavailable("file cannot be read")
        .with("path", path.display())
        .caused_by(error)
}

/// Visible entries of a folder, sorted by name.
fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|e| unreadable(folder, e))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| unreadable(folder, e))?;
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with(['_', '.']) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// All paths that match a glob, walking from its last folder without a wildcard.
fn expand(pattern: &str) -> Result<Vec<PathBuf>> {
    let glob = GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|e| {
            Error::invalid("path is not a valid glob")
                .with("path", pattern)
                .caused_by(e)
        })?
        .compile_matcher();
    let wild = pattern.find(['*', '?', '[', '{']).unwrap_or(pattern.len());
    let base = pattern
        .get(..wild)
        .and_then(|fixed| fixed.rfind('/').map(|at| &fixed[..=at]));
    let depth = pattern
        .get(base.map_or(0, str::len)..)
        .map_or(1, |rest| rest.matches('/').count() + 1);
    let root = PathBuf::from(base.unwrap_or("."));
    let mut level = vec![root];
    for _ in 0..depth {
        let mut next = Vec::new();
        for folder in level.iter().filter(|path| path.is_dir()) {
            next.extend(children(folder)?);
        }
        level = next;
    }
    let strip = |path: &PathBuf| match base {
        Some(_) => path.clone(),
        None => path
            .strip_prefix(".")
            .map_or_else(|_| path.clone(), Path::to_path_buf),
    };
    let found: Vec<PathBuf> = level
        .iter()
        .map(strip)
        .filter(|path| glob.is_match(path))
        .collect();
    if found.is_empty() {
        Err(missing(pattern))
    } else {
        Ok(found)
    }
}

impl AnyRdd for TextFile {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        Ok(self.splits()?.len())
    }

    fn dependencies(&self) -> Vec<Dependency> {
        Vec::new()
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&*self.splits()?)
    }
}

impl RddNode<Text> for TextFile {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<Text>> {
        let splits = self.splits()?;
        let split = splits
            .get(split)
            .ok_or_else(|| no_such_partition(self.meta.operator(), split))?;
        let lines = FileLines::open(split).map_err(|e| unreadable(&split.file, e))?;
        let file = split.file.clone();
        Ok(Box::new(task.interruptible(lines.map(move |line| {
            line.unwrap_or_else(|e| abort_task(unreadable(&file, e)))
        }))))
    }
}

/// The lines that begin in one part of a file. Malformed UTF-8 is replaced.
struct FileLines {
    reader: BufReader<File>,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
}

impl FileLines {
    fn open(split: &FileSplit) -> std::io::Result<Self> {
        let mut file = File::open(&split.file)?;
        // From one byte before the start: a line that begins exactly there is ours.
        let from = split.start.saturating_sub(1);
        file.seek(SeekFrom::Start(from))?;
        let mut lines = Self {
            reader: BufReader::with_capacity(1 << 16, file),
            at: from,
            end: split.end,
            buffer: Vec::new(),
        };
        if split.start > 0 {
            lines.read_line()?;
        } else if lines.reader.fill_buf()?.starts_with(b"\xEF\xBB\xBF") {
            lines.reader.consume(3);
            lines.at = 3;
        }
        Ok(lines)
    }

    /// Reads one line into the buffer, without its terminator; `false` at the end of the file.
    fn read_line(&mut self) -> std::io::Result<bool> {
        self.buffer.clear();
        loop {
            let available = self.reader.fill_buf()?;
            if available.is_empty() {
                return Ok(!self.buffer.is_empty());
            }
            let Some(at) = memchr::memchr2(b'\n', b'\r', available) else {
                let len = available.len();
                self.buffer.extend_from_slice(available);
                self.reader.consume(len);
                self.at += len as u64;
                continue;
            };
            let (line, rest) = available.split_at(at);
            self.buffer.extend_from_slice(line);
            let carriage_return = rest.first() == Some(&b'\r');
            self.reader.consume(at + 1);
            self.at += at as u64 + 1;
            if carriage_return && self.reader.fill_buf()?.first() == Some(&b'\n') {
                self.reader.consume(1);
                self.at += 1;
            }
            return Ok(true);
        }
    }
}

impl Iterator for FileLines {
    type Item = std::io::Result<Text>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        match self.read_line() {
            Ok(true) => Some(Ok(Text::from(&*String::from_utf8_lossy(&self.buffer)))),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines_in_parts(content: &[u8], split_bytes: u64) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("part");
        std::fs::write(&file, content).unwrap();
        cut(&file, content.len() as u64, split_bytes)
            .iter()
            .flat_map(|split| FileLines::open(split).unwrap())
            .map(|line| line.unwrap().into())
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        // C-038
        #[test]
        fn parts_lose_and_double_no_line(content in "[ab\r\n]{0,60}", split_bytes in 1_u64..20) {
            let whole = lines_in_parts(content.as_bytes(), u64::MAX / 16);
            prop_assert_eq!(lines_in_parts(content.as_bytes(), split_bytes), whole);
        }
    }

    // C-035
    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(lines_in_parts(b"\xEF\xBB\xBFa\nb", 100), ["a", "b"]);
    }
}
