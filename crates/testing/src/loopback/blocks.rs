//! A block store that keeps no values, only bytes.

use tidemill_core::Result;
use tidemill_core::storage::{Block, BlockId, BlockStore, MemoryStore};

/// Encodes every block when it is put, so that every reader decodes it.
#[derive(Debug)]
pub(super) struct EncodedBlocks {
    memory: MemoryStore,
}

impl EncodedBlocks {
    pub(super) fn new(memory: MemoryStore) -> Self {
        Self { memory }
    }
}

impl BlockStore for EncodedBlocks {
    fn get(&self, id: BlockId) -> Result<Option<Block>> {
        self.memory.get(id)
    }

    fn put(&self, id: BlockId, block: Block) -> Result<bool> {
        self.memory.put(id, block.to_encoded()?)
    }

    fn remove(&self, ids: &mut dyn Iterator<Item = BlockId>) {
        self.memory.remove(ids);
    }

    fn contains(&self, id: BlockId) -> Result<bool> {
        self.memory.contains(id)
    }

    fn close(&self) {
        self.memory.close();
    }
}
