//! The word count over a real socket: a feeder process, the receiver, batches of one second.
//!
//! The feeder sends a text over and over, as fast as it is taken. What is measured is the steady
//! state: from the end of the second batch to the end of the last. The limit counts the same text
//! in memory before and after.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemill::core::Context;
use tidemill::prelude::*;
use tidemill::streaming::{BatchInfo, StreamEvent};

use super::{NUM_SLOTS, Outcome};
use crate::Size;
use crate::generator::Generator;
use crate::limit::{Checksum, count_words, on_two_threads};
use crate::report::{Report, Round};
use crate::stopwatch::timed;

/// How often the feeder sends the text: more than 20 s of data at a third of the limit.
const PASSES: u64 = 24;
/// Batches that are not counted: connections are made, pages are touched for the first time.
const LEFT_OUT: usize = 2;
const BATCH: Duration = Duration::from_secs(1);

pub(crate) fn measure(size: Size) -> Outcome<Report> {
    let num_bytes = size.block_megabytes as usize * 1_000_000;
    let texts = Generator::new().blocks(u64::from(size.blocks), num_bytes, false);
    let bytes: Vec<&[u8]> = texts
        .iter()
        .map(|(text, _)| text.trim_end_matches('\n').as_bytes())
        .collect();
    let limit = || {
        let (a, b) = on_two_threads(&bytes, count_words);
        Checksum::of_counts(a.into_iter().chain(b))
    };
    let (one_pass, _) = timed(limit);
    let mut expected = Checksum::default();
    (0..PASSES).for_each(|_| expected.merge(one_pass));
    let (_, before) = timed(limit);
    let steady = run(size, expected)?;
    let (_, after) = timed(limit);
    let limit = (before + after) / 2;
    // The limit's time for as many words as the steady state had.
    let share = steady.num_words as f64 / one_pass.num_words as f64;
    let round = Round {
        engine: steady.time,
        limit: limit.mul_f64(share),
    };
    let mut report = Report::per_second(
        "wordcount-tcp",
        "million words/s",
        steady.num_words as f64 / 1e6,
        &[round],
    );
    report.note("steady_seconds", steady.time.as_secs_f64());
    report.note("batches", steady.num_batches as f64);
    Ok(report)
}

struct Steady {
    num_words: u64,
    num_batches: usize,
    time: Duration,
}

/// Words of each batch, as they are counted.
#[derive(Default)]
struct Counted {
    total: Checksum,
    by_batch: Vec<(Time, u64)>,
}

fn run(size: Size, expected: Checksum) -> Outcome<Steady> {
    let (mut feeder, port) = start_feeder(size)?;
    let ctx = Context::local(NUM_SLOTS)?;
    let ssc = StreamingContext::new(&ctx, BATCH)?;
    let counted = Arc::new(Mutex::new(Counted::default()));
    let sink = Arc::clone(&counted);
    ssc.socket_text_stream("127.0.0.1", port)
        .flat_map(|line| line.split(' '))
        .map(|word| (word, 1_u64))
        .reduce_by_key(|a, b| a + b)
        .for_each_rdd(move |rdd, time| {
            let counts = rdd.collect()?;
            let mut counted = sink.lock().map_err(|_| "an earlier batch panicked")?;
            let before = counted.total.num_words;
            for (word, count) in counts {
                counted.total.add(word.as_bytes(), count);
            }
            let num_words = counted.total.num_words - before;
            counted.by_batch.push((time, num_words));
            Ok(())
        });
    let (sender, batches) = channel();
    ssc.add_listener(move |event: &StreamEvent| {
        if let StreamEvent::BatchCompleted(batch) = event {
            let _ = sender.send(batch.clone());
        }
    });
    let running = ssc.start()?;
    let completed = wait_for_all(&batches, &counted, expected, &running);
    running.stop(Stop::now())?;
    let _ = feeder.kill();
    feeder.wait()?;
    steady_state(&completed?, &counted)
}

/// Batches until all words are counted.
fn wait_for_all(
    batches: &Receiver<BatchInfo>,
    counted: &Mutex<Counted>,
    expected: Checksum,
    running: &Running,
) -> Outcome<Vec<BatchInfo>> {
    let mut completed = Vec::new();
    loop {
        let batch = batches.recv_timeout(Duration::from_secs(120))?;
        if batch.num_failed > 0 {
            running.await_termination()?;
        }
        completed.push(batch);
        let total = counted.lock().map_err(|_| "a batch panicked")?.total;
        if total == expected {
            return Ok(completed);
        }
        if total.num_words >= expected.num_words {
            return Err(format!("wrong result: {total:?}, the limit has {expected:?}").into());
        }
    }
}

fn steady_state(completed: &[BatchInfo], counted: &Mutex<Counted>) -> Outcome<Steady> {
    let counted = counted.lock().map_err(|_| "a batch panicked")?;
    let with_words: Vec<&BatchInfo> = completed
        .iter()
        .filter(|batch| batch.num_records() > 0)
        .collect();
    let (Some(from), Some(to)) = (with_words.get(LEFT_OUT - 1), with_words.last()) else {
        return Err("too few batches: raise --blocks".into());
    };
    let (Some(start), Some(end)) = (from.completed, to.completed) else {
        return Err("a completed batch has no end".into());
    };
    let words = counted
        .by_batch
        .iter()
        .filter(|(time, _)| *time > from.time);
    Ok(Steady {
        num_words: words.map(|(_, num_words)| num_words).sum(),
        num_batches: with_words.len() - LEFT_OUT,
        time: end.since(start),
    })
}

/// Starts this program again as the feeder; it prints its port when its text is ready.
fn start_feeder(size: Size) -> Outcome<(Child, u16)> {
    use std::io::BufRead;
    let mut feeder = Command::new(std::env::current_exe()?)
        .arg("feeder")
        .args(["--blocks", &size.blocks.to_string()])
        .args(["--block-megabytes", &size.block_megabytes.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let out = feeder.stdout.take().ok_or("feeder has no output")?;
    std::io::BufReader::new(out).read_line(&mut line)?;
    Ok((feeder, line.trim().parse()?))
}

/// The feeder: sends its text [`PASSES`] times to the first client, then ends.
pub(crate) fn feed(size: Size) -> Outcome<()> {
    let num_bytes = size.block_megabytes as usize * 1_000_000;
    let texts = Generator::new().blocks(u64::from(size.blocks), num_bytes, false);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    let (mut client, _) = listener.accept()?;
    for _ in 0..PASSES {
        for (text, _) in &texts {
            client.write_all(text.as_bytes())?;
        }
    }
    Ok(())
}
