//! Second attempts at slow tasks, and attempts that take too long.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::function::Plain;
use tidemill_core::{
    Context, ErrorKind, JobEvent, ManualClock, Master, OrderedRdd, PairRdd, Rdd, Speculation,
    StorageLevel, TaskId, TaskOutcome,
};

use crate::gate::{Gate, pass};
use crate::support::{Bench, Case, Outcome, Tally, case, count_in, sorted};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-216
        case("without_speculation_a_task_has_one_attempt", off),
        // C-216
        case("the_faster_of_two_attempts_counts", twins),
        // C-216
        case("the_twin_of_a_map_task_fills_its_buckets", map_twins),
        // C-058
        case("an_accumulator_counts_one_of_two_attempts", counted_once),
        case("eager_twins_change_nothing", eager),
        case("a_stage_of_one_task_has_no_twin", single),
        case(
            "a_job_of_no_tasks_ends_though_attempts_are_watched",
            no_tasks,
        ),
        case(
            "a_partition_that_is_asked_for_twice_is_no_twin",
            asked_twice,
        ),
        case("an_attempt_that_takes_too_long_is_tried_again", timeout),
        case("a_task_that_always_takes_too_long_fails_its_job", timeouts),
    ]
}

const NUM_TASKS: usize = 4;

/// A context whose time stands still until it is told, and its events.
struct Stage {
    ctx: Context,
    clock: ManualClock,
    events: Receiver<JobEvent>,
    gate: Gate,
    tally: Tally,
}

impl Stage {
    fn new(
        bench: &Bench,
        set: impl FnOnce(tidemill_core::ContextBuilder) -> tidemill_core::ContextBuilder,
    ) -> Result<Self, tidemill_core::Error> {
        let clock = ManualClock::new(0);
        let (sender, events) = channel();
        let sender = Mutex::new(sender);
        let builder = bench.backend().builder(2)?.clock(Arc::new(clock.clone()));
        let builder = builder.listener(Arc::new(move |event: &JobEvent| {
            let _ = sender.lock().send(event.clone());
        }));
        let ctx = set(builder).build()?;
        Ok(Self {
            ctx,
            clock,
            events,
            gate: Gate::new(),
            tally: Tally::new(),
        })
    }

    /// Numbers in four partitions. The first attempts at the partition of 0 wait at the gate, so
    /// many of them; all others run through.
    fn numbers(&self, num_held: u64) -> Rdd<i32> {
        let numbers = self
            .ctx
            .parallelize_into(0..NUM_TASKS as i32, NUM_TASKS)
            .unwrap();
        let along = (self.gate.path(), self.tally.path(), num_held);
        numbers.with(along).map(|(gate, tally, num_held), x| {
            if x == 0 && count_in(tally) < *num_held {
                pass(gate);
            }
            x
        })
    }

    /// Waits until so many tasks have succeeded; returns how all ended that did meanwhile.
    fn wait_for_successes(&self, num: usize) -> Vec<(TaskId, TaskOutcome)> {
        let mut ended = Vec::new();
        let mut missing = num;
        while missing > 0 {
            if let JobEvent::TaskEnded { task, outcome, .. } = self.events.recv().unwrap() {
                missing -= usize::from(matches!(outcome, TaskOutcome::Succeeded));
                ended.push((task, outcome));
            }
        }
        ended
    }
}

/// Faults of a backend make attempts of their own, which would be mistaken for twins.
fn is_faulty(bench: &Bench) -> bool {
    !bench.is_exact()
}

fn off(bench: &Bench) -> Outcome {
    let stage = Stage::new(bench, |builder| builder)?;
    let numbers = stage.numbers(1);
    std::thread::scope(|threads| {
        let job = threads.spawn(|| numbers.collect());
        let held = stage.gate.next();
        stage.wait_for_successes(NUM_TASKS - 1);
        stage.clock.advance(Duration::from_secs(3_600));
        drop(held);
        assert_eq!(job.join().unwrap()?, [0, 1, 2, 3]);
        Ok::<_, tidemill_core::Error>(())
    })?;
    assert!(stage.tally.count() == 1 || is_faulty(bench));
    Ok(())
}

fn speculative(builder: tidemill_core::ContextBuilder) -> tidemill_core::ContextBuilder {
    builder.speculation(Speculation {
        quantile: 0.75,
        ..Speculation::default()
    })
}

/// Runs `action`, whose task of number 0 is held up, until its twin has won.
fn with_twin<R: Send>(
    stage: &Stage,
    action: impl FnOnce() -> Result<R, tidemill_core::Error> + Send,
) -> Result<R, tidemill_core::Error> {
    std::thread::scope(|threads| {
        let job = threads.spawn(action);
        let held = stage.gate.next();
        stage.wait_for_successes(NUM_TASKS - 1);
        // The others took no time at all: the task is slow after the least time, 100 ms, at which
        // it is not looked at for the first time.
        stage.clock.advance(Duration::from_millis(250));
        let result = job.join().unwrap();
        // The loser could not hold up the job. It may end now.
        drop(held);
        result
    })
}

fn twins(bench: &Bench) -> Outcome {
    if is_faulty(bench) {
        return Ok(());
    }
    let stage = Stage::new(bench, speculative)?;
    let numbers = stage.numbers(1);
    assert_eq!(with_twin(&stage, || numbers.collect())?, [0, 1, 2, 3]);
    stage.ctx.flush_listeners();
    let mut ends = Vec::new();
    for event in stage.events.try_iter() {
        if let JobEvent::TaskEnded { task, outcome, .. } = event {
            ends.push((task.split, task.attempt, format!("{outcome:?}")));
        }
    }
    let expected = [
        (0, 0, "Superseded".to_owned()),
        (0, 1, "Succeeded".to_owned()),
    ];
    assert_eq!(sorted(ends), expected);
    assert_eq!(stage.tally.count(), 2);
    let info = stage.ctx.status().job(0).unwrap().stages.remove(0);
    assert_eq!((info.num_completed_tasks, info.num_failed_tasks), (4, 0));
    assert_eq!(info.num_active_tasks, 0);
    Ok(())
}

/// Time passes, and each task is slow at once.
fn eager(bench: &Bench) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let eager = Speculation {
        quantile: 0.0,
        multiplier: 0.0,
        min_task_runtime: Duration::ZERO,
        interval: Duration::from_millis(1),
    };
    let master: Master = "local[3,4]".parse()?;
    let backend = bench.backend().backend_with(3, 4_000)?;
    let builder = Context::builder().backend(backend).master(master);
    let ctx = builder.speculation(eager).build()?;
    ctx.set_checkpoint_dir(folder.path())?;
    for round in 0..2 {
        let slow = |x: u64| (0..2_000).fold(x, |x, step| std::hint::black_box(x ^ step ^ step));
        let numbers = ctx.parallelize_into(0..300_u64, 6)?.map(slow);
        let sums = numbers
            .map(|x| (x % 17, x))
            .reduce_by_key(|a, b| a + b)
            .persist(StorageLevel::MemoryAndDisk);
        let expected: Vec<(u64, u64)> = (0..17)
            .map(|key| (key, (0..300).filter(|x| x % 17 == key).sum()))
            .collect();
        if round % 2 == 1 {
            sums.checkpoint()?;
        }
        let seen = ctx.long_accumulator("seen");
        numbers.with(seen.clone()).for_each(|seen, _| seen.add(1))?;
        assert_eq!(seen.value()?.count, 300);
        for _ in 0..2 {
            assert_eq!(sorted(sums.collect()?), expected);
            let grouped = sums.map(|(key, sum)| (sum % 5, key)).group_by_key();
            let keys = grouped.flat_map(|(_, keys)| keys);
            assert_eq!(sorted(keys.collect()?), (0..17).collect::<Vec<u64>>());
        }
        let path = folder.path().join(format!("out-{round}"));
        let path = path.display().to_string();
        sums.sort_by_key(true)?.save_as_object_file(&path)?;
        assert_eq!(ctx.object_file::<(u64, u64)>(&path).collect()?, expected);
    }
    Ok(())
}

fn map_twins(bench: &Bench) -> Outcome {
    if is_faulty(bench) {
        return Ok(());
    }
    let stage = Stage::new(bench, speculative)?;
    let sums = stage
        .numbers(1)
        .map(|x| (x % 2, x))
        .reduce_by_key(|a, b| a + b);
    let result = with_twin(&stage, || sums.collect())?;
    assert_eq!(sorted(result), [(0, 2), (1, 4)]);
    // Read again, also after the loser has ended.
    assert_eq!(sorted(sums.collect()?), [(0, 2), (1, 4)]);
    Ok(())
}

fn counted_once(bench: &Bench) -> Outcome {
    if is_faulty(bench) {
        return Ok(());
    }
    let stage = Stage::new(bench, speculative)?;
    let sum = stage.ctx.long_accumulator("sum");
    let numbers = stage.numbers(1).with(sum.clone());
    with_twin(&stage, || {
        numbers.for_each(|sum, x| sum.add(i64::from(x) + 1))
    })?;
    assert_eq!(stage.tally.count(), 2);
    // Once more, on slots of which the loser has one until it has ended.
    numbers.for_each(|sum, x| sum.add(i64::from(x) + 1))?;
    assert_eq!((sum.value()?.sum, sum.value()?.count), (20, 8));
    Ok(())
}

fn single(bench: &Bench) -> Outcome {
    let stage = Stage::new(bench, speculative)?;
    let number = stage.numbers(1).coalesce(1)?;
    std::thread::scope(|threads| {
        let job = threads.spawn(|| number.collect());
        let held = stage.gate.next();
        stage.clock.advance(Duration::from_secs(3_600));
        drop(held);
        assert_eq!(job.join().unwrap()?, [0, 1, 2, 3]);
        Ok::<_, tidemill_core::Error>(())
    })?;
    assert!(stage.tally.count() == 1 || is_faulty(bench));
    Ok(())
}

fn no_tasks(bench: &Bench) -> Outcome {
    let stage = Stage::new(bench, speculative)?;
    let nothing = stage.ctx.empty_rdd::<i32>();
    assert_eq!((nothing.num_partitions()?, nothing.count()?), (0, 0));
    Ok(())
}

fn asked_twice(bench: &Bench) -> Outcome {
    let stage = Stage::new(bench, speculative)?;
    let numbers = stage.ctx.parallelize_into(0..4_i64, 4)?;
    let sum = |records: Box<dyn Iterator<Item = i64>>| records.sum::<i64>();
    let sums = stage.ctx.run_job(&numbers, Plain(sum), &[3, 1, 3])?;
    assert_eq!(sums, [3, 1, 3]);
    Ok(())
}

fn timeout(bench: &Bench) -> Outcome {
    if is_faulty(bench) {
        return Ok(());
    }
    let master: Master = "local[2,2]".parse()?;
    let limit = Duration::from_secs(60);
    let stage = Stage::new(bench, |builder| builder.master(master).task_timeout(limit))?;
    let numbers = stage.numbers(1);
    let held = std::thread::scope(|threads| {
        let job = threads.spawn(|| numbers.collect());
        let held = stage.gate.next();
        stage.wait_for_successes(NUM_TASKS - 1);
        stage.clock.advance(limit + Duration::from_millis(1));
        assert_eq!(job.join().unwrap()?, [0, 1, 2, 3]);
        Ok::<_, tidemill_core::Error>(held)
    })?;
    assert_eq!(stage.tally.count(), 2);
    let info = stage.ctx.status().job(0).unwrap().stages.remove(0);
    assert_eq!((info.num_completed_tasks, info.num_failed_tasks), (4, 1));
    drop(held);
    Ok(())
}

fn timeouts(bench: &Bench) -> Outcome {
    if is_faulty(bench) {
        return Ok(());
    }
    let limit = Duration::from_secs(1);
    let stage = Stage::new(bench, |builder| {
        builder.master(Master::local(2)).task_timeout(limit)
    })?;
    let numbers = stage.numbers(u64::MAX);
    let held = std::thread::scope(|threads| {
        let job = threads.spawn(|| numbers.collect());
        let held = stage.gate.next();
        stage.wait_for_successes(NUM_TASKS - 1);
        stage.clock.advance(limit + limit);
        let error = job.join().unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.fact("ran_ms")),
            (ErrorKind::User, Some("2000"))
        );
        assert!(error.report().contains("task_timeout"), "{error}");
        held
    });
    // The context goes on in its other slot, and in both when the attempt has ended.
    assert_eq!(stage.ctx.range(0..10).count()?, 10);
    drop(held);
    Ok(())
}
