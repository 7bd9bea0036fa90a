//! The word count through the streaming engine: blocks in memory, batches back to back.
//!
//! A manual clock ticks as soon as a batch has ended, so that the engine is never idle and the
//! time is that of generating, scheduling, counting, shuffling and collecting the batches.

use std::panic::Location;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemill::core::storage::BlockId;
use tidemill::core::{Context, ManualClock, Operator, TextBlock};
use tidemill::prelude::*;
use tidemill::streaming::{InputSource, StreamEvent};

use super::{Outcome, Stored, interleave};
use crate::Size;
use crate::limit::{Checksum, count_words, on_two_threads};
use crate::report::Report;

/// Batches of one round, each over other blocks than the one before.
const NUM_BATCHES: usize = 20;
const BATCH: Duration = Duration::from_secs(1);

pub(crate) fn measure(size: Size) -> Outcome<Report> {
    let clock = ManualClock::new(0);
    let stored = Stored::on_clock(size, false, Arc::new(clock.clone()))?;
    let bytes = stored.bytes();
    let passes = NUM_BATCHES / stored.batches.len().max(1);
    let mut num_words = 0;
    let limit = || {
        let mut sum = Checksum::default();
        for _ in 0..passes {
            let (a, b) = on_two_threads(&bytes, count_words);
            sum.merge(Checksum::of_counts(a.into_iter().chain(b)));
        }
        num_words = sum.num_words;
        sum
    };
    let rounds = interleave(size.rounds, limit, || {
        run(&stored, passes * stored.batches.len(), &clock)
    })?;
    Ok(Report::per_second(
        "wordcount",
        "million words/s",
        num_words as f64 / 1e6,
        &rounds,
    ))
}

/// Stored blocks as the input of a stream.
struct StoredBatches {
    ctx: Context,
    batches: Vec<Vec<BlockId>>,
    zero: i64,
}

impl InputSource for StoredBatches {
    type Item = Text;

    fn compute(&self, time: Time) -> std::result::Result<Option<Rdd<Text>>, BoxError> {
        let number = (time.as_ms() - self.zero) / BATCH.as_millis() as i64 - 1;
        let ids = self.batches.get(number as usize % self.batches.len());
        let operator = Operator::new("blocks", Location::caller());
        let ids = ids.cloned().unwrap_or_default();
        Ok(Some(self.ctx.blocks_as::<TextBlock>(operator, ids)))
    }
}

fn run(stored: &Stored, num_batches: usize, clock: &ManualClock) -> Outcome<Checksum> {
    let ssc = StreamingContext::new(&stored.ctx, BATCH)?;
    let zero = Time::from_ms(stored.ctx.clock().now_ms())
        .floor(BATCH)
        .as_ms();
    let (ctx, batches) = (stored.ctx.clone(), stored.batches.clone());
    let total = Arc::new(Mutex::new(Checksum::default()));
    let sum = Arc::clone(&total);
    ssc.input_stream(StoredBatches { ctx, batches, zero })
        .flat_map(|line| line.split(' '))
        .map(|word| (word, 1_u64))
        .reduce_by_key(|a, b| a + b)
        .for_each_rdd(move |rdd, _| {
            let counts = rdd.collect()?;
            let mut sum = sum.lock().map_err(|_| "an earlier batch panicked")?;
            for (word, count) in counts {
                sum.add(word.as_bytes(), count);
            }
            Ok(())
        });
    let (sender, completed) = channel();
    ssc.add_listener(move |event: &StreamEvent| {
        if let StreamEvent::BatchCompleted(batch) = event {
            let _ = sender.send(batch.num_failed);
        }
    });
    let running = ssc.start()?;
    for _ in 0..num_batches {
        clock.advance(BATCH);
        if completed.recv()? > 0 {
            running.await_termination()?;
        }
    }
    running.stop(Stop::now())?;
    let sum = *total.lock().map_err(|_| "a batch panicked")?;
    Ok(sum)
}
