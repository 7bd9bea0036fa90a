//! A file seen through a buffer of bounded size.

use std::path::{Path, PathBuf};

use memchr::memmem;
use tidemill_core::Result;

use super::entry::RECORD_MAGIC;
use crate::disk::{self, Disk, DiskReader};

/// How much is read at a time, unless a record is longer.
const CHUNK_BYTES: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Window {
    reader: Box<dyn DiskReader>,
    path: PathBuf,
    num_bytes: u64,
    /// Where in the file the buffered bytes begin.
    start: u64,
    buffer: Vec<u8>,
}

impl Window {
    pub(super) fn open(disk: &dyn Disk, path: PathBuf) -> Result<Self> {
        let failed = |error| disk::failed("log file cannot be read", &path, error);
        let mut reader = disk.open(&path).map_err(failed)?;
        let num_bytes = reader.num_bytes().map_err(failed)?;
        Ok(Self {
            reader,
            path,
            num_bytes,
            start: 0,
            buffer: Vec::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn num_bytes(&self) -> u64 {
        self.num_bytes
    }

    /// Exactly `num_bytes` from `offset` on; `None` when the file ends before.
    pub(super) fn at(&mut self, offset: u64, num_bytes: u64) -> Result<Option<&[u8]>> {
        if offset.saturating_add(num_bytes) > self.num_bytes {
            return Ok(None);
        }
        let end = self.start + self.buffer.len() as u64;
        if offset < self.start || offset + num_bytes > end {
            self.load(offset, num_bytes.max(CHUNK_BYTES))?;
        }
        let begin = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let length = usize::try_from(num_bytes).unwrap_or(usize::MAX);
        Ok(self.buffer.get(begin..begin.saturating_add(length)))
    }

    /// As many bytes as are buffered from `offset` on, at least one unless the file ends there.
    fn some(&mut self, offset: u64) -> Result<&[u8]> {
        let left = self.num_bytes.saturating_sub(offset);
        let end = self.start + self.buffer.len() as u64;
        if offset < self.start || offset + left.min(RECORD_MAGIC.len() as u64) > end {
            self.load(offset, CHUNK_BYTES)?;
        }
        let begin = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.buffer.get(begin..).unwrap_or_default())
    }

    fn load(&mut self, offset: u64, num_bytes: u64) -> Result<()> {
        let num_bytes = num_bytes.min(self.num_bytes.saturating_sub(offset));
        self.buffer = vec![0; usize::try_from(num_bytes).unwrap_or(0)];
        self.start = offset;
        let filled = disk::read_full(&mut *self.reader, offset, &mut self.buffer)
            .map_err(|error| disk::failed("log file cannot be read", &self.path, error))?;
        self.buffer.truncate(filled);
        Ok(())
    }

    /// Where the next bytes are that a record may begin with, at `offset` or behind it.
    pub(super) fn find_magic(&mut self, mut offset: u64) -> Result<Option<u64>> {
        loop {
            let bytes = self.some(offset)?;
            if bytes.len() < RECORD_MAGIC.len() {
                return Ok(None);
            }
            if let Some(found) = memmem::find(bytes, &RECORD_MAGIC) {
                return Ok(Some(offset + found as u64));
            }
            offset += (bytes.len() - (RECORD_MAGIC.len() - 1)) as u64;
        }
    }
}
