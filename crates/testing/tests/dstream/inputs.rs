//! Inputs without a receiver.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tidemill_core::{Context, Rdd};
use tidemill_streaming::{
    BoxError, InputSource, OffsetSource, QueueMode, RddQueue, SeededSource, Time, Window,
};

use crate::support::{BATCH, Bench, Case, Outcome, case, collect, driver_case, local_case, take};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-064 S-067
        driver_case("a_queue_gives_one_rdd_a_batch", one_at_a_time),
        // S-065
        driver_case("a_queue_gives_all_that_waits", all_at_once),
        // S-066
        driver_case("an_empty_queue_gives_its_default_or_nothing", defaults),
        driver_case("a_source_of_ones_own_is_asked_each_batch", own_source),
        local_case(
            "a_source_is_asked_once_for_a_batch_without_an_rdd",
            asked_once,
        ),
        local_case(
            "an_input_that_fails_leaves_the_others_their_batch",
            neighbour,
        ),
        case("offset_ranges_are_read_by_tasks", offsets),
        driver_case("offset_ranges_read_again_are_the_same", replayed),
        local_case("a_failing_offset_source_loses_no_records", failing_offsets),
    ]
}

fn one_at_a_time(bench: &Bench) -> Outcome {
    let program = bench.program();
    let queue = RddQueue::new();
    let rows = collect(&program.ssc.queue_stream(&queue, QueueMode::OneAtATime));
    queue.push(program.ctx.parallelize([1]));
    queue.push(program.ctx.parallelize([2]));
    let live = program.start();
    live.tick();
    queue.push(live.ctx.parallelize([3]));
    assert_eq!(queue.len(), 2);
    (0..3).for_each(|_| drop(live.tick()));
    assert!(queue.is_empty());
    let seen: Vec<Vec<i32>> = (0..4).map(|_| take(&rows)).collect();
    assert_eq!(seen, [vec![1], vec![2], vec![3], vec![]]);
    Ok(())
}

fn all_at_once(bench: &Bench) -> Outcome {
    let program = bench.program();
    let queue = RddQueue::new();
    let rows = collect(&program.ssc.queue_stream(&queue, QueueMode::All));
    for x in 1..4 {
        queue.push(program.ctx.parallelize([x, 10 * x]));
    }
    let live = program.start();
    live.tick();
    queue.push(live.ctx.parallelize([4]));
    live.tick();
    live.tick();
    assert_eq!(take(&rows), [1, 10, 2, 20, 3, 30]);
    assert_eq!((take(&rows), take(&rows)), (vec![4], vec![]));
    Ok(())
}

fn defaults(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (ssc, ctx) = (&program.ssc, &program.ctx);
    let (queue, never) = (RddQueue::new(), RddQueue::<i32>::new());
    queue.push(ctx.parallelize([1]));
    let filled = ssc.queue_stream_or(&queue, QueueMode::OneAtATime, ctx.parallelize([7, 8]));
    let rows = collect(&filled);
    let empty = collect(&ssc.queue_stream(&never, QueueMode::All).glom());
    let live = program.start();
    (0..3).for_each(|_| drop(live.tick()));
    assert_eq!(take(&rows), [1]);
    assert_eq!((take(&rows), take(&rows)), (vec![7, 8], vec![7, 8]));
    assert_eq!(take(&empty), [Vec::<i32>::new()]);
    Ok(())
}

/// Its time, in every second batch; no RDD in the others.
pub(crate) struct EveryOther(pub(crate) Context);

impl InputSource for EveryOther {
    type Item = i64;

    fn compute(&self, time: Time) -> Result<Option<Rdd<i64>>, BoxError> {
        if time.as_ms() % 2_000 != 0 {
            return Ok(None);
        }
        Ok(Some(self.0.parallelize_into([time.as_ms()], 1)?))
    }
}

fn own_source(bench: &Bench) -> Outcome {
    let program = bench.program();
    let source = EveryOther(program.ctx.clone());
    let rows = collect(&program.ssc.input_stream(source).map(|x| x + 1));
    let live = program.start();
    for expected in [2_000, 4_000] {
        live.advance();
        assert_eq!(live.tick().time.as_ms(), expected);
        assert_eq!(take(&rows), [expected + 1]);
    }
    Ok(())
}

/// Takes the next of these for whatever batch asks.
struct Taking(Context, Mutex<VecDeque<Option<i64>>>);

impl InputSource for Taking {
    type Item = i64;

    fn compute(&self, _: Time) -> Result<Option<Rdd<i64>>, BoxError> {
        let next = self.1.lock().pop_front().flatten();
        Ok(next.map(|record| self.0.parallelize([record])))
    }
}

/// Whatever reads the batch, and however often.
fn asked_once(bench: &Bench) -> Outcome {
    let program = bench.program();
    let batches = [None, Some(2), None, Some(4), None];
    let source = Taking(program.ctx.clone(), Mutex::new(batches.into()));
    let stream = program.ssc.input_stream(source);
    let rows = collect(&stream);
    let same = collect(&stream);
    let windows = collect(&stream.window(Window::of(3 * BATCH)));
    let live = program.start();
    for _ in 0..5 {
        live.tick();
    }
    let seen: Vec<Vec<i64>> = rows.try_iter().collect();
    assert_eq!(seen, [[2], [4]]);
    assert_eq!(same.try_iter().collect::<Vec<_>>(), seen);
    let windows: Vec<Vec<i64>> = windows.try_iter().collect();
    assert_eq!(windows, [vec![], vec![2], vec![2], vec![2, 4], vec![4]]);
    Ok(())
}

/// Panics for the second batch.
struct Unlucky;

impl InputSource for Unlucky {
    type Item = i64;

    fn compute(&self, time: Time) -> Result<Option<Rdd<i64>>, BoxError> {
        assert_ne!(time.as_ms(), 2_000, "no luck");
        Ok(None)
    }
}

/// The records of the batch that failed are not those of a later one.
fn neighbour(bench: &Bench) -> Outcome {
    for is_first in [true, false] {
        let program = bench.program();
        let unlucky = || collect(&program.ssc.input_stream(Unlucky));
        let _first = is_first.then(unlucky);
        let numbers = program.queue(vec![vec![1], vec![2], vec![3]]);
        let windows = collect(&numbers.window(Window::of(2 * BATCH)));
        let _last = (!is_first).then(unlucky);
        let live = program.start();
        live.tick();
        live.advance();
        live.tick();
        assert_eq!((take(&windows), take(&windows)), (vec![1], vec![2, 3]));
    }
    Ok(())
}

const SEEDED: SeededSource = SeededSource {
    seed: 11,
    num_partitions: 3,
    records_per_batch: 5,
};

fn offsets(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.ssc.offset_stream(SEEDED);
    let counts = collect(&stream.map_partitions(|records| [records.count() as u64]));
    let rows = collect(&stream);
    let live = program.start();
    let first = live.tick();
    assert_eq!(first.num_records(), 15);
    assert_eq!(first.inputs[0].description, "0:[0,5) 1:[0,5) 2:[0,5)");
    live.tick();
    assert_eq!((take(&counts), take(&counts)), (vec![5; 3], vec![5; 3]));
    let seen = [take(&rows), take(&rows)].concat();
    let mut unique = seen.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!((seen.len(), unique.len()), (30, 30));
    Ok(())
}

/// The same RDD is computed twice, and a second program reads the same numbers.
fn replayed(bench: &Bench) -> Outcome {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let program = bench.program();
        let (sender, rows) = std::sync::mpsc::channel();
        program
            .ssc
            .offset_stream(SEEDED)
            .for_each_rdd(move |rdd, _| {
                sender.send(rdd.collect()?)?;
                Ok(sender.send(rdd.collect()?)?)
            });
        let live = program.start();
        live.tick();
        live.tick();
        let seen: Vec<Vec<u64>> = (0..4).map(|_| take(&rows)).collect();
        assert_eq!((&seen[0], &seen[2]), (&seen[1], &seen[3]));
        assert_ne!(seen[0], seen[2]);
        runs.push(seen);
    }
    assert_eq!(runs[0], runs[1]);
    Ok(())
}

/// Does not know its end in the second batch.
struct Moody;

impl OffsetSource for Moody {
    type Reader = SeededSource;

    fn reader(&self) -> SeededSource {
        SEEDED
    }

    fn start_offsets(&self) -> Result<Vec<u64>, BoxError> {
        Ok(vec![0])
    }

    fn end_offsets(&self, time: Time, _: &[u64]) -> Result<Vec<u64>, BoxError> {
        let batch = u64::try_from(time.as_ms() / 1_000)?;
        if batch == 2 {
            return Err("cannot be asked now".into());
        }
        Ok(vec![10 * batch])
    }
}

fn failing_offsets(bench: &Bench) -> Outcome {
    let program = bench.program();
    let rows = collect(&program.ssc.offset_stream(Moody).count());
    let live = program.start();
    live.tick();
    live.advance();
    let error = live.running.await_termination().unwrap_err();
    assert!(error.report().ends_with("cannot be asked now"), "{error:?}");
    assert_eq!(live.tick().inputs[0].description, "0:[10,30)");
    assert_eq!((take(&rows), take(&rows)), (vec![10], vec![20]));
    Ok(())
}
