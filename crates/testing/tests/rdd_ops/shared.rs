//! What tasks share: broadcasts and accumulators; and what a task knows of itself.

use serde::{Deserialize, Serialize};
use tidemill_core::storage::BlockId;
use tidemill_core::{Accumulate, Broadcast, Context, ErrorKind, PairRdd, TaskContext};

use crate::support::{Bench, Case, Outcome, Tally, case, count_in, sorted};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-050
        case("a_broadcast_is_fetched_once_a_process", fetched_once),
        // C-051
        case("a_broadcast_is_fetched_again_or_gone", gone),
        // C-053
        case("a_task_cannot_end_a_broadcast", not_in_a_task),
        // C-057, C-060
        case("failed_attempts_add_nothing", failed_attempts),
        case(
            "what_an_action_adds_counts_once_though_outputs_are_lost",
            lost_outputs,
        ),
        // C-059
        case("each_evaluation_adds", each_evaluation),
        // C-056
        case("a_task_cannot_read_an_accumulator", not_read_in_a_task),
        // C-061, C-062
        case("accumulators_add_up_what_they_like", kinds),
        // C-063
        case("a_merge_that_fails_fails_no_job", failed_merge),
        // C-074
        case("a_task_knows_its_ids", ids),
        // C-075
        case("completion_listeners_run_last_first", listeners),
    ]
}

/// Counts how often it is decoded.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "(String, Vec<u64>)")]
struct Counted {
    path: String,
    numbers: Vec<u64>,
}

impl From<(String, Vec<u64>)> for Counted {
    fn from((path, numbers): (String, Vec<u64>)) -> Self {
        count_in(&path);
        Self { path, numbers }
    }
}

fn counted(ctx: &Context, tally: &Tally) -> tidemill_core::Result<Broadcast<Counted>> {
    ctx.broadcast(Counted {
        path: tally.path(),
        numbers: (0..16).map(|x| x * x).collect(),
    })
}

fn fetched_once(bench: &Bench) -> Outcome {
    let (ctx, tally) = (bench.ctx(), Tally::new());
    let squares = counted(&ctx, &tally)?;
    let rdd = ctx
        .parallelize_into(0..16, 8)?
        .with(squares.clone())
        .map(|squares, x: usize| squares.read().numbers[x]);
    let expected: Vec<u64> = (0..16).map(|x| x * x).collect();
    assert_eq!(rdd.collect()?, expected);
    assert_eq!(rdd.repartition(3)?.count()?, 16);
    let num_processes = match bench.backend().name() {
        "local" => 0..=0,
        "loopback" | "loopback-lossy" => 1..=1,
        "loopback-process" => 1..=2,
        _ => 1..=u64::MAX,
    };
    assert!(num_processes.contains(&tally.count()), "{}", tally.count());
    assert_eq!(squares.value()?.numbers, expected);
    Ok(())
}

fn gone(bench: &Bench) -> Outcome {
    let (ctx, tally) = (bench.ctx(), Tally::new());
    let squares = counted(&ctx, &tally)?;
    let rdd = ctx
        .parallelize_into(0..16, 4)?
        .with(squares.clone())
        .map(|squares, x: usize| squares.read().numbers[x]);
    let expected: Vec<u64> = (0..16).map(|x| x * x).collect();
    assert_eq!(rdd.collect()?, expected);
    let fetched = tally.count();
    squares.unpersist()?;
    assert_eq!(rdd.collect()?, expected);
    assert!(bench.is_local() || tally.count() > fetched);
    squares.destroy()?;
    squares.destroy()?;
    let errors = [
        squares.value().map(drop).unwrap_err(),
        squares.unpersist().unwrap_err(),
        rdd.collect().map(drop).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let report = error.report();
        assert!(report.contains("after it was destroyed"), "{report}");
        assert!(report.contains("broadcast at "), "{report}");
    }
    Ok(())
}

fn not_in_a_task(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let seven = ctx.broadcast(7)?;
    let refused = ctx
        .range(0..3)
        .with(seven.clone())
        .map(|seven, _| seven.unpersist().is_err() && seven.destroy().is_err());
    assert_eq!(refused.collect()?, [true; 3]);
    assert_eq!(*seven.value()?, 7);
    Ok(())
}

fn failed_attempts(bench: &Bench) -> Outcome {
    let (ctx, tally) = (bench.retrying("local[2,4]"), Tally::new());
    let sum = ctx.long_accumulator("sum");
    let rdd = ctx.parallelize_into(1..=40_i64, 4)?;
    rdd.with((sum.clone(), tally.path()))
        .for_each(|(sum, path), x| {
            sum.add(x);
            assert!(x != 15 || count_in(path) >= 2, "not yet");
        })?;
    assert_eq!((sum.value()?.sum, sum.value()?.count), (820, 40));
    assert!(tally.count() >= 3);
    // An attempt in a map stage counts no more than one in an action.
    let (again, tally) = (ctx.long_accumulator("again"), Tally::new());
    let pairs = rdd
        .with((again.clone(), tally.path()))
        .map(|(again, path), x| {
            again.add(1);
            assert!(x != 25 || count_in(path) >= 1, "not yet");
            (x % 3, x)
        });
    assert_eq!(pairs.reduce_by_key(|a, b| a + b).count()?, 3);
    assert_eq!(again.value()?.count, 40);
    Ok(())
}

fn lost_outputs(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let pairs = ctx.parallelize_into((0..100_u64).map(|x| (x % 20, x)), 4)?;
    let sums = pairs.reduce_by_key(|a, b| a + b);
    assert_eq!(sums.count()?, 20);
    // Found out when some of the reduce tasks have succeeded.
    let (shuffle, map, reduce) = (0, 1, 3);
    let lost = BlockId::Shuffle {
        shuffle,
        map,
        reduce,
    };
    assert!(ctx.blocks().contains(lost)?);
    ctx.blocks().remove(&mut std::iter::once(lost));
    let seen = ctx.long_accumulator("seen");
    sums.with(seen.clone()).for_each(|seen, _| seen.add(1))?;
    assert_eq!(seen.value()?.count, 20);
    Ok(())
}

fn each_evaluation(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let seen = ctx.long_accumulator("seen");
    let rdd = ctx
        .parallelize_into(0..10_i64, 2)?
        .with(seen.clone())
        .map(|seen, x| {
            seen.add(1);
            x
        });
    assert_eq!(seen.value()?.count, 0, "no action, no evaluation");
    rdd.count()?;
    rdd.count()?;
    assert_eq!(seen.value()?.count, 20);
    seen.reset()?;
    let cached = rdd.cache();
    cached.count()?;
    cached.count()?;
    assert_eq!(seen.value()?.count, 10, "kept, not evaluated");
    seen.add(5);
    assert_eq!((seen.value()?.sum, seen.name()), (15, "seen"));
    Ok(())
}

fn not_read_in_a_task(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let sum = ctx.double_accumulator("sum");
    let refused = ctx.range(0..4).with(sum.clone()).map(|sum, x| {
        sum.add(x as f64 / 2.0);
        match (sum.value(), sum.reset()) {
            (Err(read), Err(_)) => read.to_string(),
            _ => String::new(),
        }
    });
    for message in refused.collect()? {
        assert!(message.contains("in the driver only"), "{message}");
        assert!(message.contains("accumulator=sum"), "{message}");
    }
    assert_eq!((sum.value()?.sum, sum.value()?.mean()), (3.0, 0.75));
    Ok(())
}

/// Adds up vectors, element by element.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Vector([i64; 3]);

impl Accumulate for Vector {
    type Item = [i64; 3];

    fn add(&mut self, item: [i64; 3]) {
        for (sum, x) in self.0.iter_mut().zip(item) {
            *sum += x;
        }
    }

    fn merge(&mut self, other: Self) {
        self.add(other.0);
    }
}

fn kinds(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let all = (
        ctx.accumulator("vector", Vector([0; 3])),
        ctx.collection_accumulator::<String>("odd"),
        ctx.long_accumulator("numbers"),
    );
    let rdd = ctx.parallelize_into(0..10_i64, 3)?;
    rdd.with(all.clone())
        .for_each(|(vector, odd, numbers), x| {
            vector.add([1, x, x * x]);
            numbers.add(x);
            if x % 2 == 1 {
                odd.add(x.to_string());
            }
        })?;
    let (vector, odd, numbers) = all;
    assert_eq!(vector.value()?, Vector([10, 45, 285]));
    assert_eq!(sorted(odd.value()?), ["1", "3", "5", "7", "9"]);
    let numbers = numbers.value()?;
    assert_eq!((numbers.sum, numbers.count, numbers.mean()), (45, 10, 4.5));
    Ok(())
}

/// Fails where tasks are merged.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stubborn(u64);

impl Accumulate for Stubborn {
    type Item = u64;

    fn add(&mut self, item: u64) {
        self.0 += item;
    }

    fn merge(&mut self, _: Self) {
        panic!("never");
    }
}

fn failed_merge(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let (stubborn, sum) = (
        ctx.accumulator("stubborn", Stubborn(0)),
        ctx.long_accumulator("sum"),
    );
    let rdd = ctx
        .parallelize_into(1..=4_u64, 2)?
        .with((stubborn.clone(), sum.clone()))
        .map(|(stubborn, sum), x| {
            stubborn.add(x);
            sum.add(1);
            x
        });
    assert_eq!(rdd.collect()?, [1, 2, 3, 4]);
    assert_eq!((stubborn.value()?.0, sum.value()?.sum), (0, 4));
    Ok(())
}

fn ids(bench: &Bench) -> Outcome {
    assert!(TaskContext::current().is_none());
    let (ctx, tally) = (bench.retrying("local[2,4]"), Tally::new());
    let rdd = ctx
        .parallelize_into(0..4_u64, 4)?
        .with(tally.path())
        .map(|path, x| {
            let id = TaskContext::current().unwrap().id();
            assert!(x != 2 || count_in(path) >= 2, "not yet");
            (id.job, id.stage, id.split, id.attempt)
        });
    let ids = rdd.collect()?;
    let jobs: Vec<u64> = ids.iter().map(|id| id.0).collect();
    assert!(jobs.iter().all(|job| *job == jobs[0]), "{ids:?}");
    for (split, id) in ids.iter().enumerate() {
        assert_eq!((id.1, id.2), (0, split));
        let least = if split == 2 { 2 } else { 0 };
        assert!(id.3 >= least && (!bench.is_exact() || id.3 == least));
    }
    let next = rdd.collect()?;
    assert!(next[0].0 > jobs[0]);
    assert!(TaskContext::current().is_none());
    Ok(())
}

fn note(path: &str, text: &str) {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn listeners(bench: &Bench) -> Outcome {
    let (ctx, tally) = (bench.retrying("local[1,4]"), Tally::new());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes").display().to_string();
    let rdd = ctx
        .parallelize_into(0..3_u64, 1)?
        .with((path.clone(), tally.path()))
        .map_partitions_with_index(|(path, tally), _, records| {
            let (path, tally) = (path.clone(), tally.clone());
            let task = TaskContext::current().unwrap();
            for name in ["a", "b"] {
                let path = path.clone();
                task.on_completion(move |_, ended| {
                    note(&path, name);
                    note(&path, if ended.is_ok() { "+" } else { "-" });
                });
            }
            records.inspect(move |x| assert!(*x != 1 || count_in(&tally) >= 1, "not yet"))
        });
    assert_eq!(rdd.collect()?, [0, 1, 2]);
    let notes = std::fs::read_to_string(&path).unwrap();
    // A lost attempt may have ended well for itself.
    assert!(
        notes.starts_with("b-a-") && notes.ends_with("b+a+"),
        "{notes}"
    );
    assert!(!bench.is_exact() || notes == "b-a-b+a+", "{notes}");
    // A listener that fails fails the task.
    let failing = ctx.range(0..1).map(|x| {
        let task = TaskContext::current().unwrap();
        task.on_completion(|_, _| panic!("no luck"));
        x
    });
    let error = failing.collect().unwrap_err();
    assert!(error.report().contains("no luck"), "{}", error.report());
    assert!(error.to_string().contains("completion listener"));
    Ok(())
}
