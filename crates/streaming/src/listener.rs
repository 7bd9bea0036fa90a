//! Events of a running stream, for those who watch it.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::{Error, Result};

use crate::scheduler::mark_own_thread;
use crate::time::Time;

/// Hears what happens, in order, on a thread of its own.
///
/// A listener that panics is logged and goes on hearing; a slow one delays the other listeners,
/// never the stream.
pub trait StreamListener: Send + Sync + 'static {
    /// One event.
    fn on_event(&self, event: &StreamEvent);
}

impl<F: Fn(&StreamEvent) + Send + Sync + 'static> StreamListener for F {
    fn on_event(&self, event: &StreamEvent) {
        self(event);
    }
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StreamEvent {
    /// The stream was started, at this time of its clock.
    Started(Time),
    /// A receiver runs.
    ReceiverStarted(ReceiverInfo),
    /// A receiver reported an error, or ended with one; it goes on or is restarted.
    ReceiverError(ReceiverInfo),
    /// A receiver has ended.
    ReceiverStopped(ReceiverInfo),
    /// A batch's jobs wait to be run.
    BatchSubmitted(BatchInfo),
    /// The first job of a batch runs.
    BatchStarted(BatchInfo),
    /// An output operation runs.
    OutputStarted(OutputInfo),
    /// An output operation has ended.
    OutputCompleted(OutputInfo),
    /// All jobs of a batch have ended, well or not.
    BatchCompleted(BatchInfo),
}

/// A receiver, as its events tell of it.
#[derive(Clone, Debug)]
pub struct ReceiverInfo {
    /// The input stream.
    pub stream_id: usize,
    /// For example `SocketReceiver-0`.
    pub name: String,
    /// Whether it runs.
    pub is_active: bool,
    /// The last error, with its causes.
    pub last_error: Option<String>,
}

/// What an input stream contributed to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputInfo {
    /// The input stream.
    pub stream_id: usize,
    /// Its records in the batch, where they can be counted.
    pub num_records: u64,
    /// What they are, for example offset ranges or file names.
    pub description: String,
}

/// A batch, as its events tell of it.
#[derive(Clone, Debug)]
pub struct BatchInfo {
    /// The batch's time.
    pub time: Time,
    /// What each input stream contributed.
    pub inputs: Vec<InputInfo>,
    /// When its jobs were submitted.
    pub submitted: Time,
    /// When its first job started; `None` before.
    pub started: Option<Time>,
    /// When its last job ended; `None` before.
    pub completed: Option<Time>,
    /// Submission to first start; `None` before the start. To the microsecond.
    pub scheduling_delay: Option<Duration>,
    /// First start to last end; `None` before the end. To the microsecond.
    pub processing_delay: Option<Duration>,
    /// How many output operations it has.
    pub num_outputs: usize,
    /// How many of them failed.
    pub num_failed: usize,
}

impl BatchInfo {
    /// Records of all inputs.
    #[must_use]
    pub fn num_records(&self) -> u64 {
        self.inputs.iter().map(|input| input.num_records).sum()
    }

    /// Submission to last end; `None` before the end.
    #[must_use]
    pub fn total_delay(&self) -> Option<Duration> {
        Some(self.scheduling_delay? + self.processing_delay?)
    }
}

/// An output operation of one batch, as its events tell of it.
#[derive(Clone, Debug)]
pub struct OutputInfo {
    /// The batch's time.
    pub time: Time,
    /// Counts up from 0 in the order the outputs were defined.
    pub id: usize,
    /// For example `print at src/main.rs:12`.
    pub name: String,
    /// Why it failed, with causes.
    pub failure: Option<String>,
}

/// Carries events from the engine to the listeners.
#[derive(Clone)]
pub(crate) struct ListenerBus {
    sender: mpsc::Sender<StreamEvent>,
}

/// The thread that listeners run on.
pub(crate) struct ListenerThread(Mutex<Option<std::thread::JoinHandle<()>>>);

impl ListenerBus {
    pub(crate) fn start(listeners: Vec<Arc<dyn StreamListener>>) -> Result<(Self, ListenerThread)> {
        let (sender, receiver) = mpsc::channel::<StreamEvent>();
        let thread = std::thread::Builder::new()
            .name("stream-listeners".to_owned())
            .spawn(move || {
                mark_own_thread();
                for event in receiver {
                    for listener in &listeners {
                        let heard = tidemill_core::catch(|| {
                            listener.on_event(&event);
                            Ok(())
                        });
                        if let Err(error) = heard {
                            tracing::error!(error = %error.report(), "stream listener failed");
                        }
                    }
                }
            })
            .map_err(|e| Error::unavailable("no thread for listeners").caused_by(e))?;
        Ok((Self { sender }, ListenerThread(Mutex::new(Some(thread)))))
    }

    pub(crate) fn post(&self, event: StreamEvent) {
        // Nobody hears anything after the stop.
        let _ = self.sender.send(event);
    }
}

impl ListenerThread {
    /// Waits until all events have been heard; every bus must be dropped before.
    pub(crate) fn join(&self) {
        if let Some(thread) = self.0.lock().take() {
            let _ = thread.join();
        }
    }
}
