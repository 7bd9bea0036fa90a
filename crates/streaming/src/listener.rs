//! Events of a running stream, for those who watch it.

use std::time::Duration;

use crate::time::Time;

/// Hears what happens, in order, on a thread of its own.
///
/// A listener that panics is logged and goes on hearing. A slow one delays the other listeners,
/// never the stream: when 10,000 events wait, further ones are dropped and counted; see
/// [`StreamEvent::EventsDropped`].
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
    /// So many events are missing here, because listeners were too slow.
    EventsDropped(u64),
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
    /// How many jobs it has: one for each of its output operations, and one more when there are
    /// states that none of these needs.
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
    /// Counts up from 0 in the order the outputs were defined. The number after the last is the
    /// job that advances states which no output of the batch needs.
    pub id: usize,
    /// For example `print at src/main.rs:12`; `state` for the job that is none of the outputs.
    pub name: String,
    /// Why it failed, with causes.
    pub failure: Option<String>,
}
