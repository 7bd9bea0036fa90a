//! `intersection`, `subtract`, `subtract_by_key`, `group_by`, `cogroup3`, `cogroup4`.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_core::{HashPartitioner, PairRdd};

use crate::arbitrary::{Arbitrary, SEEDS};
use crate::support::{Bench, Case, Outcome, case, sorted};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-092, C-093
        case("intersection_and_subtract_match_the_examples", examples),
        // C-094
        case("subtract_by_key_matches_the_example", by_key),
        // C-107
        case("group_by_matches_the_example", group_by),
        // C-132
        case("cogroups_of_three_and_four_give_all_sides", cogroups),
        case("set_operators_shuffle_each_side_once", shuffles),
        case("set_operators_are_the_same_as_on_sets", same_as_sets),
    ]
}

fn examples(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let a = ctx.parallelize_into([1, 10, 2, 3, 4, 5, 2], 3)?;
    let b = ctx.parallelize_into([1, 6, 2, 3, 7, 8, 2, 2], 2)?;
    let shared = a.intersection(&b);
    assert_eq!(sorted(shared.collect()?), [1, 2, 3]);
    assert_eq!(shared.num_partitions()?, 3);
    let c = ctx.parallelize_into([1, 2, 2, 5, 5, 5], 4)?;
    let rest = c.subtract(&ctx.parallelize([2, 2, 9]));
    assert_eq!(sorted(rest.collect()?), [1, 5, 5, 5]);
    assert_eq!((rest.num_partitions()?, rest.partitioner()), (4, None));
    let empty = ctx.empty_rdd::<i32>();
    assert_eq!(a.intersection(&empty).count()?, 0);
    assert_eq!(a.subtract(&empty).count()?, 7);
    assert_eq!(empty.subtract(&a).count()?, 0);
    Ok(())
}

fn by_key(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let pairs = ctx.parallelize_into([('a', 1), ('b', 4), ('b', 5), ('a', 2)], 3)?;
    let keys = ctx.parallelize([('a', "x".to_owned()), ('c', "y".to_owned())]);
    let rest = pairs.subtract_by_key(&keys);
    assert_eq!(sorted(rest.collect()?), [('b', 4), ('b', 5)]);
    assert_eq!(rest.num_partitions()?, 3);
    let placed = pairs.partition_by(HashPartitioner::new(5));
    let rest = placed.subtract_by_key(&keys);
    assert_eq!(rest.partitioner(), placed.partitioner());
    assert_eq!(rest.count()?, 2);
    Ok(())
}

fn group_by(bench: &Bench) -> Outcome {
    let numbers = bench.ctx().parallelize_into([1, 1, 2, 3, 5, 8], 3)?;
    let groups = numbers.group_by(|x| x % 2);
    assert_eq!(
        sorted(groups.collect()?),
        [(0, vec![2, 8]), (1, vec![1, 1, 3, 5])]
    );
    assert_eq!(groups.num_partitions()?, 3);
    Ok(())
}

fn cogroups(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let w = ctx.parallelize_into([("a", 5), ("b", 6)].map(owned), 2)?;
    let x = ctx.parallelize_into([("a", 1), ("b", 4)].map(owned), 3)?;
    let y = ctx.parallelize([("a", true)].map(owned));
    let z = ctx.parallelize([("b", 'z'), ("c", 'c'), ("b", 'y')].map(owned));
    let three = w.cogroup3(&x, &y);
    let expected = [
        ("a", (vec![5], vec![1], vec![true])),
        ("b", (vec![6], vec![4], vec![])),
    ];
    assert_eq!(sorted(three.collect()?), expected.map(owned));
    assert_eq!(three.num_partitions()?, 3);
    let four = w.cogroup4(&x, &y, &z);
    let expected = [
        ("a", (vec![5], vec![1], vec![true], vec![])),
        ("b", (vec![6], vec![4], vec![], vec!['z', 'y'])),
        ("c", (vec![], vec![], vec![], vec!['c'])),
    ];
    assert_eq!(sorted(four.collect()?), expected.map(owned));
    let empty = ctx.empty_rdd::<(String, i32)>();
    assert_eq!(empty.cogroup3(&empty, &empty).count()?, 0);
    Ok(())
}

fn owned<V>((key, value): (&str, V)) -> (String, V) {
    (key.to_owned(), value)
}

fn shuffles(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let pairs = ctx.parallelize((0..10).map(|x| (x, x)));
    let stages = || recorder.take_jobs()[0].stages.len();
    assert_eq!((pairs.cogroup3(&pairs, &pairs).count()?, stages()), (10, 4));
    let four = pairs.cogroup4(&pairs, &pairs, &pairs);
    assert_eq!((four.count()?, stages()), (10, 5));
    assert_eq!((pairs.intersection(&pairs).count()?, stages()), (10, 3));
    assert_eq!((pairs.subtract(&pairs).count()?, stages()), (0, 3));
    let placed = pairs.partition_by(HashPartitioner::new(3));
    assert_eq!((placed.subtract_by_key(&placed).count()?, stages()), (0, 2));
    Ok(())
}

fn same_as_sets(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for seed in SEEDS {
        let mut arbitrary = Arbitrary::new(seed);
        let (left, right) = (arbitrary.numbers(), arbitrary.numbers());
        let ours = arbitrary.rdd(&ctx, &left)?;
        let theirs = arbitrary.rdd(&ctx, &right)?;
        let (a, b): (BTreeSet<i64>, BTreeSet<i64>) = (
            left.iter().copied().collect(),
            right.iter().copied().collect(),
        );
        let expected: Vec<i64> = a.intersection(&b).copied().collect();
        assert_eq!(
            sorted(ours.intersection(&theirs).collect()?),
            expected,
            "seed {seed}"
        );
        let expected = sorted(left.iter().copied().filter(|x| !b.contains(x)));
        assert_eq!(
            sorted(ours.subtract(&theirs).collect()?),
            expected,
            "seed {seed}"
        );
        let mut groups: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for x in &left {
            groups.entry(x.rem_euclid(4)).or_default().push(*x);
        }
        let found = ours.group_by(|x| x.rem_euclid(4)).collect()?;
        assert_eq!(
            sorted(found),
            groups.into_iter().collect::<Vec<_>>(),
            "seed {seed}"
        );
        let pairs = arbitrary.pairs();
        let keyed = arbitrary.rdd(&ctx, &pairs)?;
        let rest = keyed.subtract_by_key(&theirs.map(|x| (x, ())));
        let expected = sorted(pairs.iter().copied().filter(|(key, _)| !b.contains(key)));
        assert_eq!(sorted(rest.collect()?), expected, "seed {seed}");
    }
    Ok(())
}
