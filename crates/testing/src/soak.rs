//! `Soak`: a program with windows, both kinds of state and a join, to be run for long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tidemill_core::scheduler::ThreadBackend;
use tidemill_core::state::State;
use tidemill_core::storage::MemoryStore;
use tidemill_core::{Context, Data, Error, ManualClock, Rdd, Result};
use tidemill_streaming::{
    BoxError, DStream, InputSource, PairDStream, Running, StateSpec, StreamEvent, StreamingContext,
    Time, Window,
};

const NUM_SLOTS: usize = 2;
const BATCH: Duration = Duration::from_secs(1);
/// Records of a batch, and over how many keys they go.
const NUM_RECORDS: u64 = 100;
const KEYS_OF_A_BATCH: u64 = 20;
/// After so many batches one key goes and another comes, out of so many.
const BATCHES_OF_A_KEY: u64 = 4;
const NUM_KEYS: u64 = 80;
/// In batches: how long windows are, and for how long the states keep keys without a record.
const WINDOW: u64 = 16;
const MAX_IDLE: u64 = 20;
const TIMEOUT: u64 = 40;
/// What hangs for this long, on the machine's clock, has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program whose every batch costs the same: keys come and go, and each kind of result
/// is checked against a plain computation.
///
/// ```
/// use tidemill_testing::Soak;
///
/// let mut soak = Soak::start()?;
/// for _ in 0..3 {
///     soak.tick()?;
/// }
/// assert!(soak.footprint().num_blocks > 0);
/// # Ok::<(), tidemill_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Soak {
    clock: ManualClock,
    blocks: Arc<MemoryStore>,
    running: Running,
    /// How many outputs of each batch have failed.
    completed: Receiver<usize>,
    outputs: Vec<Output>,
    plain: Plain,
}

/// What a [`Soak`] keeps after a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Blocks of the store.
    pub num_blocks: usize,
    /// Their bytes, as they estimate them.
    pub block_bytes: usize,
    /// RDDs in the lineage of the batch's outputs.
    pub num_rdds: usize,
}

impl Footprint {
    /// The greater of each figure.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            num_blocks: self.num_blocks.max(other.num_blocks),
            block_bytes: self.block_bytes.max(other.block_bytes),
            num_rdds: self.num_rdds.max(other.num_rdds),
        }
    }
}

impl Soak {
    /// After so many batches everything is as it was, but for the totals: the greatest footprint
    /// of so many batches is always the same.
    pub const PERIOD: u64 = BATCHES_OF_A_KEY * NUM_KEYS;

    /// Starts the program on two slots and a clock of its own.
    ///
    /// # Errors
    /// Those of starting a context and a stream.
    pub fn start() -> Result<Self> {
        let clock = ManualClock::new(0);
        let blocks = Arc::new(MemoryStore::new(64 << 20));
        let store = Arc::clone(&blocks);
        let backend = ThreadBackend::local("soak", NUM_SLOTS, store)?;
        let ctx = Context::builder()
            .backend(Arc::new(backend))
            .clock(Arc::new(clock.clone()))
            .build()?;
        let ssc = StreamingContext::new(&ctx, BATCH)?;
        let outputs = define(&ssc, &ctx);
        let (sender, completed) = channel();
        ssc.add_listener(move |event: &StreamEvent| {
            if let StreamEvent::BatchCompleted(batch) = event {
                let _ = sender.send(batch.num_failed);
            }
        });
        Ok(Self {
            clock,
            blocks,
            running: ssc.start()?,
            completed,
            outputs,
            plain: Plain::default(),
        })
    }

    /// Lets a batch time come, waits until the batch is done, and checks what it gave.
    ///
    /// # Errors
    /// Those of the batch; `Internal` for a wrong result.
    pub fn tick(&mut self) -> Result<()> {
        self.clock.advance(BATCH);
        let num_failed = self
            .completed
            .recv_timeout(PATIENCE)
            .map_err(|_| Error::internal("a batch does not end"))?;
        if num_failed > 0 {
            self.running.await_termination()?;
        }
        let expected = self.plain.next();
        for (output, expected) in self.outputs.iter().zip(expected) {
            let found = output.seen.sum.load(Ordering::Acquire);
            if found != expected {
                return Err(Error::internal("wrong result")
                    .with("output", output.name)
                    .with("batch", self.plain.batch)
                    .with("found", found)
                    .with("expected", expected));
            }
        }
        Ok(())
    }

    /// What is kept now.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        let depths = self.outputs.iter().map(|output| &output.seen.num_rdds);
        Footprint {
            num_blocks: self.blocks.num_blocks(),
            block_bytes: self.blocks.used_bytes(),
            num_rdds: depths.map(|depth| depth.load(Ordering::Acquire)).sum(),
        }
    }
}

/// A result of each batch.
#[derive(Debug)]
struct Output {
    name: &'static str,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    sum: AtomicU64,
    num_rdds: AtomicUsize,
}

fn watch<T: Data>(
    name: &'static str,
    stream: &DStream<T>,
    number: impl Fn(&T) -> u64 + Send + Sync + 'static,
) -> Output {
    let seen = Arc::<Seen>::default();
    let see = Arc::clone(&seen);
    stream.for_each_rdd(move |rdd, _| {
        let sum = rdd.collect()?.iter().map(&number).sum();
        see.sum.store(sum, Ordering::Release);
        let num_rdds = rdd.to_debug_string().lines().count();
        see.num_rdds.store(num_rdds, Ordering::Release);
        Ok(())
    });
    Output { name, seen }
}

/// The program. Its outputs are in the order of [`Plain::next`].
fn define(ssc: &StreamingContext, ctx: &Context) -> Vec<Output> {
    let records = ssc.input_stream(Records(ctx.clone()));
    let others = ssc.input_stream(Records(ctx.clone()));
    let batches = |num: u64| BATCH * u32::try_from(num).unwrap_or(u32::MAX);
    let window = Window::of(batches(WINDOW));
    let windowed = records.window(window);
    let reduced = records.reduce_by_key_and_window(window, |a, b| a + b);
    let inverse = records.reduce_by_key_and_window_filtered(
        window,
        |a, b| a + b,
        |a, b| a - b,
        |_, sum| *sum > 0,
    );
    let totals = records.update_state_by_key(|values, state: Option<(u64, u64)>| {
        let (sum, idle) = state.unwrap_or_default();
        let idle = if values.is_empty() { idle + 1 } else { 0 };
        (idle <= MAX_IDLE).then_some((sum + values.iter().sum::<u64>(), idle))
    });
    let spec = StateSpec::new().timeout(batches(TIMEOUT));
    let counts = records.map_with_state(spec, count);
    let joined = records
        .reduce_by_key(|a, b| a + b)
        .join(&others.filter(|(key, _)| key % 2 == 0));
    vec![
        watch("window", &windowed, |(_, value)| *value),
        watch("reduced window", &reduced, |(_, sum)| *sum),
        watch("inverse window", &inverse, |(_, sum)| *sum),
        watch("update_state_by_key", &totals, |(_, (sum, _))| *sum),
        watch("map_with_state", &counts, |count| *count),
        watch("state_snapshots", &counts.state_snapshots(), |(_, n)| *n),
        watch("join", &joined, |(_, (sum, value))| sum + value),
    ]
}

/// How many records the key has had; 0 when it goes.
fn count(_: &u64, value: Option<u64>, state: &mut State<u64>) -> u64 {
    if value.is_none() {
        return 0;
    }
    let count = state.get().copied().unwrap_or(0) + 1;
    state.update(count);
    count
}

/// The records of a batch.
fn records(batch: u64) -> impl Iterator<Item = (u64, u64)> {
    let first = batch / BATCHES_OF_A_KEY;
    (0..NUM_RECORDS).map(move |at| ((first + at % KEYS_OF_A_BATCH) % NUM_KEYS, at + 1))
}

struct Records(Context);

impl InputSource for Records {
    type Item = (u64, u64);

    fn compute(&self, time: Time) -> std::result::Result<Option<Rdd<(u64, u64)>>, BoxError> {
        let batch = time.as_ms().unsigned_abs() / 1_000;
        Ok(Some(self.0.parallelize_into(records(batch), NUM_SLOTS)?))
    }
}

/// The same results without any engine.
#[derive(Debug, Default)]
struct Plain {
    batch: u64,
    /// Sum of each key, and the last batch it had a record in.
    totals: BTreeMap<u64, (u64, u64)>,
    /// Number of records of each key, and the last batch it had one in.
    counts: BTreeMap<u64, (u64, u64)>,
}

impl Plain {
    /// The sums of the next batch's outputs.
    fn next(&mut self) -> [u64; 7] {
        self.batch += 1;
        let batch = self.batch;
        let (mut of_batch, mut mapped) = (BTreeMap::new(), 0);
        for (key, value) in records(batch) {
            *of_batch.entry(key).or_insert(0) += value;
            let total = self.totals.entry(key).or_default();
            *total = (total.0 + value, batch);
            let count = self.counts.entry(key).or_default();
            *count = (count.0 + 1, batch);
            mapped += count.0;
        }
        self.totals.retain(|_, (_, last)| batch - *last <= MAX_IDLE);
        self.counts.retain(|_, (_, last)| batch - *last <= TIMEOUT);
        let of_window = of_batch.values().sum::<u64>() * batch.min(WINDOW);
        let joined = records(batch)
            .filter(|(key, _)| key % 2 == 0)
            .map(|(key, value)| value + of_batch.get(&key).copied().unwrap_or(0));
        [
            of_window,
            of_window,
            of_window,
            self.totals.values().map(|(sum, _)| sum).sum(),
            mapped,
            self.counts.values().map(|(count, _)| count).sum(),
            joined.sum(),
        ]
    }
}
