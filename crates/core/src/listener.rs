//! Events of the jobs of a context, for those who watch them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{JoinHandle, ThreadId};

use parking_lot::{Mutex, RwLock};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::operator::catch;
use crate::status::{JobInfo, JobStatus, StageInfo};
use crate::task::TaskId;

/// Hears what jobs do, in order, on a thread of its own.
///
/// A listener that panics is logged and goes on hearing. A slow one delays the other listeners,
/// never a job: events that find the queue full are dropped and counted.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tidemill_core::{Context, JobEvent};
///
/// let num_jobs = Arc::new(AtomicU64::new(0));
/// let counter = Arc::clone(&num_jobs);
/// let ctx = Context::local(1)?;
/// ctx.add_listener(Arc::new(move |event: &JobEvent| {
///     if matches!(event, JobEvent::JobEnded { .. }) {
///         counter.fetch_add(1, Ordering::Relaxed);
///     }
/// }))?;
/// ctx.range(0..10).count()?;
/// ctx.flush_listeners();
/// assert_eq!(num_jobs.load(Ordering::Relaxed), 1);
/// # Ok::<(), tidemill_core::Error>(())
/// ```
pub trait JobListener: Send + Sync + 'static {
    /// One event.
    fn on_event(&self, event: &JobEvent);
}

impl<F: Fn(&JobEvent) + Send + Sync + 'static> JobListener for F {
    fn on_event(&self, event: &JobEvent) {
        self(event);
    }
}

/// What happened to a job, and when: milliseconds since the epoch on the context's clock.
///
/// *Guarantee*: a job's start comes first and its end last; between them each stage that is run is
/// submitted before its tasks start, and completed after they have ended. Events of several jobs
/// mix. An action may return before its events have been heard.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum JobEvent {
    /// An action asked for a job.
    JobStarted {
        /// The job and its stages.
        job: Arc<JobInfo>,
        /// When.
        time_ms: i64,
    },
    /// The stages before it are done: its tasks wait for slots.
    StageSubmitted {
        /// The stage.
        stage: StageInfo,
        /// When.
        time_ms: i64,
    },
    /// A slot runs an attempt at a task.
    TaskStarted {
        /// Which attempt.
        task: TaskId,
        /// The slot.
        slot: usize,
        /// When.
        time_ms: i64,
    },
    /// An attempt has ended, or is no longer waited for.
    TaskEnded {
        /// Which attempt.
        task: TaskId,
        /// How.
        outcome: TaskOutcome,
        /// When.
        time_ms: i64,
    },
    /// A stage has ended, well or not.
    StageCompleted {
        /// The stage, with its final counts.
        stage: StageInfo,
        /// Why it failed.
        failure: Option<Error>,
        /// When.
        time_ms: i64,
    },
    /// A job has ended, well or not.
    JobEnded {
        /// The job.
        job: u64,
        /// How.
        status: JobStatus,
        /// Why it failed.
        failure: Option<Error>,
        /// When.
        time_ms: i64,
    },
}

/// How an attempt at a task ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskOutcome {
    /// With a result that counts.
    Succeeded,
    /// With an error. Another attempt may follow.
    Failed(Error),
    /// Its job was cancelled or had failed.
    Cancelled,
    /// The task's other attempt was faster.
    Superseded,
}

/// Carries events to the listeners through a queue of bounded length.
#[derive(Clone)]
pub(crate) struct EventBus(Arc<Bus>);

struct Bus {
    queue: SyncSender<Message>,
    listeners: Arc<Listeners>,
    clock: Arc<dyn Clock>,
    num_dropped: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Also when the handle is gone.
    thread_id: ThreadId,
}

type Listeners = RwLock<Vec<Arc<dyn JobListener>>>;

enum Message {
    Event(JobEvent),
    /// Everything before it has been heard.
    Flush(SyncSender<()>),
    Stop,
}

impl EventBus {
    /// # Errors
    /// `Unavailable` when the machine gives no thread.
    pub(crate) fn start(max_queued_events: usize, clock: Arc<dyn Clock>) -> Result<Self> {
        let (queue, messages) = sync_channel(max_queued_events);
        let listeners = Arc::<Listeners>::default();
        let heard_by = Arc::clone(&listeners);
        let thread = std::thread::Builder::new()
            .name("job-listeners".to_owned())
            .spawn(move || deliver(&messages, &heard_by))
            .map_err(|e| Error::unavailable("no thread for listeners").caused_by(e))?;
        Ok(Self(Arc::new(Bus {
            queue,
            listeners,
            clock,
            num_dropped: AtomicU64::new(0),
            thread_id: thread.thread().id(),
            thread: Mutex::new(Some(thread)),
        })))
    }

    pub(crate) fn add(&self, listener: Arc<dyn JobListener>) {
        self.0.listeners.write().push(listener);
    }

    /// Never waits: an event that finds the queue full is dropped.
    pub(crate) fn post(&self, event: impl FnOnce(i64) -> JobEvent) {
        let message = Message::Event(event(self.0.clock.now_ms()));
        // After the stop nobody hears anything: that is no overflow.
        if let Err(TrySendError::Full(_)) = self.0.queue.try_send(message)
            && self.0.num_dropped.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!("listeners are too slow: this event and others to come are dropped");
        }
    }

    pub(crate) fn num_dropped(&self) -> u64 {
        self.0.num_dropped.load(Ordering::Relaxed)
    }

    /// Waits until all events so far have been heard. A listener cannot wait for itself: there it
    /// returns at once.
    pub(crate) fn flush(&self) {
        if self.is_own_thread() {
            return;
        }
        let (done, is_done) = sync_channel(1);
        if self.0.queue.send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv();
        }
    }

    /// Lets the listeners hear what is queued, and ends their thread.
    pub(crate) fn stop(&self) {
        if self.is_own_thread() {
            return;
        }
        // The lock is not held meanwhile.
        let thread = self.0.thread.lock().take();
        if let Some(thread) = thread {
            let _ = self.0.queue.send(Message::Stop);
            let _ = thread.join();
        }
    }

    fn is_own_thread(&self) -> bool {
        std::thread::current().id() == self.0.thread_id
    }
}

impl fmt::Debug for EventBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBus")
            .field("num_dropped", &self.num_dropped())
            .finish_non_exhaustive()
    }
}

/// The life of the listeners' thread. It ends with the last bus, at the latest.
fn deliver(messages: &Receiver<Message>, listeners: &Listeners) {
    for message in messages {
        let event = match message {
            Message::Event(event) => event,
            Message::Flush(done) => {
                let _ = done.send(());
                continue;
            }
            Message::Stop => return,
        };
        // Not held during the calls: a listener may add another.
        let hearing = listeners.read().clone();
        for listener in hearing {
            let heard = catch(|| {
                listener.on_event(&event);
                Ok(())
            });
            if let Err(error) = heard {
                tracing::error!(error = %error.report(), "job listener failed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::clock::ManualClock;

    fn ended(job: u64) -> impl FnOnce(i64) -> JobEvent {
        move |time_ms| JobEvent::JobEnded {
            job,
            status: JobStatus::Succeeded,
            failure: None,
            time_ms,
        }
    }

    fn bus(capacity: usize) -> EventBus {
        EventBus::start(capacity, Arc::new(ManualClock::new(7))).unwrap()
    }

    fn job_of(event: &JobEvent) -> u64 {
        match event {
            JobEvent::JobEnded {
                job, time_ms: 7, ..
            } => *job,
            other => panic!("{other:?}"),
        }
    }

    // C-222
    #[test]
    fn events_that_find_the_queue_full_are_dropped_and_counted() {
        let bus = bus(2);
        let (entered, is_inside) = sync_channel(1);
        let (release, released) = sync_channel::<()>(1);
        let released = Mutex::new(released);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heard);
        bus.add(Arc::new(move |event: &JobEvent| {
            log.lock().push(job_of(event));
            if log.lock().len() == 1 {
                entered.send(()).unwrap();
                released.lock().recv().unwrap();
            }
        }));
        bus.post(ended(0));
        is_inside.recv().unwrap();
        for job in 1..=5 {
            bus.post(ended(job));
        }
        assert_eq!(bus.num_dropped(), 3);
        release.send(()).unwrap();
        bus.flush();
        bus.post(ended(6));
        bus.stop();
        assert_eq!(*heard.lock(), [0, 1, 2, 6]);
        bus.post(ended(7));
        assert_eq!(bus.num_dropped(), 3);
    }

    // C-222
    #[test]
    fn a_listener_that_panics_goes_on_hearing_and_so_do_the_others() {
        let bus = bus(16);
        let heard = Arc::new(Mutex::new(Vec::new()));
        for name in ["panics", "calm"] {
            let log = Arc::clone(&heard);
            bus.add(Arc::new(move |event: &JobEvent| {
                log.lock().push((name, job_of(event)));
                assert_ne!(name, "panics", "as it should");
            }));
        }
        bus.post(ended(0));
        bus.post(ended(1));
        bus.flush();
        let expected = [("panics", 0), ("calm", 0), ("panics", 1), ("calm", 1)];
        assert_eq!(*heard.lock(), expected);
        bus.stop();
    }

    #[test]
    fn a_listener_may_flush_while_the_bus_is_being_stopped() {
        let bus = bus(16);
        let (entered, is_inside) = sync_channel(1);
        let (release, released) = sync_channel::<()>(1);
        let released = Mutex::new(released);
        let (inner, done) = (bus.clone(), Arc::new(AtomicBool::new(false)));
        let is_done = Arc::clone(&done);
        bus.add(Arc::new(move |_: &JobEvent| {
            entered.send(()).unwrap();
            released.lock().recv().unwrap();
            inner.flush();
            is_done.store(true, Ordering::Relaxed);
        }));
        bus.post(ended(0));
        is_inside.recv().unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| bus.stop());
            // Until the stop has taken the thread, to wait for it.
            while bus
                .0
                .thread
                .try_lock()
                .is_some_and(|thread| thread.is_some())
            {
                std::thread::yield_now();
            }
            release.send(()).unwrap();
        });
        assert!(done.load(Ordering::Relaxed));
    }

    #[test]
    fn a_listener_may_flush_and_stop_without_waiting_for_itself() {
        let bus = bus(16);
        let (inner, done) = (bus.clone(), Arc::new(AtomicBool::new(false)));
        let is_done = Arc::clone(&done);
        bus.add(Arc::new(move |_: &JobEvent| {
            inner.flush();
            inner.stop();
            is_done.store(true, Ordering::Relaxed);
        }));
        bus.post(ended(0));
        bus.flush();
        assert!(done.load(Ordering::Relaxed));
        bus.stop();
    }
}
