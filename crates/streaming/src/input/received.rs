//! Inputs with a receiver: blocks are cut all the time, and given to batches as they come.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tidemill_core::scheduler::{Service, ServiceContext, ServiceHandle};
use tidemill_core::storage::{BlockData, BlockId};
use tidemill_core::{Clock, Context, Error, Operator, Rdd, Result, catch};

use super::reporter::Reporter;
use super::{AnyInput, InputEnv};
use crate::dstream::node::{AnyStream, Batch, StreamNode};
use crate::listener::InputInfo;
use crate::receiver::{BlockReceiver, Channel, Report, StoredBlock};
use crate::scheduler::mark_own_thread;
use crate::time::{Time, as_ms, take_until};

/// A receiver and the blocks it has stored.
pub(crate) struct ReceiverInput<R: BlockReceiver> {
    id: usize,
    ctx: Context,
    receiver: R,
    running: OnceLock<RunningReceiver<R>>,
    allocated: Mutex<Allocated>,
}

#[derive(Default)]
struct Allocated {
    batches: BTreeMap<Time, Vec<StoredBlock>>,
    /// Blocks up to this number, without it, belong to forgotten batches but are kept.
    num_kept: u64,
}

struct RunningReceiver<R: BlockReceiver> {
    channel: Arc<Channel<R::Buffer>>,
    reporter: Arc<Reporter>,
    service: ServiceHandle,
}

impl<R: BlockReceiver> ReceiverInput<R> {
    pub(crate) fn new(id: usize, ctx: Context, receiver: R) -> Self {
        Self {
            id,
            ctx,
            receiver,
            running: OnceLock::new(),
            allocated: Mutex::default(),
        }
    }

    fn channel(&self) -> Option<&Arc<Channel<R::Buffer>>> {
        self.running.get().map(|running| &running.channel)
    }

    /// What was wrong with what came in may be seen only when a block is made of it.
    fn complain(&self) {
        if let Some(running) = self.running.get()
            && let Some(complaint) = running.channel.complaint()
        {
            running.reporter.trouble(&complaint);
        }
    }
}

impl<R: BlockReceiver> AnyInput for ReceiverInput<R> {
    fn id(&self) -> usize {
        self.id
    }

    fn name(&self) -> String {
        format!("{}-{}", self.receiver.name(), self.id)
    }

    fn start(self: Arc<Self>, env: &Arc<InputEnv>) -> Result<()> {
        let channel = Arc::new(Channel::new(
            self.id,
            &env.ctx,
            &env.settings,
            self.receiver.buffer(),
        ));
        let reporter = Arc::new(Reporter::new(self.id, self.name(), env));
        let supervisor = Supervisor {
            input: Arc::clone(&self),
            channel: Arc::clone(&channel),
            reporter: Arc::clone(&reporter),
            env: Arc::clone(env),
        };
        let service = env.ctx.backend().start_service(Arc::new(supervisor))?;
        let running = RunningReceiver {
            channel,
            reporter,
            service,
        };
        self.running
            .set(running)
            .map_err(|_| Error::internal("receiver was started twice"))
    }

    fn stop(&self) {
        if let Some(running) = self.running.get() {
            running.channel.stop();
            running.service.stop();
        }
    }

    fn join_until(&self, clock: &dyn Clock, deadline_ms: i64) -> Option<Result<()>> {
        match self.running.get() {
            Some(running) => running.service.join_until(clock, deadline_ms),
            None => Some(Ok(())),
        }
    }

    fn close(&self) {
        if let Some(running) = self.running.get() {
            running.reporter.close();
            running.channel.close();
        }
    }

    fn cut(&self) {
        if let Some(channel) = self.channel() {
            channel.cut();
            self.complain();
        }
    }

    fn has_unallocated(&self) -> bool {
        self.channel()
            .is_some_and(|channel| channel.has_unallocated())
    }

    fn allocate(&self, time: Time) {
        if let Some(channel) = self.channel() {
            channel.cut();
            self.complain();
            let blocks = channel.take_unallocated();
            self.allocated.lock().batches.insert(time, blocks);
        }
    }

    fn complete(&self, time: Time) {
        let bytes = self
            .allocated
            .lock()
            .batches
            .get(&time)
            .map_or(0, |blocks| {
                blocks.iter().map(|block| block.size_bytes).sum::<usize>()
            });
        if let Some(channel) = self.channel() {
            channel.release(bytes);
        }
    }

    fn forget(&self, time: Time, unpersist: bool) {
        let (forgotten, kept) = {
            let mut allocated = self.allocated.lock();
            let forgotten = take_until(&mut allocated.batches, time);
            let blocks = forgotten.into_values().flatten().map(|block| block.id);
            let forgotten: Vec<BlockId> = blocks.collect();
            if !unpersist {
                // Blocks are numbered in the order of their batches: one number is all of them.
                if let Some(BlockId::Input { number, .. }) = forgotten.last() {
                    allocated.num_kept = number + 1;
                }
                return;
            }
            (forgotten, std::mem::take(&mut allocated.num_kept))
        };
        let kept = (0..kept).map(|number| BlockId::Input {
            stream: self.id,
            number,
        });
        self.ctx.blocks().remove(&mut kept.chain(forgotten));
    }
}

/// The stream of a receiver's records.
pub(crate) struct ReceiverStream<R: BlockReceiver>(pub(crate) Arc<ReceiverInput<R>>);

impl<R: BlockReceiver> StreamNode<<R::Block as BlockData>::Item> for ReceiverStream<R> {
    fn compute(
        &self,
        operator: &Operator,
        time: Time,
        batch: &Batch,
    ) -> Result<Option<Rdd<<R::Block as BlockData>::Item>>> {
        let blocks = self
            .0
            .allocated
            .lock()
            .batches
            .get(&time)
            .cloned()
            .unwrap_or_default();
        let num_records = blocks.iter().map(|block| block.num_records).sum();
        let description = format!("{} blocks", blocks.len());
        batch.report(InputInfo {
            stream_id: self.0.id,
            num_records,
            description,
        });
        let ids: Vec<BlockId> = blocks.iter().map(|block| block.id).collect();
        Ok(Some(
            self.0.ctx.blocks_as::<R::Block>(operator.clone(), ids),
        ))
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        Vec::new()
    }

    fn input_id(&self) -> Option<usize> {
        Some(self.0.id)
    }

    fn is_stored(&self) -> bool {
        true
    }

    fn validate(&self, operator: &Operator) -> Result<()> {
        self.0
            .receiver
            .validate()
            .map_err(|error| error.with("operator", operator))
    }
}

/// Runs the receiver, again and again until the stream stops.
struct Supervisor<R: BlockReceiver> {
    input: Arc<ReceiverInput<R>>,
    channel: Arc<Channel<R::Buffer>>,
    reporter: Arc<Reporter>,
    env: Arc<InputEnv>,
}

impl<R: BlockReceiver> Service for Supervisor<R> {
    fn name(&self) -> String {
        format!("receiver-{}", self.input.id)
    }

    fn run(&self, service: &ServiceContext) -> Result<()> {
        mark_own_thread();
        let reporter = &*self.reporter;
        while !service.is_stopping() {
            reporter.started();
            let ended = catch(|| self.input.receiver.run(&self.channel, &self.env, reporter));
            if service.is_stopping() {
                break;
            }
            let clock = self.env.ctx.clock();
            let delay = as_ms(self.env.settings.receiver_restart_delay);
            // Counted from the end, not from when the listeners have heard of it.
            let again = clock.now_ms().saturating_add(delay);
            if let Err(error) = ended {
                reporter.trouble(&error);
            }
            clock.wait_until(again, service.stopped());
        }
        self.channel.finish();
        if let Err(error) = self.channel.take_failure() {
            reporter.trouble(&error);
        }
        self.input.complain();
        reporter.stopped();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tidemill_core::storage::Block;

    use super::*;
    use crate::receiver::{Endpoint, SocketOptions, SocketReceiver};

    #[test]
    fn forgotten_batches_take_no_memory_and_their_blocks_go_when_told_so() {
        let ctx = Context::local(1).unwrap();
        let receiver = SocketReceiver(Endpoint {
            host: "localhost".to_owned(),
            port: 1,
            options: SocketOptions::default(),
        });
        let input = ReceiverInput::new(7, ctx.clone(), receiver);
        let id = |number| BlockId::Input { stream: 7, number };
        for number in 0..10 {
            let block = Block::of(vec![number]);
            let size_bytes = block.size_bytes();
            ctx.blocks().put(id(number), block).unwrap();
            let stored = StoredBlock {
                id: id(number),
                num_records: 1,
                size_bytes,
            };
            let time = Time::from_ms(1_000 * i64::try_from(number / 2).unwrap());
            let mut allocated = input.allocated.lock();
            allocated.batches.entry(time).or_default().push(stored);
        }
        let kept = || {
            (0..10)
                .filter(|n| ctx.blocks().contains(id(*n)).unwrap())
                .count()
        };
        input.forget(Time::from_ms(2_000), false);
        assert_eq!((input.allocated.lock().batches.len(), kept()), (2, 10));
        input.forget(Time::from_ms(3_000), true);
        assert_eq!((input.allocated.lock().batches.len(), kept()), (1, 2));
        input.forget(Time::from_ms(i64::MAX), true);
        assert_eq!((input.allocated.lock().batches.len(), kept()), (0, 0));
    }
}
