//! `Running`: a program of streams that has been started.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::state::StateSize;
use tidemill_core::{Context, Error, ErrorKind, Result, Waiter, catch};

use crate::context::Shared;
use crate::graph::Graph;
use crate::input::InputEnv;
use crate::listener::StreamEvent;
use crate::listener_bus::{Listener, ListenerBus, ListenerThread};
use crate::names::GraphInfo;
use crate::scheduler::{Driver, Event, Patience, is_own_thread};
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
    /// At once: what waits is dropped, running jobs are cancelled. Code of the program that does
    /// not end within [`StreamSettings::stop_patience`] is left behind.
    #[must_use]
    pub fn now() -> Self {
        Self::default()
    }

    /// Receivers end first, then all they received is processed, then the stream ends.
    ///
    /// What they stored since the last batch is processed in one more batch, whose time is the
    /// next batch time. That lies in the future, by up to a batch interval, when the stop comes
    /// between two batch times: the stop does not wait for it. A program that is started again
    /// within that interval has a batch of the same time, so what is written under the name of
    /// the batch time is written again.
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
    is_context_stopped: AtomicBool,
}

impl Termination {
    fn new() -> Self {
        Self {
            error: Mutex::default(),
            news: Waiter::new(),
            over: Waiter::new(),
            is_context_stopped: AtomicBool::new(false),
        }
    }

    /// Stops the context, unless this was done before.
    pub(crate) fn stop_context(&self, ctx: &Context, patience: &mut Patience) {
        if !self.is_context_stopped.swap(true, Ordering::Relaxed) {
            patience.stop_context(ctx);
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
    stop_patience: Duration,
    /// Gone when the stream is over: what it holds must not outlive the stream's threads.
    sealed: Weak<Graph>,
    num_skipped: Arc<AtomicU64>,
    first_batch: Time,
    graph: GraphInfo,
}

impl Running {
    pub(crate) fn start(
        ctx: Context,
        batch_duration: Duration,
        settings: StreamSettings,
        shared: &Arc<Shared>,
        listeners: Vec<Listener>,
    ) -> Result<Self> {
        let termination = Arc::new(Termination::new());
        let graph = shared.graph.start(batch_duration, &termination)?;
        validate(&graph, &ctx)?;
        let info = graph.info.clone();
        let now = Time::from_ms(ctx.clock().now_ms());
        let zero = now.floor(batch_duration);
        let (bus, listener_thread) = ListenerBus::start(listeners)?;
        bus.post(StreamEvent::Started(now));
        let (events, inbox) = channel();
        let stop_patience = settings.stop_patience;
        let graph = Arc::new(graph);
        let env = Arc::new(InputEnv {
            ctx: ctx.clone(),
            settings,
            bus,
        });
        let for_driver = (events.clone(), zero);
        let driver = Driver::new(
            Arc::clone(&graph),
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
            stop_patience,
            num_skipped: Arc::clone(graph.states.num_skipped()),
            sealed: Arc::downgrade(&graph),
            first_batch: zero + batch_duration,
            graph: info,
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

    /// The operators that run, with their names.
    #[must_use]
    pub fn graph(&self) -> &GraphInfo {
        &self.graph
    }

    /// Each state as bytes, under the name of its operator, as it is after the last batch that was
    /// generated.
    ///
    /// # Errors
    /// `Unavailable` while a batch is not applied, `Closed` when the stream has stopped.
    #[doc(hidden)]
    pub fn encode_states(&self) -> Result<Vec<(String, Vec<u8>)>> {
        self.sealed()?.states.encode()
    }

    /// How many keys each state has and what they take, under the name of its operator.
    ///
    /// # Errors
    /// `Closed` when the stream has stopped.
    #[doc(hidden)]
    pub fn state_sizes(&self) -> Result<Vec<(String, StateSize)>> {
        Ok(self.sealed()?.states.sizes())
    }

    fn sealed(&self) -> Result<Arc<Graph>> {
        let graph = self.sealed.upgrade();
        graph.ok_or_else(|| Error::new(ErrorKind::Closed, "stream has stopped"))
    }

    /// How many batches were left out of states, under
    /// [`FailedBatch::Skip`](crate::FailedBatch::Skip).
    #[must_use]
    pub fn num_skipped(&self) -> u64 {
        self.num_skipped.load(Ordering::Relaxed)
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
    /// A stop at once, and a graceful one whose deadline has passed, waits for
    /// [`StreamSettings::stop_patience`]: receivers, outputs and listeners that have not ended by
    /// then are left behind, with a warning that names them. They can store nothing any more and
    /// end by themselves. A graceful stop without deadline waits as long as it takes.
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
        self.join(stop);
        self.shared.graph.stop();
        if stop.stop_context {
            let mut patience = Patience::new(self.ctx.clock(), self.stop_patience);
            self.termination.stop_context(&self.ctx, &mut patience);
            patience.tell();
        }
        Ok(())
    }

    fn join(&self, stop: Stop) {
        if let Some(driver) = self.driver.lock().take() {
            let _ = driver.join();
        }
        let clock = self.ctx.clock();
        let is_patient = stop.gracefully && stop.deadline.is_none();
        let deadline_ms = match is_patient {
            true => i64::MAX,
            false => clock.now_ms().saturating_add(as_ms(self.stop_patience)),
        };
        self.listeners.join_until(&**clock, deadline_ms);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop_handle().stop(Stop::now());
        if !is_own_thread() {
            self.join(Stop::now());
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
        if let Some(image) = ctx.backend().image() {
            output.check(image)?;
        }
        output.validate()?;
    }
    Ok(())
}
