//! What the cases share: the bench a case runs on, and a stream on a clock of its own.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use tidemill_core::{Context, Data, Error, ManualClock};
use tidemill_streaming::{
    BatchInfo, DStream, QueueMode, RddQueue, ReceiverInfo, Running, StreamEvent, StreamSettings,
    StreamingContext,
};
use tidemill_testing::{Backends, BatchTable, TestBackend};

/// How a case ends.
pub(crate) type Outcome = Result<(), Error>;

/// What hangs for this long, on the machine's clock, has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The length of a batch on the manual clock.
pub(crate) const BATCH: Duration = Duration::from_secs(1);

/// One claim.
pub(crate) struct Case {
    name: &'static str,
    run: fn(&Bench) -> Outcome,
    backends: &'static [&'static str],
}

const EVERYWHERE: &[&str] = &[
    "local",
    "loopback",
    "loopback-process",
    "loopback-lossy",
    "process-lossy",
    "process-killed",
];

/// A claim about what tasks do: on every backend.
pub(crate) fn case(name: &'static str, run: fn(&Bench) -> Outcome) -> Case {
    Case {
        name,
        run,
        backends: EVERYWHERE,
    }
}

/// A claim about the driver: once where closures stay and once where blocks are bytes.
pub(crate) fn driver_case(name: &'static str, run: fn(&Bench) -> Outcome) -> Case {
    Case {
        name,
        run,
        backends: &["local", "loopback"],
    }
}

/// A claim to which the backend makes no difference.
pub(crate) fn local_case(name: &'static str, run: fn(&Bench) -> Outcome) -> Case {
    Case {
        name,
        run,
        backends: &["local"],
    }
}

/// Runs all cases; `TIDEMILL_TEST_BACKEND` names the backends that are wanted, and
/// `TIDEMILL_TEST_SEED` moves the faults of the faulty ones.
pub(crate) fn run(cases: &[Case]) -> ! {
    let arguments = Arguments::from_args();
    let wanted = std::env::var("TIDEMILL_TEST_BACKEND").ok();
    let backends = Backends::named(wanted.as_deref()).expect("TIDEMILL_TEST_BACKEND");
    let seed = std::env::var("TIDEMILL_TEST_SEED").map_or(0, |seed| {
        seed.parse::<u64>().expect("TIDEMILL_TEST_SEED is a number")
    });
    let trials = backends
        .iter()
        .flat_map(|backend| {
            let mine = cases
                .iter()
                .filter(|c| c.backends.contains(&backend.name()));
            mine.map(move |case| trial(case, *backend, seed))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit()
}

fn trial(case: &Case, backend: TestBackend, seed: u64) -> Trial {
    let mut hasher = DefaultHasher::new();
    case.name.hash(&mut hasher);
    let backend = backend.salted(hasher.finish() ^ seed);
    let run = case.run;
    let checked = move || {
        let message = match catch_unwind(AssertUnwindSafe(|| run(&Bench { backend }))) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.report(),
            Err(panic) => panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default(),
        };
        let faults = backend.faults().map_or(String::new(), |faults| {
            format!("\n{faults}; the same again with TIDEMILL_TEST_SEED={seed}")
        });
        Err(Failed::from(format!("{message}{faults}")))
    };
    Trial::test(case.name, checked).with_kind(backend.name())
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
        let clock = ManualClock::new(0);
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
