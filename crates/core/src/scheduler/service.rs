//! Long-lived parts that are not tasks: receivers, block servers.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::Waiter;
use crate::error::{Error, Result};

/// Something that runs beside the jobs until it is told to stop.
pub trait Service: Send + Sync + 'static {
    /// For the thread's name and for messages.
    fn name(&self) -> String;

    /// Runs until it is done or [`ServiceContext::is_stopping`].
    ///
    /// # Errors
    /// Reported to whoever waits on the handle.
    fn run(&self, ctx: &ServiceContext) -> Result<()>;
}

/// What a running service is told.
#[derive(Clone, Debug, Default)]
pub struct ServiceContext {
    stop: Waiter,
}

impl ServiceContext {
    /// Whether the service should end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.is_woken()
    }

    /// Woken when the service should end; to wait on with a clock.
    #[must_use]
    pub fn stopped(&self) -> &Waiter {
        &self.stop
    }
}

/// Stops a service and learns how it ended.
pub struct ServiceHandle {
    ctx: ServiceContext,
    thread: Mutex<Option<std::thread::JoinHandle<Result<()>>>>,
}

impl ServiceHandle {
    /// Runs `service` on a thread of its own.
    ///
    /// # Errors
    /// `Unavailable` when the machine gives no thread.
    pub fn spawn(service: Arc<dyn Service>) -> Result<Self> {
        let ctx = ServiceContext::default();
        let for_thread = ctx.clone();
        let thread = std::thread::Builder::new()
            .name(service.name())
            .spawn(move || crate::operator::catch(|| service.run(&for_thread)))
            .map_err(|e| Error::unavailable("no thread for a service").caused_by(e))?;
        Ok(Self {
            ctx,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Asks the service to end, without waiting.
    pub fn stop(&self) {
        self.ctx.stop.wake();
    }

    /// Waits until the service has ended.
    ///
    /// # Errors
    /// What the service returned, the first time it is asked for.
    pub fn join(&self) -> Result<()> {
        match self.thread.lock().take().map(std::thread::JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::internal("service thread died")),
            None => Ok(()),
        }
    }
}

/// A service that nobody can stop any more is asked to end.
impl Drop for ServiceHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for ServiceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceHandle")
            .field("stopping", &self.ctx.is_stopping())
            .finish()
    }
}
