//! `slice`, and how long batches are remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidemill_core::{Data, ErrorKind};
use tidemill_streaming::{DStream, Interval, Time};

use crate::support::{BATCH, Bench, Case, Live, Outcome, collect, driver_case, local_case, take};
use crate::windows::batches;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-111
        driver_case("a_slice_has_the_batches_of_its_interval", slices),
        // S-111
        driver_case("a_slice_makes_what_was_not_made", made_now),
        // S-009 S-111
        local_case("a_stream_has_no_slices_before_the_start", before_start),
        // S-111
        driver_case("a_forgotten_batch_of_an_input_is_an_error", forgotten),
        local_case("a_panic_in_a_slice_is_an_error", panics),
        // S-017 S-014
        local_case("nested_windows_remember_exactly_what_they_need", nested),
        // S-014 S-125
        local_case("a_marked_stream_remembers_two_intervals", marked),
    ]
}

const fn second(n: i64) -> Time {
    Time::from_ms(1_000 * n)
}

/// The records of each batch of the slice.
fn slice<T: Data>(stream: &DStream<T>, from: i64, to: i64) -> Vec<Vec<T>> {
    let interval = (Time::from_ms(from), Time::from_ms(to));
    let rdds = stream.slice(interval).unwrap();
    rdds.iter().map(|rdd| rdd.collect().unwrap()).collect()
}

/// Lets batches come until the jobs of the last one have ended.
fn run(live: &Live, num: usize) {
    (0..num).for_each(|_| drop(live.tick()));
}

fn slices(bench: &Bench) -> Outcome {
    let program = bench.program();
    program.ssc.remember(10 * BATCH)?;
    let numbers = program.queue(vec![vec![1], vec![2], vec![3], vec![4], vec![5]]);
    let rows = collect(&numbers);
    let live = program.start();
    run(&live, 4);
    assert_eq!(slice(&numbers, 0, 1_000), [[1]]);
    assert_eq!(slice(&numbers, 0, 2_000), [[1], [2]]);
    assert_eq!(slice(&numbers, 1_000, 2_000), [[1], [2]]);
    assert_eq!(slice(&numbers, 2_000, 4_000), [[2], [3], [4]]);
    // Both ends are moved back to a batch.
    assert_eq!(slice(&numbers, 1_999, 3_999), [[1], [2], [3]]);
    assert_eq!(slice(&numbers, i64::MIN, 999), Vec::<Vec<i32>>::new());
    assert_eq!(slice(&numbers, 3_000, 2_000), Vec::<Vec<i32>>::new());
    // What has not come is left out, and nothing is taken from it.
    assert_eq!(slice(&numbers, 4_000, i64::MAX), [[4]]);
    let interval = Interval {
        begin: second(2),
        end: second(2),
    };
    assert_eq!(numbers.slice(interval)?.len(), 1);
    run(&live, 1);
    assert_eq!(slice(&numbers, 5_000, 5_000), [[5]]);
    assert_eq!(rows.try_iter().count(), 5);
    Ok(())
}

/// A count of how often a stream's RDDs are made.
fn counted(stream: &DStream<i32>) -> (DStream<i32>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let stream = stream.transform(move |rdd, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(rdd.clone())
    });
    (stream, calls)
}

fn made_now(bench: &Bench) -> Outcome {
    let program = bench.program();
    program.ssc.remember(10 * BATCH)?;
    let numbers = program.queue((1..=6).map(|x| vec![x]).collect());
    let (seldom, calls) = counted(&numbers);
    let rows = collect(&seldom.window(batches(1).every(3 * BATCH)));
    let live = program.start();
    (0..6).for_each(|_| live.advance());
    assert_eq!((take(&rows), take(&rows)), (vec![3], vec![6]));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    live.event(|event| match event {
        tidemill_streaming::StreamEvent::BatchCompleted(info) => {
            (info.time == second(6)).then_some(())
        }
        _ => None,
    });
    assert_eq!(slice(&seldom, 2_000, 4_000), [[2], [3], [4]]);
    assert_eq!(slice(&seldom, 2_000, 4_000), [[2], [3], [4]]);
    assert_eq!(calls.load(Ordering::Relaxed), 4);
    Ok(())
}

fn before_start(bench: &Bench) -> Outcome {
    let program = bench.program();
    let numbers = program.queue(vec![vec![1]]);
    let unused = numbers.map(|x| x + 1);
    let _rows = collect(&numbers);
    for stream in [&numbers, &unused] {
        let error = stream.slice((second(0), second(1))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("has not been initialized"));
    }
    let live = program.start();
    run(&live, 1);
    // No output needs it: it never has batches.
    assert!(unused.slice((second(0), second(1))).is_err());
    Ok(())
}

fn forgotten(bench: &Bench) -> Outcome {
    let program = bench.program();
    let numbers = program.queue((1..=6).map(|x| vec![x]).collect());
    let rows = collect(&numbers);
    let live = program.start();
    run(&live, 4);
    let error = numbers.slice((second(1), second(4))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(error.message(), "batch has been forgotten");
    assert!(
        error
            .fact("hint")
            .is_some_and(|hint| hint.contains("remember"))
    );
    run(&live, 1);
    // The question took no record from a later batch.
    assert_eq!(rows.try_iter().last(), Some(vec![5]));
    Ok(())
}

fn panics(bench: &Bench) -> Outcome {
    let program = bench.program();
    program.ssc.remember(10 * BATCH)?;
    let numbers = program.queue(vec![vec![1], vec![2]]);
    let moody = numbers.transform(|rdd, time| {
        assert!(time != second(1), "not this one");
        Ok(rdd.clone())
    });
    let rows = collect(&moody.window(batches(1).every(2 * BATCH)));
    let live = program.start();
    live.advance();
    live.advance();
    assert_eq!(take(&rows), [2]);
    let error = moody.slice((second(1), second(1))).unwrap_err();
    assert!(error.report().contains("not this one"), "{error:?}");
    Ok(())
}

/// Spark's "rdd cleanup - map and window".
fn nested(bench: &Bench) -> Outcome {
    let program = bench.program();
    program.ssc.remember(3 * BATCH)?;
    let (mapped, mapped_calls) = counted(&program.queue((1..=10).map(|x| vec![x]).collect()));
    let (inner, inner_calls) = counted(&mapped.window(batches(2)));
    let (outer, outer_calls) = counted(&inner.window(batches(4).every(2 * BATCH)));
    let rows = collect(&outer);
    let live = program.start();
    (0..10).for_each(|_| live.advance());
    (0..5).for_each(|_| drop(take(&rows)));
    live.event(|event| match event {
        tidemill_streaming::StreamEvent::BatchCompleted(info) => {
            (info.time == second(10)).then_some(())
        }
        _ => None,
    });
    let made = |stream: &DStream<i32>, calls: &AtomicUsize, at: i64| {
        let before = calls.load(Ordering::Relaxed);
        // Far enough back, the input itself is forgotten.
        let _ = stream.slice((second(at), second(at)));
        calls.load(Ordering::Relaxed) - before
    };
    let kept = |stream: &DStream<i32>, calls: &AtomicUsize, times: &[i64]| {
        times.iter().all(|at| made(stream, calls, *at) == 0)
    };
    assert!(kept(&outer, &outer_calls, &[10, 8]));
    assert!(kept(&inner, &inner_calls, &[10, 9, 8, 7, 6, 5, 4]));
    assert!(kept(&mapped, &mapped_calls, &[10, 9, 8, 7, 6, 5, 4, 3, 2]));
    assert_eq!(made(&inner, &inner_calls, 3), 1);
    assert_eq!(made(&outer, &outer_calls, 6), 1);
    // As is the input of what `mapped` forgot.
    assert!(mapped.slice((second(1), second(1))).is_err());
    Ok(())
}

fn marked(bench: &Bench) -> Outcome {
    let program = bench.program();
    let numbers = program.queue((1..=10).map(|x| vec![x]).collect());
    let (stream, calls) = counted(&numbers);
    let stream = stream.checkpoint(3 * BATCH);
    let rows = collect(&stream);
    let live = program.start();
    run(&live, 10);
    assert_eq!(rows.try_iter().count(), 10);
    let before = calls.load(Ordering::Relaxed);
    let kept: Vec<Vec<i32>> = (5..=10).map(|x| vec![x]).collect();
    assert_eq!(slice(&stream, 5_000, 10_000), kept);
    assert_eq!(calls.load(Ordering::Relaxed), before);
    assert!(stream.slice((second(4), second(4))).is_err());
    Ok(())
}
