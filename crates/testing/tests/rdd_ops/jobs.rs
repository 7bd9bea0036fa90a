//! Stages, long lineages, jobs beside one another, the end of a context.

use tidemill_core::storage::BlockId;
use tidemill_core::{Clock, Context, ErrorKind, HashPartitioner, PairRdd, SystemClock};

use crate::gate::{Gate, knock};
use crate::support::{Bench, Case, Outcome, case, sorted};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-076
        case("transformations_run_no_job", no_job),
        // C-204
        case("shuffles_cut_a_job_into_stages", stages),
        // C-224
        case("a_job_without_partitions_returns_at_once", no_partitions),
        // C-225
        case("a_lineage_of_a_hundred_thousand_steps_runs", long_lineage),
        case(
            "a_long_lineage_over_a_shuffle_runs",
            long_lineage_over_a_shuffle,
        ),
        // C-226
        case("jobs_of_several_threads_share_stages", shared_stages),
        // C-021
        case("a_stopped_context_refuses_jobs", stopped),
        case("cancelled_jobs_end_and_the_context_lives", cancelled),
        case("an_endless_flat_map_of_one_record_is_cancelled", endless),
    ]
}

fn no_job(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let pairs = ctx.range(0..10).map(|x| (x % 3, x)).filter(|_| true);
    let _ = pairs
        .flat_map(Some)
        .union(&pairs)?
        .glom()
        .repartition(3)?
        .coalesce(2)?;
    let _ = pairs
        .reduce_by_key(|a, b| a + b)
        .join(&pairs.group_by_key());
    let _ = pairs
        .partition_by(HashPartitioner::new(2))
        .cogroup(&pairs)
        .keys()
        .distinct();
    let _ = pairs.map_partitions(|records| records).cache();
    assert!(recorder.take_jobs().is_empty());
    pairs.count()?;
    assert_eq!(recorder.take_jobs().len(), 1);
    Ok(())
}

fn stages(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let pairs = ctx.parallelize((0..10).map(|x| (x % 3, x)));
    let stages = |recorder: &tidemill_testing::Recorder| recorder.take_jobs()[0].stages.len();
    pairs.map(|pair| pair.1).filter(|x| *x > 2).count()?;
    assert_eq!(stages(&recorder), 1);
    pairs.reduce_by_key(|a, b| a + b).count()?;
    assert_eq!(stages(&recorder), 2);
    let other = ctx.parallelize([(1, 'a')]);
    pairs.join(&other).count()?;
    let job = recorder.take_jobs().remove(0);
    assert_eq!(job.stages.len(), 3);
    assert_eq!(sorted(job.stages[2].parents.clone()), [0, 1]);
    Ok(())
}

fn no_partitions(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let empty = ctx.empty_rdd::<(i32, i32)>();
    assert!(empty.collect()?.is_empty());
    // A map stage without tasks does not hold up the stage behind it.
    assert_eq!(
        empty.reduce_by_key(|a, b| a + b).repartition(3)?.count()?,
        0
    );
    let jobs = recorder.take_jobs();
    assert_eq!((jobs.len(), jobs[0].num_tasks()), (2, 0));
    Ok(())
}

fn chain(ctx: &Context, steps: usize) -> Outcome {
    let mut rdd = ctx.parallelize_into([1_u64, 2], 1)?;
    for _ in 0..steps {
        rdd = rdd.map(|x| x + 1);
    }
    assert_eq!(rdd.collect()?, [1 + steps as u64, 2 + steps as u64]);
    Ok(())
}

fn long_lineage(bench: &Bench) -> Outcome {
    // Processes get a tenth: what is at stake there, encoding and the stack, shows in that too.
    let steps = if bench.is_local() { 100_000 } else { 10_000 };
    let (ctx, clock) = (bench.ctx(), SystemClock::new());
    let micros = |steps| -> Result<u64, tidemill_core::Error> {
        let start = clock.monotonic_us();
        chain(&ctx, steps)?;
        Ok(clock.monotonic_us() - start)
    };
    // Ten times the steps cost ten times as much, a hundred times if anything were quadratic.
    // Another program's burst may spoil one measurement, hardly three.
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let (short, long) = (micros(steps / 10)?, micros(steps)?);
        ratios.push(long / short.max(1));
        if ratios.last().is_some_and(|ratio| *ratio < 40) {
            return Ok(());
        }
    }
    panic!("ten times the steps took {ratios:?} times as long")
}

fn long_lineage_over_a_shuffle(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let mut rdd = ctx.parallelize_into((0..8).map(|x| (x % 2, x)), 2)?;
    for _ in 0..1500 {
        rdd = rdd.map_values(|x| x + 1);
    }
    let mut sums = rdd.reduce_by_key(|a, b| a + b);
    for _ in 0..1500 {
        sums = sums.filter(|_| true);
    }
    assert_eq!(sorted(sums.collect()?), [(0, 12 + 6000), (1, 16 + 6000)]);
    Ok(())
}

fn shared_stages(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let sums = ctx
        .parallelize_into((0..100).map(|x| (x % 10, x)), 4)?
        .reduce_by_key(|a, b| a + b);
    let expected: Vec<(i32, i32)> = (0..10).map(|key| (key, 450 + key * 10)).collect();
    for round in 0..4 {
        let results: Vec<Vec<(i32, i32)>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| sums.collect())).collect();
            let joined = threads.into_iter().map(|thread| thread.join().unwrap());
            joined.collect::<Result<_, _>>()
        })?;
        for result in results {
            assert_eq!(sorted(result), expected);
        }
        // All of them miss what is gone, and none forgets what another has made again.
        let (shuffle, map) = (0, round);
        ctx.blocks()
            .remove(&mut (0..4).map(|reduce| BlockId::Shuffle {
                shuffle,
                map,
                reduce,
            }));
    }
    Ok(())
}

fn stopped(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.range(0..10).map(|x| (x, x));
    assert_eq!(rdd.count()?, 10);
    ctx.stop();
    assert_eq!(rdd.count().unwrap_err().kind(), ErrorKind::Closed);
    let error = rdd.reduce_by_key(|a, b| a + b).collect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    ctx.stop();
    Ok(())
}

fn cancelled(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let gate = Gate::new();
    // Longer than any test: it knocks when it runs, wherever it runs.
    let endless = ctx.range(0..i64::MAX).with(gate.path()).map(|path, x| {
        if x == 0 {
            knock(path);
        }
        x
    });
    std::thread::scope(|scope| {
        let job = scope.spawn(|| endless.count());
        drop(gate.next());
        ctx.cancel_all_jobs();
        assert_eq!(
            job.join().unwrap().unwrap_err().kind(),
            ErrorKind::Cancelled
        );
    });
    assert_eq!(ctx.range(0..10).count()?, 10);
    Ok(())
}

fn endless(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let gate = Gate::new();
    let one = ctx.parallelize_into([7_u64], 1)?.with(gate.path());
    let endless = one.flat_map(|path, x| {
        knock(path);
        std::iter::repeat(x)
    });
    std::thread::scope(|scope| {
        let job = scope.spawn(|| endless.count());
        drop(gate.next());
        ctx.cancel_all_jobs();
        let error = job.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    });
    Ok(())
}
