//! States and what fails: nothing is half done, nothing is done twice, the order stays.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tidemill_core::{Context, ErrorKind, Master};
use tidemill_streaming::{DStream, FailedBatch, StateSpec, StreamSettings};

use crate::feed::{Order, fed};
use crate::operators::words;
use crate::state::counts;
use crate::support::{
    Bench, Case, Outcome, Program, case, collect, driver_case, gate, local_case, sorted, take,
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-121
        case("an_attempt_that_fails_leaves_no_trace_in_a_state", retried),
        // S-171
        case("a_failed_batch_is_applied_first_by_the_next", applied_first),
        case("a_failed_batch_is_left_out_when_that_is_wanted", left_out),
        driver_case("a_batch_that_waits_keeps_its_blocks", pinned),
        driver_case("a_batch_that_waits_takes_room_from_its_receiver", no_room),
        local_case(
            "what_a_state_begins_with_outlives_a_batch_that_is_left_out",
            left_out_at_first,
        ),
        local_case("an_input_that_could_not_be_made_is_asked_again", missed),
        local_case("an_input_that_cannot_be_made_is_left_out", missed_for_good),
        driver_case("states_keep_their_order_when_jobs_overlap", overlapping),
        local_case(
            "an_output_without_the_state_does_not_fail_with_it",
            other_output,
        ),
    ]
}

/// A switch that processes see: while the file is there, functions fail.
struct Switch(TempDir);

impl Switch {
    fn on() -> Self {
        let switch = Self(tempfile::tempdir().unwrap());
        std::fs::write(switch.0.path().join("on"), "").unwrap();
        switch
    }

    fn path(&self) -> String {
        self.0.path().join("on").display().to_string()
    }

    fn off(&self) {
        std::fs::remove_file(self.path()).unwrap();
    }

    /// How often it was looked at while it was on.
    fn num_seen(&self) -> usize {
        let seen = std::fs::read(self.path()).unwrap();
        seen.len()
    }
}

/// Whether the switch is on; writes down that somebody looked.
fn is_on(path: &str) -> bool {
    use std::io::Write;
    if !Path::new(path).exists() {
        return false;
    }
    let file = std::fs::OpenOptions::new().append(true).open(path);
    file.is_ok_and(|mut file| file.write_all(b"x").is_ok())
}

/// Counts words; `bad` ones fail as long as the switch is on.
fn totals(words: &DStream<String>, switch: &Switch) -> (DStream<i64>, DStream<(String, i64)>) {
    let ones = words.map(|word| (word, 1_i64)).with(switch.path());
    let spec = StateSpec::new().partitions(2);
    let mapped = ones.map_with_state(spec, |switch, word, one, state| {
        let total = state.get().copied().unwrap_or(0) + one.unwrap_or(0);
        // The state is changed already when it fails.
        state.update(total);
        assert!(!word.starts_with("bad") || !is_on(switch), "bad luck");
        total
    });
    let states = mapped.state_snapshots();
    (mapped.into_mapped(), states)
}

/// Each task fails at its first attempt.
fn retried(bench: &Bench) -> Outcome {
    let master: Master = "local[2,4]".parse()?;
    let builder = Context::builder()
        .master(master)
        .backend(bench.backend().backend(2)?);
    let program = Program::on(builder, StreamSettings::default());
    let folder = tempfile::tempdir().unwrap();
    let input = program.queue(words(&[&["a", "b", "a"], &["a"], &["c", "b"]]));
    let path = folder.path().display().to_string();
    let ones = input.map(|word| (word, 1_i64)).with(path);
    let mapped = ones.map_with_state_at(StateSpec::new(), |path, time, word, one, state| {
        let total = state.get().copied().unwrap_or(0) + one.unwrap_or(0);
        state.update(total);
        let first = Path::new(path).join(format!("{word}-{total}-{}", time.as_ms()));
        if !first.exists() {
            std::fs::write(first, "").unwrap();
            panic!("the first time");
        }
        Some(total)
    });
    let (rows, states) = (collect(&mapped), collect(&mapped.state_snapshots()));
    let live = program.start();
    let expected = [vec![1, 1, 2], vec![3], vec![1, 2]];
    let snapshots = counts(&[
        &[("a", 2), ("b", 1)],
        &[("a", 3), ("b", 1)],
        &[("a", 3), ("b", 2), ("c", 1)],
    ]);
    for (expected, snapshot) in expected.into_iter().zip(snapshots) {
        let batch = live.tick();
        if batch.num_failed > 0 {
            let error = live.running.await_termination().unwrap_err();
            return Err(error);
        }
        assert_eq!(sorted(take(&rows)), expected);
        assert_eq!(sorted(take(&states)), snapshot);
    }
    Ok(())
}

/// Both outputs fail with the one error of one run; the batches after it wait for it.
fn applied_first(bench: &Bench) -> Outcome {
    let program = bench.program();
    let switch = Switch::on();
    let input = program.queue(words(&[&["a"], &["a", "bad"], &["b"], &["a"]]));
    let (mapped, states) = totals(&input, &switch);
    let (rows, states) = (collect(&mapped), collect(&states));
    let live = program.start();
    assert_eq!(live.tick().num_failed, 0);
    assert_eq!(
        (take(&rows), take(&states)),
        (vec![1], vec![("a".to_owned(), 1)])
    );
    let failed = live.tick();
    assert_eq!((failed.num_outputs, failed.num_failed), (2, 2));
    let error = live.running.await_termination().unwrap_err();
    assert!(error.report().contains("bad luck"), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::User);
    assert_eq!(error.fact("state_batch_time"), Some("2000 ms"));
    let num_seen = switch.num_seen();
    if !bench.backend().is_faulty() {
        assert_eq!(num_seen, 1);
    }
    assert_eq!(live.tick().num_failed, 2);
    let error = live.running.await_termination().unwrap_err();
    assert_eq!(error.fact("state_batch_time"), Some("2000 ms"));
    assert!(switch.num_seen() > num_seen);
    switch.off();
    assert_eq!(live.tick().num_failed, 0);
    assert_eq!(take(&rows), [4 - 1]);
    let expected = counts(&[&[("a", 3), ("b", 1), ("bad", 1)]]).remove(0);
    assert_eq!(sorted(take(&states)), expected);
    assert_eq!(live.running.num_skipped(), 0);
    Ok(())
}

fn left_out(bench: &Bench) -> Outcome {
    let settings = StreamSettings {
        failed_batch: FailedBatch::Skip,
        ..StreamSettings::default()
    };
    let program = bench.program_with(settings);
    let switch = Switch::on();
    let input = program.queue(words(&[&["a"], &["a", "bad"], &["a", "b"]]));
    let (mapped, states) = totals(&input, &switch);
    let updated = input.map(|word| (word, 1_i64)).with(switch.path());
    let updated = updated.update_state_by_key(StateSpec::new(), |switch, ones, total| {
        assert!(
            ones.len() != 1 || total != Some(1) || !is_on(switch),
            "worse luck"
        );
        Some(ones.iter().sum::<i64>() + total.unwrap_or(0))
    });
    let (rows, states) = (collect(&mapped), collect(&states));
    let updated = collect(&updated);
    let live = program.start();
    live.tick();
    assert_eq!(
        (take(&rows), take(&states).len(), take(&updated).len()),
        (vec![1], 1, 1)
    );
    assert_eq!(live.tick().num_failed, 3);
    switch.off();
    assert_eq!(live.tick().num_failed, 0);
    let expected = counts(&[&[("a", 2), ("b", 1)]]).remove(0);
    assert_eq!(sorted(take(&rows)), [1, 2]);
    assert_eq!(sorted(take(&states)), expected);
    assert_eq!(sorted(take(&updated)), expected);
    assert_eq!(live.running.num_skipped(), 2);
    Ok(())
}

fn pinned(bench: &Bench) -> Outcome {
    let program = bench.program();
    let switch = Switch::on();
    let (feed, receiver) = fed();
    let numbers = program.ssc.receiver_stream(receiver);
    let pairs = numbers.map(|n| (n % 2, n)).with(switch.path());
    let mapped = pairs.map_with_state(StateSpec::new(), |switch, _, n, state| {
        assert!(!is_on(switch), "not yet");
        let total = state.get().copied().unwrap_or(0) + n.unwrap_or(0);
        state.update(total);
        total
    });
    let (rows, states) = (collect(&mapped), collect(&mapped.state_snapshots()));
    let live = program.start();
    for n in 1..=4 {
        feed.store([n, 10 * n]);
        assert_eq!(live.tick().num_failed, 2);
    }
    switch.off();
    feed.store([5]);
    assert_eq!(live.tick().num_failed, 0);
    assert_eq!(take(&rows), [1 + 3 + 5]);
    assert_eq!(
        sorted(take(&states)),
        [(0, 2 + 4 + 10 + 20 + 30 + 40), (1, 9)]
    );
    // What has been applied is let go.
    live.tick();
    let id = tidemill_core::storage::BlockId::Input {
        stream: 0,
        number: 0,
    };
    assert!(!live.ctx.blocks().contains(id)?);
    Ok(())
}

/// A receiver stops reading while what it stored before cannot be applied.
fn no_room(bench: &Bench) -> Outcome {
    let program = bench.program_with(StreamSettings {
        max_block_bytes: 8,
        max_waiting_bytes: 24,
        ..StreamSettings::default()
    });
    let switch = Switch::on();
    let (feed, receiver) = fed();
    let numbers = program.ssc.receiver_stream(receiver);
    let pairs = numbers.map(|n| ((), n)).with(switch.path());
    let totals = pairs.update_state_by_key(StateSpec::new(), |switch, values, total| {
        assert!(!is_on(switch), "not yet");
        Some(values.iter().sum::<u64>() + total.unwrap_or(0))
    });
    let rows = collect(&totals);
    let live = program.start();
    feed.store([1, 2, 3]);
    assert_eq!(live.tick().num_failed, 1);
    feed.order(Order::Store(vec![4]));
    for _ in 0..3 {
        assert_eq!(live.tick().num_failed, 1);
        assert_eq!(feed.answer(), None, "stored more than there is room for");
    }
    switch.off();
    assert_eq!(live.tick().num_failed, 0);
    assert!(feed.is_done());
    live.tick();
    assert_eq!((take(&rows), take(&rows)), (vec![((), 6)], vec![((), 10)]));
    Ok(())
}

/// What it begins with could not be read for the first batch.
fn left_out_at_first(bench: &Bench) -> Outcome {
    let program = bench.program_with(StreamSettings {
        failed_batch: FailedBatch::Skip,
        ..StreamSettings::default()
    });
    let switch = Switch::on();
    let path = switch.path();
    let pairs = program.ctx.parallelize([("a".to_owned(), 40_i64)]);
    let initial = pairs.map(move |pair| {
        assert!(!is_on(&path), "not yet");
        pair
    });
    let ones = program
        .queue(words(&[&["b"], &["a"]]))
        .map(|word| (word, 1_i64));
    let spec = || StateSpec::new().initial_state(initial.clone());
    let updated = ones.update_state_by_key_with(spec(), |ones, total: Option<i64>| {
        Some(ones.len() as i64 + total.unwrap_or(0))
    });
    let mapped = ones.map_with_state(spec(), |_, one, state| {
        let total = state.get().copied().unwrap_or(0) + one.unwrap_or(0);
        state.update(total);
    });
    let (updated, mapped) = (collect(&updated), collect(&mapped.state_snapshots()));
    let live = program.start();
    assert_eq!(live.tick().num_failed, 2);
    switch.off();
    assert_eq!(live.tick().num_failed, 0);
    let expected = [("a".to_owned(), 41)];
    assert_eq!(take(&updated), expected);
    assert_eq!(take(&mapped), expected);
    Ok(())
}

/// A stream of three batches that cannot be made at the second, and its counts.
fn failing_once(
    program: &Program,
    is_broken: &Arc<AtomicBool>,
) -> std::sync::mpsc::Receiver<Vec<(String, i64)>> {
    let broken = Arc::clone(is_broken);
    let input = program.queue(words(&[&["a"], &["a", "b"], &["b"], &["c"]]));
    let input = input.transform(move |rdd, time| {
        if time.as_ms() == 2_000 && broken.load(Ordering::Relaxed) {
            return Err("no luck".into());
        }
        Ok(rdd.clone())
    });
    let states = input
        .map(|word| (word, 1_i64))
        .update_state_by_key(|ones, total| Some(ones.iter().sum::<i64>() + total.unwrap_or(0)));
    collect(&states)
}

fn missed(bench: &Bench) -> Outcome {
    let is_broken = Arc::new(AtomicBool::new(true));
    let program = bench.program();
    let rows = failing_once(&program, &is_broken);
    let live = program.start();
    live.tick();
    assert_eq!(take(&rows), [("a".to_owned(), 1)]);
    live.advance();
    let error = live.running.await_termination().unwrap_err();
    assert_eq!(error.fact("while"), Some("generating jobs"));
    // The next batch cannot do without it.
    live.advance();
    loop {
        let error = live.running.await_termination().unwrap_err();
        if error.fact("batch") == Some("3000 ms") {
            assert_eq!(error.fact("batch_time"), Some("2000 ms"));
            break;
        }
        std::thread::yield_now();
    }
    is_broken.store(false, Ordering::Relaxed);
    live.tick();
    let expected = counts(&[&[("a", 2), ("b", 2), ("c", 1)]]).remove(0);
    assert_eq!(sorted(take(&rows)), expected);
    Ok(())
}

fn missed_for_good(bench: &Bench) -> Outcome {
    let settings = StreamSettings {
        failed_batch: FailedBatch::Skip,
        ..StreamSettings::default()
    };
    let program = bench.program_with(settings);
    let rows = failing_once(&program, &Arc::new(AtomicBool::new(true)));
    let live = program.start();
    live.tick();
    take(&rows);
    live.advance();
    live.tick();
    let expected = counts(&[&[("a", 1), ("b", 1)]]).remove(0);
    assert_eq!(sorted(take(&rows)), expected);
    assert_eq!(live.running.num_skipped(), 1);
    Ok(())
}

/// The first batch's output holds up nothing but itself; the states of later ones are right.
fn overlapping(bench: &Bench) -> Outcome {
    let settings = StreamSettings {
        concurrent_jobs: 4,
        ..StreamSettings::default()
    };
    let program = bench.program_with(settings);
    let (gate, barrier) = gate();
    let input = program.queue(vec![vec![(0, 1_i64)]; 40]);
    let states =
        input.update_state_by_key(|ones, total| Some(ones.len() as i64 + total.unwrap_or(0)));
    let (sender, rows) = std::sync::mpsc::channel();
    let slow = states.map(|(_, total)| total);
    slow.for_each_rdd(move |rdd, time| {
        if time.as_ms() == 1_000 {
            barrier.lock().pass();
        }
        Ok(sender.send((time.as_ms() / 1_000, rdd.collect()?))?)
    });
    let live = program.start();
    live.advance();
    gate.wait_for_arrival();
    for _ in 1..40 {
        live.advance();
    }
    let mut got: Vec<(i64, Vec<i64>)> = (1..40).map(|_| take(&rows)).collect();
    gate.open();
    got.push(take(&rows));
    let expected: Vec<(i64, Vec<i64>)> = (1..=40).map(|batch| (batch, vec![batch])).collect();
    assert_eq!(got.last(), expected.first());
    assert_eq!(sorted(got), expected);
    Ok(())
}

fn other_output(bench: &Bench) -> Outcome {
    let program = bench.program();
    let switch = Switch::on();
    let input = program.queue(words(&[&["bad"], &["b"]]));
    let plain = collect(&input);
    let (mapped, _) = totals(&input, &switch);
    let rows = collect(&mapped);
    let live = program.start();
    assert_eq!(live.tick().num_failed, 1);
    assert_eq!(take(&plain), ["bad"]);
    switch.off();
    assert_eq!(live.tick().num_failed, 0);
    assert_eq!((take(&plain), take(&rows)), (vec!["b".to_owned()], vec![1]));
    Ok(())
}
