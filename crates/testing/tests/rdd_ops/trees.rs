//! `tree_reduce`, `tree_aggregate`.

use crate::arbitrary::{Arbitrary, SEEDS};
use crate::support::{Bench, Case, Outcome, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-154
        case("trees_give_the_same_as_reduce_and_aggregate", same_as_plain),
        case(
            "a_tree_joins_neighbours_and_uses_zero_once_a_partition",
            neighbours,
        ),
        case("a_tree_has_a_stage_for_each_level", stages),
    ]
}

fn same_as_plain(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for seed in SEEDS {
        let mut arbitrary = Arbitrary::new(seed);
        let mut records = arbitrary.numbers();
        records.push(7);
        let partitions = 1 + arbitrary.below(30) as usize;
        let rdd = ctx.parallelize_into(records.clone(), partitions)?;
        let sum: i64 = records.iter().sum();
        for depth in [1, 2, 5, 10] {
            let reduced = rdd.tree_reduce(depth, |a, b| a + b)?;
            assert_eq!(reduced, sum, "seed {seed} depth {depth}");
            let merge = |(sum, count): (i64, u64), x: i64| (sum + x, count + 1);
            let aggregated =
                rdd.tree_aggregate(depth, (0, 0), merge, |a, b| (a.0 + b.0, a.1 + b.1))?;
            assert_eq!(
                aggregated,
                (sum, records.len() as u64),
                "seed {seed} depth {depth}"
            );
        }
    }
    assert_eq!(
        ctx.empty_rdd::<i64>()
            .tree_aggregate(2, 3, |n, _| n, |a, b| a + b)?,
        3
    );
    Ok(())
}

fn neighbours(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let letters = ctx.parallelize_into(('a'..='z').map(String::from), 20)?;
    let alphabet: String = ('a'..='z').collect();
    for depth in [1, 2, 3] {
        // Not commutative: the order must not change.
        assert_eq!(letters.tree_reduce(depth, |a, b| a + &b)?, alphabet);
        let zeros = letters.tree_aggregate(depth, 1_u64, |n, _| n, |a, b| a + b)?;
        assert_eq!(zeros, 20);
    }
    Ok(())
}

fn stages(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let numbers = ctx.range_into(0..100, 30)?;
    for (depth, tasks) in [(1, vec![30]), (2, vec![30, 5]), (3, vec![30, 7, 1])] {
        assert_eq!(numbers.tree_reduce(depth, |a, b| a + b)?, 4950);
        let jobs = recorder.take_jobs();
        let found: Vec<usize> = jobs[0].stages.iter().map(|s| s.num_tasks).collect();
        assert_eq!((jobs.len(), found), (1, tasks), "depth {depth}");
    }
    Ok(())
}
