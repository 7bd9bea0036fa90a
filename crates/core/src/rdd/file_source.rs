//! RDDs of files: what every format of input files has in common.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::Rdd;
use super::node::{AnyRdd, Dependency, Meta, RddNode, built, no_such_partition};
use crate::codec::{Built, Decoder, Encoder};
use crate::context::Context;
use crate::data::{Data, PartitionIter};
use crate::error::Result;
use crate::files::{FileOptions, FoundFile, find_files};
use crate::operator::{Operator, abort_task};
use crate::task::TaskContext;
use crate::travel::{Descriptor, Portable};

/// Longest part of a file read by one task, where a file can be cut.
const MAX_SPLIT_BYTES: u64 = 32 << 20;

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSplit {
    /// The file. Its name may be anything that the system allows.
    #[serde(with = "os_path")]
    pub path: PathBuf,
    /// The file's length when it was found, in bytes.
    pub size_bytes: u64,
    /// Where the part begins.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
}

/// Paths that need not be UTF-8.
mod os_path {
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PathBuf, D::Error> {
        OsString::deserialize(deserializer).map(PathBuf::from)
    }
}

impl FileSplit {
    /// The file in one piece.
    #[must_use]
    pub fn whole(file: &FoundFile) -> Self {
        let size_bytes = file.size_bytes;
        Self {
            path: file.path.clone(),
            size_bytes,
            start: 0,
            end: size_bytes,
        }
    }

    /// The file in pieces of `split_bytes`; a tail of up to a tenth goes with the piece before it.
    #[must_use]
    pub fn cut(file: &FoundFile, split_bytes: u64) -> Vec<Self> {
        let (len, split_bytes) = (file.size_bytes, split_bytes.max(1));
        let mut splits = Vec::new();
        let mut start = 0;
        while start < len {
            let rest = len - start;
            let is_more = u128::from(rest) * 10 > u128::from(split_bytes) * 11;
            let end = start + if is_more { split_bytes } else { rest };
            splits.push(Self {
                start,
                end,
                ..Self::whole(file)
            });
            start = end;
        }
        splits
    }
}

/// How the bytes of files become records. Goes to where the tasks run.
pub trait FileFormat: Portable {
    /// The record type.
    type Item: Data;

    /// The records of a split. After an error nothing more is asked of it.
    type Records: Iterator<Item = Result<Self::Item>> + 'static;

    /// Whether many small files share a partition.
    const SHARES_PARTITIONS: bool = false;

    /// The parts of a file that tasks read, each of about `split_bytes`.
    ///
    /// # Errors
    /// `Unsupported` when the format cannot read such a file.
    fn cut(&self, file: &FoundFile, split_bytes: u64) -> Result<Vec<FileSplit>>;

    /// Begins to read a split.
    ///
    /// # Errors
    /// Fails the task, unless the file's options say otherwise.
    fn open(&self, split: &FileSplit) -> Result<Self::Records>;
}

/// The records of files of one format.
pub(crate) struct FileSource<F> {
    meta: Meta,
    format: Arc<F>,
    options: FileOptions,
    min_partitions: usize,
    /// Paths and globs, separated by commas.
    list: String,
    /// Found when first needed: a missing path is an error of the action, not of the definition.
    parts: Mutex<Option<Arc<Parts>>>,
}

/// What each partition reads. A task is sent only its own.
#[derive(Serialize, Deserialize)]
struct Parts {
    num_partitions: usize,
    splits: BTreeMap<usize, Vec<FileSplit>>,
}

impl Parts {
    fn of<F: FileFormat>(format: &F, files: &[FoundFile], min_partitions: usize) -> Result<Self> {
        let total: u64 = files.iter().map(|file| file.size_bytes).sum();
        let goal = total / (min_partitions as u64).max(1);
        let split_bytes = goal.clamp(1, MAX_SPLIT_BYTES);
        let mut parts: Vec<Vec<FileSplit>> = Vec::new();
        let mut last_bytes = u64::MAX;
        for file in files {
            for split in format.cut(file, split_bytes)? {
                let len = split.end.saturating_sub(split.start);
                match parts.last_mut() {
                    Some(last) if F::SHARES_PARTITIONS && last_bytes < split_bytes => {
                        last_bytes = last_bytes.saturating_add(len);
                        last.push(split);
                    }
                    _ => {
                        last_bytes = len;
                        parts.push(vec![split]);
                    }
                }
            }
        }
        Ok(Self {
            num_partitions: parts.len(),
            splits: parts.into_iter().enumerate().collect(),
        })
    }
}

impl<F: FileFormat> FileSource<F> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let (options, parts) = decoder.take()?;
        Ok(built(Self {
            meta: decoder.meta(),
            format: Arc::new(F::decode(decoder)?),
            options,
            min_partitions: 1,
            list: String::new(),
            parts: Mutex::new(Some(Arc::new(parts))),
        }))
    }

    fn parts(&self) -> Result<Arc<Parts>> {
        let mut parts = self.parts.lock();
        if let Some(parts) = &*parts {
            return Ok(Arc::clone(parts));
        }
        let found = find_files(&self.list, &self.options)
            .and_then(|files| Parts::of(&*self.format, &files, self.min_partitions))
            .map_err(|e| e.with("operator", self.meta.operator()))?;
        Ok(Arc::clone(parts.insert(Arc::new(found))))
    }
}

impl Context {
    /// The files of `list` when an action first asks for them.
    pub(crate) fn files<F: FileFormat>(
        &self,
        operator: Operator,
        list: &str,
        format: F,
        options: FileOptions,
    ) -> Rdd<F::Item> {
        let default = self.default_min_partitions();
        self.rdd(FileSource {
            meta: self.meta(operator, 0),
            format: Arc::new(format),
            options,
            min_partitions: options.min_partitions.unwrap_or(default),
            list: list.to_owned(),
            parts: Mutex::default(),
        })
    }

    /// These files, in this order, each in a partition of its own, or more when it is long.
    #[doc(hidden)]
    pub fn files_as<F: FileFormat>(
        &self,
        operator: Operator,
        files: &[FoundFile],
        format: Arc<F>,
        options: FileOptions,
    ) -> Result<Rdd<F::Item>> {
        let parts = Parts::of(&*format, files, 1).map_err(|e| e.with("operator", &operator))?;
        Ok(self.rdd(FileSource {
            meta: self.meta(operator, 0),
            format,
            options,
            min_partitions: 1,
            list: String::new(),
            parts: Mutex::new(Some(Arc::new(parts))),
        }))
    }
}

impl<F: FileFormat> AnyRdd for FileSource<F> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        Ok(self.parts()?.num_partitions)
    }

    fn dependencies(&self) -> Vec<Dependency> {
        Vec::new()
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, splits: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        let parts = self.parts()?;
        let wanted = splits
            .iter()
            .filter_map(|at| parts.splits.get_key_value(at));
        let parts = Parts {
            num_partitions: parts.num_partitions,
            splits: wanted.map(|(at, split)| (*at, split.clone())).collect(),
        };
        encoder.put(&(self.options, parts))?;
        self.format.encode(encoder)
    }
}

impl<F: FileFormat> RddNode<F::Item> for FileSource<F> {
    fn compute(
        self: Arc<Self>,
        split: usize,
        task: &TaskContext,
    ) -> Result<PartitionIter<F::Item>> {
        let parts = self.parts()?;
        let splits = parts.splits.get(&split).cloned();
        let splits = splits.ok_or_else(|| no_such_partition(self.meta.operator(), split))?;
        Ok(Box::new(task.interruptible(PartReader {
            source: self,
            splits: splits.into_iter(),
            open: None,
        })))
    }
}

/// Reads the splits of a partition, one after the other.
struct PartReader<F: FileFormat> {
    source: Arc<FileSource<F>>,
    splits: std::vec::IntoIter<FileSplit>,
    open: Option<(PathBuf, F::Records)>,
}

impl<F: FileFormat> PartReader<F> {
    /// Fails the task, unless the options say to pass over the rest of the split.
    fn judge(&self, path: &Path, error: crate::error::Error) {
        let FileSource { meta, options, .. } = &*self.source;
        let is_missing = || matches!(path.try_exists(), Ok(false));
        if options.ignore_corrupt_files || (options.ignore_missing_files && is_missing()) {
            tracing::warn!(
                path = %path.display(), operator = %meta.operator(), error = %error.report(),
                "input file is passed over"
            );
        } else {
            abort_task(error.with("operator", meta.operator()));
        }
    }
}

impl<F: FileFormat> Iterator for PartReader<F> {
    type Item = F::Item;

    #[inline]
    fn next(&mut self) -> Option<F::Item> {
        loop {
            if let Some((_, records)) = &mut self.open {
                match records.next() {
                    Some(Ok(record)) => return Some(record),
                    ended => {
                        let path = self.open.take().map(|(path, _)| path).unwrap_or_default();
                        if let Some(Err(error)) = ended {
                            self.judge(&path, error);
                        }
                    }
                }
            }
            let split = self.splits.next()?;
            match self.source.format.open(&split) {
                Ok(records) => self.open = Some((split.path, records)),
                Err(error) => self.judge(&split.path, error),
            }
        }
    }
}
