//! Windows that are reduced with an inverse, on the tables of Spark's own suite.

use tidemill_core::{Data, Error, HashPartitioner};
use tidemill_streaming::{DStream, FailedBatch, PairDStream, StreamSettings, Window};
use tidemill_testing::unordered;

use crate::state::{Counts, counts};
use crate::state_runs::{Dice, random_batches};
use crate::support::{BATCH, Bench, Case, Outcome, case, collect, local_case, sorted, take};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-107
        case("an_inverse_window_keeps_keys_whose_records_have_left", big),
        // S-107
        case("an_inverse_window_drops_what_its_filter_refuses", filtered),
        case("an_inverse_window_is_the_window_without_an_inverse", same),
        // S-108
        case("an_inverse_window_may_slide_by_more_than_a_batch", sliding),
        case("an_inverse_window_takes_data_and_a_partitioner", placed),
        local_case("an_inverse_window_applies_what_failed_first", failed),
        local_case("a_window_of_half_batches_is_refused", halves),
        local_case(
            "an_inverse_window_does_not_go_on_from_its_state_alone",
            restored,
        ),
    ]
}

fn input() -> Counts {
    let wave: [&[(&str, i64)]; 6] = [
        &[("a", 1)],
        &[("a", 1), ("b", 1)],
        &[("a", 1), ("b", 1), ("c", 1)],
        &[("a", 1), ("b", 1)],
        &[("a", 1)],
        &[],
    ];
    counts(&[wave, wave].concat())
}

fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn sub(sum: i64, b: i64) -> i64 {
    sum - b
}

fn big(bench: &Bench) -> Outcome {
    let got = bench.table().run(input(), |pairs| {
        pairs.reduce_by_key_and_window_inverse(Window::of(2 * BATCH), add, sub)
    })?;
    let expected = counts(&[
        &[("a", 1)],
        &[("a", 2), ("b", 1)],
        &[("a", 2), ("b", 2), ("c", 1)],
        &[("a", 2), ("b", 2), ("c", 1)],
        &[("a", 2), ("b", 1), ("c", 0)],
        &[("a", 1), ("b", 0), ("c", 0)],
        &[("a", 1), ("b", 0), ("c", 0)],
        &[("a", 2), ("b", 1), ("c", 0)],
        &[("a", 2), ("b", 2), ("c", 1)],
        &[("a", 2), ("b", 2), ("c", 1)],
        &[("a", 2), ("b", 1), ("c", 0)],
        &[("a", 1), ("b", 0), ("c", 0)],
    ]);
    assert_eq!(unordered(got), expected);
    Ok(())
}

fn by_count(pairs: &DStream<(String, i64)>, window: Window) -> DStream<(String, i64)> {
    pairs.reduce_by_key_and_window_filtered(window, add, sub, |_, count| *count != 0)
}

fn filtered(bench: &Bench) -> Outcome {
    let got = bench
        .table()
        .run(input(), |pairs| by_count(pairs, Window::of(2 * BATCH)))?;
    let wave: [&[(&str, i64)]; 6] = [
        &[("a", 1)],
        &[("a", 2), ("b", 1)],
        &[("a", 2), ("b", 2), ("c", 1)],
        &[("a", 2), ("b", 2), ("c", 1)],
        &[("a", 2), ("b", 1)],
        &[("a", 1)],
    ];
    assert_eq!(unordered(got), counts(&[wave, wave].concat()));
    Ok(())
}

/// The windows of a stream whose slide may be several batches.
fn windows<T: Data, U: Data>(
    bench: &Bench,
    batches: Vec<Vec<T>>,
    operation: impl Fn(&DStream<T>) -> DStream<U>,
) -> Result<Vec<Vec<U>>, Error> {
    let program = bench.program();
    let num_batches = batches.len();
    let input = program.queue(batches);
    let rows = collect(&operation(&input));
    // A batch without a job is never told to be completed.
    input.for_each_rdd(|_, _| Ok(()));
    let live = program.start();
    for _ in 0..num_batches {
        if live.tick().num_failed > 0 {
            live.running.await_termination()?;
        }
    }
    Ok(rows.try_iter().collect())
}

/// Random records, windows and slides; longer and shorter slides than windows.
fn same(bench: &Bench) -> Outcome {
    for seed in 30..34 {
        let mut dice = Dice(seed);
        let batches = random_batches(&mut dice, 12);
        let (span, slide) = (1 + dice.below(5) as u32, 1 + dice.below(4) as u32);
        let window = Window::of(span * BATCH).every(slide * BATCH);
        // A count beside the sum: a key goes with its last record.
        let with_ones =
            |pairs: &DStream<(u64, i64)>| pairs.map(|(key, value)| (key, (value, 1_i64)));
        let plus = |a: (i64, i64), b: (i64, i64)| (a.0 + b.0, a.1 + b.1);
        let minus = |a: (i64, i64), b: (i64, i64)| (a.0 - b.0, a.1 - b.1);
        let plain = windows(bench, batches.clone(), |pairs| {
            with_ones(pairs).reduce_by_key_and_window(window, plus)
        })?;
        let got = windows(bench, batches, |pairs| {
            with_ones(pairs).reduce_by_key_and_window_filtered(window, plus, minus, |_, v| v.1 > 0)
        })?;
        assert!(!got.is_empty());
        assert_eq!(unordered(got), unordered(plain), "seed {seed}, {window}");
    }
    Ok(())
}

fn sliding(bench: &Bench) -> Outcome {
    let input = (1..=6).map(|count| vec![("a".to_owned(), count)]);
    let input: Counts = input.chain([vec![], vec![]]).collect();
    let window = Window::of(4 * BATCH).every(2 * BATCH);
    let got = windows(bench, input, |pairs| by_count(pairs, window))?;
    let expected = counts(&[&[("a", 3)], &[("a", 10)], &[("a", 18)], &[("a", 11)]]);
    assert_eq!(got, expected);
    Ok(())
}

fn placed(bench: &Bench) -> Outcome {
    let window = Window::of(2 * BATCH);
    let got = bench.table().run(input(), |pairs| {
        let sums = pairs.placed_by(HashPartitioner::new(5));
        let sums = sums.reduce_by_key_and_window_filtered(window, add, sub, |_, sum| *sum > 0);
        sums.glom()
    })?;
    assert!(got.iter().all(|parts| parts.len() == 5));
    let got = bench.table().run(input(), |pairs| {
        pairs.with(10).reduce_by_key_and_window_inverse(
            window,
            |_, a, b| a + b,
            |ten, sum, b| sum - b + ten,
        )
    })?;
    assert_eq!(
        unordered(got)[2],
        counts(&[&[("a", 12), ("b", 2), ("c", 1)]])[0]
    );
    Ok(())
}

/// What failed is never left out: it could not leave.
fn failed(bench: &Bench) -> Outcome {
    let settings = StreamSettings {
        failed_batch: FailedBatch::Skip,
        ..StreamSettings::default()
    };
    let program = bench.program_with(settings);
    let numbers = program.queue(vec![vec![(0, 1_i64)], vec![(0, 10)], vec![(0, 100)]]);
    let is_broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let broken = is_broken.clone();
    let sums = numbers.reduce_by_key_and_window_inverse(
        Window::of(2 * BATCH),
        move |a, b| {
            assert!(b != 10 || !broken.load(std::sync::atomic::Ordering::Relaxed));
            a + b
        },
        sub,
    );
    let rows = collect(&sums);
    let live = program.start();
    live.tick();
    assert_eq!(take(&rows), [(0, 1)]);
    assert_eq!(live.tick().num_failed, 1);
    is_broken.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(live.tick().num_failed, 0);
    assert_eq!(sorted(take(&rows)), [(0, 110)]);
    live.tick();
    assert_eq!(sorted(take(&rows)), [(0, 100)]);
    assert_eq!(live.running.num_skipped(), 0);
    Ok(())
}

fn halves(bench: &Bench) -> Outcome {
    let program = bench.program();
    let pairs = program.queue(input());
    collect(&by_count(&pairs, Window::of(3 * BATCH / 2)));
    let error = program.try_start().err().unwrap();
    assert!(
        error
            .message()
            .contains("must be a multiple of the slide duration"),
        "{error}"
    );
    Ok(())
}

/// What is to leave the window is not in its state.
fn restored(bench: &Bench) -> Outcome {
    let sums = |pairs: &DStream<(String, i64)>| {
        pairs
            .reduce_by_key_and_window_inverse(Window::of(2 * BATCH), add, sub)
            .named("sums")
    };
    let program = bench.program();
    let rows = collect(&sums(&program.queue(input())));
    let live = program.start();
    live.tick();
    take(&rows);
    let encoded = live.running.encode_states()?;
    drop(live);
    let program = bench.program();
    collect(&sums(&program.queue(input())));
    program.ssc.restore_states(encoded);
    let error = program.try_start().err().unwrap();
    assert!(error.message().contains("to leave"), "{error}");
    assert_eq!(error.fact("state"), Some("sums"));
    Ok(())
}
