//! What it costs to launch a task: stages of 1,000 tasks that do nothing.
//!
//! The limit is two waiting threads that take boxed functions out of one locked queue.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tidemill::core::Context;

use super::{NUM_SLOTS, Outcome, interleave};
use crate::Size;
use crate::limit::both;
use crate::report::Report;

const NUM_TASKS: u64 = 1_000;
/// One stage is over too soon to be timed well.
const NUM_STAGES: u64 = 50;

pub(crate) fn measure(size: Size) -> Outcome<Report> {
    let ctx = Context::local(NUM_SLOTS)?;
    let rdd = ctx.parallelize_into(std::iter::empty::<u64>(), NUM_TASKS as usize)?;
    let engine = || {
        let mut num_tasks = 0;
        for _ in 0..NUM_STAGES {
            let records = rdd.map_partitions(|_| std::iter::once(1_u64)).collect()?;
            num_tasks += records.len() as u64;
        }
        Ok(num_tasks)
    };
    let limit = || (0..NUM_STAGES).map(|_| run_queue()).sum::<u64>();
    let rounds = interleave(size.rounds, limit, engine)?;
    Ok(Report::micros_each(
        "task-launch",
        "microseconds per task",
        (NUM_STAGES * NUM_TASKS) as f64,
        &rounds,
    ))
}

/// Runs 1,000 functions on two threads; returns how many ran.
fn run_queue() -> u64 {
    type Function = Box<dyn FnOnce() -> u64 + Send>;
    let num_run = AtomicU64::new(0);
    let queue: VecDeque<Function> = (0..NUM_TASKS)
        .map(|i| Box::new(move || u64::from(i < NUM_TASKS)) as Function)
        .collect();
    let queue = Mutex::new(queue);
    let work = || {
        while let Some(function) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) {
            num_run.fetch_add(function(), Ordering::Relaxed);
        }
    };
    both(work, work);
    num_run.into_inner()
}
