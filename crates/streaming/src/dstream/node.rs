//! Nodes of the stream graph: what an operator is to the engine.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::travel::Image;
use tidemill_core::{Data, Error, Operator, Rdd, Result, StorageLevel};

use crate::listener::InputInfo;
use crate::state::AnyState;
use crate::time::{Time, is_multiple, take_until};

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
    /// Computes the RDD of a batch, where there is one, and remembers it.
    fn visit(&self, batch: &Batch) -> Result<()>;
    fn check(&self, image: &Image) -> Result<()>;
    fn validate(&self) -> Result<()>;
    fn begin(&self, zero: Time);
    /// Forgets RDDs of batches up to and with `time`.
    fn forget(&self, time: Time, unpersist: bool);
}

/// A node with what every stream has: a name, a slide, and the RDDs it remembers.
pub(crate) struct Stream<T: 'static> {
    id: u64,
    operator: Mutex<Operator>,
    slide: Duration,
    storage: Mutex<StorageLevel>,
    zero: OnceLock<Time>,
    remembered: Mutex<BTreeMap<Time, Rdd<T>>>,
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
            storage: Mutex::default(),
            zero: OnceLock::new(),
            remembered: Mutex::default(),
            node,
        }
    }

    pub(crate) fn rename(&self, name: &str) {
        let mut operator = self.operator.lock();
        *operator = operator.named(name);
    }

    pub(crate) fn set_storage(&self, level: StorageLevel) {
        *self.storage.lock() = level;
    }

    /// The RDD of a batch: remembered, or computed and then remembered. `None` when the time is
    /// not one of the stream's, or the stream has nothing then.
    pub(crate) fn rdd_of(&self, batch: &Batch, time: Time) -> Result<Option<Rdd<T>>> {
        let Some(zero) = self.zero.get() else {
            return Err(Error::invalid(
                "stream has not been initialized: its context has not started",
            )
            .with("operator", self.operator()));
        };
        if time <= *zero || !is_multiple(time.since(*zero), self.slide) {
            return Ok(None);
        }
        if let Some(rdd) = self.remembered.lock().get(&time) {
            return Ok(Some(rdd.clone()));
        }
        let rdd = self.node.compute(&self.operator(), time, batch)?;
        if let Some(rdd) = &rdd {
            let level = *self.storage.lock();
            if level != StorageLevel::None {
                let _ = rdd.persist(level);
            }
            self.remembered.lock().insert(time, rdd.clone());
        }
        Ok(rdd)
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

    fn visit(&self, batch: &Batch) -> Result<()> {
        self.rdd_of(batch, batch.time).map(drop)
    }

    fn check(&self, image: &Image) -> Result<()> {
        self.node.check(&self.operator(), image)
    }

    fn validate(&self) -> Result<()> {
        self.node.validate(&self.operator())
    }

    fn begin(&self, zero: Time) {
        self.zero.get_or_init(|| zero);
    }

    fn forget(&self, time: Time, unpersist: bool) {
        let forgotten = take_until(&mut self.remembered.lock(), time);
        if unpersist {
            for rdd in forgotten.values() {
                rdd.unpersist();
            }
        }
        if let Some(state) = self.node.state() {
            state.forget(time);
        }
    }
}
