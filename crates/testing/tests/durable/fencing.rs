//! A driver is replaced at the worst moment: after its last look at the epoch, before its success.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidemill_core::ErrorKind;
use tidemill_streaming::Time;
use tidemill_streaming::checkpoint::{
    Checkpoint, CheckpointOptions, CheckpointStore, Lease, LocalCheckpoints,
};
use tidemill_streaming::disk::{Disk, DiskFile, DiskLock, DiskReader};
use tidemill_streaming::wal::WalOptions;
use tidemill_testing::SimDisk;

use crate::support::{APPLICATION, DIR, lease, open};

/// A disk under which another driver claims the directory while a file is synced.
#[derive(Clone, Debug)]
struct Overtaken {
    disk: SimDisk,
    /// The epoch file as the other driver writes it.
    epoch: Vec<u8>,
    is_armed: Arc<AtomicBool>,
}

impl Overtaken {
    fn new() -> Self {
        let disk = SimDisk::new(1);
        let path = Path::new(DIR).join("epoch");
        let other = SimDisk::new(2);
        drop(lease(&other).unwrap());
        drop(lease(&other).unwrap());
        Self {
            disk,
            epoch: other.contents(&path).unwrap(),
            is_armed: Arc::default(),
        }
    }

    fn lease(&self) -> Arc<Lease> {
        Arc::new(Lease::claim(Arc::new(self.clone()), DIR, APPLICATION).unwrap())
    }
}

impl Disk for Overtaken {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OvertakenFile {
            file: self.disk.create_new(path)?,
            disk: self.clone(),
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskReader>> {
        self.disk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path)
    }
}

#[derive(Debug)]
struct OvertakenFile {
    file: Box<dyn DiskFile>,
    disk: Overtaken,
}

impl DiskFile for OvertakenFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        if self.disk.is_armed.swap(false, Ordering::Relaxed) {
            let path: PathBuf = Path::new(DIR).join("epoch");
            self.disk.disk.put(&path, self.disk.epoch.clone());
        }
        Ok(())
    }
}

#[test]
fn a_commit_that_is_overtaken_during_its_sync_is_not_confirmed() {
    let disk = Overtaken::new();
    let (wal, _, _) = open(disk.lease(), &WalOptions::default()).unwrap();
    wal.append(b"before").unwrap();
    wal.commit().unwrap();
    wal.append(b"during").unwrap();
    disk.is_armed.store(true, Ordering::Relaxed);
    assert_eq!(wal.commit().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(wal.durable(), 1);
}

#[test]
fn a_checkpoint_that_is_overtaken_during_its_sync_is_not_confirmed() {
    let disk = Overtaken::new();
    let store = LocalCheckpoints::open(disk.lease(), CheckpointOptions::default()).unwrap();
    store.write(&Checkpoint::at(Time::from_ms(1))).unwrap();
    disk.is_armed.store(true, Ordering::Relaxed);
    let overtaken = store.write(&Checkpoint::at(Time::from_ms(2)));
    assert_eq!(overtaken.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.log_needed_from(), Some(0));
}

#[test]
fn a_log_that_is_overtaken_while_it_opens_does_not_open() {
    let disk = Overtaken::new();
    let lease = disk.lease();
    disk.is_armed.store(true, Ordering::Relaxed);
    let overtaken = open(lease, &WalOptions::default());
    assert_eq!(overtaken.unwrap_err().kind(), ErrorKind::Closed);
}
