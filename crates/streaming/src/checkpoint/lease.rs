//! One driver a directory: a lock while it lives, and an epoch that outlives it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_core::{Error, ErrorKind, Result};

use crate::bytes::{FRAME_BYTES, Fields, FrameFault, frame, put_text, unframe};
use crate::disk::{self, Disk, DiskLock};

const MAGIC: [u8; 4] = *b"TMEP";
const VERSION: u16 = 1;
const MAX_APPLICATION_BYTES: usize = 255;
const MAX_BODY_BYTES: u32 = 2 + MAX_APPLICATION_BYTES as u32 + 8;
const EPOCH_FILE: &str = "epoch";
const LOCK_FILE: &str = "lock";

/// The right to write into a directory, for one driver of one application.
///
/// *Guarantee*: the lock keeps other processes of this machine out for as long as this one lives.
/// The epoch, one higher with every claim, keeps a driver out that believes it still has the
/// directory (it was paused, or its lock was lost with the connection to the disk): whatever is
/// written is checked against it before, and again after the sync and before success is reported.
///
/// ```
/// use std::sync::Arc;
/// use tidemill_streaming::checkpoint::Lease;
/// use tidemill_streaming::disk::LocalDisk;
///
/// let dir = tempfile::tempdir()?;
/// let claim = |application| Lease::claim(Arc::new(LocalDisk::new()), dir.path(), application);
/// let lease = claim("wordcount")?;
/// assert_eq!(lease.epoch(), 1);
/// assert!(claim("wordcount").is_err(), "one driver at a time");
/// drop(lease);
/// assert!(claim("another").is_err(), "one application");
/// assert_eq!(claim("wordcount")?.epoch(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Lease {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    application: String,
    epoch: u64,
    _lock: Box<dyn DiskLock>,
}

impl Lease {
    /// Claims `dir` for a driver of `application`, and makes the directory if it is not there.
    ///
    /// # Errors
    /// `Unavailable` when another driver has it, or the disk fails; `Invalid` when it is another
    /// application's, cannot be written, or the name is empty or longer than 255 bytes; `Data`
    /// when its epoch file is damaged; `Unsupported` when a newer version has written it. Nothing
    /// is changed then.
    pub fn claim(disk: Arc<dyn Disk>, dir: impl AsRef<Path>, application: &str) -> Result<Self> {
        let dir = dir.as_ref().to_owned();
        if application.is_empty() || application.len() > MAX_APPLICATION_BYTES {
            return Err(
                Error::invalid("an application's name has 1 to 255 bytes, choose another")
                    .with("bytes", application.len()),
            );
        }
        disk::create_dir(&*disk, &dir)?;
        let lock = lock(&*disk, &dir)?;
        let epoch_file = dir.join(EPOCH_FILE);
        let before = match read(&*disk, &dir)? {
            Some((owner, _)) if owner != application => {
                return Err(Error::invalid(
                    "directory belongs to another application, use another directory or name",
                )
                .with("dir", dir.display())
                .with("application", application)
                .with("owner", owner));
            }
            Some((_, epoch)) => epoch,
            None => 0,
        };
        disk::sweep(&*disk, &dir)?;
        let epoch = before + 1;
        let mut body = Vec::new();
        put_text(&mut body, application);
        body.extend(epoch.to_le_bytes());
        let bytes = frame(MAGIC, VERSION, &body);
        disk::replace(&disk, &epoch_file, &epoch.to_string(), &bytes)?;
        Ok(Self {
            disk,
            dir,
            application: application.to_owned(),
            epoch,
            _lock: lock,
        })
    }

    /// Fails if another driver has claimed the directory since.
    ///
    /// *Cost*: one small file is read.
    ///
    /// # Errors
    /// `Closed` when another has; else as the disk says.
    pub fn check(&self) -> Result<()> {
        match read(&*self.disk, &self.dir)? {
            Some((_, epoch)) if epoch == self.epoch => Ok(()),
            found => Err(Error::new(
                ErrorKind::Closed,
                "another driver has taken over, this one must stop",
            )
            .with("dir", self.dir.display())
            .with("epoch", self.epoch)
            .with("current", found.map_or(0, |(_, epoch)| epoch))),
        }
    }

    /// Counts the drivers that have had the directory, this one included.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The application's name.
    #[must_use]
    pub fn application(&self) -> &str {
        &self.application
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The disk that the directory is on.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("dir", &self.dir)
            .field("application", &self.application)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DiskLock>> {
    let path = dir.join(LOCK_FILE);
    disk.lock(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => {
            Error::unavailable("directory is in use by another driver, stop that one first")
                .with("dir", dir.display())
        }
        _ => disk::failed("directory cannot be locked", &path, error),
    })
}

/// The owner and the newest epoch; `None` when nobody has ever claimed the directory.
fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<(String, u64)>> {
    let names = disk::list(disk, dir)?;
    if !names.iter().any(|name| name == EPOCH_FILE) {
        return Ok(None);
    }
    let path = dir.join(EPOCH_FILE);
    let bytes = disk::read_small(disk, &path, FRAME_BYTES as u64 + u64::from(MAX_BODY_BYTES))?;
    decode(&bytes).map(Some).map_err(|fault| {
        match fault {
            FrameFault::Version(_) => Error::new(
                ErrorKind::Unsupported,
                "directory was written by a newer version of Tidemill, use that one",
            ),
            _ => Error::data(
                "epoch file is damaged; when no other driver is at work, replace it from a backup",
            ),
        }
        .with("file", path.display())
        .with("reason", fault)
    })
}

fn decode(bytes: &[u8]) -> Result<(String, u64), FrameFault> {
    let (body, _) = unframe(MAGIC, VERSION, MAX_BODY_BYTES, bytes)?;
    let mut fields = Fields::new(body);
    let owner = fields.text().ok_or(FrameFault::Checksum)?.to_owned();
    let epoch = fields.u64().ok_or(FrameFault::Checksum)?;
    let is_whole = fields.is_empty() && bytes.len() == FRAME_BYTES + body.len();
    is_whole
        .then_some((owner, epoch))
        .ok_or(FrameFault::Checksum)
}
