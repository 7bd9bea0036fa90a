//! Reduced windows of ten seconds and of five minutes, at batches of a second: what a batch takes.
//!
//! The batches are the same, and every key is in each, so that both windows have as much to say.
//! What a batch of the long window costs beside one of the short one is the ratio; there is no
//! other limit. A manual clock ticks as soon as a batch has ended.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemill::core::{Context, ManualClock, Master};
use tidemill::prelude::*;
use tidemill::streaming::{InputSource, StreamEvent};

use super::{NUM_SLOTS, Outcome};
use crate::report::{Report, Round};
use crate::stopwatch::timed;

const BATCH: Duration = Duration::from_secs(1);
/// Records of a batch, of which each key has as many.
const NUM_RECORDS: u64 = 100_000;
const NUM_KEYS: u64 = 10_000;
/// Windows in batches.
const SHORT: u32 = 10;
const LONG: u32 = 300;
/// Batches that count, after as many as the window needs to be full.
const NUM_MEASURED: usize = 150;

pub(crate) fn measure(num_rounds: u32) -> Outcome<Report> {
    let mut rounds = Vec::new();
    let mut slowest = Duration::ZERO;
    // The first round is not counted: memory is touched for the first time.
    for round in 0..=num_rounds {
        let (short, long) = (Stream::start(SHORT)?, Stream::start(LONG)?);
        let (short, long) = take_turns(short, long)?;
        if round > 0 {
            slowest = slowest.max(long.slowest);
            rounds.push(Round {
                engine: long.median,
                limit: short.median,
            });
        }
    }
    let mut report = Report::micros_each("window", "us/batch, 300 s beside 10 s", 1.0, &rounds);
    report.note("slowest_batch_us", slowest.as_secs_f64() * 1e6);
    Ok(report)
}

/// Batch by batch, so that whatever else the machine does slows both.
fn take_turns(short: Stream, long: Stream) -> Outcome<(Times, Times)> {
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..SHORT {
        short.tick()?;
    }
    for _ in 0..LONG {
        long.tick()?;
    }
    for _ in 0..NUM_MEASURED {
        times.0.push(short.tick()?);
        times.1.push(long.tick()?);
    }
    short.finish(SHORT)?;
    long.finish(LONG)?;
    Ok((Times::of(times.0), Times::of(times.1)))
}

/// The same records in every batch.
struct Same(Rdd<u64>);

impl InputSource for Same {
    type Item = u64;

    fn compute(&self, _: Time) -> std::result::Result<Option<Rdd<u64>>, BoxError> {
        Ok(Some(self.0.map(|number| number)))
    }
}

/// What batches of one window took.
struct Times {
    median: Duration,
    slowest: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |place: usize| times.get(place).copied().unwrap_or_default();
        Self {
            median: at(times.len() / 2),
            slowest: at(times.len() - 1),
        }
    }
}

/// Keys of a window and the sum over them, batch by batch.
type Sums = Arc<Mutex<Vec<(usize, u64)>>>;

/// A running stream with a window.
struct Stream {
    clock: ManualClock,
    running: Running,
    /// How many outputs of each batch have failed.
    completed: Receiver<usize>,
    sums: Sums,
}

impl Stream {
    fn start(span: u32) -> Outcome<Self> {
        let clock = ManualClock::new(0);
        let ctx = Context::builder()
            .master(Master::local(NUM_SLOTS))
            .clock(Arc::new(clock.clone()))
            .build()?;
        let ssc = StreamingContext::new(&ctx, BATCH)?;
        let numbers = ctx.parallelize_into(0..NUM_RECORDS, NUM_SLOTS)?;
        let sums = Sums::default();
        let seen = Arc::clone(&sums);
        ssc.input_stream(Same(numbers))
            .map(|number| (number % NUM_KEYS, 1_u64))
            .reduce_by_key_and_window(Window::of(span * BATCH), |a, b| a + b)
            .for_each_rdd(move |rdd, _| {
                let counts = rdd.collect()?;
                let mut sums = seen.lock().map_err(|_| "an earlier batch panicked")?;
                sums.push((counts.len(), counts.iter().map(|(_, count)| count).sum()));
                Ok(())
            });
        let (sender, completed) = channel();
        ssc.add_listener(move |event: &StreamEvent| {
            if let StreamEvent::BatchCompleted(batch) = event {
                let _ = sender.send(batch.num_failed);
            }
        });
        Ok(Self {
            clock,
            running: ssc.start()?,
            completed,
            sums,
        })
    }

    /// One batch.
    fn tick(&self) -> Outcome<Duration> {
        let (num_failed, time) = timed(|| {
            self.clock.advance(BATCH);
            self.completed.recv()
        });
        if num_failed? > 0 {
            self.running.await_termination()?;
        }
        Ok(time)
    }

    /// Stops, and fails when a window was not what it should be.
    fn finish(self, span: u32) -> Outcome<()> {
        self.running.stop(Stop {
            stop_context: true,
            ..Stop::now()
        })?;
        let sums = self.sums.lock().map_err(|_| "a batch panicked")?;
        for (batch, found) in (1..).zip(&*sums) {
            let expected = (NUM_KEYS as usize, NUM_RECORDS * batch.min(u64::from(span)));
            if *found != expected {
                return Err(format!("wrong result: {found:?}, it is {expected:?}").into());
            }
        }
        Ok(())
    }
}
