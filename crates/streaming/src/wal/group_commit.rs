//! The log as its users see it: append from any thread, commit together.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_core::{Error, ErrorKind, Result};

use super::entry::MAX_BODY_BYTES;
use super::recovery::{Check, FOLDER, Log, seal};
use super::writer::{Group, Writer};
use super::{Lsn, Record, Recovered, WalOptions};
use crate::checkpoint::Lease;
use crate::disk;

/// A write-ahead log that is open for one driver.
///
/// *Guarantee*: a record whose [`commit`](Self::commit) has returned is handed out by every later
/// [`open`](Self::open), in order, with the bytes that were appended, until
/// [`remove_before`](Self::remove_before) lets go of it; or that `open` fails. A record that was
/// never confirmed is handed out, too, or it is not, and then none behind it is. There is one
/// exception: damage to the last group of a log that was not closed looks like the trace of a
/// crash; it is cut, said and counted, and refused only if the checkpoint knows of its records.
///
/// *Cost*: one copy of each record and one sync a group. Threads that commit while a sync is under
/// way share the next one.
///
/// After a failed write or sync nothing more can be written, for ever: only a new `open` finds out
/// what is on the disk.
pub struct Wal {
    pending: Mutex<Pending>,
    /// Held while a group is written: whoever waits for it finds its own group written, or is next.
    writer: Mutex<Writing>,
    group_bytes: usize,
}

struct Pending {
    group: Group,
    /// All records before this one are on the disk.
    durable: Lsn,
    /// Why nothing can be written any more.
    ended: Option<Error>,
}

struct Writing {
    writer: Writer,
    spare: Vec<u8>,
}

impl Wal {
    /// Recovers the log in the lease's directory, hands its records to `replay` in order, and
    /// opens it at its end. Makes an empty one where there is none.
    ///
    /// When this fails, records may have been handed out already: forget them.
    ///
    /// # Errors
    /// `Data` with file and offset when the log is damaged, a file is missing, or it ends before
    /// `known_to`; `Invalid` when it is another application's; `Closed` when another driver has
    /// taken over; `Unsupported` when a newer version has written it; what the disk says; and
    /// whatever `replay` says. Files are as they were then.
    pub fn open(
        lease: Arc<Lease>,
        options: WalOptions,
        replay: &mut dyn FnMut(Record<'_>) -> Result<()>,
    ) -> Result<(Self, Recovered)> {
        let dir = lease.dir().join(FOLDER);
        disk::create_dir(&**lease.disk(), &dir)?;
        let check = Check {
            disk: &**lease.disk(),
            dir: &dir,
            options: &options,
            owner: Some((lease.application(), lease.epoch())),
        };
        let log = check.run(replay)?;
        log.announce();
        disk::sweep(&**lease.disk(), &dir)?;
        let Log {
            recovered,
            newest,
            sequence,
        } = log;
        if let Some(newest) = newest {
            lease.check()?;
            seal(lease.disk(), newest, &lease.epoch().to_string())?;
        }
        let next = recovered.next;
        let files = (recovered.segments.clone(), recovered.strays.clone());
        let writer = Writer::begin(lease, dir, options.segment_bytes, sequence, next, files)?;
        let wal = Self {
            pending: Mutex::new(Pending {
                group: Group::at(next),
                durable: next,
                ended: None,
            }),
            writer: Mutex::new(Writing {
                writer,
                spare: Vec::new(),
            }),
            group_bytes: options.group_bytes,
        };
        Ok((wal, recovered))
    }

    /// Adds a record to the group that the next commit writes, and gives its number. Commits by
    /// itself when the group has become large.
    ///
    /// # Errors
    /// `Invalid` when the record has more than 32 MiB: cut it; `Closed` after
    /// [`close`](Self::close); else the error that has ended the log.
    pub fn append(&self, body: &[u8]) -> Result<Lsn> {
        let num_bytes = u32::try_from(body.len())
            .ok()
            .filter(|num_bytes| *num_bytes <= MAX_BODY_BYTES)
            .ok_or_else(|| {
                Error::invalid("record is too long for the log, cut it into several")
                    .with("bytes", body.len())
                    .with("most", MAX_BODY_BYTES)
            })?;
        let checksum = crc32c::crc32c(body);
        let (lsn, is_full) = {
            let mut pending = self.pending.lock();
            pending.is_open()?;
            let lsn = pending.group.next;
            pending.group.push(body, num_bytes, checksum);
            (lsn, pending.group.num_bytes() >= self.group_bytes)
        };
        if is_full {
            self.commit()?;
        }
        Ok(lsn)
    }

    /// Returns when all records appended so far are on the disk, and gives the number behind them.
    ///
    /// # Errors
    /// As [`append`](Self::append); then nothing is known about the records that were not
    /// confirmed before.
    pub fn commit(&self) -> Result<Lsn> {
        let target = self.pending.lock().group.next;
        let mut writing = self.writer.lock();
        self.commit_to(target, &mut writing)
    }

    fn commit_to(&self, target: Lsn, writing: &mut Writing) -> Result<Lsn> {
        let mut group = {
            let mut pending = self.pending.lock();
            if pending.durable >= target {
                return Ok(pending.durable);
            }
            pending.is_open()?;
            let spare = std::mem::take(&mut writing.spare);
            pending.group.take(spare)
        };
        let written = writing.writer.write(&mut group);
        let mut pending = self.pending.lock();
        match written {
            Ok(()) => pending.durable = group.next,
            Err(error) => return Err(pending.end(error)),
        }
        let durable = pending.durable;
        drop(pending);
        writing.spare = group.recycle();
        Ok(durable)
    }

    /// The number that the next record gets.
    #[must_use]
    pub fn next(&self) -> Lsn {
        self.pending.lock().group.next
    }

    /// All records before this number are on the disk.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.pending.lock().durable
    }

    /// How many files the log has.
    #[must_use]
    pub fn num_segments(&self) -> usize {
        self.writer.lock().writer.num_segments()
    }

    /// Removes files that have only records before `lsn`, and says how many. No kept checkpoint
    /// may need any of them:
    /// [`CheckpointStore::log_needed_from`](crate::checkpoint::CheckpointStore::log_needed_from).
    ///
    /// # Errors
    /// `Closed` when another driver has taken over; else as the disk says. What could not be
    /// removed is tried again at the next call.
    pub fn remove_before(&self, lsn: Lsn) -> Result<usize> {
        self.writer.lock().writer.remove_before(lsn)
    }

    /// Commits, and marks the newest file as complete: whatever is missing from it later is
    /// damage, not the trace of a crash. Nothing can be appended after that.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn close(&self) -> Result<()> {
        let mut writing = self.writer.lock();
        let mut target = self.pending.lock().group.next;
        // Other threads may append until the moment the log is closed.
        loop {
            self.commit_to(target, &mut writing)?;
            let mut pending = self.pending.lock();
            pending.is_open()?;
            if pending.group.is_empty() {
                pending.end(Error::new(ErrorKind::Closed, "log is closed"));
                break;
            }
            target = pending.group.next;
        }
        writing.writer.seal()
    }
}

impl Pending {
    fn is_open(&self) -> Result<()> {
        self.ended.clone().map_or(Ok(()), Err)
    }

    fn end(&mut self, error: Error) -> Error {
        self.ended.get_or_insert(error).clone()
    }
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pending = self.pending.lock();
        f.debug_struct("Wal")
            .field("next", &pending.group.next)
            .field("durable", &pending.durable)
            .field("ended", &pending.ended)
            .finish_non_exhaustive()
    }
}
