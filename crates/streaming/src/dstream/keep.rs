//! `persist`, `cache` and `checkpoint`: what is kept of each batch's RDD.

use std::panic::Location;
use std::time::Duration;

use tidemill_core::{Data, Operator, StorageLevel};

use super::DStream;

impl<T: Data> DStream<T> {
    /// Keeps each batch's RDD at `level` once it is computed, until it is forgotten. Worth it for
    /// a stream that several outputs read.
    ///
    /// A windowed stream keeps the stream that is windowed instead: its own RDDs are views. What
    /// is set once the context has started is refused: logged, and told by `await_termination`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tidemill_core::{Context, StorageLevel};
    /// # use tidemill_streaming::{QueueMode, RddQueue, StreamingContext};
    /// # let ssc = StreamingContext::new(&Context::local(1)?, Duration::from_secs(1))?;
    /// let numbers = ssc.queue_stream(&RddQueue::<u64>::new(), QueueMode::All);
    /// let squares = numbers.map(|x| x * x).persist(StorageLevel::MemoryOnly);
    /// assert_eq!(squares.storage_level(), StorageLevel::MemoryOnly);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn persist(self, level: StorageLevel) -> Self {
        let operator = Operator::new("persist", Location::caller());
        let graph = &self.shared().graph;
        if graph.admit_setting("storage level", &operator) {
            self.stream().set_storage(level);
        }
        self
    }

    /// [`persist`](Self::persist) in memory, as values.
    #[track_caller]
    pub fn cache(self) -> Self {
        self.persist(StorageLevel::MemoryOnly)
    }

    /// Where each batch's RDD is kept.
    #[must_use]
    pub fn storage_level(&self) -> StorageLevel {
        self.stream().storage()
    }

    /// Marks the RDDs of every `interval` for a checkpoint, and keeps the stream in memory unless
    /// it is kept already. The stream remembers two intervals.
    ///
    /// An interval shorter than the stream's slide, or not a whole multiple of it, is refused at
    /// start. Nothing is written yet: checkpoints have no directory.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tidemill_core::{Context, StorageLevel};
    /// # use tidemill_streaming::{QueueMode, RddQueue, StreamingContext};
    /// # let ssc = StreamingContext::new(&Context::local(1)?, Duration::from_secs(1))?;
    /// let numbers = ssc.queue_stream(&RddQueue::<u64>::new(), QueueMode::All);
    /// let marked = numbers.map(|x| x + 1).checkpoint(Duration::from_secs(10));
    /// assert_eq!(marked.storage_level(), StorageLevel::MemoryOnly);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn checkpoint(self, interval: Duration) -> Self {
        let operator = Operator::new("checkpoint", Location::caller());
        let graph = &self.shared().graph;
        if graph.admit_setting("checkpoint interval", &operator) {
            self.stream().keep_by_default();
            self.stream().set_checkpoint(interval);
        }
        self
    }
}
