//! `Running`: a program of streams that has been started.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::{Context, Error, Result, Waiter, catch};

use crate::context::Shared;
use crate::graph::Graph;
use crate::input::InputEnv;
use crate::listener::{ListenerBus, ListenerThread, StreamEvent, StreamListener};
use crate::scheduler::{Driver, Event, is_own_thread};
use crate::settings::StreamSettings;
use crate::time::{Time, as_ms};

/// How a stream is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stop {
    /// Whether all that was received is processed first.
    pub gracefully: bool,
    /// Longest wait of a graceful stop, after which it is at once; `None`: as long as it takes.
    pub deadline: Option<Duration>,
    /// Whether the context that runs the jobs is stopped too.
    pub stop_context: bool,
}

impl Stop {
    /// At once: what waits is dropped, running jobs are cancelled.
    #[must_use]
    pub fn now() -> Self {
        Self::default()
    }

    /// Receivers end first, then all they received is processed, then the stream ends.
    #[must_use]
    pub fn gracefully() -> Self {
        Self {
            gracefully: true,
            ..Self::default()
        }
    }
}

/// How a stream ended, or that it has not.
pub(crate) struct Termination {
    error: Mutex<Option<Error>>,
    /// Woken by the first error and by the end.
    news: Waiter,
    over: Waiter,
}

impl Termination {
    fn new() -> Self {
        Self {
            error: Mutex::default(),
            news: Waiter::new(),
            over: Waiter::new(),
        }
    }

    pub(crate) fn fail(&self, error: &Error) {
        *self.error.lock() = Some(error.clone());
        self.news.wake();
    }

    fn finish(&self) {
        self.over.wake();
        self.news.wake();
    }
}

/// Stops a stream from anywhere: from a listener, an output, a signal handler. Cheap to clone.
#[derive(Clone)]
pub struct StopHandle {
    events: Sender<Event>,
}

impl StopHandle {
    /// Asks for the stop and returns at once. [`Running::await_termination`] sees it through.
    pub fn stop(&self, stop: Stop) {
        // A stream that is over needs no stop.
        let _ = self.events.send(Event::Stop(stop));
    }
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopHandle").finish_non_exhaustive()
    }
}

/// A started program. Dropping it stops it at once.
#[must_use = "dropping it stops the stream at once; call await_termination"]
pub struct Running {
    ctx: Context,
    shared: Arc<Shared>,
    termination: Arc<Termination>,
    events: Sender<Event>,
    driver: Mutex<Option<std::thread::JoinHandle<()>>>,
    listeners: ListenerThread,
    first_batch: Time,
}

impl Running {
    pub(crate) fn start(
        ctx: Context,
        batch_duration: Duration,
        settings: StreamSettings,
        shared: &Arc<Shared>,
        listeners: Vec<Arc<dyn StreamListener>>,
    ) -> Result<Self> {
        let termination = Arc::new(Termination::new());
        let graph = shared.graph.start(batch_duration, &termination)?;
        validate(&graph, &ctx)?;
        let now = Time::from_ms(ctx.clock().now_ms());
        let zero = now.floor(batch_duration);
        let (bus, listener_thread) = ListenerBus::start(listeners)?;
        bus.post(StreamEvent::Started(now));
        let (events, inbox) = channel();
        let env = Arc::new(InputEnv {
            ctx: ctx.clone(),
            settings,
            bus,
        });
        let for_driver = (events.clone(), zero);
        let driver = Driver::new(
            graph,
            env,
            batch_duration,
            Arc::clone(&termination),
            for_driver,
        )?;
        let over = Arc::clone(&termination);
        let driver = std::thread::Builder::new()
            .name("stream-driver".to_owned())
            .spawn(move || {
                let ended = catch(|| {
                    driver.run(&inbox);
                    Ok(())
                });
                if let Err(error) = ended {
                    over.fail(&Error::internal("stream driver died").caused_by(error));
                }
                over.finish();
            })
            .map_err(|e| Error::unavailable("no thread for the stream").caused_by(e))?;
        Ok(Self {
            ctx,
            shared: Arc::clone(shared),
            termination,
            events,
            driver: Mutex::new(Some(driver)),
            listeners: listener_thread,
            first_batch: zero + batch_duration,
        })
    }

    /// The context that runs the jobs.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// The time of the first batch.
    #[must_use]
    pub fn first_batch(&self) -> Time {
        self.first_batch
    }

    /// Stops the stream from elsewhere.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle {
            events: self.events.clone(),
        }
    }

    /// Blocks until the stream has stopped or a batch has failed. A failed batch does not stop
    /// the stream.
    ///
    /// # Errors
    /// The last failure: of an output, of a `transform`, or of what was defined after the start.
    /// It stays: every later call returns it at once.
    pub fn await_termination(&self) -> Result<()> {
        self.ctx
            .clock()
            .wait_until(i64::MAX, &self.termination.news);
        self.outcome()
    }

    /// As [`await_termination`](Self::await_termination), for `timeout` at the most. Whether the
    /// stream has stopped.
    ///
    /// # Errors
    /// As [`await_termination`](Self::await_termination).
    pub fn await_termination_or_timeout(&self, timeout: Duration) -> Result<bool> {
        let clock = self.ctx.clock();
        let deadline = clock.now_ms().saturating_add(as_ms(timeout));
        clock.wait_until(deadline, &self.termination.news);
        self.outcome().map(|()| self.is_stopped())
    }

    /// Whether the stream has stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.termination.over.is_woken()
    }

    fn outcome(&self) -> Result<()> {
        self.termination.error.lock().clone().map_or(Ok(()), Err)
    }

    /// Stops the stream and waits until it has: all threads have ended, all events are heard.
    /// Harmless when it has stopped already.
    ///
    /// # Errors
    /// `Invalid` inside a listener, output or receiver, which would wait for itself. A batch that failed earlier is
    /// not an error of the stop.
    pub fn stop(&self, stop: Stop) -> Result<()> {
        if is_own_thread() {
            return Err(Error::invalid(
                "cannot stop a stream and wait for it within a listener, output or receiver",
            )
            .with("hint", "use a StopHandle"));
        }
        self.stop_handle().stop(stop);
        self.join();
        self.shared.graph.stop();
        if stop.stop_context {
            self.ctx.stop();
        }
        Ok(())
    }

    fn join(&self) {
        if let Some(driver) = self.driver.lock().take() {
            let _ = driver.join();
        }
        self.listeners.join();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop_handle().stop(Stop::now());
        if !is_own_thread() {
            self.join();
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}

/// All that the user can get wrong, before the first batch.
fn validate(graph: &Graph, ctx: &Context) -> Result<()> {
    if graph.outputs.is_empty() {
        return Err(
            Error::invalid("no output operations registered, so nothing to execute").with(
                "hint",
                "call print, for_each_rdd or another output on a stream before start",
            ),
        );
    }
    for stream in graph.streams() {
        stream.validate()?;
        if let Some(image) = ctx.backend().image() {
            stream.check(image)?;
        }
    }
    // Last: an output may make what it needs.
    for output in &graph.outputs {
        output.validate()?;
    }
    Ok(())
}
