//! Inputs with a receiver: blocks are cut all the time, and given to batches as they come.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tidemill_core::scheduler::{Service, ServiceContext, ServiceHandle};
use tidemill_core::storage::{BlockData, BlockId};
use tidemill_core::{Context, Error, Operator, Rdd, Result, catch};

use super::{AnyInput, InputEnv};
use crate::dstream::node::{AnyStream, Batch, StreamNode};
use crate::listener::{InputInfo, ReceiverInfo, StreamEvent};
use crate::notice::tell;
use crate::receiver::{BlockReceiver, Channel, StoredBlock};
use crate::scheduler::mark_own_thread;
use crate::time::{Time, as_ms, take_until};

/// A receiver and the blocks it has stored.
pub(crate) struct ReceiverInput<R: BlockReceiver> {
    id: usize,
    ctx: Context,
    receiver: R,
    running: OnceLock<RunningReceiver<R>>,
    allocated: Mutex<BTreeMap<Time, Vec<StoredBlock>>>,
}

struct RunningReceiver<R: BlockReceiver> {
    channel: Arc<Channel<R::Buffer>>,
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
        let supervisor = Supervisor {
            input: Arc::clone(&self),
            channel: Arc::clone(&channel),
            env: Arc::clone(env),
            last_error: Mutex::default(),
            told: Mutex::default(),
        };
        let service = env.ctx.backend().start_service(Arc::new(supervisor))?;
        let running = RunningReceiver { channel, service };
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

    fn join(&self) -> Result<()> {
        self.running
            .get()
            .map_or(Ok(()), |running| running.service.join())
    }

    fn cut(&self) {
        if let Some(channel) = self.channel() {
            channel.cut();
        }
    }

    fn has_unallocated(&self) -> bool {
        self.channel()
            .is_some_and(|channel| channel.has_unallocated())
    }

    fn allocate(&self, time: Time) {
        if let Some(channel) = self.channel() {
            channel.cut();
            self.allocated
                .lock()
                .insert(time, channel.take_unallocated());
        }
    }

    fn complete(&self, time: Time) {
        let bytes = self.allocated.lock().get(&time).map_or(0, |blocks| {
            blocks.iter().map(|block| block.size_bytes).sum::<usize>()
        });
        if let Some(channel) = self.channel() {
            channel.release(bytes);
        }
    }

    fn forget(&self, time: Time) {
        let forgotten = take_until(&mut self.allocated.lock(), time);
        let ids = forgotten.values().flatten().map(|block| block.id);
        self.ctx.blocks().remove(&mut ids.into_iter());
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

/// What was said of a receiver's trouble last: the same is not said again for a while.
#[derive(Default)]
struct Told {
    message: String,
    at_us: u64,
}

impl Told {
    fn is_news(&mut self, message: &str, now_us: u64) -> bool {
        const QUIET_US: u64 = 10_000_000;
        if self.message == message && now_us.saturating_sub(self.at_us) < QUIET_US {
            return false;
        }
        message.clone_into(&mut self.message);
        self.at_us = now_us;
        true
    }
}

/// Runs the receiver, again and again until the stream stops.
struct Supervisor<R: BlockReceiver> {
    input: Arc<ReceiverInput<R>>,
    channel: Arc<Channel<R::Buffer>>,
    env: Arc<InputEnv>,
    last_error: Mutex<Option<String>>,
    told: Mutex<Told>,
}

impl<R: BlockReceiver> Supervisor<R> {
    fn info(&self, is_active: bool) -> ReceiverInfo {
        ReceiverInfo {
            stream_id: self.input.id,
            name: self.input.name(),
            is_active,
            last_error: self.last_error.lock().clone(),
        }
    }

    fn report(&self, error: &Error) {
        let name = self.input.name();
        let now_us = self.env.ctx.clock().monotonic_us();
        if self.told.lock().is_news(error.message(), now_us) {
            tracing::warn!(receiver = name, error = %error.report(), "receiver has trouble");
            tell(&name, error);
        } else {
            tracing::debug!(receiver = name, error = %error.report(), "receiver has trouble");
        }
        *self.last_error.lock() = Some(error.report());
        self.env
            .bus
            .post(StreamEvent::ReceiverError(self.info(true)));
    }
}

impl<R: BlockReceiver> Service for Supervisor<R> {
    fn name(&self) -> String {
        format!("receiver-{}", self.input.id)
    }

    fn run(&self, service: &ServiceContext) -> Result<()> {
        mark_own_thread();
        while !service.is_stopping() {
            self.env
                .bus
                .post(StreamEvent::ReceiverStarted(self.info(true)));
            let report = |error: &Error| self.report(error);
            let ended = catch(|| self.input.receiver.run(&self.channel, &self.env, &report));
            if service.is_stopping() {
                break;
            }
            let clock = self.env.ctx.clock();
            let delay = as_ms(self.env.settings.receiver_restart_delay);
            // Counted from the end, not from when the listeners have heard of it.
            let again = clock.now_ms().saturating_add(delay);
            if let Err(error) = ended {
                self.report(&error);
            }
            clock.wait_until(again, service.stopped());
        }
        self.channel.finish();
        if let Err(error) = self.channel.take_failure() {
            self.report(&error);
        }
        self.env
            .bus
            .post(StreamEvent::ReceiverStopped(self.info(false)));
        Ok(())
    }
}
