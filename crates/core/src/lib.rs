//! Resilient distributed datasets: the base of Tidemill.
//!
//! An [`Rdd`] is an immutable, lazy, partitioned collection that remembers how it is computed. A
//! [`Context`] makes RDDs and runs jobs on a [`Backend`](scheduler::Backend): threads of this
//! process, or other processes of the same executable.
//!
//! ```
//! use tidemill_core::{Context, PairRdd, Text};
//!
//! let ctx = Context::local(2)?;
//! let lines = ctx.parallelize(["to be or", "not to be"].map(Text::from));
//! let mut counts = lines
//!     .flat_map(|line| line.words())
//!     .map(|word| (word, 1_u64))
//!     .reduce_by_key(|a, b| a + b)
//!     .collect()?;
//! counts.sort();
//! assert_eq!(counts.first(), Some(&(Text::from("be"), 2)));
//! # Ok::<(), tidemill_core::Error>(())
//! ```
//!
//! What this crate is not: a stream engine (that is `tidemill-streaming`), a query engine, a
//! cluster manager. It has no global state, no async, and no `unsafe` outside one module.

pub mod codec;
pub mod combine;
#[doc(hidden)]
pub mod files;
pub mod function;
pub mod rdd;
pub mod remote;
pub mod scheduler;
pub mod state;
pub mod storage;
pub mod travel;

mod accumulator;
mod broadcast;
mod clock;
mod context;
mod data;
mod display;
mod error;
mod job_group;
mod job_settings;
mod lines;
mod listener;
mod master;
mod operator;
mod partition;
mod progress;
mod random;
mod registry;
mod scope;
mod separators;
mod shuffle;
mod stat_counter;
mod status;
mod task;
mod text;

pub use accumulator::{
    Accumulate, Accumulator, CollectionAccumulator, DoubleAccumulator, DoubleSum, LongAccumulator,
    LongSum, Updates,
};
pub use broadcast::Broadcast;
pub use clock::{Clock, ManualClock, SystemClock, Waiter};
pub use context::{Context, ContextBuilder};
pub use data::{Data, Key, PartitionIter};
pub use display::{render, render_into};
pub use error::{Error, ErrorKind, Result};
pub use files::FileOptions;
pub use job_group::JobGroup;
pub use lines::{Lines, TextBlock};
pub use listener::{JobEvent, JobListener, TaskOutcome};
pub use master::Master;
pub use operator::{Operator, catch};
pub use partition::{HashPartitioner, PartitionedBy, Partitioner, RangePartitioner};
pub use rdd::{
    BoundedFloat, Compression, Grouped3, Grouped4, Histogram, LocalIterator, Number, NumericRdd,
    OrderedRdd, PairRdd, PipeCommand, Rdd, Sampling, SaveOptions,
};
pub use remote::init;
pub use scheduler::{Pool, SchedulingMode, Speculation};
pub use scope::JobScope;
pub use shuffle::AnyShuffle;
pub use stat_counter::StatCounter;
pub use status::{
    ExecutorInfo, JobInfo, JobStatus, StageId, StageInfo, StageStatus, StatusTracker,
};
pub use storage::{StorageLevel, StorageLimits};
pub use task::{CancelToken, TaskContext, TaskId};
pub use text::{Split, Text, Words};
