//! Tidemill: DStreams over RDDs in micro-batches, compatible with Apache Spark Streaming's model,
//! as a Rust library.
//!
//! ```no_run
//! use std::time::Duration;
//! use tidemill::prelude::*;
//!
//! fn main() -> Result<()> {
//!     tidemill::init();
//!     let ctx = Context::new("local[2]")?;
//!     let ssc = StreamingContext::new(&ctx, Duration::from_secs(1))?;
//!
//!     let lines = ssc.socket_text_stream("localhost", 9999);
//!     let words = lines.flat_map(|line| line.split(' '));
//!     let counts = words.map(|word| (word, 1)).reduce_by_key(|a, b| a + b);
//!     counts.print();
//!
//!     ssc.start()?.await_termination()
//! }
//! ```
//!
//! This crate holds no logic: it names what programs use. The engine is [`tidemill_core`] (RDDs,
//! scheduler, storage) and [`tidemill_streaming`] (streams).

pub use tidemill_core as core;
pub use tidemill_streaming as streaming;

pub use tidemill_core::init;

pub mod prelude;
