//! Receivers: inputs that are pushed to.

mod channel;
mod connect;
mod line_cutter;
mod socket;
mod socket_items;
mod user;

use tidemill_core::storage::BlockData;
use tidemill_core::{Error, Result};

pub use line_cutter::{LongLines, Utf8Policy};
pub use socket::SocketOptions;
pub use user::{Receiver, ReceiverContext};

pub(crate) use channel::{BlockBuffer, Channel, StoredBlock};
pub(crate) use socket::{Endpoint, SocketReceiver};
pub(crate) use socket_items::SocketItems;
pub(crate) use user::UserReceiver;

use crate::input::InputEnv;

/// What a receiver tells of itself while it runs.
pub(crate) trait Report {
    /// Something is wrong; the receiver goes on.
    fn trouble(&self, error: &Error);

    /// What was wrong is no more.
    fn recovered(&self, news: &str);
}

/// A receiver as the engine runs it: it fills a buffer, out of which blocks are cut.
pub(crate) trait BlockReceiver: Send + Sync + 'static {
    type Block: BlockData;
    type Buffer: BlockBuffer<Block = Self::Block>;

    /// For messages, for example `SocketReceiver`.
    fn name(&self) -> String;

    /// Refuses what can never work, before the stream starts.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// An empty buffer.
    fn buffer(&self) -> Self::Buffer;

    /// Receives until the channel is stopped, the source ends, or an error; then it is restarted.
    fn run(
        &self,
        channel: &std::sync::Arc<Channel<Self::Buffer>>,
        env: &InputEnv,
        report: &dyn Report,
    ) -> Result<()>;
}
