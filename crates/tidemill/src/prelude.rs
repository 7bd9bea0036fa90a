//! What most programs use: `use tidemill::prelude::*`.

pub use tidemill_core::state::State;
pub use tidemill_core::{
    Broadcast, Context, Error, LongAccumulator, NumericRdd, OrderedRdd, PairRdd, Rdd, Result,
    Sampling, StorageLevel, Text,
};
pub use tidemill_streaming::{
    BoxError, DStream, PairDStream, QueueMode, RddQueue, Receiver, ReceiverContext, Running,
    StateSpec, Stop, StreamingContext, Time, Window,
};
