//! Checkpoints in a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_core::{Error, ErrorKind, Result};

use super::manifest::{self, MAX_BYTES, Manifest};
use super::retention::{Entry, Facts, dropped};
use super::{
    Checkpoint, CheckpointStore, Damaged, Lease, Loaded, StateFile, StateHeader, Written,
    state_file,
};
use crate::bytes::{FrameFault, number_pair};
use crate::disk::{self, Unpublished};
use crate::wal::Lsn;

/// Where in a driver's directory its checkpoints are.
const FOLDER: &str = "checkpoint";

/// How many checkpoints are kept.
///
/// ```
/// assert_eq!(tidemill_streaming::checkpoint::CheckpointOptions::default().num_kept, 3);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CheckpointOptions {
    /// How many of the newest are kept, at least 1. Default: 3. Older ones stay as long as all of
    /// these rest on a single snapshot of an operator's state.
    pub num_kept: usize,
}

impl Default for CheckpointOptions {
    fn default() -> Self {
        Self { num_kept: 3 }
    }
}

/// Checkpoints in a directory of a disk.
///
/// *Cost*: a write is two syncs, of the file and of the directory; so is each state file.
#[derive(Debug)]
pub struct LocalCheckpoints {
    lease: Arc<Lease>,
    dir: PathBuf,
    options: CheckpointOptions,
    known: Mutex<Known>,
}

/// Epoch and number: the order of age.
type Key = (u64, u64);

#[derive(Debug, Default)]
struct Known {
    checkpoints: BTreeMap<Key, Entry>,
    /// State files of this driver that no checkpoint names yet.
    unnamed: BTreeSet<String>,
    next_number: u64,
    next_state: u64,
}

impl LocalCheckpoints {
    /// Opens the checkpoints in the lease's directory. Makes an empty store where there is none.
    ///
    /// # Errors
    /// `Unsupported` when a newer version has written any of them; `Invalid` when they are another
    /// application's; else what the disk says. Files are as they were then. Damaged checkpoints
    /// are no error here: [`latest`](CheckpointStore::latest) says what to think of them.
    pub fn open(lease: Arc<Lease>, options: CheckpointOptions) -> Result<Self> {
        let dir = lease.dir().join(FOLDER);
        disk::create_dir(&**lease.disk(), &dir)?;
        let store = Self {
            lease,
            dir,
            options,
            known: Mutex::default(),
        };
        store.look()?;
        disk::sweep(&**store.lease.disk(), &store.dir)?;
        Ok(store)
    }

    /// Finds out what there is.
    fn look(&self) -> Result<()> {
        let mut known = Known::default();
        for name in disk::list(&**self.lease.disk(), &self.dir)? {
            if let Some((epoch, number)) = manifest::parse_file_name(&name) {
                let entry = match self.read((epoch, number))? {
                    Ok(manifest) => Entry::Sound(facts(&manifest.checkpoint)),
                    Err(_) => Entry::Doubtful(None),
                };
                known.checkpoints.insert((epoch, number), entry);
                known.next_number = known.next_number.max(number.saturating_add(1));
            } else if let Some((_, number)) = parse_state_name(&name) {
                known.next_state = known.next_state.max(number.saturating_add(1));
            }
        }
        *self.known.lock() = known;
        Ok(())
    }

    fn path(&self, (epoch, number): Key) -> PathBuf {
        self.dir
            .join(format!("{epoch:010}-{number:020}.checkpoint"))
    }

    /// Reads a checkpoint file: whole, or damaged. What else is wrong is an error.
    fn read(&self, key: Key) -> Result<std::result::Result<Manifest, Damaged>> {
        let path = self.path(key);
        let damaged = |reason: String| {
            Ok(Err(Damaged {
                file: path.clone(),
                reason,
            }))
        };
        let bytes = match disk::read_small(&**self.lease.disk(), &path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Data => return damaged(error.to_string()),
            Err(error) => return Err(error),
        };
        match Manifest::decode(&bytes) {
            Ok(manifest) if (manifest.epoch, manifest.number) != key => {
                damaged(String::from("the file's name is not its own"))
            }
            Ok(manifest) if manifest.application != self.lease.application() => {
                Err(Error::invalid("checkpoint belongs to another application")
                    .with("file", path.display())
                    .with("application", self.lease.application())
                    .with("owner", manifest.application))
            }
            Ok(manifest) => Ok(Ok(manifest)),
            Err(FrameFault::Version(version)) => Err(Error::new(
                ErrorKind::Unsupported,
                "checkpoint was written by a newer version of Tidemill, use that one",
            )
            .with("file", path.display())
            .with("version", version)),
            Err(fault) => damaged(fault.to_string()),
        }
    }

    /// A checkpoint with all the state that it needs: whole, or damaged.
    fn load(&self, key: Key) -> Result<std::result::Result<Manifest, Damaged>> {
        let manifest = match self.read(key)? {
            Ok(manifest) => manifest,
            damaged => return Ok(damaged),
        };
        for file in manifest.checkpoint.state.values().flatten() {
            match self.read_state(file, &mut |_| Ok(())) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Data => {
                    return Ok(Err(Damaged {
                        file: self.dir.join(&file.name),
                        reason: error.to_string(),
                    }));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Ok(manifest))
    }

    /// Writes the file; there for good, or perhaps there.
    fn publish(&self, manifest: &Manifest) -> Result<u64> {
        self.lease.check()?;
        let bytes = manifest.encode()?;
        let path = self.dir.join(manifest.file_name());
        let mut file = Unpublished::create(self.lease.disk(), &path, "new")?;
        if let Err(error) = file.append(&bytes) {
            file.abandon();
            return Err(error);
        }
        file.publish()?;
        self.lease.check()?;
        Ok(bytes.len() as u64)
    }

    /// Removes what no kept checkpoint needs: checkpoints first, durably, then their state.
    fn sweep(&self, known: &mut Known) -> Result<usize> {
        let disk = &**self.lease.disk();
        let dropped = dropped(&known.checkpoints, self.options.num_kept);
        let mut num_removed = 0;
        for key in &dropped {
            num_removed += self.remove(&self.path(*key))?;
        }
        if num_removed > 0 {
            disk.sync_dir(&self.dir)
                .map_err(|error| disk::failed("directory cannot be synced", &self.dir, error))?;
        }
        for key in &dropped {
            known.checkpoints.remove(key);
        }
        let named: BTreeSet<&String> = known
            .checkpoints
            .values()
            .filter_map(Entry::facts)
            .flat_map(|facts| facts.state.values().flatten())
            .collect();
        for name in disk::list(disk, &self.dir)? {
            let is_needed = named.contains(&name) || known.unnamed.contains(&name);
            // A successor's files are not this driver's to judge, should it sleep just here.
            let is_ours =
                parse_state_name(&name).is_some_and(|(epoch, _)| epoch <= self.lease.epoch());
            if is_ours && !is_needed {
                num_removed += self.remove(&self.dir.join(name))?;
            }
        }
        Ok(num_removed)
    }

    fn remove(&self, path: &std::path::Path) -> Result<usize> {
        match self.lease.disk().remove(path) {
            Ok(()) => Ok(1),
            // Removed before, and then the sync failed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(disk::failed(
                "old checkpoint cannot be removed",
                path,
                error,
            )),
        }
    }
}

impl CheckpointStore for LocalCheckpoints {
    fn write_state(
        &self,
        header: &StateHeader,
        pieces: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<StateFile> {
        self.lease.check()?;
        let name = {
            let mut known = self.known.lock();
            let number = known.next_state;
            known.next_state += 1;
            let name = format!("{:010}-{number:020}.state", self.lease.epoch());
            known.unnamed.insert(name.clone());
            name
        };
        let written = state_file::write(&self.lease, &self.dir.join(&name), header, pieces);
        if written.is_err() {
            self.known.lock().unnamed.remove(&name);
        }
        written
    }

    fn read_state(
        &self,
        file: &StateFile,
        take: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        state_file::read(self.lease.disk(), &self.dir, file, take)
    }

    fn write(&self, checkpoint: &Checkpoint) -> Result<Written> {
        checkpoint.validate()?;
        // Held to the end: checkpoints are written one after the other.
        let mut known = self.known.lock();
        let key = (self.lease.epoch(), known.next_number);
        known.next_number += 1;
        let facts = facts(checkpoint);
        let manifest = Manifest {
            application: self.lease.application().to_owned(),
            epoch: key.0,
            number: key.1,
            checkpoint: checkpoint.clone(),
        };
        let num_bytes = match self.publish(&manifest) {
            Ok(num_bytes) => num_bytes,
            Err(error) => {
                // It may have got its name all the same.
                known.checkpoints.insert(key, Entry::Doubtful(Some(facts)));
                return Err(error);
            }
        };
        for name in facts.state.values().flatten() {
            known.unnamed.remove(name);
        }
        known.checkpoints.insert(key, Entry::Sound(facts));
        let num_removed = self.sweep(&mut known).unwrap_or_else(|error| {
            // The checkpoint is there; what is left over is swept after the next one.
            tracing::warn!(error = %error.report(), "old checkpoints stay for now");
            0
        });
        Ok(Written {
            num_bytes,
            num_removed,
        })
    }

    fn latest(&self) -> Result<Option<Loaded>> {
        let keys: Vec<Key> = self
            .known
            .lock()
            .checkpoints
            .keys()
            .rev()
            .copied()
            .collect();
        let mut damaged = Vec::new();
        for key in keys {
            match self.load(key) {
                Ok(Ok(manifest)) => {
                    for found in &damaged {
                        tracing::error!(damaged = %found, "checkpoint is damaged, an older one is used");
                    }
                    return Ok(Some(Loaded {
                        checkpoint: manifest.checkpoint,
                        epoch: manifest.epoch,
                        file: self.path(key),
                        damaged,
                    }));
                }
                Ok(Err(found)) => {
                    damaged.push(found);
                    self.known.lock().doubt(key);
                }
                // A write that failed before the file had its name.
                Err(_) if self.known.lock().is_doubtful(key) && !self.is_there(key)? => {}
                Err(error) => return Err(error),
            }
        }
        match damaged.first() {
            None => Ok(None),
            Some(newest) => Err(Error::data(
                "all checkpoints are damaged: restore one from a copy, or use an empty directory to start anew",
            )
            .with("dir", self.dir.display())
            .with("checkpoints", damaged.len())
            .with("newest", newest)),
        }
    }

    fn log_needed_from(&self) -> Option<Lsn> {
        let known = self.known.lock();
        let facts = known.checkpoints.values().filter_map(Entry::facts);
        facts.map(|facts| facts.log_position).min()
    }
}

impl LocalCheckpoints {
    fn is_there(&self, (epoch, number): Key) -> Result<bool> {
        let names = disk::list(&**self.lease.disk(), &self.dir)?;
        Ok(names
            .iter()
            .any(|name| manifest::parse_file_name(name) == Some((epoch, number))))
    }
}

impl Known {
    fn is_doubtful(&self, key: Key) -> bool {
        matches!(self.checkpoints.get(&key), Some(Entry::Doubtful(_)))
    }

    /// Notes that a checkpoint cannot be read.
    fn doubt(&mut self, key: Key) {
        if let Some(entry) = self.checkpoints.get_mut(&key) {
            *entry = Entry::Doubtful(entry.facts().cloned());
        }
    }
}

fn facts(checkpoint: &Checkpoint) -> Facts {
    let names = |files: &Vec<StateFile>| files.iter().map(|file| file.name.clone()).collect();
    Facts {
        log_position: checkpoint.log_position,
        state: checkpoint
            .state
            .iter()
            .map(|(operator, files)| (operator.clone(), names(files)))
            .collect(),
    }
}

/// Epoch and number of a state file by its name; `None` when it is not one.
fn parse_state_name(name: &str) -> Option<Key> {
    number_pair(name.strip_suffix(".state")?)
}
