//! Blocks on disk: one checked file each, in a folder that goes with the store.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::checked::{PieceReader, write_head, write_piece};
use super::{Block, BlockId, StorageLevel};
use crate::error::{Error, ErrorKind, Result};

/// Writes blocks into a folder of its own, which is made with the first of them.
#[derive(Debug)]
pub(super) struct DiskStore {
    /// Where the folder is made; the system's temporary folder when nothing else was said.
    parent: Option<PathBuf>,
    folder: Mutex<Folder>,
    next_file: AtomicU64,
}

#[derive(Debug)]
enum Folder {
    NotMade,
    Made(PathBuf),
    Removed,
}

impl DiskStore {
    pub(super) fn new(parent: Option<PathBuf>) -> Self {
        Self {
            parent,
            folder: Mutex::new(Folder::NotMade),
            next_file: AtomicU64::new(0),
        }
    }

    /// Writes a block. The file has its name only when it is whole.
    pub(super) fn write(&self, id: BlockId, block: &Block) -> Result<Arc<DiskBlock>> {
        let payload = block.to_bytes()?;
        let folder = self.folder()?;
        let number = self.next_file.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{id}-{number}"));
        let unfinished = folder.join(format!("{id}-{number}.tmp"));
        let write = || {
            let mut file = BufWriter::new(File::create(&unfinished)?);
            write_head(&mut file)?;
            write_piece(&mut file, block.num_records(), &payload)?;
            file.flush()?;
            drop(file);
            std::fs::rename(&unfinished, &path)
        };
        write().map_err(|e| {
            let _ = std::fs::remove_file(&unfinished);
            Error::unavailable("block cannot be written to disk")
                .with("block", id)
                .with("path", unfinished.display())
                .with("bytes", payload.len())
                .caused_by(e)
        })?;
        Ok(Arc::new(DiskBlock {
            path,
            level: block.level(),
        }))
    }

    fn folder(&self) -> Result<PathBuf> {
        let mut folder = self.folder.lock();
        match &*folder {
            Folder::Made(path) => Ok(path.clone()),
            Folder::Removed => Err(Error::new(ErrorKind::Closed, "context was stopped")),
            Folder::NotMade => {
                let parent = self.parent.clone().unwrap_or_else(std::env::temp_dir);
                let path = make_unique_folder(&parent, "tidemill-blocks-")?;
                *folder = Folder::Made(path.clone());
                Ok(path)
            }
        }
    }

    /// Removes the folder with all blocks. Nothing is written any more.
    pub(super) fn close(&self) {
        let folder = std::mem::replace(&mut *self.folder.lock(), Folder::Removed);
        if let Folder::Made(path) = folder
            && let Err(error) = std::fs::remove_dir_all(&path)
        {
            tracing::warn!(path = %path.display(), %error, "folder of blocks was not removed");
        }
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// Makes a folder under `parent` that nobody else has, and that only this user can enter.
pub(crate) fn make_unique_folder(parent: &Path, prefix: &str) -> Result<PathBuf> {
    use std::hash::BuildHasher;
    use std::os::unix::fs::DirBuilderExt;
    let failed = |e: std::io::Error| {
        Error::unavailable("folder cannot be made")
            .with("parent", parent.display())
            .caused_by(e)
    };
    std::fs::create_dir_all(parent).map_err(failed)?;
    loop {
        // Not for secrecy, but so that two runs never meet.
        let number = std::hash::RandomState::new().hash_one(std::process::id());
        let path = parent.join(format!("{prefix}{number:016x}"));
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(failed(e)),
        }
    }
}

/// A block that was written. Its file goes with it.
#[derive(Debug)]
pub(super) struct DiskBlock {
    path: PathBuf,
    level: StorageLevel,
}

impl DiskBlock {
    /// Whether somebody has removed the file. Whether it is whole is seen when it is read.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.path.try_exists(), Ok(false))
    }

    /// # Errors
    /// `Data` when the file is gone or damaged; `Unavailable` when it cannot be opened now: a
    /// process that has too many files open will have fewer later.
    pub(super) fn read(&self) -> Result<Block> {
        let read = || {
            let file = File::open(&self.path).map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => Error::data("file is gone").caused_by(e),
                _ => Error::unavailable("file cannot be opened").caused_by(e),
            })?;
            let len = file.metadata().map_or(0, |file| file.len());
            let piece = PieceReader::open(file, len)?.next()?;
            piece.ok_or_else(|| Error::data("file has no block"))
        };
        let (num_records, payload) =
            read().map_err(|error| error.with("path", self.path.display()))?;
        Ok(Block::encoded(payload, num_records).at(self.level))
    }
}

impl Drop for DiskBlock {
    fn drop(&mut self) {
        // The whole folder may be gone already.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: BlockId = BlockId::Rdd { rdd: 1, split: 2 };

    #[test]
    fn a_block_comes_back_from_disk_and_its_file_goes_with_it() {
        let parent = tempfile::tempdir().unwrap();
        let store = DiskStore::new(Some(parent.path().to_owned()));
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
        let block = Block::of(vec![1_u32, 2, 3]).at(StorageLevel::DiskOnly);
        let written = store.write(ID, &block).unwrap();
        let back = written.read().unwrap();
        assert_eq!(
            (back.num_records(), back.level()),
            (3, StorageLevel::DiskOnly)
        );
        assert_eq!(*back.read::<Vec<u32>>().unwrap(), [1, 2, 3]);
        let path = written.path.clone();
        assert!(path.exists());
        drop(written);
        assert!(!path.exists());
        drop(store);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_and_a_full_disk_are_named() {
        let parent = tempfile::tempdir().unwrap();
        let store = DiskStore::new(Some(parent.path().to_owned()));
        let written = store.write(ID, &Block::of(vec![1_u32; 100])).unwrap();
        let mut bytes = std::fs::read(&written.path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&written.path, bytes).unwrap();
        let error = written.read().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("rdd_1_2"), "{error}");
        // What a full disk and a folder that is gone have in common: the file cannot be made.
        let folder = store.folder().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let error = store.write(ID, &Block::of(vec![1_u32])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(&folder.display().to_string()));
        store.close();
        let error = store.write(ID, &Block::of(vec![1_u32])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}
