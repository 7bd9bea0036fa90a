//! The machine's own disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::{Disk, DiskFile, DiskLock, DiskReader};

/// The file system of this machine, through the standard library.
///
/// *Guarantee*: that of [`Disk`], as far as the system keeps it: on Linux `fsync` of files and
/// directories, and `flock`. What a disk with a cache of its own loses after it has confirmed a
/// sync is lost.
///
/// ```
/// use tidemill_streaming::disk::{Disk, LocalDisk};
///
/// let dir = tempfile::tempdir()?;
/// let (path, disk) = (dir.path().join("lock"), LocalDisk::new());
/// let held = disk.lock(&path)?;
/// assert!(disk.lock(&path).is_err());
/// drop(held);
/// assert!(disk.lock(&path).is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalDisk {}

impl LocalDisk {
    /// The disk of this machine.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }
}

impl Disk for LocalDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)?;
        Ok(Box::new(Written { file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskReader>> {
        let file = File::open(path)?;
        Ok(Box::new(Opened { file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                continue;
            }
            // Names of ours are plain text; what has another name is not ours.
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(Locked { _file: file })),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[derive(Debug)]
struct Written {
    file: File,
}

impl DiskFile for Written {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[derive(Debug)]
struct Opened {
    file: File,
}

impl DiskReader for Opened {
    fn num_bytes(&mut self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read(buffer)
    }
}

/// The system ends the lock when the file is closed.
#[derive(Debug)]
struct Locked {
    _file: File,
}

impl DiskLock for Locked {}
