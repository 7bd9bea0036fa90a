//! `update_state_by_key`, on the tables of Spark's own suite.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use tidemill_core::{Context, HashPartitioner, Rdd};
use tidemill_streaming::{BoxError, DStream, InputSource, PairDStream, StateSpec, Time};
use tidemill_testing::unordered;

use crate::operators::words;
use crate::support::{BATCH, Bench, Case, Outcome, case, collect, local_case, sorted, take};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-112
        case("update_state_sees_every_key_in_every_batch", running_counts),
        case("update_state_is_given_the_values_in_order", values_in_order),
        // S-113 S-115
        case(
            "update_state_goes_on_without_rdds_and_removes_keys",
            lifecycle,
        ),
        // S-114
        case("update_state_begins_with_an_initial_state", initial_state),
        // S-114
        case("update_state_is_told_the_time_and_the_key", with_time),
        // S-114
        case("update_state_by_partition_may_give_any_pairs", by_partition),
        // S-126
        case("a_state_of_a_state_is_advanced_after_it", chained),
        case("update_state_takes_data_along", with_data),
        case("a_state_is_placed_as_it_is_told", placed),
        // S-123 S-128
        local_case("a_state_needs_no_checkpoint_directory", no_checkpoint),
        // S-018
        local_case(
            "a_state_with_checkpoints_remembers_two_intervals",
            forgotten,
        ),
        local_case(
            "a_window_reads_back_to_before_a_state_began",
            before_it_began,
        ),
        local_case("a_transform_finds_the_state_advanced", transform),
        case("long_streams_of_states_have_short_lineages", long),
    ]
}

/// An input that has no RDD for some batches.
pub(crate) struct Sometimes<T> {
    pub(crate) ctx: Context,
    pub(crate) batches: Vec<Option<Vec<T>>>,
}

impl<T: tidemill_core::Data> InputSource for Sometimes<T> {
    type Item = T;

    fn compute(&self, time: Time) -> Result<Option<Rdd<T>>, BoxError> {
        let batch = usize::try_from(time.as_ms() / 1_000 - 1)?;
        match self.batches.get(batch).cloned().flatten() {
            Some(records) => Ok(Some(self.ctx.parallelize_into(records, 2)?)),
            None => Ok(None),
        }
    }
}

/// Batches without a state have no RDD, whoever asks for them and whenever.
fn before_it_began(bench: &Bench) -> Outcome {
    let program = bench.program();
    let batches = vec![None, None, Some(vec![("a".to_owned(), 1)]), None];
    let source = Sometimes {
        ctx: program.ctx.clone(),
        batches,
    };
    let pairs = program.ssc.input_stream(source);
    let totals = pairs.update_state_by_key(|values, total: Option<i32>| {
        Some(values.iter().sum::<i32>() + total.unwrap_or(0))
    });
    let windows = collect(&totals.count_by_window(tidemill_streaming::Window::of(3 * BATCH)));
    let live = program.start();
    let failed: Vec<usize> = (0..4).map(|_| live.tick().num_failed).collect();
    assert_eq!(failed, [0; 4]);
    assert_eq!(windows.try_iter().flatten().collect::<Vec<_>>(), [1, 2]);
    Ok(())
}

fn letters() -> Vec<Vec<String>> {
    words(&[
        &["a"],
        &["a", "b"],
        &["a", "b", "c"],
        &["a", "b"],
        &["a"],
        &[],
    ])
}

pub(crate) type Counts = Vec<Vec<(String, i64)>>;

pub(crate) fn counts(batches: &[&[(&str, i64)]]) -> Counts {
    let owned = |batch: &&[(&str, i64)]| {
        let owned = batch
            .iter()
            .map(|(word, count)| ((*word).to_owned(), *count));
        owned.collect()
    };
    batches.iter().map(owned).collect()
}

fn ones(words: &DStream<String>) -> DStream<(String, i64)> {
    words.map(|word| (word, 1))
}

fn add(values: Vec<i64>, total: Option<i64>) -> Option<i64> {
    Some(values.into_iter().sum::<i64>() + total.unwrap_or(0))
}

fn running_counts(bench: &Bench) -> Outcome {
    let got = bench
        .table()
        .run(letters(), |words| ones(words).update_state_by_key(add))?;
    let expected = counts(&[
        &[("a", 1)],
        &[("a", 2), ("b", 1)],
        &[("a", 3), ("b", 2), ("c", 1)],
        &[("a", 4), ("b", 3), ("c", 1)],
        &[("a", 5), ("b", 3), ("c", 1)],
        &[("a", 5), ("b", 3), ("c", 1)],
    ]);
    assert_eq!(unordered(got), expected);
    Ok(())
}

fn values_in_order(bench: &Bench) -> Outcome {
    let input = vec![vec![(0, 1), (1, 7), (0, 2), (0, 3)], vec![], vec![(0, 4)]];
    let append = |new: Vec<i32>, list: Option<Vec<i32>>| {
        let mut list = list.unwrap_or_default();
        list.push(-(new.len() as i32));
        list.extend(new);
        Some(list)
    };
    let got = bench
        .table()
        .run(input, |pairs| pairs.update_state_by_key(append))?;
    let expected = [
        vec![(0, vec![-3, 1, 2, 3]), (1, vec![-1, 7])],
        vec![(0, vec![-3, 1, 2, 3, 0]), (1, vec![-1, 7, 0])],
        vec![(0, vec![-3, 1, 2, 3, 0, -1, 4]), (1, vec![-1, 7, 0, 0])],
    ];
    assert_eq!(unordered(got), expected);
    Ok(())
}

/// The rows of a stream that may have no RDD, by batch.
fn rows_by_time<T: tidemill_core::Data + Ord>(stream: &DStream<T>) -> Receiver<(i64, Vec<T>)> {
    let (sender, rows) = std::sync::mpsc::channel();
    stream.for_each_rdd(move |rdd, time| Ok(sender.send((time.as_ms(), sorted(rdd.collect()?)))?));
    rows
}

/// Two batches without a value remove a key.
fn lifecycle(bench: &Bench) -> Outcome {
    let program = bench.program();
    let batch = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    let source = Sometimes {
        ctx: program.ctx.clone(),
        batches: vec![
            None,
            batch(&["a", "b"]),
            None,
            batch(&["a", "c", "a"]),
            batch(&["c"]),
        ],
    };
    let words: DStream<String> = program.ssc.input_stream(source);
    let states = ones(&words).update_state_by_key(|values, state: Option<(i64, i64)>| {
        let (count, silent) = state.unwrap_or_default();
        let sum = values.iter().sum::<i64>();
        let silent = if sum == 0 { silent + 1 } else { 0 };
        (silent < 2).then_some((count + sum, silent))
    });
    let rows = rows_by_time(&states.map_values(|(count, _)| count));
    // Ticks without a job complete nothing: this stream has one in each.
    let beats = collect(&program.queue(vec![vec![0]]));
    let live = program.start();
    for _ in 0..7 {
        live.tick();
        take(&beats);
    }
    let expected = counts(&[
        &[("a", 1), ("b", 1)],
        &[("a", 1), ("b", 1)],
        &[("a", 3), ("c", 1)],
        &[("a", 3), ("c", 2)],
        &[("c", 2)],
        &[],
    ]);
    let expected: Vec<(i64, Vec<(String, i64)>)> = (2..).map(|s| s * 1_000).zip(expected).collect();
    assert_eq!(rows.try_iter().collect::<Vec<_>>(), expected);
    Ok(())
}

fn initial_state(bench: &Bench) -> Outcome {
    let program = bench.program();
    let initial = program
        .ctx
        .parallelize(counts(&[&[("a", 1), ("c", 2), ("c", 9)]]).remove(0));
    let words = program.queue(letters());
    let spec = StateSpec::new().initial_state(initial);
    let rows = collect(&ones(&words).update_state_by_key_with(spec, add));
    let live = program.start();
    let got: Counts = (0..6)
        .map(|_| {
            live.tick();
            sorted(take(&rows))
        })
        .collect();
    let expected = counts(&[
        &[("a", 2), ("c", 2)],
        &[("a", 3), ("b", 1), ("c", 2)],
        &[("a", 4), ("b", 2), ("c", 3)],
        &[("a", 5), ("b", 3), ("c", 3)],
        &[("a", 6), ("b", 3), ("c", 3)],
        &[("a", 6), ("b", 3), ("c", 3)],
    ]);
    assert_eq!(got, expected);
    Ok(())
}

fn with_time(bench: &Bench) -> Outcome {
    let got = bench.table().run(letters(), |words| {
        ones(words).update_state_by_key_at(StateSpec::new(), |time, key, values, total| {
            assert!(key.len() == 1);
            Some(time.as_ms() * values.iter().sum::<i64>() + total.unwrap_or(0))
        })
    })?;
    let expected = counts(&[
        &[("a", 1_000)],
        &[("a", 3_000), ("b", 2_000)],
        &[("a", 6_000), ("b", 5_000), ("c", 3_000)],
        &[("a", 10_000), ("b", 9_000), ("c", 3_000)],
        &[("a", 15_000), ("b", 9_000), ("c", 3_000)],
        &[("a", 15_000), ("b", 9_000), ("c", 3_000)],
    ]);
    assert_eq!(unordered(got), expected);
    Ok(())
}

/// Each key also counts for its successor, which lives in any partition; the first of equal keys
/// is the state.
fn by_partition(bench: &Bench) -> Outcome {
    let input: Vec<Vec<(i64, i64)>> = vec![vec![(0, 1), (10, 1)], vec![], vec![(0, 2)]];
    let got = bench.table().run(input, |pairs| {
        pairs.update_state_by_partition(StateSpec::new().partitions(3), |groups| {
            groups.flat_map(|(key, values, state)| {
                let total = values.iter().sum::<i64>() + state.unwrap_or(0);
                let next = (key % 10 == 0).then_some((key + 1, 100));
                [(key, total), (key, -1)].into_iter().chain(next)
            })
        })
    })?;
    let first = vec![(0, -1), (0, 1), (1, 100), (10, -1), (10, 1), (11, 100)];
    assert_eq!(unordered(got.clone())[0], first);
    // Batch 2: the keys 1 and 11 are there once more, from their predecessors.
    let second = &unordered(got.clone())[1];
    let of = |wanted: i64| second.iter().filter(|(key, _)| *key == wanted).count();
    assert_eq!((of(0), of(1), of(10), of(11)), (2, 3, 2, 3));
    let third = &unordered(got)[2];
    assert!(
        third.contains(&(0, 3)) && third.contains(&(10, 1)),
        "{third:?}"
    );
    Ok(())
}

/// How often each count has been seen, over the counts of all words.
fn chained(bench: &Bench) -> Outcome {
    let got = bench.table().run(letters(), |words| {
        let counts = ones(words).update_state_by_key(add);
        counts
            .map(|(_, count)| (count, 1_i64))
            .update_state_by_key(add)
    })?;
    let expected = [
        vec![(1, 1)],
        vec![(1, 2), (2, 1)],
        vec![(1, 3), (2, 2), (3, 1)],
        vec![(1, 4), (2, 2), (3, 2), (4, 1)],
        vec![(1, 5), (2, 2), (3, 3), (4, 1), (5, 1)],
        vec![(1, 6), (2, 2), (3, 4), (4, 1), (5, 2)],
    ];
    assert_eq!(unordered(got), expected);
    Ok(())
}

fn with_data(bench: &Bench) -> Outcome {
    let got = bench.table().run(words(&[&["a"], &["a", "a"]]), |words| {
        ones(words)
            .with(10_i64)
            .update_state_by_key(StateSpec::new(), |factor, values, total| {
                Some(factor * values.iter().sum::<i64>() + total.unwrap_or(0))
            })
    })?;
    assert_eq!(got, counts(&[&[("a", 10)], &[("a", 30)]]));
    Ok(())
}

fn placed(bench: &Bench) -> Outcome {
    let got = bench.table().run(letters(), |words| {
        let spec = StateSpec::new().partitioner(HashPartitioner::new(5));
        ones(words).update_state_by_key_with(spec, add).glom()
    })?;
    assert!(got.iter().all(|parts| parts.len() == 5));
    // Placed alike, the state is joined to itself without a shuffle.
    let got = bench.table().run(words(&[&["a", "b"], &["a"]]), |words| {
        let states = ones(words).update_state_by_key(add);
        states.transform(|rdd, _| {
            let again = rdd.partitioner();
            assert!(again.is_some());
            Ok(rdd.clone())
        })
    })?;
    assert_eq!(
        unordered(got)[1],
        [("a".to_owned(), 2), ("b".to_owned(), 1)]
    );
    Ok(())
}

fn no_checkpoint(bench: &Bench) -> Outcome {
    let program = bench.program();
    let rows = collect(&ones(&program.queue(letters())).update_state_by_key(add));
    let live = program.try_start()?;
    live.tick();
    assert_eq!(take(&rows), [("a".to_owned(), 1)]);
    Ok(())
}

/// At ten seconds the batches from five seconds on are remembered.
fn forgotten(bench: &Bench) -> Outcome {
    let program = bench.program();
    let states = ones(&program.queue(letters())).update_state_by_key(add);
    let states = states.checkpoint(3 * BATCH);
    let rdds = Arc::<parking_lot::Mutex<Vec<Rdd<(String, i64)>>>>::default();
    let kept = Arc::clone(&rdds);
    states.for_each_rdd(move |rdd, _| {
        kept.lock().push(rdd.clone());
        Ok(())
    });
    let live = program.start();
    for _ in 0..10 {
        live.tick();
    }
    let rdds = rdds.lock().clone();
    let total = |batch: usize| rdds[batch - 1].map(|(_, count)| count).reduce(|a, b| a + b);
    assert_eq!((total(10)?, total(5)?), (9, 9));
    let error = total(4).unwrap_err();
    assert!(
        error.report().contains("its batch has been forgotten"),
        "{error:?}"
    );
    assert_eq!(error.fact("batch_time"), Some("4000 ms"));
    Ok(())
}

/// Sorting runs a job while the batch is generated.
fn transform(bench: &Bench) -> Outcome {
    let got = bench.table().run(letters(), |words| {
        let states = ones(words).update_state_by_key(add);
        states.transform(|rdd, _| Ok(rdd.sort_by(|(word, count)| (-count, word.clone()), true)?))
    })?;
    assert_eq!(
        got[3],
        [
            ("a".to_owned(), 4),
            ("b".to_owned(), 3),
            ("c".to_owned(), 1)
        ]
    );
    Ok(())
}

fn long(bench: &Bench) -> Outcome {
    let batches = 60;
    let got = bench
        .table()
        .run(vec![vec![(1, 1_i64)]; batches], |pairs| {
            pairs.update_state_by_key(add).transform(|rdd, _| {
                assert!(format!("{rdd:?}").contains("update_state_by_key"));
                Ok(rdd.clone())
            })
        })?;
    assert_eq!(got[batches - 1], [(1, 60)]);
    Ok(())
}
