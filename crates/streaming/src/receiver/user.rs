//! Receivers of the user's own.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidemill_core::{Data, Error, ErrorKind, Result, Waiter};

use super::channel::{BlockBuffer, Channel};
use super::{BlockReceiver, Report};
use crate::dstream::BoxError;
use crate::input::InputEnv;

/// Receives records from somewhere and stores them. Runs on a thread of its own; takes no task
/// slot.
///
/// When [`run`](Self::run) returns, well or not, it is called again after the restart delay,
/// unless the stream is stopping. Plain data, because a cluster sends it to where it runs: make
/// sockets and handles inside `run`.
///
/// *Unreliable* receivers [`store`](ReceiverContext::store) record by record and acknowledge
/// nothing. *Reliable* ones [`store_block`](ReceiverContext::store_block), which returns when the
/// block is kept, and then acknowledge it to their source.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tidemill_streaming::{BoxError, Receiver, ReceiverContext};
///
/// #[derive(Serialize, Deserialize)]
/// struct CountTo(u32);
///
/// impl Receiver for CountTo {
///     type Item = u32;
///
///     fn run(&self, ctx: &ReceiverContext<u32>) -> Result<(), BoxError> {
///         for number in 0..self.0 {
///             ctx.store(number)?;
///         }
///         ctx.wait_until_stopped();
///         Ok(())
///     }
/// }
/// ```
pub trait Receiver: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The record type.
    type Item: Data;

    /// Receives until [`ReceiverContext::is_stopped`]. A stop waits for it; one that does not
    /// return in time is left behind and can store nothing any more.
    ///
    /// # Errors
    /// Reported to the listeners; the receiver is started again.
    fn run(&self, ctx: &ReceiverContext<Self::Item>) -> Result<(), BoxError>;
}

/// What a receiver stores into.
pub struct ReceiverContext<'a, T: Data> {
    channel: Arc<Channel<Records<T>>>,
    env: &'a InputEnv,
    report: &'a dyn Report,
}

impl<T: Data> ReceiverContext<'_, T> {
    /// Stores one record. Returns when it is buffered; waits while too much is waiting.
    ///
    /// # Errors
    /// `Closed` once the stream is stopping. When records stored before could not be kept, why;
    /// this one is not stored then.
    pub fn store(&self, record: T) -> Result<()> {
        self.check()?;
        self.channel.take_failure()?;
        self.channel.append(|buffer| buffer.push(record))
    }

    /// Stores records as one block. Returns when the block is kept and will be in a batch.
    ///
    /// # Errors
    /// `Closed` once the stream is stopping; else why the block could not be kept.
    pub fn store_block(&self, records: Vec<T>) -> Result<()> {
        self.check()?;
        if records.is_empty() {
            return Ok(());
        }
        self.channel.store(records)
    }

    fn check(&self) -> Result<()> {
        if self.is_stopped() {
            return Err(Error::new(ErrorKind::Closed, "stream is stopping"));
        }
        Ok(())
    }

    /// Whether the receiver should end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.channel.is_stopped()
    }

    /// Woken when the receiver should end; to wait on with a clock.
    #[must_use]
    pub fn stopped(&self) -> &Waiter {
        self.channel.stopped()
    }

    /// Blocks until the receiver should end.
    pub fn wait_until_stopped(&self) {
        self.env.ctx.clock().wait_until(i64::MAX, self.stopped());
    }

    /// Shows an error to the listeners; receiving goes on.
    pub fn report_error(&self, error: impl Into<BoxError>) {
        let error = Error::new(ErrorKind::User, "receiver reported an error").caused_by(error);
        self.report.trouble(&error);
    }
}

impl<T: Data> std::fmt::Debug for ReceiverContext<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiverContext")
            .field("stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}

/// Records that wait to be a block, sized by a guess that is corrected as records come.
pub(crate) struct Records<T> {
    records: Vec<T>,
    size_bytes: usize,
    mean_bytes: usize,
}

impl<T: Data> Records<T> {
    pub(crate) fn new() -> Self {
        Self {
            records: Vec::new(),
            size_bytes: 0,
            mean_bytes: size_of::<T>(),
        }
    }

    pub(crate) fn push(&mut self, record: T) {
        // Encoding every record only to size it would cost more than storing it.
        if self.records.len().is_multiple_of(64) {
            let encoded = tidemill_core::codec::encode(&record).map_or(0, |bytes| bytes.len());
            self.mean_bytes = encoded.max(size_of::<T>());
        }
        self.size_bytes += self.mean_bytes;
        self.records.push(record);
    }
}

impl<T: Data> BlockBuffer for Records<T> {
    type Block = Vec<T>;

    fn take(&mut self) -> Option<Vec<T>> {
        self.size_bytes = 0;
        let records = std::mem::take(&mut self.records);
        (!records.is_empty()).then_some(records)
    }

    fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}

/// A [`Receiver`] as the engine runs it.
pub(crate) struct UserReceiver<R>(pub(crate) R);

impl<R: Receiver> BlockReceiver for UserReceiver<R> {
    type Block = Vec<R::Item>;
    type Buffer = Records<R::Item>;

    fn name(&self) -> String {
        let name = std::any::type_name::<R>();
        name.split('<')
            .next()
            .and_then(|path| path.rsplit("::").next())
            .unwrap_or(name)
            .to_owned()
    }

    fn buffer(&self) -> Records<R::Item> {
        Records::new()
    }

    fn run(
        &self,
        channel: &Arc<Channel<Records<R::Item>>>,
        env: &InputEnv,
        report: &dyn Report,
    ) -> Result<()> {
        let ctx = ReceiverContext {
            channel: Arc::clone(channel),
            env,
            report,
        };
        self.0
            .run(&ctx)
            .map_err(|error| match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::new(ErrorKind::User, "receiver failed").caused_by(error),
            })
    }
}
