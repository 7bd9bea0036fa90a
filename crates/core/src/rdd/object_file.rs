//! `save_as_object_file` and `object_file`: records in Tidemill's own, checked format.
//!
//! A file is the header `TIDEOBJ` and a version byte, then chunks, then an end. A chunk is
//! `length: u32, records: u32, crc: u32` (little endian) and `length` bytes: the records one after
//! the other, in postcard's wire format. The checksum (CRC-32) covers the two numbers before it and
//! the bytes. The end looks like a chunk of length `0xffffffff` without bytes, whose number is the
//! low half of the file's record count: a file that lost its tail, or a chunk, is known to have.

use std::io::{BufReader, Read, Write};
use std::marker::PhantomData;
use std::panic::Location;
use std::path::PathBuf;

use super::Rdd;
use super::file_source::{FileFormat, FileSplit};
use super::save_parts::PartFormat;
use super::text_file::open_decoded;
use crate::codec::{Decoder, Encoder};
use crate::context::Context;
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::files::{FileOptions, FoundFile};
use crate::operator::Operator;
use crate::travel::Portable;

const MAGIC: [u8; 7] = *b"TIDEOBJ";
const VERSION: u8 = 1;

/// A chunk is written when it has so many bytes,
const CHUNK_BYTES: usize = 64 << 10;

/// or so many records: those of some types have no bytes.
const CHUNK_RECORDS: u32 = 1 << 20;

/// The length that says that there are no more chunks.
const END: u32 = u32::MAX;

/// What a chunk may say its length is. A single record may be that long.
const MAX_CHUNK_BYTES: usize = 1 << 30;

impl Context {
    /// The records that [`save_as_object_file`](Rdd::save_as_object_file) wrote. Paths as in
    /// [`text_file`](Self::text_file). Each chunk's checksum is compared before it is used.
    ///
    /// *Shape* `T`, a partition a file. *Cost* read again by each action unless cached. *State*
    /// none. The type must be the one that was saved: a file does not tell its type, and another
    /// one is noticed only when the bytes do not fit it.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// # let folder = std::env::temp_dir().join(format!("tidemill-doc-{}", std::process::id()));
    /// # let path = folder.display().to_string();
    /// ctx.parallelize([(1, 'a'), (2, 'b')]).save_as_object_file(&path)?;
    /// assert_eq!(ctx.object_file::<(i32, char)>(&path).collect()?, [(1, 'a'), (2, 'b')]);
    /// # std::fs::remove_dir_all(folder).ok();
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn object_file<T: Data>(&self, path: &str) -> Rdd<T> {
        let operator = Operator::new("object_file", Location::caller()).named(path);
        self.files(operator, path, Objects::new(), FileOptions::default())
    }

    /// As [`object_file`](Self::object_file), with options.
    #[track_caller]
    pub fn object_file_with<T: Data>(&self, path: &str, options: FileOptions) -> Rdd<T> {
        let operator = Operator::new("object_file", Location::caller()).named(path);
        self.files(operator, path, Objects::new(), options)
    }
}

/// Records of type `T`.
pub(super) struct Objects<T>(PhantomData<fn() -> T>);

impl<T> Objects<T> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Data> Portable for Objects<T> {
    fn encode(&self, _: &mut Encoder<'_>) -> Result<()> {
        Ok(())
    }

    fn decode(_: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self::new())
    }
}

impl<T: Data> PartFormat<T> for Objects<T> {
    fn write(&self, records: PartitionIter<T>, out: &mut dyn Write) -> Result<()> {
        let unwritten =
            |e: std::io::Error| Error::unavailable("output cannot be written").caused_by(e);
        out.write_all(&MAGIC)
            .and_then(|()| out.write_all(&[VERSION]))
            .map_err(unwritten)?;
        let (mut chunk, mut num_in_chunk, mut num_records) = (Vec::new(), 0, 0_u64);
        for record in records {
            chunk = append(&record, chunk)?;
            (num_in_chunk, num_records) = (num_in_chunk + 1, num_records + 1);
            if chunk.len() >= CHUNK_BYTES || num_in_chunk == CHUNK_RECORDS {
                write_chunk(out, &chunk, num_in_chunk).map_err(unwritten)?;
                chunk.clear();
                num_in_chunk = 0;
            }
        }
        if num_in_chunk > 0 {
            write_chunk(out, &chunk, num_in_chunk).map_err(unwritten)?;
        }
        write_head(out, END, low_half(num_records), &[]).map_err(unwritten)
    }
}

fn append<T: Data>(record: &T, chunk: Vec<u8>) -> Result<Vec<u8>> {
    let chunk = postcard::to_extend(record, chunk).map_err(|e| {
        Error::invalid("record cannot be encoded")
            .with("type", std::any::type_name::<T>())
            .caused_by(e)
    })?;
    if chunk.len() > MAX_CHUNK_BYTES {
        return Err(Error::invalid("record is too long for an object file")
            .with("max_bytes", MAX_CHUNK_BYTES));
    }
    Ok(chunk)
}

fn low_half(number: u64) -> u32 {
    (number & u64::from(u32::MAX)) as u32
}

fn write_chunk(out: &mut dyn Write, bytes: &[u8], num_records: u32) -> std::io::Result<()> {
    // Never more than the longest chunk.
    let len = u32::try_from(bytes.len()).unwrap_or(END);
    write_head(out, len, num_records, bytes)?;
    out.write_all(bytes)
}

fn write_head(
    out: &mut dyn Write,
    len: u32,
    num_records: u32,
    bytes: &[u8],
) -> std::io::Result<()> {
    out.write_all(&len.to_le_bytes())?;
    out.write_all(&num_records.to_le_bytes())?;
    out.write_all(&checksum(len, num_records, bytes).to_le_bytes())
}

fn checksum(len: u32, num_records: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len.to_le_bytes());
    hasher.update(&num_records.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

impl<T: Data> FileFormat for Objects<T> {
    type Item = T;
    type Records = ObjectRecords<T>;

    fn cut(&self, file: &FoundFile, _: u64) -> Result<Vec<FileSplit>> {
        Ok(vec![FileSplit::whole(file)])
    }

    fn open(&self, split: &FileSplit) -> Result<ObjectRecords<T>> {
        let reader = open_decoded(&split.path)?;
        let mut records = ObjectRecords {
            reader: BufReader::with_capacity(CHUNK_BYTES, reader),
            path: split.path.clone(),
            chunk: Vec::new(),
            at: 0,
            left_in_chunk: 0,
            num_records: 0,
            is_at_end: false,
            types: PhantomData,
        };
        let [magic @ .., version] = records.exactly::<8>()?;
        if magic != MAGIC {
            return Err(records.damaged("file is not an object file"));
        }
        if version != VERSION {
            return Err(records
                .damaged("object file has another version")
                .with("version", version)
                .with("known", VERSION));
        }
        Ok(records)
    }
}

/// The records of a file.
pub(super) struct ObjectRecords<T> {
    reader: BufReader<Box<dyn Read>>,
    path: PathBuf,
    chunk: Vec<u8>,
    at: usize,
    left_in_chunk: u32,
    num_records: u64,
    is_at_end: bool,
    types: PhantomData<fn() -> T>,
}

impl<T: Data> ObjectRecords<T> {
    fn damaged(&self, what: &str) -> Error {
        Error::data(what).with("path", self.path.display())
    }

    fn exactly<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader
            .read_exact(&mut bytes)
            .map_err(|e| self.damaged("object file ends too early").caused_by(e))?;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32> {
        self.exactly().map(u32::from_le_bytes)
    }

    /// Reads the next chunk; `false` at the end.
    fn read_chunk(&mut self) -> Result<bool> {
        let (len, num_records, crc) = (self.number()?, self.number()?, self.number()?);
        let limit = if len == END { 0 } else { len as usize };
        if limit > MAX_CHUNK_BYTES {
            return Err(self
                .damaged("object file is damaged")
                .with("chunk_bytes", len));
        }
        self.chunk.clear();
        // Grows with what is there, not with what the length says.
        let mut bytes = (&mut self.reader).take(limit as u64);
        let read = bytes.read_to_end(&mut self.chunk);
        read.map_err(|e| self.damaged("object file ends too early").caused_by(e))?;
        if self.chunk.len() != limit {
            return Err(self.damaged("object file ends too early"));
        }
        if checksum(len, num_records, &self.chunk) != crc {
            return Err(self
                .damaged("object file is damaged: a checksum is wrong")
                .with("record", self.num_records));
        }
        if len != END {
            (self.at, self.left_in_chunk) = (0, num_records);
            return Ok(true);
        }
        self.read_end(num_records)?;
        Ok(false)
    }

    fn read_end(&mut self, num_records: u32) -> Result<()> {
        self.is_at_end = true;
        if num_records != low_half(self.num_records) {
            return Err(self
                .damaged("object file has lost records")
                .with("found", self.num_records));
        }
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            _ => Err(self.damaged("object file goes on after its end")),
        }
    }

    fn read_record(&mut self) -> Result<T> {
        let bytes = self.chunk.get(self.at..).unwrap_or_default();
        let (record, rest) = postcard::take_from_bytes(bytes).map_err(|e| {
            self.damaged("object file holds records of another type")
                .with("wanted", std::any::type_name::<T>())
                .caused_by(e)
        })?;
        let (at, left) = (self.chunk.len() - rest.len(), self.left_in_chunk - 1);
        if left == 0 && !rest.is_empty() {
            return Err(self
                .damaged("object file holds records of another type")
                .with("wanted", std::any::type_name::<T>()));
        }
        (self.at, self.left_in_chunk) = (at, left);
        self.num_records += 1;
        Ok(record)
    }
}

impl<T: Data> Iterator for ObjectRecords<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        while self.left_in_chunk == 0 {
            if self.is_at_end {
                return None;
            }
            match self.read_chunk() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        Some(self.read_record())
    }
}
