//! Between a receiver's thread and the driver: a buffer, the blocks cut out of it, and the limit
//! at which the receiver has to wait.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tidemill_core::storage::{Block, BlockData, BlockId, BlockStore};
use tidemill_core::{Context, Error, ErrorKind, Result, Waiter, catch};

use crate::settings::StreamSettings;

/// Collects what a receiver stores until a block is cut.
pub(crate) trait BlockBuffer: Send + 'static {
    type Block: BlockData;

    /// What is in it, as a block; `None` when there is nothing.
    fn take(&mut self) -> Option<Self::Block>;

    /// Takes in a last record that has no end yet: nothing more will come.
    fn end(&mut self) {}

    /// How much is in it, in bytes.
    fn size_bytes(&self) -> usize;

    /// What was wrong with what came in, unless it was told before.
    fn complaint(&mut self) -> Option<Error> {
        None
    }
}

/// A block that waits for its batch, or has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredBlock {
    pub(crate) id: BlockId,
    pub(crate) num_records: u64,
    pub(crate) size_bytes: usize,
}

/// One receiver's way to the driver.
pub(crate) struct Channel<B> {
    stream: usize,
    blocks: Arc<dyn BlockStore>,
    max_block_bytes: usize,
    max_waiting_bytes: usize,
    buffer: Mutex<B>,
    waiting: Mutex<Waiting>,
    room: Condvar,
    stop: Waiter,
}

#[derive(Default)]
struct Waiting {
    unallocated: Vec<StoredBlock>,
    next_number: u64,
    /// Bytes of blocks whose batch has not ended.
    bytes: usize,
    /// Why a block could not be kept, for the receiver.
    failure: Option<Error>,
    /// The stream is over.
    is_closed: bool,
}

impl Waiting {
    fn check_open(&self) -> Result<()> {
        if self.is_closed {
            return Err(Error::new(ErrorKind::Closed, "stream has stopped"));
        }
        Ok(())
    }
}

impl<B: BlockBuffer> Channel<B> {
    pub(crate) fn new(stream: usize, ctx: &Context, settings: &StreamSettings, buffer: B) -> Self {
        Self {
            stream,
            blocks: Arc::clone(ctx.blocks()),
            max_block_bytes: settings.max_block_bytes,
            max_waiting_bytes: settings.max_waiting_bytes,
            buffer: Mutex::new(buffer),
            waiting: Mutex::default(),
            room: Condvar::new(),
            stop: Waiter::new(),
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_woken()
    }

    /// Woken when the receiver should end.
    pub(crate) fn stopped(&self) -> &Waiter {
        &self.stop
    }

    /// Asks the receiver to end.
    pub(crate) fn stop(&self) {
        self.stop.wake();
        let _waiting = self.waiting.lock();
        self.room.notify_all();
    }

    /// Ends it, whatever the receiver does: blocks that no batch has are dropped, and further ones
    /// refused. Does not wait for the buffer, which a receiver that was left behind may hold.
    pub(crate) fn close(&self) {
        let dropped = {
            let mut waiting = self.waiting.lock();
            waiting.is_closed = true;
            self.room.notify_all();
            std::mem::take(&mut waiting.unallocated)
        };
        self.blocks
            .remove(&mut dropped.iter().map(|block| block.id));
    }

    /// Changes the buffer; cuts a block when it is full. Waits first while too much waits for its
    /// batch to end, unless the stream is stopping: what the receiver has in hand is taken.
    /// `Closed` when the stream is over.
    pub(crate) fn append<R>(&self, change: impl FnOnce(&mut B) -> R) -> Result<R> {
        self.wait_for_room()?;
        let mut buffer = self.buffer.lock();
        let result = change(&mut buffer);
        if buffer.size_bytes() >= self.max_block_bytes {
            self.cut_locked(&mut buffer);
        }
        Ok(result)
    }

    /// Stores one whole block, after what was stored before it.
    pub(crate) fn store(&self, block: B::Block) -> Result<()> {
        self.wait_for_room()?;
        let mut buffer = self.buffer.lock();
        self.cut_locked(&mut buffer);
        self.put(block)
    }

    /// What became of blocks that could not be kept: the last failure, once.
    pub(crate) fn take_failure(&self) -> Result<()> {
        self.waiting.lock().failure.take().map_or(Ok(()), Err)
    }

    /// What was wrong with what came in, unless it was told before.
    pub(crate) fn complaint(&self) -> Option<Error> {
        self.buffer.lock().complaint()
    }

    fn wait_for_room(&self) -> Result<()> {
        let mut waiting = self.waiting.lock();
        while waiting.bytes >= self.max_waiting_bytes && !self.stop.is_woken() {
            self.room.wait(&mut waiting);
        }
        waiting.check_open()
    }

    /// Makes a block of what is in the buffer.
    pub(crate) fn cut(&self) {
        self.cut_locked(&mut self.buffer.lock());
    }

    fn cut_locked(&self, buffer: &mut B) {
        if let Some(Err(error)) = buffer.take().map(|block| self.put(block)) {
            self.waiting.lock().failure = Some(error);
        }
    }

    /// Called with the buffer locked, so that blocks are numbered in the order of their records.
    fn put(&self, block: B::Block) -> Result<()> {
        let number = {
            let mut waiting = self.waiting.lock();
            waiting.check_open()?;
            waiting.next_number += 1;
            waiting.next_number - 1
        };
        let id = BlockId::Input {
            stream: self.stream,
            number,
        };
        // Records are encoded by code of the user, which may panic: on the driver's threads too.
        let stored = catch(|| {
            let block = Block::of(block);
            let (num_records, size_bytes) = (block.num_records(), block.size_bytes());
            self.blocks.put(id, block)?;
            Ok(StoredBlock {
                id,
                num_records,
                size_bytes,
            })
        });
        let stored = stored.map_err(|error| {
            tracing::error!(block = %id, error = %error.report(), "block could not be stored");
            error.with("block", id)
        })?;
        let mut waiting = self.waiting.lock();
        if let Err(closed) = waiting.check_open() {
            drop(waiting);
            self.blocks.remove(&mut std::iter::once(id));
            return Err(closed);
        }
        waiting.bytes += stored.size_bytes;
        waiting.unallocated.push(stored);
        Ok(())
    }

    /// The receiver has ended: what it left is a block.
    pub(crate) fn finish(&self) {
        let mut buffer = self.buffer.lock();
        buffer.end();
        self.cut_locked(&mut buffer);
    }

    pub(crate) fn has_unallocated(&self) -> bool {
        !self.waiting.lock().unallocated.is_empty()
    }

    pub(crate) fn take_unallocated(&self) -> Vec<StoredBlock> {
        std::mem::take(&mut self.waiting.lock().unallocated)
    }

    /// A batch with so many bytes has ended.
    pub(crate) fn release(&self, bytes: usize) {
        let mut waiting = self.waiting.lock();
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        self.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::user::Records;

    fn channel() -> (Context, Channel<Records<u64>>) {
        let ctx = Context::local(1).unwrap();
        let channel = Channel::new(3, &ctx, &StreamSettings::default(), Records::new());
        (ctx, channel)
    }

    fn num_kept(ctx: &Context) -> usize {
        let id = |number| BlockId::Input { stream: 3, number };
        let kept = |number: &u64| ctx.blocks().contains(id(*number)).unwrap();
        (0..9).filter(kept).count()
    }

    #[test]
    fn a_closed_channel_drops_what_no_batch_has_and_takes_nothing() {
        let (ctx, channel) = channel();
        channel.store(vec![1]).unwrap();
        let allocated = channel.take_unallocated();
        channel.store(vec![2]).unwrap();
        channel.append(|buffer| buffer.push(3)).unwrap();
        channel.close();
        assert_eq!((allocated.len(), num_kept(&ctx)), (1, 1));
        let refused = [
            channel.append(|buffer| buffer.push(4)),
            channel.store(vec![5]),
        ];
        for refused in refused {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
        }
        channel.cut();
        channel.finish();
        assert!(!channel.has_unallocated());
        assert_eq!(num_kept(&ctx), 1);
    }

    /// The receiver has the buffer when the stream leaves it behind.
    #[test]
    fn a_record_that_comes_while_the_channel_closes_is_not_kept() {
        let (ctx, channel) = channel();
        let stored = channel.append(|buffer| {
            buffer.push(1);
            channel.close();
        });
        assert!(stored.is_ok());
        channel.cut();
        // Nobody asked for the block of this record: the failure waits for the receiver.
        assert_eq!(
            channel.take_failure().unwrap_err().kind(),
            ErrorKind::Closed
        );
        assert_eq!(num_kept(&ctx), 0);
    }
}
