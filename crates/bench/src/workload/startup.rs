//! From the start of a process to the output of its first batch.
//!
//! The limit is the batch interval: a process that starts anywhere in one waits for its end.

use std::io::BufRead;
use std::process::{Command, Stdio};
use std::time::Duration;

use tidemill::core::Context;
use tidemill::prelude::*;
use tidemill::streaming::{QueueMode, RddQueue};

use super::{NUM_SLOTS, Outcome};
use crate::report::{Report, Round};
use crate::stopwatch::timed;

const BATCH: Duration = Duration::from_millis(100);

pub(crate) fn measure(num_rounds: u32) -> Outcome<Report> {
    let mut rounds = Vec::new();
    for _ in 0..num_rounds.max(20) {
        let (line, engine) = timed(first_line);
        if line? != "(first,1)\n" {
            return Err("wrong result of the first batch".into());
        }
        rounds.push(Round {
            engine,
            limit: BATCH,
        });
    }
    Ok(Report::micros_each(
        "startup",
        "milliseconds to the first output",
        1e3,
        &rounds,
    ))
}

fn first_line() -> Outcome<String> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("first-batch")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let out = child.stdout.take().ok_or("child has no output")?;
    std::io::BufReader::new(out).read_line(&mut line)?;
    let _ = child.kill();
    child.wait()?;
    Ok(line)
}

/// The process that is started: a word count that prints its first batch and ends.
pub(crate) fn first_batch() -> Outcome<()> {
    let ctx = Context::local(NUM_SLOTS)?;
    let ssc = StreamingContext::new(&ctx, BATCH)?;
    let queue = RddQueue::new();
    queue.push(ctx.parallelize([Text::from("first")]));
    ssc.queue_stream(&queue, QueueMode::OneAtATime)
        .map(|word| (word, 1))
        .reduce_by_key(|a, b| a + b)
        .for_each_rdd(|rdd, _| {
            for record in rdd.collect()? {
                println!("{}", tidemill::streaming::render(&record));
            }
            Ok(())
        });
    Ok(ssc.start()?.await_termination()?)
}
