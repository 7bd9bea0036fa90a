//! What is on a simulated disk, for programs and after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::random::Random;

/// Bytes that reach the disk together or not at all.
const SECTOR_BYTES: usize = 32;

/// A change of names that is not durable yet.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
        inode: u64,
    },
}

impl Change {
    fn apply(&self, files: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Link(path, inode) => {
                files.insert(path.clone(), *inode);
            }
            Self::Unlink(path) => {
                files.remove(path);
            }
            Self::Rename { from, to, inode } => {
                files.remove(from);
                files.insert(to.clone(), *inode);
            }
        }
    }

    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Link(path, _) | Self::Unlink(path) | Self::Rename { to: path, .. } => {
                path.parent()
            }
        }
    }
}

/// The bytes of a file, whatever its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What programs see.
    pub(super) live: Vec<u8>,
    /// What has been synced. Bytes whose sync failed are zeros.
    durable: Vec<u8>,
    /// What has been written since.
    dirty: Vec<Range<usize>>,
}

impl Inode {
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let begin = self.live.len();
        self.live.extend(bytes);
        if !bytes.is_empty() {
            self.dirty.push(begin..self.live.len());
        }
    }

    pub(super) fn sync(&mut self) {
        for range in std::mem::take(&mut self.dirty) {
            self.arrive(range);
        }
    }

    /// A sync has failed: what it was for never arrives.
    pub(super) fn forget(&mut self) {
        self.dirty.clear();
    }

    fn arrive(&mut self, range: Range<usize>) {
        if self.durable.len() < range.end {
            self.durable.resize(range.end, 0);
        }
        let from = self.live.get(range.clone());
        if let (Some(to), Some(from)) = (self.durable.get_mut(range), from) {
            to.copy_from_slice(from);
        }
    }

    /// What is left of it, and nothing of it is dirty.
    fn crash(&self, random: &mut Random) -> Self {
        let mut left = self.clone();
        let dirty = std::mem::take(&mut left.dirty);
        let fate = random.below(5);
        for range in dirty {
            match fate {
                0 => {}
                1 => left.arrive(range),
                2 => {
                    let length = random.below(range.len() + 1);
                    left.arrive(range.start..range.start + length);
                }
                _ => left.arrive_in_part(range, random, fate == 3),
            }
        }
        left.live.clone_from(&left.durable);
        left
    }

    /// Sector by sector: arrived, not, or (when `is_torn`) as garbage.
    fn arrive_in_part(&mut self, range: Range<usize>, random: &mut Random, is_torn: bool) {
        let mut begin = range.start;
        while begin < range.end {
            let end = range.end.min((begin / SECTOR_BYTES + 1) * SECTOR_BYTES);
            match random.below(4) {
                0 | 1 => self.arrive(begin..end),
                2 if is_torn => {
                    self.arrive(begin..end);
                    for byte in self.durable.get_mut(begin..end).unwrap_or_default() {
                        *byte = random.byte();
                    }
                }
                _ => {}
            }
            begin = end;
        }
    }
}

/// All of a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    /// Directories are durable at once: the simulation is about what is in them.
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) files: BTreeMap<PathBuf, u64>,
    pub(super) inodes: BTreeMap<u64, Inode>,
    durable_files: BTreeMap<PathBuf, u64>,
    changes: Vec<Change>,
    num_created: u64,
}

impl Image {
    pub(super) fn inode(&self, path: &Path) -> Option<&Inode> {
        self.inodes.get(self.files.get(path)?)
    }

    pub(super) fn num_bytes(&self) -> u64 {
        let used = |inode: &u64| self.inodes.get(inode).map_or(0, |inode| inode.live.len());
        self.files.values().map(|inode| used(inode) as u64).sum()
    }

    pub(super) fn create(&mut self, path: &Path) -> u64 {
        let inode = self.num_created;
        self.num_created += 1;
        self.inodes.insert(inode, Inode::default());
        self.change(Change::Link(path.to_owned(), inode));
        inode
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.files);
        self.changes.push(change);
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) {
        for change in std::mem::take(&mut self.changes) {
            if change.dir() == Some(dir) {
                change.apply(&mut self.durable_files);
            } else {
                self.changes.push(change);
            }
        }
    }

    pub(super) fn put(&mut self, path: &Path, bytes: Vec<u8>) {
        let inode = self.num_created;
        self.num_created += 1;
        let file = Inode {
            durable: bytes.clone(),
            live: bytes,
            dirty: Vec::new(),
        };
        self.inodes.insert(inode, file);
        self.durable_files.insert(path.to_owned(), inode);
        if let Some(before) = self.files.insert(path.to_owned(), inode) {
            self.inodes.remove(&before);
        }
    }

    pub(super) fn take(&mut self, path: &Path) -> Option<Vec<u8>> {
        let inode = self.files.remove(path)?;
        self.durable_files.remove(path);
        self.inodes.remove(&inode).map(|inode| inode.live)
    }

    /// What is left after a crash: synced bytes and names, and any part of the rest.
    pub(super) fn crash(&self, random: &mut Random) -> Self {
        let mut files = self.durable_files.clone();
        let fate = random.below(4);
        let num_arrived = random.below(self.changes.len() + 1);
        for (index, change) in self.changes.iter().enumerate() {
            let has_arrived = match fate {
                0 => false,
                1 => index < num_arrived,
                2 => true,
                _ => random.below(2) == 0,
            };
            if has_arrived {
                change.apply(&mut files);
            }
        }
        let left: BTreeMap<u64, Inode> = files
            .values()
            .filter_map(|inode| Some((*inode, self.inodes.get(inode)?.crash(random))))
            .collect();
        Self {
            dirs: self.dirs.clone(),
            files: files.clone(),
            inodes: left,
            durable_files: files,
            changes: Vec::new(),
            num_created: self.num_created,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let mut image = Image::default();
        let path = Path::new("/d/a");
        let inode = image.create(path);
        let file = image.inodes.get_mut(&inode).unwrap();
        file.append(&[1; 100]);
        file.sync();
        file.append(&[2; 100]);
        image.sync_dir(Path::new("/d"));
        image
    }

    fn contents(image: &Image) -> Vec<u8> {
        image.inode(Path::new("/d/a")).unwrap().live.clone()
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_any_part_of_the_rest() {
        let found: BTreeSet<Vec<u8>> = (0..500)
            .map(|seed| contents(&image().crash(&mut Random::new(seed))))
            .collect();
        assert!(found.iter().all(|bytes| bytes.starts_with(&[1; 100])));
        assert!(found.contains(&vec![1; 100]), "nothing of it");
        assert!(
            found.iter().any(|bytes| bytes.ends_with(&[2; 100])),
            "all of it"
        );
        let is_torn = |bytes: &&Vec<u8>| bytes[100..].contains(&0) && bytes[100..].contains(&2);
        assert!(
            found.iter().filter(is_torn).count() > 10,
            "parts of it, in any order"
        );
        assert!(found.len() > 50);
    }

    #[test]
    fn what_a_sync_has_lost_never_arrives() {
        let mut image = image();
        let inode = image.inodes.get_mut(&0).unwrap();
        inode.forget();
        inode.append(&[3; 10]);
        inode.sync();
        assert_eq!(
            contents(&image)[100..200],
            [2; 100],
            "programs still see it"
        );
        for seed in 0..50 {
            let left = contents(&image.crash(&mut Random::new(seed)));
            assert_eq!(
                (&left[100..200], &left[200..]),
                (&[0; 100][..], &[3; 10][..])
            );
        }
    }

    #[test]
    fn names_arrive_with_their_directory_and_renames_are_never_half_done() {
        let mut image = image();
        let (a, b) = (PathBuf::from("/d/a"), PathBuf::from("/d/b"));
        let inode = image.create(&b);
        image.change(Change::Rename {
            from: b.clone(),
            to: a.clone(),
            inode,
        });
        let mut found = BTreeSet::new();
        for seed in 0..100 {
            let left = image.crash(&mut Random::new(seed));
            found.insert((left.files.get(&a).copied(), left.files.get(&b).copied()));
        }
        let expected = [(Some(0), None), (Some(0), Some(1)), (Some(1), None)];
        assert_eq!(found, BTreeSet::from(expected));
        image.sync_dir(Path::new("/d"));
        let left = image.crash(&mut Random::new(1));
        assert_eq!(left.files, BTreeMap::from([(a, 1)]));
    }
}
