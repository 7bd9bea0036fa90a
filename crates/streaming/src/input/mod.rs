//! Inputs: where the records of a batch come from.

mod constant;
mod file_choice;
mod file_input;
mod files;
mod offsets;
mod queue;
mod raw;
mod received;
mod reporter;
mod seeded;
mod source;

use std::sync::Arc;

use tidemill_core::{Clock, Context, Result};

pub use files::{FileFilter, FileReader, FileStreamOptions};
pub use offsets::{OffsetRange, OffsetReader, OffsetSource};
pub use queue::{QueueMode, RddQueue};
pub use raw::RawSocketOptions;
pub use seeded::SeededSource;
pub use source::InputSource;

pub(crate) use offsets::OffsetInput;
pub(crate) use queue::QueueInput;
pub(crate) use received::{ReceiverInput, ReceiverStream};
pub(crate) use source::SourceInput;

use crate::listener_bus::ListenerBus;
use crate::settings::StreamSettings;
use crate::time::Time;

/// What an input may use once the stream runs.
pub(crate) struct InputEnv {
    pub(crate) ctx: Context,
    pub(crate) settings: StreamSettings,
    pub(crate) bus: ListenerBus,
}

/// An input as the driver sees it, whatever its element type. Only inputs with a receiver have
/// anything to do outside of computing a batch.
pub(crate) trait AnyInput: Send + Sync {
    /// Counts up from 0 over all inputs of a context.
    fn id(&self) -> usize;

    fn name(&self) -> String;

    fn start(self: Arc<Self>, _env: &Arc<InputEnv>) -> Result<()> {
        Ok(())
    }

    /// Asks the receiver to end, without waiting.
    fn stop(&self) {}

    /// Waits until the receiver has ended; all it stored is a block then. `None` when it has not
    /// by the deadline.
    fn join_until(&self, _clock: &dyn Clock, _deadline_ms: i64) -> Option<Result<()>> {
        Some(Ok(()))
    }

    /// The stream is over: nothing can be stored any more, and what no batch has is dropped.
    fn close(&self) {}

    /// Makes a block of what was stored since the last.
    fn cut(&self) {}

    /// Whether blocks wait for a batch.
    fn has_unallocated(&self) -> bool {
        false
    }

    /// Gives the blocks that wait to the batch.
    fn allocate(&self, _time: Time) {}

    /// The batch's jobs have ended: its blocks no longer count against the receiver.
    fn complete(&self, _time: Time) {}

    /// Forgets the batches up to and with `time`, and the blocks of all forgotten ones when these
    /// leave memory.
    fn forget(&self, _time: Time, _unpersist: bool) {}
}

/// An input that has nothing to do outside of computing a batch.
pub(crate) struct Passive {
    pub(crate) id: usize,
    pub(crate) name: String,
}

impl AnyInput for Passive {
    fn id(&self) -> usize {
        self.id
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}
