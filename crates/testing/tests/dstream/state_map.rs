//! `map_with_state`, on the tables of Spark's own suite.

use std::time::Duration;

use tidemill_core::HashPartitioner;
use tidemill_core::state::State;
use tidemill_streaming::{DStream, MapWithStateDStream, StateSpec};
use tidemill_testing::unordered;

use crate::operators::words;
use crate::state::counts;
use crate::support::{Bench, Case, Outcome, case, collect, local_case, sorted, take};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-116
        case("map_with_state_is_called_for_each_record", basic),
        // S-122
        case("state_snapshots_have_all_keys", snapshots),
        // S-116
        case("map_with_state_is_told_the_time_and_maps_to_none", advanced),
        // S-117
        case("map_with_state_begins_with_an_initial_state", initial_state),
        // S-117
        case("map_with_state_removes_keys", removing),
        // S-117 S-119
        case(
            "map_with_state_times_out_keys_that_nobody_touches",
            timing_out,
        ),
        // S-119
        case("touching_a_key_begins_its_time_out_anew", touching),
        // S-118
        case("misuse_of_a_state_fails_the_batch", misuse),
        case("map_with_state_takes_data_along", with_data),
        case("map_with_state_keeps_the_order_of_a_key", ordered),
        // S-120
        local_case("map_with_state_needs_no_checkpoint_interval", no_interval),
        local_case("a_time_out_is_checked_at_start", bad_timeouts),
        case(
            "a_state_that_only_a_rare_output_needs_is_advanced_each_batch",
            rare,
        ),
    ]
}

fn letters() -> Vec<Vec<String>> {
    words(&[
        &[],
        &["a"],
        &["a", "b"],
        &["a", "b", "c"],
        &["a", "b"],
        &["a"],
        &[],
    ])
}

fn count(_: &String, one: Option<i64>, state: &mut State<i64>) -> i64 {
    let total = state.get().copied().unwrap_or(0) + one.unwrap_or(0);
    state.update(total);
    total
}

type Counted = MapWithStateDStream<String, i64, i64>;

fn counted(words: &DStream<String>, spec: StateSpec<String, i64>) -> Counted {
    words.map(|word| (word, 1)).map_with_state(spec, count)
}

fn basic(bench: &Bench) -> Outcome {
    let got = bench.table().run(letters(), |words| {
        counted(words, StateSpec::new()).into_mapped()
    })?;
    let expected: [&[i64]; 7] = [&[], &[1], &[1, 2], &[1, 2, 3], &[3, 4], &[5], &[]];
    assert_eq!(unordered(got), expected);
    Ok(())
}

fn snapshots(bench: &Bench) -> Outcome {
    let got = bench.table().run(letters(), |words| {
        counted(words, StateSpec::new()).state_snapshots()
    })?;
    let expected = counts(&[
        &[],
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

fn advanced(bench: &Bench) -> Outcome {
    let got = bench.table().run(letters(), |words| {
        let ones = words.map(|word| (word, 1_i64));
        let mapped = ones.map_with_state_at(StateSpec::new(), |time, key, one, state| {
            let total = state.get().copied().unwrap_or(0) + one.unwrap_or(0);
            state.update(total);
            (key != "b").then(|| format!("{key}{total}@{}", time.as_ms() / 1_000))
        });
        mapped.into_mapped()
    })?;
    let expected: [&[&str]; 7] = [
        &[],
        &["a1@2"],
        &["a2@3"],
        &["a3@4", "c1@4"],
        &["a4@5"],
        &["a5@6"],
        &[],
    ];
    assert_eq!(unordered(got), expected);
    Ok(())
}

fn initial_state(bench: &Bench) -> Outcome {
    let program = bench.program();
    let initial = program
        .ctx
        .parallelize(counts(&[&[("a", 1), ("c", 7), ("c", 2)]]).remove(0));
    let input = program.queue(words(&[&["a"], &["a", "b"], &["c", "d"], &[]]));
    let spec = StateSpec::new().initial_state(initial).partitions(3);
    let mapped = counted(&input, spec);
    let (rows, states) = (collect(&mapped), collect(&mapped.state_snapshots()));
    let live = program.start();
    let expected: [&[i64]; 4] = [&[2], &[1, 3], &[1, 3], &[]];
    let snapshots = counts(&[
        &[("a", 2), ("c", 2)],
        &[("a", 3), ("b", 1), ("c", 2)],
        &[("a", 3), ("b", 1), ("c", 3), ("d", 1)],
        &[("a", 3), ("b", 1), ("c", 3), ("d", 1)],
    ]);
    for (expected, snapshot) in expected.iter().zip(snapshots) {
        live.tick();
        assert_eq!(sorted(take(&rows)), *expected);
        assert_eq!(sorted(take(&states)), snapshot);
    }
    Ok(())
}

/// A key goes at its second record, and begins anew with the third.
fn remove_at_two(key: &String, _: Option<i64>, state: &mut State<bool>) -> String {
    if state.exists() {
        state.remove();
        assert!(!state.exists() && state.get().is_none());
        format!("{key} goes")
    } else {
        state.update(true);
        assert_eq!(state.to_string(), "true");
        format!("{key} comes")
    }
}

fn removing(bench: &Bench) -> Outcome {
    let input = words(&[&["a"], &["a", "b", "b", "b"], &["a", "c", "c"], &["b", "a"]]);
    let run = |words: &DStream<String>| {
        let ones = words.map(|word| (word, 1_i64));
        ones.map_with_state(StateSpec::new(), remove_at_two)
    };
    let got = bench
        .table()
        .run(input.clone(), |words| run(words).into_mapped())?;
    let expected: [&[&str]; 4] = [
        &["a comes"],
        &["a goes", "b comes", "b comes", "b goes"],
        &["a comes", "c comes", "c goes"],
        &["a goes", "b goes"],
    ];
    assert_eq!(unordered(got), expected);
    let keys = |words: &DStream<String>| run(words).state_snapshots().map(|(key, _)| key);
    let got = bench.table().run(input, keys)?;
    let expected: [&[&str]; 4] = [&["a"], &["b"], &["a", "b"], &[]];
    assert_eq!(unordered(got), expected);
    Ok(())
}

fn of_the_expired(key: &str, state: &mut State<i64>) -> Option<String> {
    if state.is_timing_out() {
        return Some(key.to_owned());
    }
    state.update(1);
    None
}

/// `b` and `c` go, in the first batch that is more than three seconds later; `a` stays.
fn timing_out(bench: &Bench) -> Outcome {
    let mut input = words(&[&["a", "b", "c"], &["a", "b"]]);
    input.extend(std::iter::repeat_n(vec!["a".to_owned()], 24));
    let run = |words: &DStream<String>| {
        let spec = StateSpec::new().timeout(Duration::from_secs(3));
        let ones = words.map(|word| (word, 1_i64));
        ones.map_with_state_at(spec, |_, key, _, state| of_the_expired(key, state))
    };
    let got = bench
        .table()
        .run(input.clone(), |words| run(words).into_mapped())?;
    let mut expected = vec![Vec::<&str>::new(); 26];
    expected[4] = vec!["c"];
    expected[5] = vec!["b"];
    assert_eq!(got, expected);
    let got = bench
        .table()
        .run(input, |words| run(words).state_snapshots())?;
    assert_eq!(got[25], [("a".to_owned(), 1)]);
    Ok(())
}

/// A record that leaves the state as it is counts; so does one in the batch in which the time
/// would be out.
fn touching(bench: &Bench) -> Outcome {
    let input = words(&[&["a", "b"], &[], &["a"], &["b"], &[], &[], &[], &["a"]]);
    let got = bench.table().run(input, |words| {
        let spec = StateSpec::new().timeout(Duration::from_secs(2));
        let ones = words.map(|word| (word, 1_i64));
        let mapped = ones.map_with_state(spec, |key, _, state| {
            let what = match (state.exists(), state.is_timing_out()) {
                (_, true) => "out",
                (true, _) => "there",
                (false, _) => {
                    state.update(0);
                    "new"
                }
            };
            format!("{key} {what}")
        });
        mapped.into_mapped()
    })?;
    let expected: [&[&str]; 8] = [
        &["a new", "b new"],
        &[],
        &["a there"],
        &["b there"],
        &[],
        &["a out"],
        &["b out"],
        &["a new"],
    ];
    assert_eq!(unordered(got), expected);
    Ok(())
}

fn misuse(bench: &Bench) -> Outcome {
    let run = |f: fn(&String, Option<i64>, &mut State<i64>) -> i64| {
        let input = words(&[&["a"], &[], &[]]);
        // The item itself goes along, not a pointer to it.
        let table = bench.table();
        let what = f(&"a".to_owned(), Some(1), &mut State::of(None));
        let error = table.run(input, move |words| {
            let spec = StateSpec::new().timeout(Duration::from_secs(1));
            let ones = words.map(|word| (word, 1_i64));
            let mapped = ones.with(what).map_with_state(spec, |what, _, _, state| {
                match (what, state.is_timing_out()) {
                    (1, _) => {
                        state.remove();
                        state.update(1);
                    }
                    (2, false) | (3, false) => state.update(1),
                    (2, true) => state.update(2),
                    (3, true) => state.remove(),
                    (4, _) => {
                        state.remove();
                        state.remove();
                    }
                    _ => return *state.value(),
                }
                0
            });
            mapped.into_mapped()
        });
        error.unwrap_err()
    };
    let cases: [(fn(&String, Option<i64>, &mut State<i64>) -> i64, &str); 5] = [
        (
            |_, _, _| 1,
            "cannot update the state after it has been removed",
        ),
        (|_, _, _| 2, "cannot update the state that is timing out"),
        (|_, _, _| 3, "cannot remove the state that is timing out"),
        (
            |_, _, _| 4,
            "cannot remove the state that has already been removed",
        ),
        (|_, _, _| 5, "state is not set"),
    ];
    for (f, expected) in cases {
        let error = run(f);
        assert_eq!(error.message(), expected);
        assert!(error.to_string().contains("map_with_state at "), "{error}");
    }
    Ok(())
}

fn with_data(bench: &Bench) -> Outcome {
    let got = bench.table().run(words(&[&["a"], &["a", "b"]]), |words| {
        let ones = words.map(|word| (word, 1_i64)).with(100_i64);
        let mapped = ones.map_with_state(StateSpec::new(), |least, _, one, state| {
            let total = state.get().copied().unwrap_or(*least) + one.unwrap_or(0);
            state.update(total);
            total
        });
        mapped.into_mapped()
    })?;
    assert_eq!(unordered(got), [vec![101], vec![101, 102]]);
    let got = bench.table().run(words(&[&["a"], &["a", "b"]]), |words| {
        let ones = words.map(|word| (word, 1_i64)).with(2_000_i64);
        let spec = StateSpec::<String, i64>::new();
        let mapped = ones.map_with_state_at(spec, |from, time, key, _, _| {
            (time.as_ms() >= *from).then(|| key.clone())
        });
        mapped.into_mapped()
    })?;
    assert_eq!(unordered(got), [vec![], vec!["a", "b"]]);
    Ok(())
}

/// The records of a key come in the order of the batch's partitions, whatever the partitioner.
fn ordered(bench: &Bench) -> Outcome {
    let input: Vec<Vec<(u8, u32)>> = vec![(0..40).map(|n| ((n % 3) as u8, n)).collect(); 2];
    let table = bench.table().partitions(4);
    let got = table.run(input, |pairs| {
        let spec = StateSpec::new()
            .partitions(9)
            .partitioner(HashPartitioner::new(2));
        let mapped = pairs.map_with_state(spec, |key, value, state| {
            let before = state.get().copied();
            let value = value.unwrap_or(0);
            state.update(value);
            (*key, before, value)
        });
        mapped.into_mapped()
    })?;
    for (batch, first) in got.iter().zip([[None; 3], [Some(39), Some(37), Some(38)]]) {
        for (key, first) in (0..3_u8).zip(first) {
            let of_key: Vec<_> = batch.iter().filter(|row| row.0 == key).collect();
            let mut before = first;
            for (_, found, value) in of_key {
                assert_eq!(*found, before);
                before = Some(*value);
            }
        }
    }
    Ok(())
}

fn no_interval(bench: &Bench) -> Outcome {
    let program = bench.program();
    let rows = collect(&counted(&program.queue(letters()), StateSpec::new()));
    let live = program.try_start()?;
    let mut last = Vec::new();
    for _ in 0..25 {
        live.tick();
        last = take(&rows);
    }
    assert!(last.is_empty());
    Ok(())
}

fn bad_timeouts(bench: &Bench) -> Outcome {
    let timeout = |ms| StateSpec::<String, i64>::new().timeout(Duration::from_millis(ms));
    let program = bench.program();
    collect(&counted(&program.queue(letters()), timeout(0)));
    let error = program.try_start().err().unwrap();
    assert!(
        error.message().contains("time-out must be a positive"),
        "{error}"
    );
    let program = bench.program();
    let ones = program.queue(letters()).map(|word| (word, 1_i64));
    collect(&ones.update_state_by_key_with(timeout(1), |_, total| total));
    let error = program.try_start().err().unwrap();
    assert!(
        error
            .message()
            .contains("only map_with_state has time-outs"),
        "{error}"
    );
    assert!(
        error.to_string().contains("update_state_by_key at "),
        "{error}"
    );
    Ok(())
}

/// The output makes no job in most batches, and reads one partition in the others.
fn rare(bench: &Bench) -> Outcome {
    let program = bench.program();
    let input = program.queue(words(&[&["a"], &["a"], &["b"], &["a", "c"]]));
    let states = counted(&input, StateSpec::new().partitions(4)).state_snapshots();
    let (sender, rows) = std::sync::mpsc::channel();
    states.for_each_rdd(move |rdd, time| {
        if time.as_ms() == 4_000 {
            sender.send(rdd.collect()?)?;
        }
        Ok(())
    });
    let live = program.start();
    for _ in 0..4 {
        assert_eq!(live.tick().num_failed, 0);
    }
    let expected = counts(&[&[("a", 3), ("b", 1), ("c", 1)]]).remove(0);
    assert_eq!(sorted(take(&rows)), expected);
    Ok(())
}
