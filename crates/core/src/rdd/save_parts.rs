//! The tasks of a save: each writes one partition to a file of its own attempt.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::node::{AnyRdd, Dependency, Meta, Parent, RddNode, built};
use super::save::{Compression, SaveOptions};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::task::{TaskContext, TaskId};
use crate::travel::{Descriptor, Portable};

/// How records become the bytes of a file. Goes to where the tasks run.
pub(super) trait PartFormat<T>: Portable {
    /// Writes the records of one partition.
    fn write(&self, records: PartitionIter<T>, out: &mut dyn Write) -> Result<()>;
}

/// A partition that was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    /// Its number.
    pub(super) split: usize,
    /// The attempt's file in the temporary folder.
    pub(super) file_name: String,
}

/// Writes each partition; its one record says where it is.
pub(super) struct SaveParts<T, F> {
    meta: Meta,
    parent: Parent<T>,
    target: Target,
    format: F,
}

/// Where and how the files are written.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Target {
    folder: PathBuf,
    compression: Compression,
    sync: bool,
}

impl<T: Data, F: PartFormat<T>> SaveParts<T, F> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    pub(super) fn new(
        meta: Meta,
        parent: Parent<T>,
        folder: PathBuf,
        options: SaveOptions,
        format: F,
    ) -> Self {
        let target = Target {
            folder,
            compression: options.compression,
            sync: options.sync,
        };
        Self {
            meta,
            parent,
            target,
            format,
        }
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let target = decoder.take()?;
        let format = F::decode(decoder)?;
        Ok(built::<Part>(Self {
            meta: decoder.meta(),
            parent: Parent::decode(decoder, 0)?,
            target,
            format,
        }))
    }

    fn write(&self, records: PartitionIter<T>, split: usize, task: TaskId) -> Result<Part> {
        let mut attempt = Attempt::create(&self.target.folder, split, task)?;
        let file = BufWriter::with_capacity(1 << 16, attempt.file()?);
        let file = match self.target.compression {
            Compression::None => {
                let mut file = file;
                self.format.write(records, &mut file)?;
                file
            }
            Compression::Gzip => {
                let mut packed = GzEncoder::new(file, flate2::Compression::default());
                self.format.write(records, &mut packed)?;
                packed.finish().map_err(unwritten)?
            }
        };
        let file = file.into_inner().map_err(|e| unwritten(e.into_error()))?;
        if self.target.sync {
            // Not tried again on this file: what failed once may be gone.
            file.sync_all().map_err(unwritten)?;
        }
        drop(file);
        let file_name = attempt.keep();
        Ok(Part { split, file_name })
    }
}

fn unwritten(error: io::Error) -> Error {
    Error::unavailable("output cannot be written").caused_by(error)
}

impl<T: Data, F: PartFormat<T>> AnyRdd for SaveParts<T, F> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        self.parent.num_partitions()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        self.parent.one_to_one()
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&self.target)?;
        self.format.encode(encoder)
    }
}

impl<T: Data, F: PartFormat<T>> RddNode<Part> for SaveParts<T, F> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<Part>> {
        let records = self.parent.iterate(split, task)?;
        let written = self
            .meta
            .operator()
            .call(|| self.write(records, split, task.id()));
        let part = written.map_err(|error| {
            error
                .with("path", self.target.folder.display())
                .with("operator", self.meta.operator())
        })?;
        Ok(Box::new(std::iter::once(part)))
    }
}

/// The file of one attempt at one partition. Gone when the attempt fails, whatever way it fails.
struct Attempt {
    path: PathBuf,
    file: Option<File>,
    file_name: String,
    is_kept: bool,
}

impl Attempt {
    /// Never a file of another attempt: a twin of this one, or the same one tried again because
    /// its result was lost, may still be writing.
    fn create(folder: &Path, split: usize, task: TaskId) -> Result<Self> {
        const MAX_TWINS: u32 = 1_000;
        let mut last_error = None;
        for twin in 0..MAX_TWINS {
            let file_name = format!("part-{split:05}-attempt-{task}.{twin}");
            let path = folder.join(&file_name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    return Ok(Self {
                        path,
                        file: Some(file),
                        file_name,
                        is_kept: false,
                    });
                }
                Err(error) => {
                    let is_taken = error.kind() == io::ErrorKind::AlreadyExists;
                    last_error = Some(error);
                    if !is_taken {
                        break;
                    }
                }
            }
        }
        let error = Error::unavailable("output file cannot be made").with("partition", split);
        Err(match last_error {
            Some(cause) => error.caused_by(cause),
            None => error,
        })
    }

    fn file(&mut self) -> Result<File> {
        let file = self.file.take();
        file.ok_or_else(|| Error::internal("attempt's file was taken twice"))
    }

    fn keep(mut self) -> String {
        self.is_kept = true;
        std::mem::take(&mut self.file_name)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed goes with the temporary folder.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
