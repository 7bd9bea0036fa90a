//! The stream's own threads, what they are doing for the program, and how long a stop waits for
//! them.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::scheduler::ServiceHandle;
use tidemill_core::{Clock, Context, Error, ErrorKind, Result, Waiter};

use crate::input::AnyInput;
use crate::notice;
use crate::time::{Time, as_ms};

thread_local! {
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as one that a stream waits for when it stops.
pub(crate) fn mark_own_thread() {
    IS_OWN.set(true);
}

/// Whether a stream waits for this thread when it stops: code of the user on it must not wait for
/// the stream.
pub(crate) fn is_own_thread() -> bool {
    IS_OWN.get()
}

/// What a thread runs code of the user for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    Generation(Time),
    Output(Time, usize),
}

/// Where a thread says what it is doing, for whoever waits for it.
#[derive(Clone, Default)]
pub(crate) struct Busy(Arc<Mutex<Option<Work>>>);

impl Busy {
    pub(crate) fn with<R>(&self, work: Work, run: impl FnOnce() -> R) -> R {
        *self.0.lock() = Some(work);
        let result = run();
        *self.0.lock() = None;
        result
    }
}

/// A thread that ends when its channel is closed.
pub(crate) struct StreamThread {
    busy: Busy,
    ended: Waiter,
    thread: std::thread::JoinHandle<()>,
}

impl StreamThread {
    pub(crate) fn spawn(name: &str, body: impl FnOnce(&Busy) + Send + 'static) -> Result<Self> {
        let (busy, ended) = (Busy::default(), Waiter::new());
        let (for_thread, end) = (busy.clone(), WakeAtEnd(ended.clone()));
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Dropped last, after what the body holds.
                let _end = end;
                mark_own_thread();
                body(&for_thread);
            })
            .map_err(|e| Error::unavailable("no thread for the stream").caused_by(e))?;
        Ok(Self {
            busy,
            ended,
            thread,
        })
    }

    /// Waits for the thread's end, not beyond the deadline; whether it has ended.
    pub(crate) fn join_until(self, clock: &dyn Clock, deadline_ms: i64) -> bool {
        let runs_on = clock.wait_until(deadline_ms, &self.ended);
        if !runs_on {
            let _ = self.thread.join();
        }
        !runs_on
    }
}

/// Wakes when it is dropped, also by a panic.
struct WakeAtEnd(Waiter);

impl Drop for WakeAtEnd {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// How long a stop waits on the context's clock, and what it has to leave behind.
pub(crate) struct Patience {
    clock: Arc<dyn Clock>,
    span: Duration,
    deadline_ms: i64,
    left: Vec<String>,
}

impl Patience {
    /// As long as `span`, from now on.
    pub(crate) fn new(clock: &Arc<dyn Clock>, span: Duration) -> Self {
        Self {
            deadline_ms: clock.now_ms().saturating_add(as_ms(span)),
            clock: Arc::clone(clock),
            span,
            left: Vec::new(),
        }
    }

    /// Waits for inputs that were told to stop.
    pub(crate) fn join_inputs(&mut self, inputs: &[Arc<dyn AnyInput>]) {
        for input in inputs {
            match input.join_until(&*self.clock, self.deadline_ms) {
                None => self.left.push(format!("receiver {}", input.name())),
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::error!(input = input.name(), error = %error.report(), "receiver failed");
                }
            }
        }
    }

    /// Waits for a clock that was told to stop. It runs no code of the user but encoders.
    pub(crate) fn join_clock(&self, service: &ServiceHandle) {
        let _ = service.join_until(&*self.clock, self.deadline_ms);
    }

    /// Waits for a thread; `describe` names what it is doing.
    pub(crate) fn join(&mut self, thread: StreamThread, describe: impl FnOnce(Work) -> String) {
        let busy = thread.busy.clone();
        if !thread.join_until(&*self.clock, self.deadline_ms) {
            // A thread without work of its own waits for what is named elsewhere.
            self.left.extend(busy.0.lock().map(describe));
        }
    }

    /// Stops the context. Its tasks may run code of the user that does not end.
    pub(crate) fn stop_context(&mut self, ctx: &Context) {
        let stopping = ctx.clone();
        let stop = StreamThread::spawn("stream-context-stop", move |_| stopping.stop());
        match stop {
            Ok(stop) => {
                if !stop.join_until(&*self.clock, self.deadline_ms) {
                    self.left.push("tasks of the context".to_owned());
                }
            }
            Err(_) => ctx.stop(),
        }
    }

    /// Says what was left behind, if anything was.
    pub(crate) fn tell(self) {
        if self.left.is_empty() {
            return;
        }
        let error = Error::new(
            ErrorKind::Unavailable,
            "code of the program has not ended and is left behind",
        )
        .with("left_behind", self.left.join(", "))
        .with("waited_ms", self.span.as_millis())
        .with(
            "hint",
            "a receiver returns when its context is_stopped(), an output or function never blocks \
             for long; or raise StreamSettings::stop_patience",
        );
        notice::warn("stream stopped", &error);
    }
}
