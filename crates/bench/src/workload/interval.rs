//! How short batches may be: scheduling delay over a minute of very short ones.
//!
//! The delay is measured from the batch's time on the wall clock to the start of its first job, so
//! that a late tick counts. There is no limit to compare with but the interval itself.

use std::fmt;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde::Serialize;
use tidemill::core::Context;
use tidemill::prelude::*;
use tidemill::streaming::{BatchInfo, InputSource, StreamEvent};

use super::{NUM_SLOTS, Outcome};

/// Delays of one run, in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct IntervalReport {
    workload: &'static str,
    interval_ms: u64,
    seconds: u64,
    num_batches: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Means of the delays of the first and the last sixth of the run.
    first_ms: f64,
    last_ms: f64,
    unit: &'static str,
    peak_rss_bytes: u64,
}

impl fmt::Display for IntervalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, {} batches of {} ms",
            self.workload, self.num_batches, self.interval_ms
        )?;
        writeln!(
            f,
            "  p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
            self.p50_ms, self.p99_ms, self.max_ms
        )?;
        write!(
            f,
            "  first part {:.3} ms, last part {:.3} ms",
            self.first_ms, self.last_ms
        )
    }
}

/// One record a batch.
struct OneRecord(Context);

impl InputSource for OneRecord {
    type Item = i64;

    fn compute(&self, time: Time) -> std::result::Result<Option<Rdd<i64>>, BoxError> {
        Ok(Some(self.0.parallelize_into([time.as_ms()], 1)?))
    }
}

pub(crate) fn measure(interval_ms: u64, seconds: u64, shuffle: bool) -> Outcome<IntervalReport> {
    let ctx = Context::local(NUM_SLOTS)?;
    let ssc = StreamingContext::new(&ctx, Duration::from_millis(interval_ms))?;
    let records = ssc.input_stream(OneRecord(ctx.clone()));
    let check = |found: Vec<i64>, time: Time| {
        if found == [time.as_ms()] {
            Ok(())
        } else {
            Err(format!("wrong result: {found:?}").into())
        }
    };
    if shuffle {
        let counts = records.map(|time| (time, 1)).reduce_by_key(|a, b| a + b);
        counts.for_each_rdd(move |rdd, time| {
            check(
                rdd.collect()?.into_iter().map(|(key, _)| key).collect(),
                time,
            )
        });
    } else {
        records.for_each_rdd(move |rdd, time| check(rdd.collect()?, time));
    }
    let (sender, completed) = channel();
    ssc.add_listener(move |event: &StreamEvent| {
        if let StreamEvent::BatchCompleted(batch) = event {
            let _ = sender.send(batch.clone());
        }
    });
    let running = ssc.start()?;
    let mut batches: Vec<BatchInfo> = Vec::new();
    let wanted = (seconds * 1_000 / interval_ms) as usize;
    while batches.len() < wanted {
        batches.push(completed.recv_timeout(Duration::from_secs(60))?);
    }
    running.stop(Stop::now())?;
    running.await_termination()?;
    Ok(report(&batches, interval_ms, seconds, shuffle))
}

fn report(batches: &[BatchInfo], interval_ms: u64, seconds: u64, shuffle: bool) -> IntervalReport {
    // What the clock was late by, to the millisecond, and what the driver took, to the microsecond.
    let delays: Vec<f64> = batches
        .iter()
        .map(|batch| {
            let late = batch.submitted.since(batch.time).as_secs_f64();
            (late + batch.scheduling_delay.unwrap_or_default().as_secs_f64()) * 1e3
        })
        .collect();
    let mut sorted = delays.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        sorted
            .get(((sorted.len() - 1) as f64 * share) as usize)
            .copied()
            .unwrap_or(f64::NAN)
    };
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
    let sixth = delays.len() / 6;
    IntervalReport {
        workload: if shuffle {
            "interval-shuffle"
        } else {
            "interval"
        },
        interval_ms,
        seconds,
        num_batches: batches.len(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        max_ms: at(1.0),
        first_ms: mean(delays.get(..sixth).unwrap_or_default()),
        last_ms: mean(delays.get(delays.len() - sixth..).unwrap_or_default()),
        unit: "ms of scheduling delay",
        peak_rss_bytes: crate::report::peak_rss_bytes().unwrap_or(0),
    }
}
