//! `cache`, `persist` and `unpersist`: keeping what was computed.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{OnceLock, Weak};

use super::Rdd;
use super::node::Meta;
use crate::data::Data;
use crate::error::{Error, Result};
use crate::storage::{BlockId, BlockStore, StorageLevel};

/// Where the records of a node are kept. Kept blocks go with it.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    level: AtomicU8,
    /// Another level that was asked for while there was one.
    refused: AtomicU8,
    /// What to forget in the end; nothing in an executor, which does not own the blocks.
    kept: OnceLock<Kept>,
    /// Whether kept blocks stay when this goes.
    is_left: AtomicBool,
}

struct Kept {
    rdd: u64,
    num_partitions: usize,
    blocks: Weak<dyn BlockStore>,
}

impl Storage {
    pub(crate) fn at(level: StorageLevel) -> Self {
        Self {
            level: AtomicU8::new(level.code()),
            refused: AtomicU8::default(),
            kept: OnceLock::new(),
            is_left: AtomicBool::new(false),
        }
    }

    pub(crate) fn level(&self) -> StorageLevel {
        StorageLevel::from_code(self.level.load(Ordering::Acquire))
    }

    /// Sets the level where there is none, and takes note of another one where there is.
    fn set(&self, level: StorageLevel) {
        let none = StorageLevel::None.code();
        let (relaxed, strong) = (Ordering::Acquire, Ordering::AcqRel);
        let set = self
            .level
            .compare_exchange(none, level.code(), strong, relaxed);
        if set.is_err_and(|have| have != level.code()) {
            self.refused.store(level.code(), Ordering::Release);
        }
    }

    fn clear(&self) {
        self.refused
            .store(StorageLevel::None.code(), Ordering::Release);
        self.level
            .store(StorageLevel::None.code(), Ordering::Release);
    }

    /// # Errors
    /// `Invalid` when two levels were asked for.
    pub(crate) fn check(&self, meta: &Meta) -> Result<()> {
        let refused = StorageLevel::from_code(self.refused.load(Ordering::Acquire));
        if refused == StorageLevel::None {
            return Ok(());
        }
        Err(
            Error::invalid("cannot change the storage level of an RDD that has one already")
                .with("operator", meta.operator())
                .with("rdd", meta.id())
                .with("level", self.level().name())
                .with("wanted", refused.name())
                .with("hint", "call unpersist() first"),
        )
    }

    fn forget_blocks(&self) {
        let Some(kept) = self.kept.get() else { return };
        if let Some(blocks) = kept.blocks.upgrade() {
            let rdd = kept.rdd;
            let splits = 0..kept.num_partitions;
            blocks.remove(&mut splits.map(|split| BlockId::Rdd { rdd, split }));
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // Also after `unpersist`: a task that began before it may have kept a block since.
        if !self.is_left.load(Ordering::Acquire) {
            self.forget_blocks();
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("rdd", &self.rdd)
            .field("num_partitions", &self.num_partitions)
            .finish_non_exhaustive()
    }
}

impl<T: Data> Rdd<T> {
    /// Keeps the records of computed partitions in memory, from the first action on. What does
    /// not fit is computed again when needed. A long [`Text`](crate::Text) keeps the block it was
    /// cut from: where few are kept of many, [`persist`](Self::persist) at a serialized level, or
    /// [`detach`](crate::Text::detach) them.
    #[must_use = "returns the same RDD"]
    pub fn cache(&self) -> Self {
        self.persist(StorageLevel::MemoryOnly)
    }

    /// Keeps the records of computed partitions at `level`, from the first action on. They go
    /// when [`unpersist`](Self::unpersist) is called, and with the last handle of the RDD and of
    /// those made from it.
    ///
    /// An RDD that has a level keeps it until `unpersist`: asking for another one changes nothing
    /// and is an error (`Invalid`) of the next action that needs the RDD.
    ///
    /// ```
    /// use tidemill_core::{Context, StorageLevel};
    ///
    /// let ctx = Context::local(2)?;
    /// let squares = ctx.range(0..4).map(|x| x * x).persist(StorageLevel::MemoryAndDisk);
    /// assert_eq!(squares.collect()?, [0, 1, 4, 9]);
    /// let refused = squares.persist(StorageLevel::DiskOnly).count();
    /// assert!(refused.is_err_and(|error| error.to_string().contains("unpersist")));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[must_use = "returns the same RDD"]
    pub fn persist(&self, level: StorageLevel) -> Self {
        let node = self.node.node();
        let storage = node.meta().persistence();
        self.own_blocks(storage);
        storage.set(level);
        self.clone()
    }

    /// Kept blocks go with the RDD.
    fn own_blocks(&self, storage: &Storage) {
        storage.kept.get_or_init(|| Kept {
            rdd: self.id(),
            num_partitions: self.num_partitions().unwrap_or(0),
            blocks: std::sync::Arc::downgrade(self.ctx.blocks()),
        });
    }

    /// Gives the RDD a level that has a disk: the one it has, with a disk added.
    pub(crate) fn persist_on_disk(&self) {
        let node = self.node.node();
        let storage = node.meta().persistence();
        self.own_blocks(storage);
        let level = match storage.level() {
            StorageLevel::None | StorageLevel::MemoryOnly => StorageLevel::MemoryAndDisk,
            StorageLevel::MemoryOnly2 => StorageLevel::MemoryAndDisk2,
            StorageLevel::MemoryOnlySer => StorageLevel::MemoryAndDiskSer,
            StorageLevel::MemoryOnlySer2 => StorageLevel::MemoryAndDiskSer2,
            level => level,
        };
        storage.level.store(level.code(), Ordering::Release);
    }

    /// Forgets kept records; the RDD can still be computed. Harmless when called again.
    pub fn unpersist(&self) {
        let node = self.node.node();
        let storage = node.meta().persistence();
        if storage.level() == StorageLevel::None {
            return;
        }
        storage.clear();
        storage.forget_blocks();
    }

    /// Kept records stay in the store when the last handle goes.
    #[doc(hidden)]
    pub fn leave_blocks(&self) {
        let node = self.node.node();
        let storage = node.meta().persistence();
        storage.is_left.store(true, Ordering::Release);
    }

    /// Where its records are kept.
    #[must_use]
    pub fn storage_level(&self) -> StorageLevel {
        self.node.node().meta().storage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::storage::Block;

    #[test]
    fn what_a_task_keeps_after_unpersist_goes_with_the_rdd() {
        let ctx = Context::local(1).unwrap();
        let rdd = ctx.range(0..3).persist(StorageLevel::DiskOnly);
        let id = BlockId::Rdd {
            rdd: rdd.id(),
            split: 0,
        };
        rdd.unpersist();
        // A task that began before does not know.
        let late = Block::of(vec![0_i64, 1, 2]).at(StorageLevel::DiskOnly);
        assert!(ctx.blocks().put(id, late).unwrap());
        drop(rdd);
        assert!(!ctx.blocks().contains(id).unwrap());
    }
}
