//! The write-ahead log: records that are on the disk before anything acts on them.
//!
//! A [`Wal`] is a directory of files. Records are appended, numbered from 0 on, and durable once
//! [`Wal::commit`] has returned: many appends share one sync. After a crash [`Wal::open`] hands
//! the records out again, cuts what was being written, and refuses what cannot be the trace of a
//! crash. Design note 0005 has the format byte by byte and the reasons.
//!
//! ```
//! use std::sync::Arc;
//! use tidemill_streaming::checkpoint::Lease;
//! use tidemill_streaming::disk::LocalDisk;
//! use tidemill_streaming::wal::{Wal, WalOptions};
//!
//! let dir = tempfile::tempdir()?;
//! let open = |records: &mut Vec<Vec<u8>>| {
//!     let lease = Lease::claim(Arc::new(LocalDisk::new()), dir.path(), "wordcount")?;
//!     Wal::open(Arc::new(lease), WalOptions::default(), &mut |record| {
//!         records.push(record.body.to_vec());
//!         Ok(())
//!     })
//! };
//! let (wal, _) = open(&mut Vec::new())?;
//! wal.append(b"block 0 belongs to batch 1000 ms")?;
//! wal.append(b"block 1 too")?;
//! wal.commit()?; // both are on the disk now
//! drop(wal);
//!
//! let mut records = Vec::new();
//! let (_, recovered) = open(&mut records)?;
//! assert_eq!((records.len(), recovered.next), (2, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it is not: a queue (records are read at the start only), or replicated.

mod entry;
mod group_commit;
mod recovery;
mod scan;
mod window;
mod writer;

use std::ops::Range;
use std::path::PathBuf;

pub use group_commit::Wal;
pub use recovery::inspect;

/// The number of a record: 0 for the first that a log ever had, then one more each.
pub type Lsn = u64;

/// How a log is opened, and how large its files become.
///
/// ```
/// use tidemill_streaming::wal::{OnDamage, WalOptions};
///
/// let options = WalOptions { replay_from: 1_200, ..WalOptions::default() };
/// assert_eq!((options.segment_bytes, options.on_damage), (16 << 20, OnDamage::Refuse));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// The first record that is needed: the checkpoint's log position, 0 without a checkpoint.
    /// The log must reach back to it; earlier records are checked but not handed out.
    pub replay_from: Lsn,
    /// The number up to which the checkpoint has seen records: a log that ends before has lost some.
    pub known_to: Lsn,
    /// What to do about damage that no crash explains. Default: refuse.
    pub on_damage: OnDamage,
    /// From this size on a file is closed and another begun, in bytes. Default: 16 MiB. Files are
    /// larger by at most one group.
    pub segment_bytes: u64,
    /// From this size on an append commits by itself, in bytes. Default: 4 MiB.
    pub group_bytes: usize,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            replay_from: 0,
            known_to: 0,
            on_damage: OnDamage::Refuse,
            segment_bytes: 16 << 20,
            group_bytes: 4 << 20,
        }
    }
}

/// What to do about damage that no crash explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    /// Refuse to open, naming file and offset.
    Refuse,
    /// Leave out what cannot be read, count it and say so. The damaged files stay as they are, so
    /// the next start must skip again, until they are no longer needed.
    Skip,
}

/// A record that is read again.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its number.
    pub lsn: Lsn,
    /// What was appended.
    pub body: &'a [u8],
}

/// What a log was found to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The number that the next record gets: one more than the last.
    pub next: Lsn,
    /// How many records were handed out.
    pub num_replayed: u64,
    /// What was being written when the last driver died, and was left out.
    pub cut: Option<Cut>,
    /// What could not be read and was skipped; empty unless that was asked for.
    pub skipped: Vec<Skipped>,
    /// Files of a driver that went on after it had been replaced: never acknowledged, never read.
    pub strays: Vec<PathBuf>,
    segments: Vec<Segment>,
}

impl Recovered {
    /// The log's files, oldest first, and the records that each has.
    pub fn segments(&self) -> impl Iterator<Item = (&std::path::Path, Range<Lsn>)> {
        self.segments
            .iter()
            .map(|segment| (segment.path.as_path(), segment.records.clone()))
    }
}

/// The torn end of the newest file: the last group that was being synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: PathBuf,
    /// Where the last whole record ends, in bytes.
    pub offset: u64,
    /// How many bytes were behind it.
    pub num_bytes: u64,
    /// How many whole records were among them, behind one that was not: an estimate from below.
    pub num_records: u64,
}

/// A damaged place that was skipped because [`OnDamage::Skip`] said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file; the directory, when whole files are missing.
    pub file: PathBuf,
    /// Where the damage begins, in bytes.
    pub offset: u64,
    /// How many bytes could not be read.
    pub num_bytes: u64,
    /// How many records were in them, or at most were where even that is unknown.
    pub num_records: u64,
    /// What is wrong with them.
    pub reason: String,
}

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    path: PathBuf,
    sequence: u64,
    records: Range<Lsn>,
}
