//! Checkpoints: what a driver needs to go on where another has stopped. Data, never code.
//!
//! A [`Checkpoint`] holds what each operator has to remember, under the operator's name, and says
//! how far the [log](crate::wal) had come. Large state is not part of it: it lies in files of its
//! own, as a snapshot and the changes since, which the checkpoint names. A [`CheckpointStore`]
//! keeps the last few; [`LocalCheckpoints`] does so on a disk, for the driver that has the
//! directory's [`Lease`]. Design note 0005 has the formats byte by byte.
//!
//! ```
//! use std::sync::Arc;
//! use tidemill_streaming::Time;
//! use tidemill_streaming::checkpoint::{
//!     Checkpoint, CheckpointOptions, CheckpointStore, Lease, LocalCheckpoints, Section,
//! };
//! use tidemill_streaming::disk::LocalDisk;
//!
//! let dir = tempfile::tempdir()?;
//! let lease = Arc::new(Lease::claim(Arc::new(LocalDisk::new()), dir.path(), "wordcount")?);
//! let store = LocalCheckpoints::open(lease, CheckpointOptions::default())?;
//! assert!(store.latest()?.is_none());
//!
//! let mut checkpoint = Checkpoint::at(Time::from_ms(1_000));
//! checkpoint.sections.insert("lines".into(), Section::new(b"offset 4711"));
//! store.write(&checkpoint)?;
//! assert_eq!(store.latest()?.map(|found| found.checkpoint), Some(checkpoint));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod fingerprint;
mod lease;
mod local;
mod manifest;
mod retention;
mod state_file;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use tidemill_core::{Error, Result};

pub use fingerprint::{fingerprint, shape};
pub use lease::Lease;
pub use local::{CheckpointOptions, LocalCheckpoints};

use crate::bytes::MAX_NAME_BYTES;
use crate::time::Time;
use crate::wal::Lsn;

/// Everything a new driver starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last batch that it contains.
    pub batch_time: Time,
    /// Of the graph that wrote it, to tell an unchanged program from an upgraded one.
    pub graph_fingerprint: u64,
    /// Log records before this one are contained: replay begins here.
    pub log_position: Lsn,
    /// The log had records up to this one when the checkpoint was made: a log that ends before
    /// has lost some.
    pub log_known_to: Lsn,
    /// What operators remember, by name.
    pub sections: BTreeMap<String, Section>,
    /// State too large for a section, by operator: a snapshot, then the changes since, in order.
    pub state: BTreeMap<String, Vec<StateFile>>,
}

impl Checkpoint {
    /// An empty checkpoint after the batch of `time`.
    #[must_use]
    pub fn at(time: Time) -> Self {
        Self {
            batch_time: time,
            graph_fingerprint: 0,
            log_position: 0,
            log_known_to: 0,
            sections: BTreeMap::new(),
            state: BTreeMap::new(),
        }
    }

    /// Whether it can be written and read again.
    fn validate(&self) -> Result<()> {
        if self.log_known_to < self.log_position {
            return Err(
                Error::internal("checkpoint contains log records it does not know")
                    .with("position", self.log_position)
                    .with("known_to", self.log_known_to),
            );
        }
        self.sections.keys().try_for_each(|name| valid_name(name))?;
        for (operator, files) in &self.state {
            valid_name(operator)?;
            let is_chain = files
                .iter()
                .enumerate()
                .all(|(index, file)| (file.kind == StateKind::Snapshot) == (index == 0));
            if files.is_empty() || !is_chain {
                return Err(Error::internal(
                    "state is a snapshot and the changes since, in this order",
                )
                .with("operator", operator));
            }
        }
        Ok(())
    }
}

fn valid_name(operator: &str) -> Result<()> {
    if operator.is_empty() || operator.len() > MAX_NAME_BYTES {
        return Err(
            Error::invalid("an operator's name has 1 to 4096 bytes, choose another")
                .with("bytes", operator.len()),
        );
    }
    Ok(())
}

/// What one operator remembers, encoded by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Of the type that is encoded: see [`fingerprint`]. 0 when there is none to compare.
    pub type_fingerprint: u64,
    /// The encoding; opaque to the store.
    pub bytes: Vec<u8>,
}

impl Section {
    /// Bytes of no particular type.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self {
            type_fingerprint: 0,
            bytes: bytes.to_vec(),
        }
    }
}

/// Whether a state file is complete by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// All of the state.
    Snapshot,
    /// What has changed since the file before.
    Delta,
}

/// What a state file is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHeader {
    /// The operator whose state it is.
    pub operator: String,
    /// Whether it is complete by itself.
    pub kind: StateKind,
    /// The last batch that it contains.
    pub batch_time: Time,
    /// Of the type that is encoded: see [`fingerprint`].
    pub type_fingerprint: u64,
}

/// A state file that has been written: what a checkpoint says of it, and what its bytes are
/// compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFile {
    pub(crate) name: String,
    pub(crate) kind: StateKind,
    pub(crate) type_fingerprint: u64,
    pub(crate) num_bytes: u64,
    pub(crate) checksum: u32,
}

impl StateFile {
    /// Whether it is complete by itself.
    #[must_use]
    pub fn kind(&self) -> StateKind {
        self.kind
    }

    /// Of the type that is encoded.
    #[must_use]
    pub fn type_fingerprint(&self) -> u64 {
        self.type_fingerprint
    }

    /// Its size.
    #[must_use]
    pub fn num_bytes(&self) -> u64 {
        self.num_bytes
    }
}

/// A checkpoint that was found whole.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it holds.
    pub checkpoint: Checkpoint,
    /// The driver that wrote it.
    pub epoch: u64,
    /// Where it is.
    pub file: PathBuf,
    /// Newer ones that are damaged, newest first: this one is older than it should be, and more
    /// of the log has to be replayed.
    pub damaged: Vec<Damaged>,
}

/// A checkpoint that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The checkpoint, or the state file that it needs.
    pub file: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

/// What a write has done beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// How many bytes the checkpoint has, without its state files.
    pub num_bytes: u64,
    /// How many files were removed because no kept checkpoint needs them.
    pub num_removed: usize,
}

/// Where checkpoints are kept.
///
/// *Guarantee*: a checkpoint whose [`write`](Self::write) has returned is what
/// [`latest`](Self::latest) finds after any crash, or a newer one; with the bytes that were
/// written, or not at all. A damaged one is never used: the one before it is, and that is said.
/// The last few are kept, and older ones as long as those rest on a single snapshot of an
/// operator's state; files that a kept one needs are never removed.
pub trait CheckpointStore: fmt::Debug + Send + Sync {
    /// Writes a state file, in pieces of at most 32 MiB. It is kept until a checkpoint that names
    /// it is dropped, or no checkpoint of this driver ever does.
    ///
    /// # Errors
    /// `Invalid` when a piece is too long; `Closed` when another driver has taken over; else what
    /// the disk says. Nothing is left behind then, and trying again is fine.
    fn write_state(
        &self,
        header: &StateHeader,
        pieces: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<StateFile>;

    /// Hands out the pieces of a state file in order.
    ///
    /// # Errors
    /// `Data` when they are not what was written (forget the pieces that were handed out);
    /// whatever `take` says; what the disk says.
    fn read_state(&self, file: &StateFile, take: &mut dyn FnMut(&[u8]) -> Result<()>)
    -> Result<()>;

    /// Writes a checkpoint; then drops what is no longer needed.
    ///
    /// # Errors
    /// `Closed` when another driver has taken over; `Invalid` when it is larger than 24 MiB or a
    /// name is too long; `Internal` when its parts do not fit together; else what the disk says.
    /// The one before is still there, and trying again is fine.
    fn write(&self, checkpoint: &Checkpoint) -> Result<Written>;

    /// The newest checkpoint that is whole, with all state files that it names; `None` when none
    /// was ever written.
    ///
    /// # Errors
    /// `Data` when there are checkpoints and all are damaged; what the disk says.
    fn latest(&self) -> Result<Option<Loaded>>;

    /// The first log record that any kept checkpoint needs; `None` when there is no checkpoint,
    /// and all are needed.
    fn log_needed_from(&self) -> Option<Lsn>;
}
