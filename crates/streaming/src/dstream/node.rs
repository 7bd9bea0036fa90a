//! Nodes of the stream graph: what an operator is to the engine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::travel::Image;
use tidemill_core::{Data, Error, Operator, Rdd, Result, StorageLevel};

use crate::listener::InputInfo;
use crate::state::AnyState;
use crate::time::{Time, as_ms, is_multiple, take_until};

/// Work of one output for one batch.
pub(crate) type Job = Box<dyn FnOnce() -> Result<()> + Send>;

/// One batch while its jobs are being made.
pub(crate) struct Batch {
    pub(crate) time: Time,
    inputs: Mutex<BTreeMap<usize, InputInfo>>,
}

impl Batch {
    pub(crate) fn new(time: Time) -> Self {
        Self {
            time,
            inputs: Mutex::default(),
        }
    }

    /// Notes what an input contributes to the batch.
    pub(crate) fn report(&self, info: InputInfo) {
        self.inputs.lock().insert(info.stream_id, info);
    }

    pub(crate) fn inputs(&self) -> Vec<InputInfo> {
        self.inputs.lock().values().cloned().collect()
    }
}

/// What an operator of streams implements: how its RDD of a batch is made of its parents' RDDs.
pub(crate) trait StreamNode<T>: Send + Sync + 'static {
    /// The RDD of the batch `time`; `None` when the stream has none.
    /// `operator` is the stream's own, for the nodes it makes.
    fn compute(&self, operator: &Operator, time: Time, batch: &Batch) -> Result<Option<Rdd<T>>>;

    /// The streams it reads.
    fn parents(&self) -> Vec<Arc<dyn AnyStream>>;

    /// How far back it reads its parents, beyond the batch at hand.
    fn reads_back(&self) -> Duration {
        Duration::ZERO
    }

    /// The input it is, if it is one.
    fn input_id(&self) -> Option<usize> {
        None
    }

    /// What it keeps from batch to batch, if anything.
    fn state(&self) -> Option<Arc<dyn AnyState>> {
        None
    }

    /// Refuses functions that cannot leave the process.
    fn check(&self, _operator: &Operator, _image: &Image) -> Result<()> {
        Ok(())
    }

    /// Refuses what cannot work, before the first batch.
    fn validate(&self, _operator: &Operator) -> Result<()> {
        Ok(())
    }

    /// The stream whose RDDs are kept in place of its own.
    fn kept_by(&self) -> Option<&Arc<Stream<T>>> {
        None
    }

    /// Whether its records are stored already, so that keeping them would be a second copy.
    fn is_stored(&self) -> bool {
        false
    }

    /// Forgets what it holds beside its RDDs for batches up to and with `time`.
    fn forget(&self, _time: Time, _unpersist: bool) {}
}

/// A stream as the graph sees it, whatever its element type.
pub(crate) trait AnyStream: Send + Sync {
    fn id(&self) -> u64;
    fn operator(&self) -> Operator;
    fn slide(&self) -> Duration;
    fn parents(&self) -> Vec<Arc<dyn AnyStream>>;
    fn reads_back(&self) -> Duration;
    fn input_id(&self) -> Option<usize>;
    fn state(&self) -> Option<Arc<dyn AnyState>>;
    fn check(&self, image: &Image) -> Result<()>;
    fn validate(&self) -> Result<()>;
    fn begin(&self, zero: Time);
    /// Between the batches whose RDDs are marked for checkpoints.
    fn checkpoint_interval(&self) -> Option<Duration>;
    /// Makes the batch's RDD, when the stream has one then.
    fn touch(&self, batch: &Batch) -> Result<()>;
    /// Forgets RDDs of batches up to and with `time`.
    fn forget(&self, time: Time, unpersist: bool);
}

/// What the program said of keeping a stream's RDDs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keep {
    pub(crate) level: StorageLevel,
    /// Between the batches whose RDDs are marked for checkpoints.
    pub(crate) checkpoint: Option<Duration>,
}

/// A node with what every stream has: a name, a slide, and the RDDs it remembers.
pub(crate) struct Stream<T: 'static> {
    id: u64,
    operator: Mutex<Operator>,
    slide: Duration,
    keep: Mutex<Keep>,
    zero: OnceLock<Time>,
    /// Up to where batches are forgotten, in milliseconds.
    forgotten: AtomicI64,
    /// Also of batches without an RDD: whoever asks again is told the same.
    remembered: Mutex<BTreeMap<Time, Option<Rdd<T>>>>,
    node: Box<dyn StreamNode<T>>,
}

impl<T: Data> Stream<T> {
    pub(crate) fn new(
        id: u64,
        operator: Operator,
        slide: Duration,
        node: Box<dyn StreamNode<T>>,
    ) -> Self {
        Self {
            id,
            operator: Mutex::new(operator),
            slide,
            keep: Mutex::default(),
            zero: OnceLock::new(),
            forgotten: AtomicI64::new(i64::MIN),
            remembered: Mutex::default(),
            node,
        }
    }

    pub(crate) fn rename(&self, name: &str) {
        let mut operator = self.operator.lock();
        *operator = operator.named(name);
    }

    pub(crate) fn set_storage(&self, level: StorageLevel) {
        match self.node.kept_by() {
            Some(other) => other.set_storage(level),
            None => self.keep.lock().level = level,
        }
    }

    /// Keeps RDDs in memory, unless the program chose a level or the records are stored anyway.
    pub(crate) fn keep_by_default(&self) {
        if self.storage() == StorageLevel::None && !self.node.is_stored() {
            self.set_storage(StorageLevel::MemoryOnly);
        }
    }

    pub(crate) fn storage(&self) -> StorageLevel {
        match self.node.kept_by() {
            Some(other) => other.storage(),
            None => self.keep.lock().level,
        }
    }

    pub(crate) fn set_checkpoint(&self, interval: Duration) {
        self.keep.lock().checkpoint = Some(interval);
    }

    /// When the stream began: the first batch is one slide later.
    pub(crate) fn zero(&self) -> Result<Time> {
        self.zero.get().copied().ok_or_else(|| {
            let text = "stream has not been initialized: its context has not started, or no \
                        output needs the stream";
            Error::invalid(text).with("operator", self.operator())
        })
    }

    /// The RDDs of the batches after `begin`, up to and with `end`, in order.
    pub(crate) fn rdds_within(&self, batch: &Batch, begin: Time, end: Time) -> Result<Vec<Rdd<T>>> {
        let zero = self.zero()?;
        let first = begin.max(zero).floor_from(self.slide, zero) + self.slide;
        first
            .to(end, self.slide)
            .filter_map(|time| self.rdd_of(batch, time).transpose())
            .collect()
    }

    /// The RDD of a batch: remembered, or computed and then remembered. `None` when the time is
    /// not one of the stream's, or the stream has nothing then.
    pub(crate) fn rdd_of(&self, batch: &Batch, time: Time) -> Result<Option<Rdd<T>>> {
        let zero = self.zero()?;
        if time <= zero || !is_multiple(time.since(zero), self.slide) {
            return Ok(None);
        }
        if let Some(rdd) = self.remembered.lock().get(&time) {
            return Ok(rdd.clone());
        }
        self.refuse_forgotten_input(time)?;
        let operator = self.operator();
        let rdd = if time == batch.time {
            self.node.compute(&operator, time, batch)?
        } else {
            // What an input says of another batch is not this one's.
            self.node.compute(&operator, time, &Batch::new(time))?
        };
        let level = self.keep.lock().level;
        if let Some(rdd) = rdd.as_ref().filter(|_| level != StorageLevel::None) {
            let _ = rdd.persist(level);
        }
        // Of two threads that ask at a time, both get the first one's.
        Ok(self.remembered.lock().entry(time).or_insert(rdd).clone())
    }

    /// An input cannot be asked again: it would give the records of a later batch, or none.
    fn refuse_forgotten_input(&self, time: Time) -> Result<()> {
        let forgotten = self.forgotten.load(Ordering::Acquire);
        if self.node.input_id().is_none() || time.as_ms() > forgotten {
            return Ok(());
        }
        Err(Error::data("batch has been forgotten")
            .with("operator", self.operator())
            .with("batch_time", time)
            .with(
                "hint",
                "remember batches for longer with StreamingContext::remember",
            ))
    }

    /// Refuses intervals of checkpoints that no batch would be at.
    fn validate_checkpoint(&self) -> Result<()> {
        let Some(interval) = self.keep.lock().checkpoint else {
            return Ok(());
        };
        let (shown, slide) = (as_ms(interval), as_ms(self.slide));
        let refuse = |what: &str, hint: &str| {
            let text = format!("the checkpoint interval has been set to {shown} ms {what}");
            Err(Error::invalid(text)
                .with("operator", self.operator())
                .with("hint", hint))
        };
        if interval < self.slide {
            return refuse(
                &format!("which is lower than its slide time ({slide} ms)"),
                "five to ten slides are a good interval",
            );
        }
        if !is_multiple(interval, self.slide) {
            return refuse(
                &format!("which not a multiple of its slide time ({slide} ms)"),
                "five to ten slides are a good interval",
            );
        }
        if self.storage() == StorageLevel::None && !self.node.is_stored() {
            let text = "stream has been marked for checkpointing but the storage level has not \
                        been set to enable persisting";
            return Err(Error::invalid(text)
                .with("operator", self.operator())
                .with("hint", "persist it at another level than None"));
        }
        Ok(())
    }
}

impl<T: Data> AnyStream for Stream<T> {
    fn id(&self) -> u64 {
        self.id
    }

    fn operator(&self) -> Operator {
        self.operator.lock().clone()
    }

    fn slide(&self) -> Duration {
        self.slide
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        self.node.parents()
    }

    fn reads_back(&self) -> Duration {
        self.node.reads_back()
    }

    fn input_id(&self) -> Option<usize> {
        self.node.input_id()
    }

    fn state(&self) -> Option<Arc<dyn AnyState>> {
        self.node.state()
    }

    fn check(&self, image: &Image) -> Result<()> {
        self.node.check(&self.operator(), image)
    }

    fn validate(&self) -> Result<()> {
        self.validate_checkpoint()?;
        self.node.validate(&self.operator())
    }

    fn begin(&self, zero: Time) {
        self.zero.get_or_init(|| zero);
    }

    fn checkpoint_interval(&self) -> Option<Duration> {
        self.keep.lock().checkpoint
    }

    fn touch(&self, batch: &Batch) -> Result<()> {
        self.rdd_of(batch, batch.time).map(drop)
    }

    fn forget(&self, time: Time, unpersist: bool) {
        self.forgotten.fetch_max(time.as_ms(), Ordering::AcqRel);
        self.node.forget(time, unpersist);
        let forgotten = take_until(&mut self.remembered.lock(), time);
        for rdd in forgotten.values().flatten() {
            if unpersist {
                rdd.unpersist();
            } else {
                rdd.leave_blocks();
            }
        }
        if let Some(state) = self.node.state() {
            state.forget(time);
        }
    }
}
