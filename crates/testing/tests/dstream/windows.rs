//! Windows: which batches they cover, what their operators make of them, and at what cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use tidemill_core::{Data, PairRdd, StorageLevel};
use tidemill_streaming::{DStream, PairDStream, QueueMode, RddQueue, Window};
use tidemill_testing::unordered;

use crate::feed::fed;
use crate::operators::words;
use crate::random::Random;
use crate::support::{
    BATCH, Bench, Case, Live, Outcome, Program, case, collect, driver_case, local_case, sorted,
    take,
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-100 S-103
        case("a_window_is_the_last_batches", basic),
        // S-103
        case("windows_may_tumble_or_leave_gaps", slides),
        // S-102 S-124
        local_case("a_window_keeps_what_it_reads", keeps),
        // S-106
        case("reduced_windows_give_sparks_vectors", reduced),
        // S-106
        case("a_reduced_window_slides_over_panes", larger_slide),
        // S-104
        case("one_record_windows_give_sparks_vectors", one_record),
        // S-105
        case("grouped_windows_keep_all_values_in_order", grouped),
        case("earlier_batches_are_combined_first", in_order),
        // S-100 S-104 S-105 S-106
        driver_case("windows_are_what_a_plain_computation_gives", property),
        driver_case("a_window_over_everything_is_one_batch", everything),
        // S-106
        driver_case("lost_partial_results_are_made_again", lost_blocks),
        // S-106
        local_case("no_batch_of_a_window_costs_more_than_another", flat_cost),
        local_case("partial_results_leave_memory", bounded_memory),
        driver_case("what_follows_a_window_slides_with_it", children),
        driver_case("windows_of_one_slide_can_be_joined", joined),
        driver_case("windows_of_windows_reach_further_back", nested),
        driver_case("a_bad_record_fails_the_windows_it_is_in", bad_record),
        driver_case("a_batch_without_rdd_leaves_a_hole_in_the_window", holes),
        driver_case("an_output_of_a_window_has_a_job_each_slide", jobs),
    ]
}

pub(crate) fn batches(span: u32) -> Window {
    Window::of(span * BATCH)
}

/// What `operation` makes of the batches, as often as it slides.
fn run<T: Data, U: Data>(
    bench: &Bench,
    input: Vec<Vec<T>>,
    operation: impl Fn(&DStream<T>) -> DStream<U>,
) -> Vec<Vec<U>> {
    let program = bench.program();
    let num_batches = input.len();
    let stream = operation(&in_partitions(&program, input, |_| 2));
    let every = (stream.slide_duration().as_millis() / BATCH.as_millis()) as usize;
    let rows = collect(&stream);
    let live = program.start();
    (1..=num_batches)
        .filter_map(|batch| {
            live.advance();
            batch.is_multiple_of(every).then(|| take(&rows))
        })
        .collect()
}

/// A stream of these batches, each in as many partitions as told.
fn in_partitions<T: Data>(
    program: &Program,
    input: Vec<Vec<T>>,
    mut partitions: impl FnMut(&[T]) -> usize,
) -> DStream<T> {
    let queue = RddQueue::new();
    for batch in input {
        let num = partitions(&batch);
        queue.push(program.ctx.parallelize_into(batch, num).unwrap());
    }
    program.ssc.queue_stream(&queue, QueueMode::OneAtATime)
}

/// `[0]`, `[1]`, … and then nothing.
fn ascending(num: i32, empty: usize) -> Vec<Vec<i32>> {
    let nothing = std::iter::repeat_n(vec![], empty);
    (0..num).map(|x| vec![x]).chain(nothing).collect()
}

fn basic(bench: &Bench) -> Outcome {
    let got = run(bench, ascending(6, 2), |s| s.window(batches(2)));
    let expected = [
        vec![0],
        vec![0, 1],
        vec![1, 2],
        vec![2, 3],
        vec![3, 4],
        vec![4, 5],
        vec![5],
        vec![],
    ];
    assert_eq!(got, expected);
    Ok(())
}

fn slides(bench: &Bench) -> Outcome {
    let windowed = |span, slide: u32| {
        let window = batches(span).every(slide * BATCH);
        run(bench, ascending(6, 2), move |s| s.window(window))
    };
    assert_eq!(windowed(2, 2), [vec![0, 1], vec![2, 3], vec![4, 5], vec![]]);
    let larger = [vec![0, 1], vec![0, 1, 2, 3], vec![2, 3, 4, 5], vec![4, 5]];
    assert_eq!(windowed(4, 2), larger);
    assert_eq!(windowed(2, 3), [vec![1, 2], vec![4, 5]]);
    Ok(())
}

fn keeps(bench: &Bench) -> Outcome {
    let program = bench.program();
    let mapped = program.queue(vec![vec![1]]).map(|x| x + 1);
    assert_eq!(mapped.storage_level(), StorageLevel::None);
    let window = mapped.window(batches(3));
    assert_eq!(mapped.storage_level(), StorageLevel::MemoryOnly);
    let window = window.persist(StorageLevel::None);
    assert_eq!(mapped.storage_level(), StorageLevel::None);
    // A window of a window keeps what both read.
    let _outer = window.window(batches(6));
    assert_eq!(mapped.storage_level(), StorageLevel::MemoryOnly);
    // Received blocks are stored already.
    let received = program.ssc.receiver_stream(fed().1);
    let _window = received.window(batches(3));
    assert_eq!(received.storage_level(), StorageLevel::None);
    Ok(())
}

type Pairs = Vec<Vec<(String, i32)>>;

fn pairs(batches: &[&[(&str, i32)]]) -> Pairs {
    let owned = |pair: &(&str, i32)| (pair.0.to_owned(), pair.1);
    batches
        .iter()
        .map(|batch| batch.iter().map(owned).collect())
        .collect()
}

/// The input of Spark's "big test", where keys come and go and come back.
fn big() -> Pairs {
    let (a, b, c) = (("a", 1), ("b", 1), ("c", 1));
    let half: [&[(&str, i32)]; 6] = [&[a], &[a, b], &[a, b, c], &[a, b], &[a], &[]];
    pairs(&[half, half].concat())
}

fn sums(bench: &Bench, input: Pairs, window: Window) -> Pairs {
    let got = run(bench, input, |s| {
        s.reduce_by_key_and_window(window, |x, y| x + y)
    });
    unordered(got)
}

fn reduced(bench: &Bench) -> Outcome {
    let got = sums(bench, pairs(&[&[("a", 1), ("a", 3)]]), batches(2));
    assert_eq!(got, pairs(&[&[("a", 4)]]));
    let got = sums(bench, pairs(&[&[("a", 1)], &[("a", 1)]]), batches(2));
    assert_eq!(got, pairs(&[&[("a", 1)], &[("a", 2)]]));
    let got = sums(
        bench,
        pairs(&[&[("a", 1)], &[("a", 1), ("b", 1)]]),
        batches(2),
    );
    assert_eq!(got, pairs(&[&[("a", 1)], &[("a", 2), ("b", 1)]]));
    let removed = pairs(&[&[("a", 1)], &[("a", 1)], &[], &[]]);
    let got = sums(bench, removed, batches(2));
    assert_eq!(got, pairs(&[&[("a", 1)], &[("a", 2)], &[("a", 1)], &[]]));
    let half: [&[(&str, i32)]; 6] = [
        &[("a", 1)],
        &[("a", 2), ("b", 1)],
        &[("a", 2), ("b", 2), ("c", 1)],
        &[("a", 2), ("b", 2), ("c", 1)],
        &[("a", 2), ("b", 1)],
        &[("a", 1)],
    ];
    assert_eq!(
        sums(bench, big(), batches(2)),
        pairs(&[half, half].concat())
    );
    Ok(())
}

fn larger_slide(bench: &Bench) -> Outcome {
    let ones: Pairs = (1..=6).map(|x| vec![("a".to_owned(), x)]).collect();
    let input = [ones, pairs(&[&[], &[]])].concat();
    let window = batches(4).every(2 * BATCH);
    let expected = pairs(&[&[("a", 3)], &[("a", 10)], &[("a", 18)], &[("a", 11)]]);
    assert_eq!(sums(bench, input, window), expected);
    Ok(())
}

fn one_record(bench: &Bench) -> Outcome {
    let input = vec![vec![1], vec![1], vec![1, 2], vec![0], vec![], vec![]];
    let counts = run(bench, input.clone(), |s| s.count_by_window(batches(2)));
    assert_eq!(counts, [[1], [2], [3], [3], [1], [0]]);
    // Before there is anything: a count, as `count` has it.
    let counts = run(bench, vec![vec![], vec![7]], |s| {
        s.count_by_window(batches(2))
    });
    assert_eq!(counts, [[0], [1]]);
    let sums = run(bench, input, |s| {
        s.reduce_by_window(batches(2), |a, b| a + b)
    });
    assert_eq!(sums, [vec![1], vec![2], vec![4], vec![3], vec![0], vec![]]);
    let values = words(&[&["a"], &["b", "b"], &["a", "b"], &[]]);
    let got = run(bench, values, |s| s.count_by_value_and_window(batches(2)));
    let expected = [
        vec![("a".to_owned(), 1)],
        vec![("a".to_owned(), 1), ("b".to_owned(), 2)],
        vec![("a".to_owned(), 1), ("b".to_owned(), 3)],
        vec![("a".to_owned(), 1), ("b".to_owned(), 1)],
    ];
    assert_eq!(unordered(got), expected);
    Ok(())
}

fn grouped(bench: &Bench) -> Outcome {
    let got = run(bench, big(), |s| s.group_by_key_and_window(batches(2)));
    let group = |key: &str, num| (key.to_owned(), vec![1; num]);
    let half = [
        vec![group("a", 1)],
        vec![group("a", 2), group("b", 1)],
        vec![group("a", 2), group("b", 2), group("c", 1)],
        vec![group("a", 2), group("b", 2), group("c", 1)],
        vec![group("a", 2), group("b", 1)],
        vec![group("a", 1)],
    ];
    assert_eq!(unordered(got), [half.clone(), half].concat());
    let numbered: Pairs = (0..4).map(|x| vec![("a".to_owned(), x)]).collect();
    let got = run(bench, numbered, |s| s.group_by_key_and_window(batches(3)));
    let group = |values: &[i32]| vec![("a".to_owned(), values.to_vec())];
    let expected = [
        group(&[0]),
        group(&[0, 1]),
        group(&[0, 1, 2]),
        group(&[1, 2, 3]),
    ];
    assert_eq!(got, expected);
    Ok(())
}

/// Not commutative: the order of batches shows.
fn in_order(bench: &Bench) -> Outcome {
    let letters: Vec<Vec<String>> = ('a'..='p').map(|x| vec![x.to_string()]).collect();
    let got = run(bench, letters, |s| {
        s.reduce_by_window(batches(7), |a, b| a + &b)
    });
    let last = |end: usize| &"abcdefghijklmnop"[end.saturating_sub(7)..end];
    let expected: Vec<[&str; 1]> = (1..=16).map(|end| [last(end)]).collect();
    assert_eq!(got, expected);
    Ok(())
}

/// Batches of records of few keys, numbered in the order they come.
fn drawn(random: &mut Random, num_batches: usize) -> Vec<Vec<(u64, u64)>> {
    let mut next = 0;
    let mut record = |random: &mut Random| {
        next += 1;
        (random.below(6), next)
    };
    (0..num_batches)
        .map(|_| {
            let len = random.below(5);
            (0..len).map(|_| record(random)).collect()
        })
        .collect()
}

/// The records of the window that ends with batch `end`, counted from 1.
fn window_of<T: Clone>(input: &[Vec<T>], end: usize, span: usize) -> Vec<T> {
    input[end.saturating_sub(span)..end].concat()
}

fn by_key(records: Vec<(u64, u64)>) -> Vec<(u64, Vec<u64>)> {
    let mut groups: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (key, value) in records {
        groups.entry(key).or_default().push(value);
    }
    groups.into_iter().collect()
}

/// All windowed operators over one stream.
struct Outputs {
    records: Receiver<Vec<(u64, u64)>>,
    joined: Receiver<Vec<(u64, Vec<u64>)>>,
    grouped: Receiver<Vec<(u64, Vec<u64>)>>,
    counted: Receiver<Vec<u64>>,
    valued: Receiver<Vec<(u64, u64)>>,
}

impl Outputs {
    fn of(stream: &DStream<(u64, u64)>, window: Window) -> Self {
        let lists = stream.map_values(|value| vec![value]);
        Self {
            records: collect(&stream.window(window)),
            joined: collect(&lists.reduce_by_key_and_window(window, |mut a, b| {
                a.extend(b);
                a
            })),
            grouped: collect(&stream.group_by_key_and_window(window)),
            counted: collect(&stream.count_by_window(window)),
            valued: collect(&stream.map(|(key, _)| key).count_by_value_and_window(window)),
        }
    }

    /// The outputs of the next window are those of these records.
    fn check(&self, expected: Vec<(u64, u64)>, about: &str) {
        assert_eq!(
            sorted(take(&self.records)),
            sorted(expected.clone()),
            "{about}"
        );
        assert_eq!(take(&self.counted), [expected.len() as u64], "{about}");
        let groups = by_key(expected);
        assert_eq!(sorted(take(&self.joined)), groups, "{about}");
        assert_eq!(sorted(take(&self.grouped)), groups, "{about}");
        let counts: Vec<(u64, u64)> = groups
            .into_iter()
            .map(|(key, values)| (key, values.len() as u64))
            .collect();
        assert_eq!(sorted(take(&self.valued)), counts, "{about}");
    }
}

fn property(bench: &Bench) -> Outcome {
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let input = drawn(&mut random, 18);
        let (span, slide) = (1 + random.below(11) as u32, 1 + random.below(4) as u32);
        let program = bench.program();
        let stream = in_partitions(&program, input.clone(), |_| 1 + random.below(4) as usize);
        let outputs = Outputs::of(&stream, batches(span).every(slide * BATCH));
        let live = program.start();
        for end in 1..=input.len() {
            live.advance();
            if end.is_multiple_of(slide as usize) {
                let about = format!("seed {seed}, span {span}, slide {slide}, batch {end}");
                outputs.check(window_of(&input, end, span as usize), &about);
            }
        }
    }
    Ok(())
}

fn everything(bench: &Bench) -> Outcome {
    let mut random = Random::new(7);
    let input = drawn(&mut random, 12);
    let program = bench.program();
    let all = program.ctx.parallelize(input.concat());
    let whole = sorted(all.reduce_by_key(|a, b| a + b).collect()?);
    let stream = in_partitions(&program, input, |_| 1 + random.below(4) as usize);
    let rows = collect(&stream.reduce_by_key_and_window(batches(100), |a, b| a + b));
    let live = program.start();
    (0..12).for_each(|_| live.advance());
    let windows: Vec<_> = (0..12).map(|_| take(&rows)).collect();
    assert_eq!(sorted(windows[11].clone()), whole);
    Ok(())
}

/// The ids of all RDDs that were made so far are below.
pub(crate) fn next_rdd(live: &Live) -> u64 {
    live.ctx.range(0..1).id()
}

fn rdd_blocks(live: &Live) -> Vec<tidemill_core::storage::BlockId> {
    let ids = 0..next_rdd(live);
    ids.flat_map(|rdd| (0..4).map(move |split| tidemill_core::storage::BlockId::Rdd { rdd, split }))
        .filter(|id| live.ctx.blocks().contains(*id).unwrap())
        .collect()
}

fn lost_blocks(bench: &Bench) -> Outcome {
    let mut random = Random::new(3);
    let input = drawn(&mut random, 16);
    let program = bench.program();
    program.ssc.remember(16 * BATCH)?;
    let stream = in_partitions(&program, input.clone(), |_| 2);
    let sums = stream.reduce_by_key_and_window(batches(9), |a, b| a + b);
    let rows = collect(&sums);
    let live = program.start();
    let mut seen = Vec::new();
    for _ in 0..16 {
        live.advance();
        seen.push(sorted(take(&rows)));
        let lost = rdd_blocks(&live)
            .into_iter()
            .filter(|_| random.below(2) == 0);
        live.ctx
            .blocks()
            .remove(&mut lost.collect::<Vec<_>>().into_iter());
    }
    let expected: Vec<Vec<(u64, u64)>> = (1..=16)
        .map(|end| {
            let groups = by_key(window_of(&input, end, 9)).into_iter();
            groups
                .map(|(key, values)| (key, values.iter().sum()))
                .collect()
        })
        .collect();
    assert_eq!(seen, expected);
    // Asked again without a single block.
    let kept = rdd_blocks(&live);
    assert!(!kept.is_empty());
    live.ctx.blocks().remove(&mut kept.into_iter());
    let zero = live.running.first_batch() - BATCH;
    live.tick();
    let again = sums.slice((zero, zero + 16 * BATCH))?;
    let again: Vec<_> = again
        .iter()
        .map(|rdd| sorted(rdd.collect().unwrap()))
        .collect();
    assert_eq!(again, expected);
    Ok(())
}

/// How often the function was called in each batch, of one partition of two keys.
fn calls(bench: &Bench, span: u32, num_batches: u64) -> Vec<u64> {
    let program = bench.program();
    let input = vec![vec![(1, 1), (2, 1)]; num_batches as usize];
    let total = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&total);
    let sums = program
        .queue(input)
        .placed_by(tidemill_core::HashPartitioner::new(1))
        .reduce_by_key_and_window(batches(span), move |a, b| {
            counter.fetch_add(1, Ordering::Relaxed);
            a + b
        });
    let rows = collect(&sums);
    let live = program.start();
    (0..num_batches)
        .map(|_| {
            live.advance();
            take(&rows);
            total.swap(0, Ordering::Relaxed)
        })
        .collect()
}

fn flat_cost(bench: &Bench) -> Outcome {
    for span in [4, 5, 16, 60] {
        let calls = calls(bench, span, 3 * u64::from(span));
        // A prefix, a suffix made ahead, and three parts: four calls a key at the most.
        let most = calls.iter().max().copied();
        assert!(most <= Some(8), "span {span}: {calls:?}");
    }
    Ok(())
}

fn bounded_memory(bench: &Bench) -> Outcome {
    let program = bench.program();
    let sums = program
        .queue(vec![vec![(1, 1)]; 80])
        .reduce_by_key_and_window(batches(16), |a, b| a + b);
    let rows = collect(&sums);
    let live = program.start();
    let mut kept = Vec::new();
    for _ in 0..80 {
        live.tick();
        take(&rows);
        kept.push(rdd_blocks(&live).len());
    }
    // Batches, two partitions each, and partial results: at the most one a pane of the window.
    let most = kept.iter().max().copied().unwrap_or_default();
    assert!(most <= 2 * (2 * 16 + 6), "{kept:?}");
    assert!(
        kept[16..48].iter().max() >= kept[48..].iter().max(),
        "{kept:?}"
    );
    Ok(())
}

fn children(bench: &Bench) -> Outcome {
    let got = run(bench, ascending(6, 0), |s| {
        s.window(batches(3).every(3 * BATCH))
            .map(|x| x * 10)
            .reduce(|a, b| a + b)
    });
    assert_eq!(got, [[30], [120]]);
    Ok(())
}

fn joined(bench: &Bench) -> Outcome {
    let program = bench.program();
    let window = batches(2).every(2 * BATCH);
    let left = program.queue(vec![vec![(1, 'a')], vec![(2, 'b')]]);
    let right = program.queue(vec![vec![(2, 'x')], vec![(1, 'y')]]);
    let rows = collect(&left.window(window).join(&right.window(window)));
    let live = program.start();
    live.advance();
    live.advance();
    assert_eq!(sorted(take(&rows)), [(1, ('a', 'y')), (2, ('b', 'x'))]);
    Ok(())
}

fn nested(bench: &Bench) -> Outcome {
    let got = run(bench, ascending(8, 0), |s| {
        s.window(batches(2)).window(batches(4).every(2 * BATCH))
    });
    // Windows of two that end in the last four batches: inner records come twice.
    let expected: Vec<Vec<i32>> = (1..=4)
        .map(|n| {
            let ends = (2 * n - 4).max(0)..2 * n;
            ends.flat_map(|end| (end - 1).max(0)..=end).collect()
        })
        .collect();
    assert_eq!(got, expected);
    Ok(())
}

fn holes(bench: &Bench) -> Outcome {
    let program = bench.program();
    let ctx = program.ctx.clone();
    let odd = Odd(ctx);
    let stream = program.ssc.input_stream(odd);
    let windows = collect(&stream.window(batches(3)));
    let sums = collect(
        &stream
            .map(|x| (0, x))
            .reduce_by_key_and_window(batches(6), |a, b| a + b),
    );
    let live = program.start();
    (0..9).for_each(|_| live.advance());
    let windows: Vec<Vec<i64>> = (0..9).map(|_| take(&windows)).collect();
    assert_eq!(
        windows[..5],
        [vec![1], vec![1], vec![1, 3], vec![3], vec![3, 5]]
    );
    let sums: Vec<i64> = (0..9).map(|_| take(&sums)[0].1).collect();
    assert_eq!(sums, [1, 1, 4, 4, 9, 9, 15, 15, 21]);
    Ok(())
}

/// Has an RDD in every other batch.
struct Odd(tidemill_core::Context);

impl tidemill_streaming::InputSource for Odd {
    type Item = i64;

    fn compute(
        &self,
        time: tidemill_streaming::Time,
    ) -> Result<Option<tidemill_core::Rdd<i64>>, tidemill_streaming::BoxError> {
        let second = time.as_ms() / 1_000;
        Ok((second % 2 == 1).then(|| self.0.parallelize([second])))
    }
}

fn jobs(bench: &Bench) -> Outcome {
    let program = bench.program();
    let rows = collect(
        &program
            .queue(vec![vec![1]; 6])
            .window(batches(1).every(3 * BATCH)),
    );
    let live = program.start();
    (0..6).for_each(|_| live.advance());
    assert_eq!((take(&rows), take(&rows)), (vec![1], vec![1]));
    let (first, second) = (live.completed(), live.completed());
    assert_eq!((first.time.as_ms(), second.time.as_ms()), (3_000, 6_000));
    Ok(())
}

fn bad_record(bench: &Bench) -> Outcome {
    let program = bench.program();
    let values = [1, 1, 13, 1, 1, 1, 1, 1, 1].map(|value| vec![("a".to_owned(), value)]);
    let pairs = program.queue(values.to_vec());
    let line = line!() + 1;
    let sums = pairs.reduce_by_key_and_window(batches(4), |a, b| {
        assert!(a != 13 && b != 13, "unlucky");
        a + b
    });
    let rows = collect(&sums);
    let live = program.start();
    let failed: Vec<usize> = (0..9).map(|_| live.tick().num_failed).collect();
    assert_eq!(failed, [0, 0, 1, 1, 1, 1, 0, 0, 0]);
    let sums: Vec<i32> = rows.try_iter().map(|row| row[0].1).collect();
    assert_eq!(sums, [1, 2, 4, 4, 4]);
    let report = live.running.await_termination().unwrap_err().report();
    let place = format!("reduce_by_key_and_window at {}:{line}", file!());
    assert!(
        report.contains(&place) && report.contains("unlucky"),
        "{report}"
    );
    Ok(())
}
