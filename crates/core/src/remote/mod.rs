//! Tasks in other processes of the same executable.

mod executor;
mod frame;
mod lineage;
mod message;

pub use executor::{EXECUTOR_VARIABLE, init};
pub use frame::{MAX_FRAME_BYTES, read_frame, write_frame};
pub use lineage::{EncodedTask, decode_task, encode_task};
pub use message::{Hello, PROTOCOL_VERSION, Reply, Request};
