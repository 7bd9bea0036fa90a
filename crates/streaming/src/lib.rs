//! DStreams: a stream as a sequence of RDDs, one for each batch.
//!
//! A [`StreamingContext`] collects inputs, transformations and outputs; its
//! [`start`](StreamingContext::start) checks them and gives a [`Running`] stream. Any remembered
//! batch can be computed again and gives the same result: it depends on its inputs and the
//! program, nothing else.
//!
//! ```no_run
//! use std::time::Duration;
//! use tidemill_core::Context;
//! use tidemill_streaming::{PairDStream, StreamingContext};
//!
//! let ctx = Context::new("local[2]")?;
//! let ssc = StreamingContext::new(&ctx, Duration::from_secs(1))?;
//! ssc.socket_text_stream("localhost", 9999)
//!     .flat_map(|line| line.split(' '))
//!     .map(|word| (word, 1))
//!     .reduce_by_key(|a, b| a + b)
//!     .print();
//! ssc.start()?.await_termination()?;
//! # Ok::<(), tidemill_core::Error>(())
//! ```
//!
//! What this crate is not: record-at-a-time (a batch is the unit of everything), asynchronous
//! (inputs and jobs have threads), or persistent (yet): after a crash a program starts anew.

pub mod checkpoint;
pub mod disk;
pub mod wal;

mod bytes;
mod context;
mod dstream;
mod graph;
mod input;
mod listener;
mod listener_bus;
mod names;
mod notice;
mod receiver;
mod running;
mod scheduler;
mod settings;
mod state;
mod time;

pub use context::StreamingContext;
pub use dstream::{
    BoxError, DStream, DStreamWith, MapWithStateDStream, Output, PairDStream, Placed, Window,
    rdd_to_file_name,
};
pub use input::{
    FileFilter, FileReader, FileStreamOptions, InputSource, OffsetRange, OffsetReader,
    OffsetSource, QueueMode, RawSocketOptions, RddQueue, SeededSource,
};
pub use listener::{BatchInfo, InputInfo, OutputInfo, ReceiverInfo, StreamEvent, StreamListener};
pub use names::{GraphInfo, OperatorInfo};
pub use receiver::{LongLines, Receiver, ReceiverContext, SocketOptions, Utf8Policy};
pub use running::{Running, Stop, StopHandle};
pub use settings::{FailedBatch, StreamSettings};
pub use state::StateSpec;
pub use tidemill_core::{render, render_into};
pub use time::{Interval, Time};
