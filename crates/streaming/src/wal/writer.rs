//! The file at the end of a log: groups go in, one sync each.

use std::path::PathBuf;
use std::sync::Arc;

use tidemill_core::Result;

use super::entry::{Kind, RECORD_HEADER_BYTES, RecordHeader, SegmentHeader};
use super::{Lsn, Segment};
use crate::bytes::Fields;
use crate::checkpoint::Lease;
use crate::disk::{self, DiskFile, Unpublished};

/// Records that are synced together, each behind room for its header.
#[derive(Debug)]
pub(super) struct Group {
    bytes: Vec<u8>,
    pub(super) first: Lsn,
    pub(super) next: Lsn,
}

impl Group {
    /// No records yet; the first gets the number `next`.
    pub(super) fn at(next: Lsn) -> Self {
        Self {
            bytes: Vec::new(),
            first: next,
            next,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first == self.next
    }

    pub(super) fn num_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record. Length and checksum of the body wait in the room for the header.
    pub(super) fn push(&mut self, body: &[u8], num_body_bytes: u32, checksum: u32) {
        let mut room = [0; RECORD_HEADER_BYTES];
        let facts = num_body_bytes
            .to_le_bytes()
            .into_iter()
            .chain(checksum.to_le_bytes());
        room.iter_mut().zip(facts).for_each(|(to, from)| *to = from);
        self.bytes.extend(room);
        self.bytes.extend(body);
        self.next += 1;
    }

    /// Takes the records out; the next group begins behind them, in the memory of `spare`.
    pub(super) fn take(&mut self, spare: Vec<u8>) -> Self {
        let mut empty = Self::at(self.next);
        empty.bytes = spare;
        std::mem::replace(self, empty)
    }

    /// Writes the headers for a file with this seed.
    fn fill_headers(&mut self, seed: u32) {
        let group = self.first;
        let mut rest = self.bytes.as_mut_slice();
        for lsn in self.first..self.next {
            let Some((room, behind)) = rest.split_at_mut_checked(RECORD_HEADER_BYTES) else {
                return;
            };
            let mut facts = Fields::new(room);
            let header = RecordHeader {
                kind: Kind::Data,
                num_body_bytes: facts.u32().unwrap_or(0),
                body_checksum: facts.u32().unwrap_or(0),
                lsn,
                group,
            };
            room.copy_from_slice(&header.encode(seed));
            rest = behind
                .get_mut(header.num_body_bytes as usize..)
                .unwrap_or_default();
        }
    }

    /// The memory, for the group after the next.
    pub(super) fn recycle(mut self) -> Vec<u8> {
        self.bytes.clear();
        self.bytes
    }
}

/// The files of a log, the newest open at its end.
#[derive(Debug)]
pub(super) struct Writer {
    lease: Arc<Lease>,
    dir: PathBuf,
    segment_bytes: u64,
    file: Box<dyn DiskFile>,
    seed: u32,
    num_bytes: u64,
    current: Segment,
    /// The complete files, oldest first.
    sealed: Vec<Segment>,
    /// Files to remove before any of `sealed` is.
    strays: Vec<PathBuf>,
}

impl Writer {
    /// Begins a file behind `sealed`.
    pub(super) fn begin(
        lease: Arc<Lease>,
        dir: PathBuf,
        segment_bytes: u64,
        sequence: u64,
        first: Lsn,
        (sealed, strays): (Vec<Segment>, Vec<PathBuf>),
    ) -> Result<Self> {
        lease.check()?;
        let (file, current, seed, num_bytes) = create(&lease, &dir, sequence, first)?;
        lease.check()?;
        Ok(Self {
            lease,
            dir,
            segment_bytes,
            file,
            seed,
            num_bytes,
            current,
            sealed,
            strays,
        })
    }

    /// Appends a group and syncs it. After an error nothing may be written any more.
    pub(super) fn write(&mut self, group: &mut Group) -> Result<()> {
        self.lease.check()?;
        if self.num_bytes >= self.segment_bytes {
            self.roll()?;
        }
        group.fill_headers(self.seed);
        self.append(&group.bytes)?;
        self.current.records.end = group.next;
        // Whoever has claimed the directory before this point may not have read what was synced.
        self.lease.check()
    }

    /// Closes the newest file for good.
    pub(super) fn seal(&mut self) -> Result<()> {
        self.lease.check()?;
        let footer = RecordHeader::footer(self.current.records.end);
        self.append(&footer.encode(self.seed))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let path = &self.current.path;
        disk::append_all(&mut *self.file, bytes)
            .map_err(|error| disk::failed("log cannot be written", path, error))?;
        self.file
            .sync()
            .map_err(|error| disk::failed("log cannot be synced", path, error))?;
        self.num_bytes += bytes.len() as u64;
        Ok(())
    }

    /// The footer is synced by itself, behind its records: a footer that is there proves them.
    fn roll(&mut self) -> Result<()> {
        self.seal()?;
        let (sequence, first) = (self.current.sequence + 1, self.current.records.end);
        let (file, current, seed, num_bytes) = create(&self.lease, &self.dir, sequence, first)?;
        (self.file, self.seed, self.num_bytes) = (file, seed, num_bytes);
        self.sealed
            .push(std::mem::replace(&mut self.current, current));
        Ok(())
    }

    /// Removes the complete files all of whose records are before `lsn`, the oldest first, and
    /// syncs after each: a crash never leaves a gap.
    pub(super) fn remove_before(&mut self, lsn: Lsn) -> Result<usize> {
        let mut num_removed = 0;
        while self
            .sealed
            .first()
            .is_some_and(|segment| segment.records.end <= lsn)
        {
            while let Some(stray) = self.strays.last() {
                self.remove(stray)?;
                self.strays.pop();
            }
            if let Some(oldest) = self.sealed.first() {
                self.remove(&oldest.path)?;
                self.sealed.remove(0);
                num_removed += 1;
            }
        }
        Ok(num_removed)
    }

    fn remove(&self, path: &std::path::Path) -> Result<()> {
        self.lease.check()?;
        match self.lease.disk().remove(path) {
            // Removed before, and then the sync failed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => {
                removed.map_err(|error| disk::failed("log file cannot be removed", path, error))?
            }
        }
        disk::sync_parent(&**self.lease.disk(), path)
    }

    pub(super) fn num_segments(&self) -> usize {
        self.sealed.len() + 1
    }
}

/// A file with nothing but its header, there for good.
fn create(
    lease: &Lease,
    dir: &std::path::Path,
    sequence: u64,
    first: Lsn,
) -> Result<(Box<dyn DiskFile>, Segment, u32, u64)> {
    let header = SegmentHeader {
        application: lease.application().to_owned(),
        epoch: lease.epoch(),
        sequence,
        first,
    };
    let path = dir.join(header.file_name());
    let (bytes, seed) = header.encode();
    let mut file = Unpublished::create(lease.disk(), &path, "new")?;
    if let Err(error) = file.append(&bytes) {
        file.abandon();
        return Err(error);
    }
    let file = file.publish()?;
    let current = Segment {
        path,
        sequence,
        records: first..first,
    };
    Ok((file, current, seed, bytes.len() as u64))
}
