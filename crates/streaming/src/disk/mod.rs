//! The seam between what must survive and the disk: the few operations that logs and checkpoints use.
//!
//! [`LocalDisk`] is the machine's. Tests put a simulated one in its place that forgets what was
//! not synced, tears writes, runs full and fails at any call.

mod local;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_core::{Error, ErrorKind, Result};

pub use local::LocalDisk;

/// Where logs and checkpoints are kept.
///
/// *Guarantee*: what an implementation must keep, and what nobody may assume beyond it:
/// - bytes are durable once [`DiskFile::sync`] has returned; before, any part of them may be
///   missing after a crash, in any order;
/// - a name made, changed or removed is durable once [`Disk::sync_dir`] of its directory has
///   returned, whatever was synced of the file itself; before, any of these changes may be missing;
/// - a rename is never half done, and replaces what had the name;
/// - after a failed sync nothing is known about the bytes it was for, and a later one that
///   succeeds says nothing about them either.
///
/// ```
/// use tidemill_streaming::disk::{Disk, LocalDisk};
///
/// let dir = tempfile::tempdir()?;
/// let disk = LocalDisk::new();
/// let mut file = disk.create_new(&dir.path().join("a"))?;
/// assert_eq!(file.append(b"tide")?, 4);
/// file.sync()?;
/// disk.sync_dir(dir.path())?;
/// assert_eq!(disk.list(dir.path())?, ["a"]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Disk: fmt::Debug + Send + Sync {
    /// Makes a directory and those above it; one that exists is fine.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes an empty file to append to.
    ///
    /// # Errors
    /// `AlreadyExists` when something has the name; else as the system says.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file to read from.
    ///
    /// # Errors
    /// `NotFound` when nothing has the name; else as the system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskReader>>;

    /// Gives a file another name; a file that had it is gone.
    ///
    /// # Errors
    /// As the system says; then nothing has changed.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names of a directory durable.
    ///
    /// # Errors
    /// As the system says; then nothing is known about the changes since the last sync.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names of the files of a directory, sorted; directories are left out.
    ///
    /// # Errors
    /// `NotFound` when there is no such directory; else as the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Locks a file for as long as the returned value lives, and makes it if it is not there. The
    /// lock goes with the process, however it ends.
    ///
    /// # Errors
    /// `WouldBlock` when another holds it; else as the system says.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
}

/// A file that is being written.
pub trait DiskFile: fmt::Debug + Send {
    /// Appends some of the bytes, at least one, and says how many.
    ///
    /// # Errors
    /// As the system says; some bytes may have been appended.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// As the system says; never worth another try on the same file.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is being read.
pub trait DiskReader: fmt::Debug + Send {
    /// How many bytes the file has now.
    ///
    /// # Errors
    /// As the system says.
    fn num_bytes(&mut self) -> io::Result<u64>;

    /// Reads some bytes from `offset` on; 0 means that the file ends there.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// A lock; it ends when the value is dropped.
pub trait DiskLock: fmt::Debug + Send + Sync {}

/// Appends all bytes, however few the disk takes at a time.
pub(crate) fn append_all(file: &mut dyn DiskFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.append(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => bytes = bytes.get(taken..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills the buffer as far as the file goes and says how far that was.
pub(crate) fn read_full(
    file: &mut dyn DiskReader,
    offset: u64,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(offset + filled as u64, rest) {
            Ok(0) => break,
            Ok(taken) => filled += taken,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads a small file whole.
///
/// # Errors
/// `Data` when it has more than `max_bytes`: nothing that long was ever written there.
pub(crate) fn read_small(disk: &dyn Disk, path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let failed = |error| failed("file cannot be read", path, error);
    let mut reader = disk.open(path).map_err(failed)?;
    let num_bytes = reader.num_bytes().map_err(failed)?;
    if num_bytes > max_bytes {
        return Err(Error::data("file is longer than any of its kind can be")
            .with("file", path.display())
            .with("bytes", num_bytes)
            .with("most", max_bytes));
    }
    let mut bytes = vec![0; usize::try_from(num_bytes).unwrap_or(0)];
    let filled = read_full(&mut *reader, 0, &mut bytes).map_err(failed)?;
    bytes.truncate(filled);
    Ok(bytes)
}

/// A file that gets its name only when it is whole and durable.
#[derive(Debug)]
pub(crate) struct Unpublished {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    temporary: PathBuf,
    path: PathBuf,
}

/// How the names of unpublished files end; each attempt has its own.
pub(crate) const TEMPORARY: &str = ".tmp";

impl Unpublished {
    /// Makes the file under a name that no other attempt has.
    pub(crate) fn create(disk: &Arc<dyn Disk>, path: &Path, attempt: &str) -> Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{attempt}{TEMPORARY}"));
        let temporary = PathBuf::from(name);
        let file = disk
            .create_new(&temporary)
            .map_err(|error| failed("file cannot be made", &temporary, error))?;
        Ok(Self {
            disk: Arc::clone(disk),
            file,
            temporary,
            path: path.to_owned(),
        })
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        append_all(&mut *self.file, bytes)
            .map_err(|error| failed("file cannot be written", &self.temporary, error))
    }

    /// Sync, rename, sync of the directory: the file is there for good, or this fails.
    pub(crate) fn publish(mut self) -> Result<Box<dyn DiskFile>> {
        self.file
            .sync()
            .map_err(|error| failed("file cannot be synced", &self.temporary, error))?;
        self.disk
            .rename(&self.temporary, &self.path)
            .map_err(|error| failed("file cannot be renamed", &self.temporary, error))?;
        sync_parent(&*self.disk, &self.path)?;
        Ok(self.file)
    }

    /// Gives the attempt up. What is left of it is swept up at the next start at the latest.
    pub(crate) fn abandon(self) {
        if let Err(error) = self.disk.remove(&self.temporary) {
            tracing::debug!(file = %self.temporary.display(), %error, "temporary file is left behind");
        }
    }
}

/// Writes a small file whole, durably, over what had the name.
pub(crate) fn replace(
    disk: &Arc<dyn Disk>,
    path: &Path,
    attempt: &str,
    bytes: &[u8],
) -> Result<()> {
    let mut file = Unpublished::create(disk, path, attempt)?;
    if let Err(error) = file.append(bytes) {
        file.abandon();
        return Err(error);
    }
    file.publish().map(drop)
}

/// Removes what attempts of earlier processes have left behind.
pub(crate) fn sweep(disk: &dyn Disk, dir: &Path) -> Result<()> {
    for name in list(disk, dir)? {
        if name.ends_with(TEMPORARY) {
            let path = dir.join(name);
            disk.remove(&path)
                .map_err(|error| failed("temporary file cannot be removed", &path, error))?;
        }
    }
    Ok(())
}

pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>> {
    disk.list(dir)
        .map_err(|error| failed("directory cannot be listed", dir, error))
}

pub(crate) fn create_dir(disk: &dyn Disk, dir: &Path) -> Result<()> {
    disk.create_dir(dir)
        .map_err(|error| failed("directory cannot be made", dir, error))?;
    sync_parent(disk, dir)
}

/// Syncs the directory that holds `path`.
pub(crate) fn sync_parent(disk: &dyn Disk, path: &Path) -> Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    disk.sync_dir(dir)
        .map_err(|error| failed("directory cannot be synced", dir, error))
}

/// What failed, on which file, and whether trying again later may help.
pub(crate) fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::NotFound
        | io::ErrorKind::Unsupported => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, what)
        .with("file", path.display())
        .caused_by(error)
}
