//! What most programs use: `use tidemill::prelude::*`.

pub use tidemill_core::state::State;
pub use tidemill_core::{Context, Error, OrderedRdd, PairRdd, Rdd, Result, Text};
pub use tidemill_streaming::{
    BoxError, DStream, PairDStream, QueueMode, RddQueue, Running, StateSpec, Stop,
    StreamingContext, Time, Window,
};
