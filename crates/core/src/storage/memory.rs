//! Blocks in this process's memory, with byte accounting and eviction of the least recently used.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use super::{Block, BlockId, BlockStore};
use crate::error::Result;

/// An in-memory block store.
///
/// Cached partitions are dropped, least recently used first, when the cap would be passed; blocks
/// of the RDD that is being stored are never dropped for another block of it. Received blocks and
/// shuffle outputs are pinned: they count, but are kept whatever the cap says.
#[derive(Debug)]
pub struct MemoryStore {
    max_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    blocks: HashMap<BlockId, Entry>,
    /// Evictable blocks by last use, oldest first.
    by_use: BTreeMap<u64, BlockId>,
    clock: u64,
    used_bytes: usize,
    num_evicted: u64,
}

#[derive(Debug)]
struct Entry {
    block: Block,
    last_use: u64,
}

impl MemoryStore {
    /// An empty store that keeps up to `max_bytes` of cached partitions.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            state: Mutex::default(),
        }
    }

    /// Memory taken by all blocks, as they estimate it.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.state.lock().used_bytes
    }

    /// How many blocks there are.
    #[must_use]
    pub fn num_blocks(&self) -> usize {
        self.state.lock().blocks.len()
    }

    /// How many blocks were dropped to make room, ever.
    #[must_use]
    pub fn num_evicted(&self) -> u64 {
        self.state.lock().num_evicted
    }
}

impl State {
    fn remove(&mut self, id: BlockId) -> bool {
        let Some(entry) = self.blocks.remove(&id) else {
            return false;
        };
        self.by_use.remove(&entry.last_use);
        self.used_bytes -= entry.block.size_bytes();
        true
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Drops old cached partitions of other RDDs until `bytes` fit under `max_bytes`.
    fn make_room(&mut self, id: BlockId, bytes: usize, max_bytes: usize) -> bool {
        let BlockId::Rdd { rdd, .. } = id else {
            return true;
        };
        let needed = (self.used_bytes + bytes).saturating_sub(max_bytes);
        let mut freed = 0;
        let mut doomed = Vec::new();
        for victim in self.by_use.values() {
            if freed >= needed {
                break;
            }
            if matches!(victim, BlockId::Rdd { rdd: other, .. } if *other != rdd) {
                freed += self
                    .blocks
                    .get(victim)
                    .map_or(0, |entry| entry.block.size_bytes());
                doomed.push(*victim);
            }
        }
        if freed < needed {
            return false;
        }
        for victim in doomed {
            self.remove(victim);
            self.num_evicted += 1;
        }
        true
    }
}

impl BlockStore for MemoryStore {
    fn get(&self, id: BlockId) -> Result<Option<Block>> {
        let state = &mut *self.state.lock();
        let now = state.tick();
        let Some(entry) = state.blocks.get_mut(&id) else {
            return Ok(None);
        };
        if id.is_evictable() {
            state.by_use.remove(&entry.last_use);
            state.by_use.insert(now, id);
            entry.last_use = now;
        }
        Ok(Some(entry.block.clone()))
    }

    fn put(&self, id: BlockId, block: Block) -> Result<bool> {
        let mut state = self.state.lock();
        state.remove(id);
        if !state.make_room(id, block.size_bytes(), self.max_bytes) {
            return Ok(false);
        }
        let last_use = state.tick();
        state.used_bytes += block.size_bytes();
        if id.is_evictable() {
            state.by_use.insert(last_use, id);
        }
        state.blocks.insert(id, Entry { block, last_use });
        Ok(true)
    }

    fn remove(&self, ids: &mut dyn Iterator<Item = BlockId>) {
        let mut state = self.state.lock();
        for id in ids {
            state.remove(id);
        }
    }

    fn contains(&self, id: BlockId) -> Result<bool> {
        Ok(self.state.lock().blocks.contains_key(&id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
