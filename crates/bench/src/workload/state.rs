//! `map_with_state` over many keys of which a batch touches one in a hundred.
//!
//! The limit is the same program with no other keys than those that are touched: what the others
//! cost is all that is asked. Keys and states are numbers of eight bytes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tidemill::core::{Context, ManualClock, Master};
use tidemill::prelude::*;
use tidemill::streaming::{StateSpec, StreamEvent};

use super::{NUM_SLOTS, Outcome};
use crate::generator::SplitMix64;
use crate::report::{Report, Round, rss_bytes};
use crate::stopwatch::timed;

/// Of so many keys a batch touches one.
const ONE_IN: u64 = 100;
/// Batches of one round.
const NUM_BATCHES: u64 = 10;
const BATCH: Duration = Duration::from_secs(1);
/// What key and state themselves take.
const PAIR_BYTES: f64 = 16.0;

pub(crate) fn measure(num_keys: u64, num_rounds: u32) -> Outcome<Report> {
    let num_touched = (num_keys / ONE_IN).max(1);
    let mut few = Counter::new(num_touched, num_touched)?;
    few.fill()?;
    // Not counted: the engine has its threads and the allocator its pages.
    few.round()?;
    let before = rss_bytes().unwrap_or(0);
    let mut many = Counter::new(num_keys, num_touched)?;
    many.fill()?;
    many.round()?;
    let after = rss_bytes().unwrap_or(0);
    let mut rounds = Vec::new();
    for _ in 0..num_rounds {
        let (limit, engine) = (few.round()?, many.round()?);
        rounds.push(Round { engine, limit });
    }
    let amount = (num_touched * NUM_BATCHES) as f64;
    let unit = "microseconds per touched key";
    let mut report = Report::micros_each("state", unit, amount, &rounds);
    let beyond = |bytes: u64| bytes as f64 / num_keys as f64 - PAIR_BYTES;
    report.note("keys", num_keys as f64);
    report.note("bytes a key, counted", beyond(many.size_bytes()?));
    report.note(
        "bytes a key, resident",
        beyond(after.saturating_sub(before)),
    );
    Ok(report)
}

/// A program that counts how often it has seen each key.
struct Counter {
    ctx: Context,
    clock: ManualClock,
    queue: RddQueue<(u64, u64)>,
    running: Running,
    completed: Receiver<usize>,
    sums: Receiver<u64>,
    /// How often each key was sent.
    sent: Vec<u32>,
    num_touched: u64,
    random: SplitMix64,
}

impl Counter {
    fn new(num_keys: u64, num_touched: u64) -> Outcome<Self> {
        let clock = ManualClock::new(0);
        let builder = Context::builder().master(Master::local(NUM_SLOTS));
        let ctx = builder.clock(Arc::new(clock.clone())).build()?;
        let ssc = StreamingContext::new(&ctx, BATCH)?;
        let queue = RddQueue::new();
        let pairs = ssc.queue_stream(&queue, QueueMode::OneAtATime);
        let totals = pairs.map_with_state(StateSpec::new(), |_, one, state| {
            let total = state.get().copied().unwrap_or(0) + one.unwrap_or(0);
            state.update(total);
            total
        });
        let (sender, sums) = channel();
        totals.for_each_rdd(move |rdd, _| Ok(sender.send(rdd.fold(0, |a, b| a + b)?)?));
        let (sender, completed) = channel();
        ssc.add_listener(move |event: &StreamEvent| {
            if let StreamEvent::BatchCompleted(batch) = event {
                let _ = sender.send(batch.num_failed);
            }
        });
        Ok(Self {
            ctx,
            clock,
            queue,
            running: ssc.start()?,
            completed,
            sums,
            sent: vec![0; num_keys as usize],
            num_touched,
            random: SplitMix64::new(num_keys),
        })
    }

    /// Sends every key once, as many a batch as are touched later.
    fn fill(&mut self) -> Outcome<()> {
        let num_keys = self.sent.len() as u64;
        for first in (0..num_keys).step_by(self.num_touched as usize) {
            self.batch((first..num_keys.min(first + self.num_touched)).collect())?;
        }
        Ok(())
    }

    /// Some batches, each of keys from everywhere, in no order.
    fn round(&mut self) -> Outcome<Duration> {
        let num_keys = self.sent.len() as u64;
        let span = num_keys / self.num_touched;
        let mut total = Duration::ZERO;
        for _ in 0..NUM_BATCHES {
            let random = &mut self.random;
            let mut keys: Vec<u64> = (0..self.num_touched)
                .map(|at| at * span + random.below(span))
                .collect();
            for at in (1..keys.len()).rev() {
                keys.swap(at, random.below(at as u64 + 1) as usize);
            }
            total += self.batch(keys)?;
        }
        Ok(total)
    }

    /// One batch of these keys; how long it took.
    fn batch(&mut self, keys: Vec<u64>) -> Outcome<Duration> {
        let mut expected = 0;
        for key in &keys {
            if let Some(count) = self.sent.get_mut(*key as usize) {
                *count += 1;
                expected += u64::from(*count);
            }
        }
        // Neighbours in the list are strangers to the hash, and to each other.
        let pairs = keys.into_iter().map(|key| (key, 1));
        self.queue
            .push(self.ctx.parallelize_into(pairs, NUM_SLOTS)?);
        let (clock, completed) = (&self.clock, &self.completed);
        let (num_failed, time) = timed(|| {
            clock.advance(BATCH);
            completed.recv_timeout(Duration::from_secs(60))
        });
        if num_failed? > 0 {
            self.running.await_termination()?;
        }
        let sum = self.sums.recv_timeout(BATCH)?;
        if sum != expected {
            return Err(format!("wrong result: {sum}, not {expected}").into());
        }
        Ok(time)
    }

    fn size_bytes(&self) -> Outcome<u64> {
        let sizes = self.running.state_sizes()?;
        Ok(sizes.iter().map(|(_, size)| size.size_bytes).sum())
    }
}
