//! `queue_stream`: RDDs that the program queues, for tests and for feeding by hand.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_core::{Context, Data, Operator, Rdd, Result};

use crate::dstream::node::{AnyStream, Batch, StreamNode};
use crate::listener::InputInfo;
use crate::time::Time;

/// A queue of RDDs, shared between the program and the stream. More can be pushed while it runs.
#[derive(Debug)]
pub struct RddQueue<T: 'static> {
    rdds: Arc<Mutex<VecDeque<Rdd<T>>>>,
}

impl<T> Clone for RddQueue<T> {
    fn clone(&self) -> Self {
        Self {
            rdds: Arc::clone(&self.rdds),
        }
    }
}

impl<T> Default for RddQueue<T> {
    fn default() -> Self {
        Self {
            rdds: Arc::default(),
        }
    }
}

impl<T: Data> RddQueue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts one more batch at the end.
    pub fn push(&self, rdd: Rdd<T>) {
        self.rdds.lock().push_back(rdd);
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rdds.lock().len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How much of its queue a batch takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueMode {
    /// One RDD a batch.
    #[default]
    OneAtATime,
    /// All RDDs that wait, as their union.
    All,
}

pub(crate) struct QueueInput<T: 'static> {
    pub(crate) id: usize,
    pub(crate) ctx: Context,
    pub(crate) queue: RddQueue<T>,
    pub(crate) mode: QueueMode,
    /// The batch when nothing waits; empty when there is none.
    pub(crate) default: Option<Rdd<T>>,
}

impl<T: Data> StreamNode<T> for QueueInput<T> {
    fn compute(&self, operator: &Operator, _: Time, batch: &Batch) -> Result<Option<Rdd<T>>> {
        let num = match self.mode {
            QueueMode::OneAtATime => 1,
            QueueMode::All => usize::MAX,
        };
        let mut taken: Vec<Rdd<T>> = {
            let mut queue = self.queue.rdds.lock();
            let num = num.min(queue.len());
            queue.drain(..num).collect()
        };
        let (stream_id, description) = (self.id, String::new());
        // An RDD in a queue has not been counted: that would be a job.
        batch.report(InputInfo {
            stream_id,
            num_records: 0,
            description,
        });
        let rdd = match (taken.len(), &self.default) {
            (0, Some(default)) => default.clone(),
            (0, None) => self.ctx.parallelize_as(operator.clone(), Vec::new(), 1),
            (1, _) => taken.swap_remove(0),
            _ => self.ctx.union_as(operator.clone(), &taken)?,
        };
        Ok(Some(rdd))
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        Vec::new()
    }

    fn input_id(&self) -> Option<usize> {
        Some(self.id)
    }
}
