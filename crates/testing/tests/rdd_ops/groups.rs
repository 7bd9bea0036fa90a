//! Jobs by name: groups, tags, cancellation, the status tracker, results that are too large.

use tidemill_core::{
    Context, Error, ErrorKind, JobGroup, JobScope, JobStatus, PairRdd, Rdd, StageStatus,
};

use crate::gate::{Gate, knock, pass};
use crate::support::{Bench, Case, Outcome, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-020
        case("a_default_parallelism_overrides_the_slots", parallelism),
        // C-068
        case("a_cancelled_group_leaves_other_groups_alone", groups),
        // C-069
        case("jobs_are_cancelled_by_tag", tags),
        // C-070
        case(
            "cancelling_what_is_not_there_does_nothing",
            nothing_to_cancel,
        ),
        // C-070
        case("all_jobs_are_cancelled_at_once", all_jobs),
        // C-071
        case("the_status_tracker_tells_of_jobs_and_stages", status),
        // C-072
        case("run_job_gives_results_in_the_order_asked_for", run_job),
        // C-143
        case("results_that_are_too_large_end_their_job", max_result_bytes),
    ]
}

/// One task that runs for ever, and knocks first.
fn endless(ctx: &Context, gate: &Gate) -> Rdd<i64> {
    let numbers = ctx.range(0..i64::MAX).coalesce(1).unwrap();
    numbers.with(gate.path()).map(|path, x| {
        if x == 0 {
            knock(path);
        }
        x
    })
}

fn kind_of<T>(joined: std::thread::Result<Result<T, Error>>) -> Option<ErrorKind> {
    joined.unwrap().err().map(|error| error.kind())
}

fn parallelism(bench: &Bench) -> Outcome {
    let builder = bench.backend().builder(2)?;
    let ctx = builder.default_parallelism(7).build()?;
    assert_eq!(ctx.default_parallelism(), 7);
    assert_eq!(ctx.parallelize(0..100).num_partitions()?, 7);
    assert_eq!(ctx.parallelize(0..100).count()?, 100);
    assert_eq!(bench.ctx().default_parallelism(), 2);
    Ok(())
}

fn groups(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let (gate, scope) = (Gate::new(), JobScope::current());
    std::thread::scope(|threads| {
        let start = |id| {
            let scope = scope.clone().in_group(&JobGroup::named(id));
            let (ctx, gate) = (&ctx, &gate);
            let job = threads.spawn(move || scope.run(|| endless(ctx, gate).count()));
            drop(gate.next());
            job
        };
        let (nightly, hourly) = (start("nightly"), start("hourly"));
        ctx.cancel_job_group("nightly");
        assert_eq!(kind_of(nightly.join()), Some(ErrorKind::Cancelled));
        assert_eq!(ctx.status().active_jobs(), [1]);
        ctx.cancel_job_group("hourly");
        assert_eq!(kind_of(hourly.join()), Some(ErrorKind::Cancelled));
    });
    // Cancelled by its id, a group may start again; cancelled by its handle, it may not.
    let group = JobGroup::named("nightly");
    assert_eq!(group.run(|| ctx.range(0..3).count())?, 3);
    group.cancel();
    let refused = group.run(|| ctx.range(0..3).count()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Cancelled);
    Ok(())
}

fn tags(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let gate = Gate::new();
    std::thread::scope(|threads| {
        let start = |tags: [&str; 2]| {
            let scope = JobScope::current().tag(tags[0])?.tag(tags[1])?;
            let (ctx, gate) = (&ctx, &gate);
            let job = threads.spawn(move || scope.run(|| endless(ctx, gate).count()));
            drop(gate.next());
            Ok::<_, Error>(job)
        };
        let (one, other) = (start(["etl", "day"])?, start(["etl", "night"])?);
        ctx.cancel_jobs_with_tag("et");
        ctx.cancel_jobs_with_tag("day");
        assert_eq!(kind_of(one.join()), Some(ErrorKind::Cancelled));
        assert_eq!(ctx.status().active_jobs(), [1]);
        ctx.cancel_jobs_with_tag("etl");
        assert_eq!(kind_of(other.join()), Some(ErrorKind::Cancelled));
        Ok(())
    })
}

fn nothing_to_cancel(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    ctx.cancel_job_group("unknown");
    ctx.cancel_jobs_with_tag("unknown");
    ctx.cancel_job(17);
    ctx.cancel_all_jobs();
    let count = JobGroup::named("known").run(|| {
        ctx.cancel_job_group("unknown");
        ctx.range(0..3).count()
    });
    assert_eq!(count?, 3);
    Ok(())
}

fn all_jobs(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let gate = Gate::new();
    std::thread::scope(|threads| {
        let start = || {
            let (ctx, gate) = (&ctx, &gate);
            let job = threads.spawn(move || endless(ctx, gate).count());
            drop(gate.next());
            job
        };
        let first = start();
        ctx.cancel_job(0);
        assert_eq!(kind_of(first.join()), Some(ErrorKind::Cancelled));
        let jobs = [start(), start()];
        ctx.cancel_all_jobs();
        for job in jobs {
            assert_eq!(kind_of(job.join()), Some(ErrorKind::Cancelled));
        }
    });
    assert_eq!(ctx.range(0..10).count()?, 10);
    Ok(())
}

fn status(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let (status, gate) = (ctx.status(), Gate::new());
    assert_eq!(status.active_jobs(), [0_u64; 0]);
    let executor = &status.executors()[0];
    assert_eq!((executor.num_slots, executor.num_active_tasks), (2, 0));
    assert!(status.job(0).is_none());
    let scope = JobScope::current().in_group(&JobGroup::named("g"));
    let scope = scope.described("held up").tag("t")?;
    // One map task waits at the gate, the other is done with nothing to read.
    let held = ctx.parallelize_into([(1, 1)], 2)?.with(gate.path());
    let held = held.map(|path, pair| {
        pass(path);
        pair
    });
    let sums = held.reduce_by_key(|a, b| a + b);
    let num_reduces = sums.num_partitions()?;
    std::thread::scope(|threads| {
        let job = threads.spawn(|| scope.run(|| sums.collect()));
        let task = gate.next();
        assert_eq!(status.active_jobs(), [0]);
        assert_eq!(status.jobs_in_group(Some("g")), [0]);
        assert_eq!(status.jobs_in_group(None), [0_u64; 0]);
        let stages = status.active_stages();
        assert_eq!(stages.len(), 1);
        let info = status.job(0).unwrap();
        assert_eq!(
            (info.status, info.tags),
            (JobStatus::Running, vec!["t".to_owned()])
        );
        assert_eq!(info.description.as_deref(), Some("held up"));
        let all: Vec<_> = info
            .stages
            .iter()
            .map(|stage| (stage.status, stage.num_tasks))
            .collect();
        assert_eq!(
            all,
            [
                (StageStatus::Active, 2),
                (StageStatus::Waiting, num_reduces)
            ]
        );
        let stage = status.stage(stages[0]).unwrap();
        // Where an attempt was lost, the next may not run yet.
        assert!(stage.num_active_tasks >= 1 || !bench.is_exact());
        drop((task, gate));
        assert_eq!(job.join().unwrap().unwrap(), [(1, 1)]);
    });
    let info = status.job(0).unwrap();
    assert_eq!(
        (info.status, info.group.as_deref()),
        (JobStatus::Succeeded, Some("g"))
    );
    for stage in info.stages {
        assert_eq!(stage.status, StageStatus::Succeeded);
        assert_eq!(stage.num_completed_tasks, stage.num_tasks);
        assert_eq!(stage.num_active_tasks, 0);
        assert!(stage.num_failed_tasks == 0 || !bench.is_exact());
    }
    assert_eq!(status.active_jobs(), [0_u64; 0]);
    // What fails is remembered as well.
    ctx.range(0..2)
        .try_map(|_| Err::<i64, _>("no"))
        .count()
        .unwrap_err();
    let failed = status.job(1).unwrap();
    assert_eq!((failed.status, failed.group), (JobStatus::Failed, None));
    assert_eq!(failed.stages[0].status, StageStatus::Failed);
    assert_eq!(status.jobs_in_group(None), [1]);
    Ok(())
}

fn run_job(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let numbers = ctx.parallelize_into(0..12, 4)?;
    let sum = |records: tidemill_core::PartitionIter<i32>| records.sum::<i32>();
    let sum = || tidemill_core::function::Plain(sum);
    assert_eq!(ctx.run_job(&numbers, sum(), &[3, 0, 2])?, [30, 3, 21]);
    assert!(ctx.run_job(&numbers, sum(), &[])?.is_empty());
    let error = ctx.run_job(&numbers, sum(), &[0, 4]).unwrap_err();
    assert_eq!(
        (error.kind(), error.fact("partition")),
        (ErrorKind::Invalid, Some("4"))
    );
    assert!(error.message().contains("non-existent partition"));
    Ok(())
}

fn max_result_bytes(bench: &Bench) -> Outcome {
    let ctx = bench
        .backend()
        .builder(2)?
        .max_result_bytes(1_000)
        .build()?;
    let numbers = ctx.parallelize_into(0..100_000_i64, 10)?;
    // Partitions in order, whatever order the tasks end in.
    assert_eq!(numbers.filter(|x| x % 1_000 == 0).collect()?.len(), 100);
    let few = numbers.filter(|x| x % 500 == 0).collect()?;
    assert!(few.is_sorted());
    let error = numbers.collect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.fact("max_result_bytes"), Some("1000"));
    assert!(
        error.fact("job").unwrap().starts_with("collect at "),
        "{error}"
    );
    // Small results of large inputs are within the limit.
    assert_eq!(numbers.count()?, 100_000);
    Ok(())
}
