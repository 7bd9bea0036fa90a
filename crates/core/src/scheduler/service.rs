//! Long-lived parts that are not tasks: receivers, block servers.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::{Clock, Waiter};
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
    ended: Waiter,
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
        let ended = Waiter::new();
        let end = WakeAtEnd(ended.clone());
        let thread = std::thread::Builder::new()
            .name(service.name())
            .spawn(move || {
                // Dropped last: whoever waits finds the service gone.
                let _end = end;
                let result = crate::operator::catch(|| service.run(&for_thread));
                drop(service);
                result
            })
            .map_err(|e| Error::unavailable("no thread for a service").caused_by(e))?;
        Ok(Self {
            ctx,
            ended,
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

    /// As [`join`](Self::join), until `deadline_ms` of `clock` at the latest; `None` when the
    /// service has not ended by then. It runs on, and ends when it does.
    pub fn join_until(&self, clock: &dyn Clock, deadline_ms: i64) -> Option<Result<()>> {
        let runs_on = clock.wait_until(deadline_ms, &self.ended);
        (!runs_on).then(|| self.join())
    }
}

/// Wakes when it is dropped, also by a panic.
struct WakeAtEnd(Waiter);

impl Drop for WakeAtEnd {
    fn drop(&mut self) {
        self.0.wake();
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    /// Ends when its gate is dropped, whatever it is told.
    struct Deaf(Mutex<Receiver<()>>);

    impl Service for Deaf {
        fn name(&self) -> String {
            "deaf".to_owned()
        }

        fn run(&self, _ctx: &ServiceContext) -> Result<()> {
            let _ = self.0.lock().recv();
            Err(Error::invalid("gone"))
        }
    }

    #[test]
    fn a_service_that_does_not_end_is_waited_for_until_the_deadline() {
        let (gate, closed) = channel();
        let service = ServiceHandle::spawn(Arc::new(Deaf(Mutex::new(closed)))).unwrap();
        service.stop();
        let clock = ManualClock::new(0);
        assert!(service.join_until(&clock, 0).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| service.join_until(&clock, 1_000));
            clock.advance(Duration::from_secs(1));
            assert!(waiting.join().unwrap().is_none());
        });
        drop(gate);
        let ended = service.join_until(&clock, i64::MAX);
        assert_eq!(ended.unwrap().unwrap_err().message(), "gone");
        // What it returned is given once.
        assert!(service.join_until(&clock, 0).unwrap().is_ok());
    }
}
