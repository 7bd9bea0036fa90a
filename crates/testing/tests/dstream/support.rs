//! What the cases share: the bench a case runs on, and a stream on a clock of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tidemill_core::{Context, Data, Error, ManualClock};
use tidemill_streaming::{
    BatchInfo, DStream, QueueMode, RddQueue, ReceiverInfo, Running, StreamEvent, StreamSettings,
    StreamingContext,
};
use tidemill_testing::{BatchTable, TestBackend};

use crate::harness::{self, Claim};

pub(crate) use crate::harness::Outcome;

/// What hangs for this long, on the machine's clock, has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The length of a batch on the manual clock.
pub(crate) const BATCH: Duration = Duration::from_secs(1);

/// One claim.
pub(crate) struct Case {
    name: &'static str,
    run: fn(&Bench) -> Outcome,
    backends: Option<&'static [&'static str]>,
}

/// A claim about what tasks do: on every backend.
pub(crate) fn case(name: &'static str, run: fn(&Bench) -> Outcome) -> Case {
    Case {
        name,
        run,
        backends: None,
    }
}

/// A claim about the driver: once where closures stay and once where blocks are bytes.
pub(crate) fn driver_case(name: &'static str, run: fn(&Bench) -> Outcome) -> Case {
    Case {
        name,
        run,
        backends: Some(&["local", "loopback"]),
    }
}

/// A claim to which the backend makes no difference.
pub(crate) fn local_case(name: &'static str, run: fn(&Bench) -> Outcome) -> Case {
    Case {
        name,
        run,
        backends: Some(&["local"]),
    }
}

/// Runs all cases on those of their backends that are wanted.
pub(crate) fn run(cases: Vec<Case>) -> ! {
    let claims = cases.into_iter().map(|case| Claim {
        name: case.name,
        backends: case.backends,
        show: Box::new(move |backend| (case.run)(&Bench { backend })),
    });
    harness::run(claims)
}

/// What a case runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bench {
    backend: TestBackend,
}

impl Bench {
    pub(crate) fn backend(&self) -> TestBackend {
        self.backend
    }

    pub(crate) fn is_local(&self) -> bool {
        self.backend.is_local()
    }

    /// Whether messages are lost or children die.
    pub(crate) fn is_faulty(&self) -> bool {
        self.backend.is_faulty()
    }

    /// A table of batches in two partitions.
    pub(crate) fn table(&self) -> BatchTable {
        BatchTable::new(self.backend)
    }

    /// A program that has not started.
    pub(crate) fn program(&self) -> Program {
        self.program_with(StreamSettings::default())
    }

    pub(crate) fn program_with(&self, settings: StreamSettings) -> Program {
        Program::on(self.backend.builder(2).unwrap(), settings)
    }
}

/// A program of streams with batches of a second, on a clock that stands at 0.
pub(crate) struct Program {
    pub(crate) ctx: Context,
    pub(crate) ssc: StreamingContext,
    clock: ManualClock,
    events: Receiver<StreamEvent>,
}

impl Program {
    pub(crate) fn on(builder: tidemill_core::ContextBuilder, settings: StreamSettings) -> Self {
        Self::at(builder, settings, ManualClock::new(0))
    }

    /// On a clock that may stand anywhere.
    pub(crate) fn at(
        builder: tidemill_core::ContextBuilder,
        settings: StreamSettings,
        clock: ManualClock,
    ) -> Self {
        let ctx = builder.clock(Arc::new(clock.clone())).build().unwrap();
        let ssc = StreamingContext::with_settings(&ctx, BATCH, settings).unwrap();
        let (sender, events) = channel();
        ssc.add_listener(move |event: &StreamEvent| {
            let _ = sender.send(event.clone());
        });
        Self {
            ctx,
            ssc,
            clock,
            events,
        }
    }

    /// A queue stream of these batches, each in one partition.
    pub(crate) fn queue<T: Data>(&self, batches: Vec<Vec<T>>) -> DStream<T> {
        let queue = RddQueue::new();
        for batch in batches {
            queue.push(self.ctx.parallelize_into(batch, 1).unwrap());
        }
        self.ssc.queue_stream(&queue, QueueMode::OneAtATime)
    }

    pub(crate) fn start(self) -> Live {
        self.try_start().unwrap()
    }

    pub(crate) fn try_start(self) -> Result<Live, Error> {
        Ok(Live {
            running: self.ssc.start()?,
            ctx: self.ctx,
            clock: self.clock,
            events: self.events,
        })
    }
}

/// A program that runs.
pub(crate) struct Live {
    pub(crate) running: Running,
    pub(crate) ctx: Context,
    pub(crate) clock: ManualClock,
    pub(crate) events: Receiver<StreamEvent>,
}

impl Live {
    /// Lets a batch time come, and waits for nothing.
    pub(crate) fn advance(&self) {
        self.clock.advance(BATCH);
    }

    /// Lets a batch time come, and waits until the batch is completed.
    pub(crate) fn tick(&self) -> BatchInfo {
        self.advance();
        self.completed()
    }

    /// The next batch that is completed; events before it are passed over.
    pub(crate) fn completed(&self) -> BatchInfo {
        self.event(|event| match event {
            StreamEvent::BatchCompleted(info) => Some(info),
            _ => None,
        })
    }

    /// The next receiver error.
    pub(crate) fn receiver_error(&self) -> ReceiverInfo {
        self.event(|event| match event {
            StreamEvent::ReceiverError(info) => Some(info),
            _ => None,
        })
    }

    /// The next event that is wanted; those before it are passed over.
    pub(crate) fn event<R>(&self, wanted: impl Fn(StreamEvent) -> Option<R>) -> R {
        loop {
            let event = take(&self.events);
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }
}

/// The next message; fails the case when none comes.
#[track_caller]
pub(crate) fn take<T>(messages: &Receiver<T>) -> T {
    messages.recv_timeout(PATIENCE).expect("nothing comes")
}

/// Sends each batch's records in order.
pub(crate) fn collect<T: Data>(stream: &DStream<T>) -> Receiver<Vec<T>> {
    let (sender, rows) = channel();
    stream.for_each_rdd(move |rdd, _| Ok(sender.send(rdd.collect()?)?));
    rows
}

/// A gate that code of a stream goes through only when the case lets it.
pub(crate) struct Gate {
    arrivals: Receiver<()>,
    permits: Sender<()>,
}

/// Where the code of a stream waits.
pub(crate) struct Barrier {
    arrivals: Sender<()>,
    permits: Receiver<()>,
}

pub(crate) fn gate() -> (Gate, parking_lot::Mutex<Barrier>) {
    let (arrived, arrivals) = channel();
    let (permits, permitted) = channel();
    let barrier = Barrier {
        arrivals: arrived,
        permits: permitted,
    };
    (Gate { arrivals, permits }, parking_lot::Mutex::new(barrier))
}

impl Gate {
    /// Waits until somebody stands at the gate.
    pub(crate) fn wait_for_arrival(&self) {
        take(&self.arrivals);
    }

    /// Lets one through.
    pub(crate) fn open(&self) {
        self.permits.send(()).unwrap();
    }
}

impl Barrier {
    /// Waits to be let through, or until the gate is gone.
    pub(crate) fn pass(&self) {
        let _ = self.arrivals.send(());
        let _ = self.permits.recv();
    }
}

/// The lists with their items in order.
pub(crate) fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}
