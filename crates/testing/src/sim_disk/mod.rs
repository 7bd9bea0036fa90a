//! A disk in memory that forgets, tears, fails and runs full, as its seed says.

mod image;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_streaming::disk::{Disk, DiskFile, DiskLock, DiskReader};

use crate::random::Random;
use image::{Change, Image, Inode};

/// What goes wrong on a [`SimDisk`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFaults {
    /// The call of this number fails, counted from 1 over all calls of the disk and its files.
    pub fail_at: Option<u64>,
    /// So do all calls after it, too.
    pub fail_forever: bool,
    /// At the call of this number the process dies: it and all later calls fail, and what it was
    /// about to do may be half done.
    pub die_at: Option<u64>,
    /// So many bytes fit on the disk.
    pub capacity_bytes: Option<u64>,
    /// Appends may take fewer bytes than they are given.
    pub has_short_writes: bool,
}

/// A disk that keeps exactly what [`Disk`] promises, and nothing beyond it.
///
/// It has two images: what programs see, and what would be left after a crash. Bytes reach the
/// second with a sync of their file, names with a sync of their directory; [`SimDisk::crash`]
/// gives a disk on which any part of the rest has arrived, in any order, torn anywhere.
///
/// ```
/// use std::path::Path;
/// use tidemill_streaming::disk::Disk;
/// use tidemill_testing::SimDisk;
///
/// let disk = SimDisk::new(1);
/// let (dir, path) = (Path::new("/d"), Path::new("/d/a"));
/// disk.create_dir(dir)?;
/// let mut file = disk.create_new(path)?;
/// file.append(b"tide")?;
/// file.sync()?;
/// assert!((0..20).any(|seed| disk.crash(seed).open(path).is_err()), "its name was not synced");
/// disk.sync_dir(dir)?;
/// assert!((0..20).all(|seed| disk.crash(seed).open(path).is_ok()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    image: Image,
    locks: BTreeSet<PathBuf>,
    faults: DiskFaults,
    num_calls: u64,
    largest_read_bytes: usize,
    random: Random,
}

/// What becomes of one call.
enum Fate {
    Works,
    Fails,
    /// The process is gone, and this call was its last.
    Dies,
}

impl SimDisk {
    /// An empty disk on which nothing goes wrong.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_image(Image::default(), seed)
    }

    fn with_image(image: Image, seed: u64) -> Self {
        Self {
            shared: Arc::new(Mutex::new(State {
                image,
                locks: BTreeSet::new(),
                faults: DiskFaults::default(),
                num_calls: 0,
                largest_read_bytes: 0,
                random: Random::new(seed),
            })),
        }
    }

    /// Lets these faults happen from now on; calls count from 1 again.
    pub fn set_faults(&self, faults: DiskFaults) {
        let mut state = self.shared.lock();
        (state.faults, state.num_calls) = (faults, 0);
    }

    /// How many calls there were since the faults were set.
    #[must_use]
    pub fn num_calls(&self) -> u64 {
        self.shared.lock().num_calls
    }

    /// The most bytes that a single read has asked for.
    #[must_use]
    pub fn largest_read_bytes(&self) -> usize {
        self.shared.lock().largest_read_bytes
    }

    /// What the machine finds after it has lost its power now: one of many possibilities.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let image = self.shared.lock().image.crash(&mut random);
        Self::with_image(image, seed)
    }

    /// What the next process finds after this one was killed now: all that was written, synced
    /// or not, and no locks.
    #[must_use]
    pub fn kill(&self, seed: u64) -> Self {
        Self::with_image(self.shared.lock().image.clone(), seed)
    }

    /// The bytes of a file, as programs see them.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.shared.lock();
        state.image.inode(path).map(|inode| inode.live.clone())
    }

    /// Puts a file on the disk, durably, in place of one that has the name.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        self.shared.lock().image.put(path, bytes);
    }

    /// Takes a file off the disk, durably; `None` when there is none.
    #[must_use]
    pub fn take(&self, path: &Path) -> Option<Vec<u8>> {
        self.shared.lock().image.take(path)
    }

    /// All files, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.shared.lock().image.files.keys().cloned().collect()
    }

    /// Does one call, or the part of it that the faults leave.
    fn call<R>(
        &self,
        work: impl FnOnce(&mut State) -> io::Result<R>,
        half: impl FnOnce(&mut State),
    ) -> io::Result<R> {
        let mut state = self.shared.lock();
        match state.fate() {
            Fate::Works => work(&mut state),
            Fate::Fails => {
                half(&mut state);
                Err(io::Error::other("injected"))
            }
            Fate::Dies => {
                let is_last = state.faults.die_at == Some(state.num_calls);
                if is_last {
                    half(&mut state);
                }
                Err(io::Error::other("process is dead"))
            }
        }
    }
}

impl State {
    fn fate(&mut self) -> Fate {
        self.num_calls += 1;
        let DiskFaults {
            fail_at,
            fail_forever,
            die_at,
            ..
        } = self.faults;
        let now = self.num_calls;
        if die_at.is_some_and(|at| now >= at) {
            return Fate::Dies;
        }
        match fail_at {
            Some(at) if now == at || (fail_forever && now > at) => Fate::Fails,
            _ => Fate::Works,
        }
    }

    /// How many of so many bytes an append takes.
    fn room(&mut self, num_bytes: usize) -> io::Result<usize> {
        let mut room = num_bytes;
        if self.faults.has_short_writes {
            room = 1 + self.random.below(num_bytes.max(1));
        }
        if let Some(capacity) = self.faults.capacity_bytes {
            let free = capacity.saturating_sub(self.image.num_bytes());
            room = room.min(usize::try_from(free).unwrap_or(usize::MAX));
        }
        match room {
            0 if num_bytes > 0 => Err(io::ErrorKind::StorageFull.into()),
            room => Ok(room.min(num_bytes)),
        }
    }
}

fn not_found<T>(found: Option<T>) -> io::Result<T> {
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Disk for SimDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(
            |state| {
                state.image.dirs.extend(dir.ancestors().map(Path::to_owned));
                Ok(())
            },
            |_| {},
        )
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inode = self.call(
            |state| {
                let dir = path.parent().unwrap_or(path);
                if !state.image.dirs.contains(dir) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                if state.image.files.contains_key(path) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                Ok(state.image.create(path))
            },
            |_| {},
        )?;
        let disk = self.clone();
        Ok(Box::new(SimFile { disk, inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskReader>> {
        let found = |state: &mut State| not_found(state.image.files.get(path).copied());
        let inode = self.call(found, |_| {})?;
        let disk = self.clone();
        Ok(Box::new(SimFile { disk, inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(
            |state| {
                let inode = not_found(state.image.files.get(from).copied())?;
                state.image.change(Change::Rename {
                    from: from.to_owned(),
                    to: to.to_owned(),
                    inode,
                });
                Ok(())
            },
            |_| {},
        )
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(
            |state| {
                not_found(state.image.files.get(path))?;
                state.image.change(Change::Unlink(path.to_owned()));
                Ok(())
            },
            |_| {},
        )
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(
            |state| {
                state.image.sync_dir(dir);
                Ok(())
            },
            |_| {},
        )
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.call(
            |state| {
                if !state.image.dirs.contains(dir) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let files = state.image.files.keys();
                Ok(files
                    .filter(|path| path.parent() == Some(dir))
                    .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
                    .collect())
            },
            |_| {},
        )
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.call(
            |state| {
                if !state.locks.insert(path.to_owned()) {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(())
            },
            |_| {},
        )?;
        Ok(Box::new(SimLock {
            disk: self.clone(),
            path: path.to_owned(),
        }))
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: u64,
}

impl SimFile {
    fn inode<'s>(&self, state: &'s mut State) -> io::Result<&'s mut Inode> {
        not_found(state.image.inodes.get_mut(&self.inode))
    }
}

impl DiskFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.call(
            |state| {
                let room = state.room(bytes.len())?;
                let taken = bytes.get(..room).unwrap_or_default();
                self.inode(state)?.append(taken);
                Ok(room)
            },
            |state| {
                // Some bytes may have arrived before the error.
                let arrived = state.random.below(bytes.len() + 1);
                let taken = bytes.get(..arrived).unwrap_or_default();
                if let Ok(inode) = self.inode(state) {
                    inode.append(taken);
                }
            },
        )
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.call(
            |state| {
                self.inode(state)?.sync();
                Ok(())
            },
            |state| {
                // As Linux does it: what could not be written is dropped and no longer dirty. A
                // process that dies has not been told, its bytes may still arrive.
                let is_dead = state.faults.die_at.is_some();
                if let (Ok(inode), false) = (self.inode(state), is_dead) {
                    inode.forget();
                }
            },
        )
    }
}

impl DiskReader for SimFile {
    fn num_bytes(&mut self) -> io::Result<u64> {
        self.disk
            .call(|state| Ok(self.inode(state)?.live.len() as u64), |_| {})
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.call(
            |state| {
                state.largest_read_bytes = state.largest_read_bytes.max(buffer.len());
                let live = &self.inode(state)?.live;
                let begin = usize::try_from(offset).unwrap_or(usize::MAX);
                let bytes = live.get(begin..).unwrap_or_default();
                let length = bytes.len().min(buffer.len());
                let (to, from) = (buffer.get_mut(..length), bytes.get(..length));
                if let (Some(to), Some(from)) = (to, from) {
                    to.copy_from_slice(from);
                }
                Ok(length)
            },
            |_| {},
        )
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.shared.lock().locks.remove(&self.path);
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("SimDisk")
            .field("num_files", &state.image.files.len())
            .field("num_calls", &state.num_calls)
            .field("faults", &state.faults)
            .finish_non_exhaustive()
    }
}

/// Does `scenario` once for each call it makes, with that call failing, then with that call and
/// all later ones failing; gives the number of scenarios done.
///
/// `scenario` gets the disk, already set to fail; it must come to its end, and judge for itself
/// whether what it found is right. The first time nothing fails.
///
/// ```
/// use std::path::Path;
/// use tidemill_streaming::disk::Disk;
/// use tidemill_testing::{SimDisk, fail_every_call};
///
/// let num_scenarios = fail_every_call(1, |disk| {
///     if disk.create_dir(Path::new("/d")).is_ok() {
///         let _ = disk.create_new(Path::new("/d/a"));
///     }
/// });
/// assert_eq!(num_scenarios, 1 + 2 + 2);
/// ```
pub fn fail_every_call(seed: u64, mut scenario: impl FnMut(&SimDisk)) -> u64 {
    let disk = SimDisk::new(seed);
    scenario(&disk);
    let (num_calls, mut num_scenarios) = (disk.num_calls(), 1);
    for fail_forever in [false, true] {
        for call in 1..=num_calls {
            let disk = SimDisk::new(seed.wrapping_add(call));
            disk.set_faults(DiskFaults {
                fail_at: Some(call),
                fail_forever,
                ..DiskFaults::default()
            });
            scenario(&disk);
            num_scenarios += 1;
        }
    }
    num_scenarios
}
