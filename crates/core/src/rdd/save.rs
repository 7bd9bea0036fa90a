//! `save_as_text_file` and `save_as_object_file`.

use std::io::Write;
use std::panic::Location;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Rdd;
use super::object_file::Objects;
use super::save_folder::OutputFolder;
use super::save_parts::{Part, PartFormat, SaveParts};
use crate::codec::{Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::display::try_render_into;
use crate::error::{Error, ErrorKind, Result};
use crate::function::Plain;
use crate::operator::Operator;
use crate::travel::Portable;

/// How output files are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// With gzip; the names of the parts end in `.gz`.
    Gzip,
}

/// How an RDD is saved.
///
/// ```
/// use tidemill_core::{Compression, SaveOptions};
///
/// let options = SaveOptions { compression: Compression::Gzip, ..SaveOptions::default() };
/// assert!(options.sync && !options.overwrite);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveOptions {
    /// How the parts are packed. Default: not at all.
    pub compression: Compression,
    /// Whether an earlier output in the folder is replaced: its `_SUCCESS` goes first, then its
    /// parts, one by one; other files stay. Default false: a folder that exists is refused.
    pub overwrite: bool,
    /// Whether parts, names and `_SUCCESS` are on the disk, by `fsync`, when the save returns.
    /// Default true; without it the save survives a killed process but not a power failure.
    pub sync: bool,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            overwrite: false,
            sync: true,
        }
    }
}

impl<T: Data> Rdd<T> {
    /// Writes each record as a line of text into the folder `path`: one file a partition, empty
    /// ones too, `part-00000`, `part-00001`, …, and an empty `_SUCCESS` when all are there.
    ///
    /// A record is written as [`render`](crate::render) shows it, as `print` does: text bare, pairs
    /// `(a,b)`. Line ends inside text are not escaped.
    ///
    /// *Cost* one job. Tasks write to files of their own in `path/_temporary`; the driver moves the
    /// one that counts of each partition to its name. *Guarantee* all or nothing: without
    /// `_SUCCESS` the save has failed or is not done. Attempts that fail, are repeated or run twice
    /// leave one file. All processes must see the same file system.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// # let folder = std::env::temp_dir().join(format!("tidemill-doc-{}", std::process::id()));
    /// # let path = folder.display().to_string();
    /// ctx.parallelize([("to", 2), ("be", 2)].map(|(word, n)| (word.to_owned(), n)))
    ///     .save_as_text_file(&path)?;
    /// assert_eq!(ctx.text_file(&path).collect()?, ["(to,2)", "(be,2)"]);
    /// # std::fs::remove_dir_all(folder).ok();
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when `path` exists, before any task runs; `Unavailable` when it cannot be
    /// written; else the job's failure.
    #[track_caller]
    pub fn save_as_text_file(&self, path: &str) -> Result<()> {
        self.save_as_text_file_with(path, SaveOptions::default())
    }

    /// As [`save_as_text_file`](Self::save_as_text_file), with options.
    ///
    /// # Errors
    /// As [`save_as_text_file`](Self::save_as_text_file).
    #[track_caller]
    pub fn save_as_text_file_with(&self, path: &str, options: SaveOptions) -> Result<()> {
        let operator = Operator::new("save_as_text_file", Location::caller());
        self.save_as(&operator, path, options, Lines)
    }

    /// Writes the records in Tidemill's own format into the folder `path`, for
    /// [`Context::object_file`](crate::Context::object_file) to read: one checked file a partition,
    /// and an empty `_SUCCESS` when all are there.
    ///
    /// *Cost* and *Guarantee* as [`save_as_text_file`](Self::save_as_text_file).
    ///
    /// # Errors
    /// As [`save_as_text_file`](Self::save_as_text_file).
    #[track_caller]
    pub fn save_as_object_file(&self, path: &str) -> Result<()> {
        self.save_as_object_file_with(path, SaveOptions::default())
    }

    /// As [`save_as_object_file`](Self::save_as_object_file), with options.
    ///
    /// # Errors
    /// As [`save_as_text_file`](Self::save_as_text_file).
    #[track_caller]
    pub fn save_as_object_file_with(&self, path: &str, options: SaveOptions) -> Result<()> {
        let operator = Operator::new("save_as_object_file", Location::caller());
        self.save_as(&operator, path, options, Objects::new())
    }

    #[doc(hidden)]
    pub fn save_text_as(
        &self,
        operator: &Operator,
        path: &str,
        options: SaveOptions,
    ) -> Result<()> {
        self.save_as(operator, path, options, Lines)
    }

    #[doc(hidden)]
    pub fn save_objects_as(
        &self,
        operator: &Operator,
        path: &str,
        options: SaveOptions,
    ) -> Result<()> {
        self.save_as(operator, path, options, Objects::new())
    }

    fn save_as<F: PartFormat<T>>(
        &self,
        operator: &Operator,
        path: &str,
        options: SaveOptions,
        format: F,
    ) -> Result<()> {
        let blame = |error: Error| match error.fact("operator") {
            Some(_) => error,
            None => error.with("operator", operator),
        };
        // A missing input is known before anything is made.
        let splits = self.all_splits()?;
        let folder = OutputFolder::begin(path, options).map_err(blame)?;
        let meta = self.child(operator.clone());
        let parent = self.parent().clone();
        let parts = self.ctx.rdd(SaveParts::new(
            meta,
            parent,
            folder.temporary(),
            options,
            format,
        ));
        let collect = Arc::new(Plain(|parts: PartitionIter<Part>| {
            parts.collect::<Vec<Part>>()
        }));
        let written = self
            .ctx
            .run_action(operator.clone(), &parts, &collect, &splits)?;
        let written: Vec<Part> = written.into_iter().flatten().collect();
        folder.commit(&written).map_err(blame)
    }
}

/// A record a line.
struct Lines;

impl Portable for Lines {
    fn encode(&self, _: &mut Encoder<'_>) -> Result<()> {
        Ok(())
    }

    fn decode(_: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self)
    }
}

impl<T: Data> PartFormat<T> for Lines {
    fn write(&self, records: PartitionIter<T>, out: &mut dyn Write) -> Result<()> {
        let mut line = String::new();
        for record in records {
            line.clear();
            try_render_into(&record, &mut line).map_err(|e| {
                Error::new(ErrorKind::User, "record cannot be written as text").caused_by(e)
            })?;
            line.push('\n');
            out.write_all(line.as_bytes())
                .map_err(|e| Error::unavailable("output cannot be written").caused_by(e))?;
        }
        Ok(())
    }
}
