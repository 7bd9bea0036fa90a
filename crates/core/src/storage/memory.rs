//! The blocks of this process: in memory, and on disk what has no room there.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{DiskBlock, DiskStore};
use super::{Block, BlockId, BlockStore};
use crate::error::{ErrorKind, Result};

/// How much memory blocks may take, and where they go beyond it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageLimits {
    /// Memory for cached partitions, in bytes. Default 1 GiB.
    pub max_cache_bytes: usize,
    /// Memory for shuffle outputs, in bytes; beyond it the oldest are written to disk. Default
    /// 1 GiB.
    pub max_shuffle_bytes: usize,
    /// Where the store makes its folder, once it needs one. Default: the system's temporary
    /// folder.
    pub spill_folder: Option<PathBuf>,
}

impl Default for StorageLimits {
    fn default() -> Self {
        Self {
            max_cache_bytes: 1 << 30,
            max_shuffle_bytes: 1 << 30,
            spill_folder: None,
        }
    }
}

/// A block store in memory, with a folder on disk below it.
///
/// When the cap for cached partitions would be passed, the least recently used go: to disk when
/// their level says so, else they are dropped and will be computed again. A block never goes for
/// another of the same RDD. Shuffle outputs have a cap of their own; beyond it the oldest go to
/// disk. Other blocks, such as received ones, are pinned unless their level has a disk: they
/// count, but are kept whatever the cap says.
///
/// A file that is damaged or gone is a lost block; one that cannot be opened for now is an error,
/// or is computed again where that is possible, and stays. The folder is removed when the context stops,
/// and with the store at the latest.
#[derive(Debug)]
pub struct MemoryStore {
    limits: StorageLimits,
    disk: DiskStore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    blocks: HashMap<BlockId, Entry>,
    /// What may leave memory, by last use, oldest first.
    cached: BTreeMap<u64, BlockId>,
    /// Shuffle outputs in memory by age, oldest first.
    shuffled: BTreeMap<u64, BlockId>,
    clock: u64,
    /// In memory; all blocks.
    used_bytes: usize,
    /// In memory; those of `shuffled`.
    shuffle_bytes: usize,
    num_evicted: u64,
    num_spilled: u64,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    /// Tells apart two blocks that had the same id.
    stamp: u64,
    last_use: u64,
}

#[derive(Debug)]
enum Place {
    Memory(Block),
    /// On its way to disk: no longer counted, still readable.
    Leaving(Block),
    Disk(Arc<DiskBlock>),
}

/// Which cap a block counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Cached,
    Shuffled,
    Pinned,
}

impl Class {
    fn of(id: BlockId, block: &Block) -> Self {
        match id {
            BlockId::Rdd { .. } => Self::Cached,
            BlockId::Shuffle { .. } => Self::Shuffled,
            _ if block.level().uses_disk() => Self::Cached,
            _ => Self::Pinned,
        }
    }
}

/// A block that has to go to disk, and the stamp of its entry.
type Victim = (BlockId, u64, Block);

impl MemoryStore {
    /// An empty store that keeps up to `max_bytes` of cached partitions in memory, and as much of
    /// shuffle outputs.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self::with_limits(StorageLimits {
            max_cache_bytes: max_bytes,
            max_shuffle_bytes: max_bytes,
            spill_folder: None,
        })
    }

    /// An empty store.
    #[must_use]
    pub fn with_limits(limits: StorageLimits) -> Self {
        Self {
            disk: DiskStore::new(limits.spill_folder.clone()),
            limits,
            state: Mutex::default(),
        }
    }

    /// Memory taken by all blocks, as they estimate it.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.state.lock().used_bytes
    }

    /// How many blocks there are, in memory and on disk.
    #[must_use]
    pub fn num_blocks(&self) -> usize {
        self.state.lock().blocks.len()
    }

    /// How many blocks were dropped to make room, ever.
    #[must_use]
    pub fn num_evicted(&self) -> u64 {
        self.state.lock().num_evicted
    }

    /// How many blocks were written to disk, ever.
    #[must_use]
    pub fn num_spilled(&self) -> u64 {
        self.state.lock().num_spilled
    }

    /// Keeps a block on disk only. A cached partition that cannot be written is not kept.
    fn put_on_disk(&self, id: BlockId, block: &Block) -> Result<bool> {
        let written = match self.disk.write(id, block) {
            Ok(written) => written,
            Err(error) if id.is_evictable() => {
                tracing::warn!(error = %error.report(), "partition is not kept");
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let mut state = self.state.lock();
        state.num_spilled += 1;
        let stamp = state.tick();
        let entry = Entry {
            place: Place::Disk(written),
            stamp,
            last_use: stamp,
        };
        let replaced = state.insert(id, entry);
        drop(state);
        drop(replaced);
        Ok(true)
    }

    /// Writes what had to leave memory. What cannot be written is dropped when it can be computed
    /// again, and else stays in memory.
    fn spill(&self, victims: Vec<Victim>) -> Result<()> {
        let mut failure = None;
        for (id, stamp, block) in victims {
            let written = self.disk.write(id, &block);
            let mut state = self.state.lock();
            let is_there = state.blocks.get(&id).is_some_and(|e| e.stamp == stamp);
            match written {
                Ok(written) if is_there => {
                    state.num_spilled += 1;
                    state.place(id, Place::Disk(written));
                }
                Err(error) if is_there && id.is_evictable() => {
                    tracing::warn!(error = %error.report(), "partition is not kept");
                    state.remove(id);
                }
                Err(error) if is_there => {
                    state.come_back(id, block);
                    failure.get_or_insert(error);
                }
                // Somebody has removed or replaced the block meanwhile.
                _ => {}
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The removed entry is for the caller to drop, outside the lock: it may own a file, or values
    /// of the user.
    fn remove(&mut self, id: BlockId) -> Option<Entry> {
        let entry = self.blocks.remove(&id)?;
        if let Place::Memory(block) = &entry.place {
            let bytes = block.size_bytes();
            self.used_bytes -= bytes;
            match Class::of(id, block) {
                Class::Cached => drop(self.cached.remove(&entry.last_use)),
                Class::Shuffled => {
                    self.shuffled.remove(&entry.last_use);
                    self.shuffle_bytes -= bytes;
                }
                Class::Pinned => {}
            }
        }
        Some(entry)
    }

    fn insert(&mut self, id: BlockId, entry: Entry) -> Option<Entry> {
        let replaced = self.remove(id);
        if let Place::Memory(block) = &entry.place {
            let bytes = block.size_bytes();
            self.used_bytes += bytes;
            match Class::of(id, block) {
                Class::Cached => drop(self.cached.insert(entry.last_use, id)),
                Class::Shuffled => {
                    self.shuffled.insert(entry.last_use, id);
                    self.shuffle_bytes += bytes;
                }
                Class::Pinned => {}
            }
        }
        self.blocks.insert(id, entry);
        replaced
    }

    fn place(&mut self, id: BlockId, place: Place) {
        if let Some(entry) = self.blocks.get_mut(&id) {
            entry.place = place;
        }
    }

    /// A block that was to leave memory stays.
    fn come_back(&mut self, id: BlockId, block: Block) {
        let stamp = self.tick();
        let entry = Entry {
            place: Place::Memory(block),
            stamp,
            last_use: stamp,
        };
        self.insert(id, entry);
    }

    /// Takes a block out of the count, for disk or for good.
    fn evict(&mut self, id: BlockId, victims: &mut Vec<Victim>, dropped: &mut Vec<Entry>) {
        let Some(mut entry) = self.remove(id) else {
            return;
        };
        match entry.place {
            Place::Memory(block) if !id.is_evictable() || block.level().uses_disk() => {
                victims.push((id, entry.stamp, block.clone()));
                entry.place = Place::Leaving(block);
                self.blocks.insert(id, entry);
            }
            _ => {
                self.num_evicted += 1;
                dropped.push(entry);
            }
        }
    }

    /// The oldest cached partitions of other RDDs that make up `needed` bytes, if there are.
    fn oldest_cached(&self, id: BlockId, needed: usize) -> Option<Vec<BlockId>> {
        let mut freed = 0;
        let mut doomed = Vec::new();
        for victim in self.cached.values() {
            if freed >= needed {
                break;
            }
            if !is_sibling(*victim, id) {
                freed += self.size_of(*victim);
                doomed.push(*victim);
            }
        }
        (freed >= needed).then_some(doomed)
    }

    /// The oldest shuffle outputs that make up `needed` bytes, or all.
    fn oldest_shuffled(&self, needed: usize) -> Vec<BlockId> {
        let mut freed = 0;
        let mut doomed = Vec::new();
        for victim in self.shuffled.values() {
            if freed >= needed {
                break;
            }
            freed += self.size_of(*victim);
            doomed.push(*victim);
        }
        doomed
    }

    fn size_of(&self, id: BlockId) -> usize {
        match self.blocks.get(&id).map(|entry| &entry.place) {
            Some(Place::Memory(block)) => block.size_bytes(),
            _ => 0,
        }
    }
}

/// Whether both are partitions of one RDD.
fn is_sibling(a: BlockId, b: BlockId) -> bool {
    matches!((a, b), (BlockId::Rdd { rdd: a, .. }, BlockId::Rdd { rdd: b, .. }) if a == b)
}

impl BlockStore for MemoryStore {
    fn get(&self, id: BlockId) -> Result<Option<Block>> {
        let (file, stamp) = {
            let state = &mut *self.state.lock();
            let Some(entry) = state.blocks.get_mut(&id) else {
                return Ok(None);
            };
            match &entry.place {
                Place::Memory(block) => {
                    let block = block.clone();
                    if id.is_evictable() && state.cached.remove(&entry.last_use).is_some() {
                        state.clock += 1;
                        entry.last_use = state.clock;
                        state.cached.insert(entry.last_use, id);
                    }
                    return Ok(Some(block));
                }
                Place::Leaving(block) => return Ok(Some(block.clone())),
                Place::Disk(file) => (Arc::clone(file), entry.stamp),
            }
        };
        match file.read() {
            Ok(block) => Ok(Some(block)),
            // Not there now, but not lost: what cannot be made again stays.
            Err(error) if id.is_evictable() && error.kind() == ErrorKind::Unavailable => {
                tracing::warn!(block = %id, error = %error.report(), "block is made again");
                Ok(None)
            }
            Err(error) if id.is_precious() && error.kind() == ErrorKind::Unavailable => {
                Err(error.with("block", id))
            }
            Err(error) => {
                tracing::warn!(block = %id, error = %error.report(), "block is lost");
                let mut state = self.state.lock();
                if state.blocks.get(&id).is_some_and(|e| e.stamp == stamp) {
                    state.remove(id);
                }
                Ok(None)
            }
        }
    }

    fn put(&self, id: BlockId, block: Block) -> Result<bool> {
        let level = block.level();
        let block = if level.is_deserialized() {
            block
        } else {
            block.to_encoded()?
        };
        if !level.uses_memory() {
            let replaced = self.state.lock().remove(id);
            drop(replaced);
            return self.put_on_disk(id, &block);
        }
        let bytes = block.size_bytes();
        let (mut victims, mut dropped) = (Vec::new(), Vec::new());
        let mut state = self.state.lock();
        dropped.extend(state.remove(id));
        let (doomed, fits) = match Class::of(id, &block) {
            Class::Pinned => (Vec::new(), true),
            Class::Cached => {
                let needed = (state.used_bytes + bytes).saturating_sub(self.limits.max_cache_bytes);
                let doomed = state.oldest_cached(id, needed);
                let fits = doomed.is_some();
                (doomed.unwrap_or_default(), fits)
            }
            Class::Shuffled => {
                let max_bytes = self.limits.max_shuffle_bytes;
                let needed = (state.shuffle_bytes + bytes).saturating_sub(max_bytes);
                let fits = bytes <= max_bytes;
                let doomed = if fits {
                    state.oldest_shuffled(needed)
                } else {
                    Vec::new()
                };
                (doomed, fits)
            }
        };
        for victim in doomed {
            state.evict(victim, &mut victims, &mut dropped);
        }
        let mut left_over = None;
        if fits {
            let stamp = state.tick();
            let entry = Entry {
                place: Place::Memory(block),
                stamp,
                last_use: stamp,
            };
            dropped.extend(state.insert(id, entry));
        } else {
            left_over = Some(block);
        }
        drop(state);
        drop(dropped);
        self.spill(victims)?;
        match left_over {
            None => Ok(true),
            Some(block) if level.uses_disk() || !id.is_evictable() => self.put_on_disk(id, &block),
            Some(_) => Ok(false),
        }
    }

    fn remove(&self, ids: &mut dyn Iterator<Item = BlockId>) {
        let mut state = self.state.lock();
        let removed: Vec<Entry> = ids.filter_map(|id| state.remove(id)).collect();
        drop(state);
        drop(removed);
    }

    fn contains(&self, id: BlockId) -> Result<bool> {
        let file = {
            let state = self.state.lock();
            match state.blocks.get(&id).map(|entry| &entry.place) {
                None => return Ok(false),
                Some(Place::Memory(_) | Place::Leaving(_)) => return Ok(true),
                Some(Place::Disk(file)) => Arc::clone(file),
            }
        };
        Ok(!file.is_gone())
    }

    fn close(&self) {
        self.disk.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::StorageLevel;

    fn rdd(rdd: u64, split: usize) -> BlockId {
        BlockId::Rdd { rdd, split }
    }

    fn bytes(n: usize) -> Block {
        Block::of(vec![7_u8; n])
    }

    // C-188
    #[test]
    fn the_least_recently_used_block_of_another_rdd_is_dropped_first() {
        let store = MemoryStore::new(300);
        for id in [rdd(1, 0), rdd(2, 0), rdd(2, 1)] {
            assert!(store.put(id, bytes(100)).unwrap());
        }
        store.get(rdd(1, 0)).unwrap().unwrap();
        assert!(store.put(rdd(3, 0), bytes(100)).unwrap());
        assert!(!store.contains(rdd(2, 0)).unwrap());
        assert!(store.contains(rdd(1, 0)).unwrap());
        assert_eq!((store.used_bytes(), store.num_evicted()), (300, 1));
    }

    #[test]
    fn a_block_is_never_dropped_for_another_of_the_same_rdd() {
        let store = MemoryStore::new(150);
        assert!(store.put(rdd(1, 0), bytes(100)).unwrap());
        assert!(!store.put(rdd(1, 1), bytes(100)).unwrap());
        assert!(store.contains(rdd(1, 0)).unwrap());
    }

    #[test]
    fn received_blocks_are_kept_whatever_the_cap_says() {
        let store = MemoryStore::new(10);
        let id = BlockId::Input {
            stream: 0,
            number: 0,
        };
        assert!(store.put(id, bytes(100)).unwrap());
        assert!(!store.put(rdd(1, 0), bytes(1)).unwrap());
        store.remove(&mut std::iter::once(id));
        assert_eq!((store.used_bytes(), store.num_blocks()), (0, 0));
    }

    fn store(max_bytes: usize) -> (tempfile::TempDir, MemoryStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = MemoryStore::with_limits(StorageLimits {
            max_cache_bytes: max_bytes,
            max_shuffle_bytes: max_bytes,
            spill_folder: Some(folder.path().to_owned()),
        });
        (folder, store)
    }

    fn files(folder: &tempfile::TempDir) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(folder.path()).unwrap();
        let files = folders.flat_map(|f| std::fs::read_dir(f.unwrap().path()).unwrap());
        files.map(|file| file.unwrap().path()).collect()
    }

    fn read(store: &MemoryStore, id: BlockId) -> Option<Vec<u8>> {
        let block = store.get(id).unwrap()?;
        Some(block.read::<Vec<u8>>().unwrap().to_vec())
    }

    // C-187
    #[test]
    fn evicted_blocks_go_to_disk_or_are_dropped_as_their_level_says() {
        let (folder, store) = store(250);
        let both = |n: u8| Block::of(vec![n; 100]).at(StorageLevel::MemoryAndDisk);
        assert!(store.put(rdd(1, 0), both(1)).unwrap());
        assert!(store.put(rdd(2, 0), Block::of(vec![2_u8; 100])).unwrap());
        assert!(store.put(rdd(3, 0), both(3)).unwrap());
        assert!(store.put(rdd(4, 0), both(4)).unwrap());
        assert_eq!((store.num_spilled(), store.num_evicted()), (1, 1));
        assert_eq!((store.used_bytes(), files(&folder).len()), (200, 1));
        assert_eq!(read(&store, rdd(1, 0)), Some(vec![1; 100]));
        assert_eq!(read(&store, rdd(2, 0)), None);
        // No room, and only siblings to drop: to disk, or not at all.
        assert!(store.put(rdd(5, 0), Block::of(vec![5_u8; 250])).unwrap());
        assert!(store.put(rdd(5, 1), both(6)).unwrap());
        assert!(!store.put(rdd(5, 2), Block::of(vec![7_u8; 100])).unwrap());
        assert_eq!(read(&store, rdd(5, 1)), Some(vec![6; 100]));
        store.remove(&mut (0..6).flat_map(|r| [rdd(r, 0), rdd(r, 1)]));
        assert_eq!((store.num_blocks(), store.used_bytes()), (0, 0));
        assert_eq!(files(&folder), Vec::<PathBuf>::new());
    }

    #[test]
    fn levels_without_memory_or_values_keep_bytes() {
        let (folder, store) = store(1000);
        let on_disk = Block::of(vec![7_u8; 100]).at(StorageLevel::DiskOnly);
        assert!(store.put(rdd(1, 0), on_disk).unwrap());
        assert_eq!((store.used_bytes(), files(&folder).len()), (0, 1));
        assert_eq!(read(&store, rdd(1, 0)), Some(vec![7; 100]));
        let as_bytes = Block::of(vec![1_u64; 100]).at(StorageLevel::MemoryOnlySer);
        assert!(store.put(rdd(2, 0), as_bytes).unwrap());
        assert_eq!(store.used_bytes(), 101, "a length and 100 small numbers");
    }

    #[test]
    fn a_damaged_file_is_a_lost_block() {
        let (folder, store) = store(1000);
        let on_disk = || Block::of(vec![7_u8; 100]).at(StorageLevel::DiskOnly);
        store.put(rdd(1, 0), on_disk()).unwrap();
        let path = files(&folder).pop().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[50] ^= 4;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(&store, rdd(1, 0)), None);
        assert!(!store.contains(rdd(1, 0)).unwrap());
        store.put(rdd(1, 0), on_disk()).unwrap();
        assert_eq!(read(&store, rdd(1, 0)), Some(vec![7; 100]));
    }

    #[test]
    fn a_file_that_cannot_be_opened_for_now_is_not_lost() {
        let (folder, store) = store(1000);
        let input = BlockId::Input {
            stream: 0,
            number: 0,
        };
        for id in [rdd(1, 0), input] {
            let block = Block::of(vec![7_u8; 100]).at(StorageLevel::DiskOnly);
            store.put(id, block).unwrap();
        }
        let paths = files(&folder);
        let aside = |path: &PathBuf| path.with_extension("aside");
        for path in &paths {
            std::fs::rename(path, aside(path)).unwrap();
            std::os::unix::fs::symlink(path, path).unwrap();
        }
        assert_eq!(read(&store, rdd(1, 0)), None);
        let error = store.get(input).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        for path in &paths {
            std::fs::rename(aside(path), path).unwrap();
        }
        for id in [rdd(1, 0), input] {
            assert_eq!(read(&store, id), Some(vec![7; 100]));
        }
    }

    #[test]
    fn without_a_disk_a_cached_partition_is_not_kept_and_a_shuffle_output_is_an_error() {
        let (folder, store) = store(150);
        let output = |map| BlockId::Shuffle {
            shuffle: 0,
            map,
            reduce: 0,
        };
        store.put(output(0), bytes(100)).unwrap();
        store.close();
        let on_disk = Block::of(vec![7_u8; 100]).at(StorageLevel::DiskOnly);
        assert!(!store.put(rdd(1, 0), on_disk).unwrap());
        store.put(output(1), bytes(100)).unwrap_err();
        assert_eq!(
            read(&store, output(0)),
            Some(vec![7; 100]),
            "nothing was lost"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn shuffle_outputs_over_their_cap_go_to_disk_oldest_first() {
        let (folder, store) = store(250);
        let output = |map| BlockId::Shuffle {
            shuffle: 0,
            map,
            reduce: 0,
        };
        for map in 0..5 {
            assert!(
                store
                    .put(output(map), Block::of(vec![map as u8; 100]))
                    .unwrap()
            );
        }
        store.put(output(5), Block::of(vec![5_u8; 300])).unwrap();
        assert_eq!((store.used_bytes(), files(&folder).len()), (200, 4));
        for map in 0..5 {
            assert_eq!(read(&store, output(map)), Some(vec![map as u8; 100]));
        }
        assert_eq!(read(&store, output(5)), Some(vec![5; 300]));
    }
}
