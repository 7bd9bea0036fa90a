//! `binary_records`: records of a fixed length.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::panic::Location;
use std::path::PathBuf;

use super::Rdd;
use super::file_source::{FileFormat, FileSplit};
use super::text_file::damaged;
use crate::codec::{Decoder, Encoder};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::files::{FileOptions, FoundFile, unreadable};
use crate::operator::Operator;
use crate::travel::Portable;

impl Context {
    /// The records of files in which each is `record_bytes` long. Paths as in
    /// [`text_file`](Self::text_file).
    ///
    /// *Shape* `Vec<u8>`, in the order of the files; partitions of about 32 MiB at most. *Cost*
    /// read again by each action unless cached. *State* none. A file whose length is not a
    /// multiple of `record_bytes` fails the action, before any of it is read.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let bytes = ctx.binary_records("Cargo.toml", 1)?;
    /// assert!(bytes.filter(|record| record.as_slice() == b"[").count()? > 0);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a length of 0.
    #[track_caller]
    pub fn binary_records(&self, path: &str, record_bytes: usize) -> Result<Rdd<Vec<u8>>> {
        let operator = Operator::new("binary_records", Location::caller()).named(path);
        let format = BinaryRecords::new(record_bytes).map_err(|e| e.with("operator", &operator))?;
        Ok(self.files(operator, path, format, FileOptions::default()))
    }

    /// As [`binary_records`](Self::binary_records), with options.
    ///
    /// # Errors
    /// `Invalid` for a length of 0.
    #[track_caller]
    pub fn binary_records_with(
        &self,
        path: &str,
        record_bytes: usize,
        options: FileOptions,
    ) -> Result<Rdd<Vec<u8>>> {
        let operator = Operator::new("binary_records", Location::caller()).named(path);
        let format = BinaryRecords::new(record_bytes).map_err(|e| e.with("operator", &operator))?;
        Ok(self.files(operator, path, format, options))
    }
}

/// Records of so many bytes.
#[derive(Clone, Copy, Debug)]
pub struct BinaryRecords {
    record_bytes: usize,
}

impl BinaryRecords {
    /// Records of `record_bytes` bytes.
    ///
    /// # Errors
    /// `Invalid` for 0.
    pub fn new(record_bytes: usize) -> Result<Self> {
        if record_bytes == 0 {
            return Err(Error::invalid("records must be longer than 0 bytes"));
        }
        Ok(Self { record_bytes })
    }
}

impl Portable for BinaryRecords {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&self.record_bytes)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Self::new(decoder.take()?)
    }
}

impl FileFormat for BinaryRecords {
    type Item = Vec<u8>;
    type Records = FixedRecords;

    fn cut(&self, file: &FoundFile, split_bytes: u64) -> Result<Vec<FileSplit>> {
        let whole_records = split_bytes.div_ceil(self.record_bytes as u64);
        let split_bytes = whole_records.saturating_mul(self.record_bytes as u64);
        Ok(FileSplit::cut(file, split_bytes))
    }

    fn open(&self, split: &FileSplit) -> Result<FixedRecords> {
        // Each part of a ragged file refuses it: nobody knows where the missing bytes were.
        if !split.size_bytes.is_multiple_of(self.record_bytes as u64) {
            let error = "file length is not a multiple of the record length";
            return Err(Error::data(error)
                .with("path", split.path.display())
                .with("file_bytes", split.size_bytes)
                .with("record_bytes", self.record_bytes));
        }
        let failed = |e| unreadable(&split.path, e);
        let mut file = File::open(&split.path).map_err(failed)?;
        file.seek(SeekFrom::Start(split.start)).map_err(failed)?;
        Ok(FixedRecords {
            reader: BufReader::with_capacity(1 << 16, file),
            path: split.path.clone(),
            record_bytes: self.record_bytes,
            left: (split.end - split.start) / self.record_bytes as u64,
        })
    }
}

/// The records of one part of a file.
#[derive(Debug)]
pub struct FixedRecords {
    reader: BufReader<File>,
    path: PathBuf,
    record_bytes: usize,
    left: u64,
}

impl Iterator for FixedRecords {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Result<Vec<u8>>> {
        self.left = self.left.checked_sub(1)?;
        let mut record = vec![0; self.record_bytes];
        let read = self.reader.read_exact(&mut record);
        Some(
            read.map(|()| record)
                .map_err(|error| damaged(&self.path, error)),
        )
    }
}
