//! Actions.

use tidemill_core::function::Plain;
use tidemill_core::{ErrorKind, PairRdd};

use crate::support::{Bench, Case, Outcome, Tally, case, count_in};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-157
        case("count_and_collect_are_exact", count_and_collect),
        // C-145
        case("take_and_first_pass_empty_partitions", take_and_first),
        // C-146
        case(
            "take_looks_at_four_times_more_partitions_each_time",
            take_growth,
        ),
        // C-147
        case("first_of_nothing_is_an_error", first_of_nothing),
        // C-148, C-149
        case("top_and_take_ordered_keep_order", top_and_take_ordered),
        // C-150
        case("reduce_passes_empty_partitions", reduce),
        // C-151
        case("fold_uses_zero_once_a_partition_and_once_more", fold),
        // C-152, C-153
        case("aggregate_copies_its_zero", aggregate),
        // C-158
        case("for_each_runs_where_the_records_are", for_each),
        case("count_by_value_and_key_count_on_the_driver", count_by),
        case("run_job_takes_some_partitions", run_job),
    ]
}

fn count_and_collect(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for (len, partitions) in [(0, 1), (1, 4), (1000, 3), (77, 77)] {
        let rdd = ctx.parallelize_into(0..len, partitions)?;
        assert_eq!(rdd.count()?, len);
        assert_eq!(rdd.collect()?, (0..len).collect::<Vec<_>>());
    }
    assert_eq!(ctx.empty_rdd::<u8>().count()?, 0);
    assert!(ctx.empty_rdd::<u8>().collect()?.is_empty());
    Ok(())
}

fn take_and_first(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let rdd = ctx.parallelize_into(0..20, 10)?.filter(|x| *x >= 9);
    assert_eq!(rdd.first()?, 9);
    assert_eq!(rdd.take(4)?, [9, 10, 11, 12]);
    assert_eq!(rdd.take(100)?, (9..20).collect::<Vec<_>>());
    recorder.take_jobs();
    assert!(rdd.take(0)?.is_empty());
    assert!(recorder.take_jobs().is_empty());
    Ok(())
}

fn take_growth(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let rdd = ctx.parallelize_into(0..100, 100)?.filter(|x| *x > 90);
    assert_eq!(rdd.take(3)?, [91, 92, 93]);
    let jobs = recorder.take_jobs();
    let tasks: Vec<usize> = jobs.iter().map(|job| job.num_tasks()).collect();
    assert_eq!(tasks, [1, 4, 16, 64, 15]);
    assert!(jobs.iter().all(|job| job.action == "take"));
    Ok(())
}

fn first_of_nothing(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for rdd in [ctx.empty_rdd::<i32>(), ctx.parallelize_into([], 3)?] {
        let error = rdd.first().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.message(), "RDD is empty");
        assert!(rdd.is_empty()?);
    }
    assert!(!ctx.parallelize_into([1], 9)?.is_empty()?);
    Ok(())
}

fn top_and_take_ordered(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for partitions in [1, 2, 7] {
        let rdd = ctx.parallelize_into([4, 2, 6, 3, 5, 2], partitions)?;
        assert_eq!(rdd.top(2)?, [6, 5]);
        assert_eq!(rdd.take_ordered(3)?, [2, 2, 3]);
        assert_eq!(rdd.take_ordered(60)?, [2, 2, 3, 4, 5, 6]);
        assert!(rdd.take_ordered(0)?.is_empty() && rdd.top(0)?.is_empty());
        // Another order is another key.
        let keyed = rdd.map(|x| (x.to_string(), x));
        assert_eq!(keyed.top(1)?, [("6".to_owned(), 6)]);
        let descending = rdd.map(std::cmp::Reverse).take_ordered(2)?;
        assert_eq!(descending.map_inner(), [6, 5]);
    }
    assert!(ctx.empty_rdd::<i32>().take_ordered(3)?.is_empty());
    Ok(())
}

trait Inner {
    fn map_inner(self) -> Vec<i32>;
}

impl Inner for Vec<std::cmp::Reverse<i32>> {
    fn map_inner(self) -> Vec<i32> {
        self.into_iter().map(|x| x.0).collect()
    }
}

fn reduce(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    assert_eq!(ctx.parallelize_into(1..=5, 9)?.reduce(|a, b| a + b)?, 15);
    let letters = ctx.parallelize_into(["a", "b", "c"].map(String::from), 2)?;
    assert_eq!(letters.reduce(|a, b| a + &b)?, "abc");
    let error = ctx
        .parallelize_into(Vec::<i32>::new(), 2)?
        .reduce(|a, b| a + b);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error
            .message()
            .contains("can not reduce an empty collection")
    );
    assert_eq!(
        ctx.empty_rdd::<i32>().reduce(|a, _| a).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    Ok(())
}

fn fold(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.parallelize_into(1..=5, 2)?;
    assert_eq!(rdd.fold(1, |a, b| a + b)?, 18);
    assert_eq!(rdd.fold(0, |a, b| a + b)?, 15);
    assert_eq!(ctx.empty_rdd::<i32>().fold(7, |a, b| a + b)?, 7);
    Ok(())
}

fn aggregate(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let sum_and_count = |partitions| {
        ctx.parallelize_into(1..5, partitions)?.aggregate(
            (0, 0),
            |(sum, count), x| (sum + x, count + 1),
            |a, b| (a.0 + b.0, a.1 + b.1),
        )
    };
    assert_eq!(sum_and_count(2)?, (10, 4));
    assert_eq!(
        ctx.empty_rdd::<i32>()
            .aggregate(3, |a, b| a + b, |a, _| a)?,
        3
    );
    for partitions in [1, 2] {
        let listed = ctx.parallelize_into(1..5, partitions)?.aggregate(
            Vec::new(),
            |mut list, x| {
                list.push(x);
                list
            },
            |a, b| [a, b].concat(),
        )?;
        assert_eq!(listed, [1, 2, 3, 4]);
    }
    Ok(())
}

fn for_each(bench: &Bench) -> Outcome {
    let (ctx, tally) = (bench.ctx(), Tally::new());
    let rdd = ctx.parallelize_into(0..6, 3)?;
    let paths = rdd.with(tally.path()).map(|path, _| path.clone());
    paths.for_each(|path| {
        count_in(&path);
    })?;
    assert!(tally.count() >= 6);
    assert!(!bench.is_exact() || tally.count() == 6);
    // Empty partitions are seen too: only they fail.
    let hollow = ctx.parallelize_into(0..1, 3)?;
    let see = |records: Box<dyn Iterator<Item = i32>>| match records.count() {
        0 => Err("an empty partition"),
        _ => Ok(()),
    };
    let error = hollow.for_each_partition(see).unwrap_err();
    assert!(error.report().contains("an empty partition"));
    rdd.for_each_partition(see)?;
    Ok(())
}

fn count_by(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.parallelize_into(["a", "b", "a", "a"].map(String::from), 3)?;
    let counts = rdd.count_by_value()?;
    assert_eq!((counts["a"], counts["b"], counts.len()), (3, 1, 2));
    let pairs = ctx.parallelize_into([(1, 'x'), (2, 'x'), (1, 'x')], 2)?;
    let counts = pairs.count_by_key()?;
    assert_eq!((counts[&1], counts[&2], counts.len()), (2, 1, 2));
    assert!(ctx.empty_rdd::<i32>().count_by_value()?.is_empty());
    Ok(())
}

fn run_job(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.parallelize_into(0..10, 5)?;
    let sums = ctx.run_job(
        &rdd,
        Plain(|records: Box<dyn Iterator<Item = i32>>| records.sum::<i32>()),
        &[4, 0],
    )?;
    assert_eq!(sums, [17, 1]);
    let count = Plain(|records: Box<dyn Iterator<Item = i32>>| records.count() as u64);
    let error = ctx.run_job(&rdd, count, &[5]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("non-existent partition"));
    Ok(())
}
