//! Keyed operators.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_core::{HashPartitioner, PairRdd, Partitioner, Rdd};

use crate::support::{Bench, Case, Outcome, case, sorted};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("reduce_by_key_sums_each_key", sums_each_key),
        // C-123
        case("reduce_by_key_leaves_single_values_alone", single_values),
        // C-124
        case(
            "fold_by_key_uses_zero_once_a_key_and_partition",
            fold_by_key,
        ),
        // C-125
        case("aggregate_by_key_copies_its_zero", aggregate_by_key),
        // C-122
        case("combine_by_key_builds_lists", combine_by_key),
        // C-126
        case("group_by_key_keeps_all_values", group_by_key),
        // C-113
        case("partition_by_places_each_key_once", partition_by),
        // C-114
        case(
            "partition_by_an_equal_partitioner_is_the_same_rdd",
            equal_partitioner,
        ),
        // C-117
        case("hash_partitioner_takes_any_key", any_key),
        // C-118
        case("keyed_operators_keep_a_placement", kept_placement),
        // C-121
        case("reduce_after_partition_by_shuffles_once", reduce_in_place),
        // C-120
        case("join_of_placed_rdds_shuffles_nothing", join_in_place),
        // C-133
        case("joins_match_the_worked_examples", joins),
        case("cogroup_gives_both_sides", cogroup),
        // C-227
        case("all_values_of_a_key_reach_one_task", one_task_a_key),
        case("keyed_operators_take_empty_rdds", empty_rdds),
    ]
}

const WORDS: [(&str, i64); 7] = [
    ("a", 1),
    ("b", 2),
    ("a", 3),
    ("c", 4),
    ("b", 5),
    ("a", 6),
    ("d", 7),
];

fn pairs(bench: &Bench, partitions: usize) -> Rdd<(String, i64)> {
    let records = WORDS.map(|(word, n)| (word.to_owned(), n));
    bench.ctx().parallelize_into(records, partitions).unwrap()
}

/// What Rust's own collections say.
fn grouped() -> BTreeMap<String, Vec<i64>> {
    let mut groups: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (word, n) in WORDS {
        groups.entry(word.to_owned()).or_default().push(n);
    }
    groups
}

fn each_key<R>(f: impl Fn(&[i64]) -> R) -> Vec<(String, R)> {
    let groups = grouped().into_iter();
    groups.map(|(key, values)| (key, f(&values))).collect()
}

/// A placement of our own: by the first letter.
#[derive(Clone, Serialize, Deserialize)]
struct ByLetter {
    num_partitions: usize,
}

impl Partitioner<String> for ByLetter {
    fn num_partitions(&self) -> usize {
        self.num_partitions
    }

    fn partition(&self, key: &String) -> usize {
        key.bytes().next().map_or(0, usize::from) % self.num_partitions
    }
}

fn sums_each_key(bench: &Bench) -> Outcome {
    for partitions in [1, 2, 5, 12] {
        let sums = pairs(bench, partitions).reduce_by_key(|a, b| a + b);
        assert_eq!(sums.num_partitions()?, partitions);
        let expected = each_key(|values| values.iter().sum::<i64>());
        assert_eq!(sorted(sums.collect()?), expected);
    }
    let placed =
        pairs(bench, 3).reduce_by_key_with(ByLetter { num_partitions: 4 }, |a, b| a.max(b));
    let expected = each_key(|values| *values.iter().max().unwrap());
    assert_eq!(sorted(placed.collect()?), expected);
    assert_eq!(placed.num_partitions()?, 4);
    Ok(())
}

fn single_values(bench: &Bench) -> Outcome {
    let singles = bench.ctx().parallelize_into((0..20).map(|x| (x, x)), 4)?;
    let reduced = singles.reduce_by_key(|_, _| panic!("called for a single value"));
    assert_eq!(
        sorted(reduced.collect()?),
        (0..20).map(|x| (x, x)).collect::<Vec<_>>()
    );
    Ok(())
}

fn fold_by_key(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let pairs = ctx.parallelize_into([('a', 1), ('a', 2), ('a', 3), ('b', 4)], 2)?;
    // `a` lies in two partitions, `b` in one.
    let folded = pairs.fold_by_key(10, |a, b| a + b);
    assert_eq!(sorted(folded.collect()?), [('a', 26), ('b', 14)]);
    let whole = pairs.coalesce(1)?.fold_by_key(10, |a, b| a + b);
    assert_eq!(sorted(whole.collect()?), [('a', 16), ('b', 14)]);
    Ok(())
}

fn aggregate_by_key(bench: &Bench) -> Outcome {
    for partitions in [1, 3] {
        let lists = pairs(bench, partitions).aggregate_by_key(
            Vec::new(),
            |mut list, n| {
                list.push(n.to_string());
                list
            },
            |mut a, b| {
                a.extend(b);
                a
            },
        );
        let expected = each_key(|values| values.iter().map(i64::to_string).collect::<Vec<_>>());
        assert_eq!(sorted(lists.collect()?), expected);
    }
    Ok(())
}

fn combine_by_key(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let pairs = ctx.parallelize_into([('a', 1), ('b', 1), ('a', 2)], 2)?;
    let lists = pairs.combine_by_key(
        |n| vec![n],
        |mut list, n| {
            list.push(n);
            list
        },
        |mut a, b| {
            a.extend(b);
            a
        },
    );
    assert_eq!(
        sorted(lists.collect()?),
        [('a', vec![1, 2]), ('b', vec![1])]
    );
    Ok(())
}

fn group_by_key(bench: &Bench) -> Outcome {
    for partitions in [1, 2, 4] {
        let groups = pairs(bench, partitions).group_by_key();
        assert_eq!(sorted(groups.collect()?), each_key(<[i64]>::to_vec));
        let lens = groups.map_values(|values| (values.len(), values.iter().sum::<i64>()));
        let expected = each_key(|values| (values.len(), values.iter().sum()));
        assert_eq!(sorted(lens.collect()?), expected);
    }
    Ok(())
}

fn partition_by(bench: &Bench) -> Outcome {
    let partitioner = HashPartitioner::new(3);
    let placed = pairs(bench, 2).partition_by(partitioner);
    let parts = placed.glom().collect()?;
    assert_eq!(parts.len(), 3);
    for (at, part) in parts.iter().enumerate() {
        let here = part.iter().all(|(key, _)| partitioner.partition(key) == at);
        assert!(here, "{at}: {part:?}");
    }
    let all = sorted(parts.into_iter().flatten());
    assert_eq!(all, sorted(WORDS.map(|(word, n)| (word.to_owned(), n))));
    let ours = pairs(bench, 2).partition_by(ByLetter { num_partitions: 2 });
    let keys = ours
        .keys()
        .glom()
        .map(|keys| keys.into_iter().collect::<std::collections::BTreeSet<_>>());
    assert_eq!(
        keys.collect()?,
        [
            ["b", "d"].map(String::from).into(),
            ["a", "c"].map(String::from).into()
        ]
    );
    Ok(())
}

fn equal_partitioner(bench: &Bench) -> Outcome {
    let placed = pairs(bench, 2).partition_by(HashPartitioner::new(3));
    assert_eq!(
        placed.partition_by(HashPartitioner::new(3)).id(),
        placed.id()
    );
    assert_ne!(
        placed.partition_by(HashPartitioner::new(4)).id(),
        placed.id()
    );
    let ours = placed.partition_by(ByLetter { num_partitions: 3 });
    assert_ne!(ours.id(), placed.id());
    assert_eq!(
        ours.partition_by(ByLetter { num_partitions: 3 }).id(),
        ours.id()
    );
    Ok(())
}

fn any_key(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let keys = [i64::MIN, -7, -1, 0, 1, i64::MAX];
    let counts = ctx
        .parallelize(keys.map(|key| (key, 1)))
        .reduce_by_key(|a, b| a + b);
    assert_eq!(sorted(counts.collect()?), keys.map(|key| (key, 1)));
    let absent = ctx
        .parallelize([(None, 1), (Some(2), 1), (None, 1)])
        .reduce_by_key(|a, b| a + b);
    assert_eq!(sorted(absent.collect()?), [(None, 2), (Some(2), 1)]);
    let units = ctx
        .parallelize([((), 1), ((), 2)])
        .reduce_by_key(|a, b| a + b);
    assert_eq!(units.collect()?, [((), 3)]);
    assert_eq!(HashPartitioner::new(3), HashPartitioner::new(3));
    assert_ne!(HashPartitioner::new(3), HashPartitioner::new(4));
    Ok(())
}

fn kept_placement(bench: &Bench) -> Outcome {
    let placed = pairs(bench, 2).partition_by(ByLetter { num_partitions: 5 });
    let by = placed.partitioner();
    assert_eq!(placed.reduce_by_key(|a, b| a + b).partitioner(), by);
    assert_eq!(placed.group_by_key().partitioner(), by);
    assert_eq!(placed.cogroup(&placed.map(|pair| pair)).partitioner(), by);
    // Too coarse to be worth keeping: a tenth of the other side's partitions, or fewer.
    let wide = pairs(bench, 50);
    assert_eq!(placed.join(&wide).num_partitions()?, 50);
    assert_eq!(pairs(bench, 3).join(&pairs(bench, 4)).num_partitions()?, 4);
    Ok(())
}

fn reduce_in_place(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let records = WORDS.map(|(word, n)| (word.to_owned(), n));
    let placed = ctx
        .parallelize(records)
        .partition_by(HashPartitioner::new(3));
    let sums = placed.reduce_by_key(|a, b| a + b);
    assert_eq!(
        sorted(sums.collect()?),
        each_key(|values| values.iter().sum::<i64>())
    );
    let jobs = recorder.take_jobs();
    assert_eq!((jobs.len(), jobs[0].stages.len()), (1, 2));
    assert_eq!(sums.partitioner(), placed.partitioner());
    Ok(())
}

fn join_in_place(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let placed = |base: i64| {
        let pairs = ctx.parallelize((0..10).map(|x| (x, x + base)));
        pairs.partition_by(HashPartitioner::new(3))
    };
    let joined = placed(100).join(&placed(200));
    let expected: Vec<_> = (0..10).map(|x| (x, (x + 100, x + 200))).collect();
    assert_eq!(sorted(joined.collect()?), expected);
    // One stage a `partition_by`, and one for the join.
    assert_eq!(recorder.take_jobs()[0].stages.len(), 3);
    assert_eq!(joined.count()?, 10);
    assert_eq!(recorder.take_jobs()[0].stages.len(), 1);
    Ok(())
}

fn joins(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for (left, right) in [(1, 1), (2, 3), (5, 2)] {
        let a = ctx.parallelize_into([('a', 1), ('a', 2), ('b', 4)], left)?;
        let b = ctx.parallelize_into([('a', 10), ('a', 20), ('c', 30)], right)?;
        let inner = [(1, 10), (1, 20), (2, 10), (2, 20)].map(|pair| ('a', pair));
        assert_eq!(sorted(a.join(&b).collect()?), inner);
        let matched = inner.map(|(key, (x, y))| (key, (x, Some(y))));
        let expected = sorted([&matched[..], &[('b', (4, None))]].concat());
        assert_eq!(sorted(a.left_outer_join(&b).collect()?), expected);
        let matched = inner.map(|(key, (x, y))| (key, (Some(x), y)));
        let expected = sorted([&matched[..], &[('c', (None, 30))]].concat());
        assert_eq!(sorted(a.right_outer_join(&b).collect()?), expected);
        let matched = inner.map(|(key, (x, y))| (key, (Some(x), Some(y))));
        let alone = [('b', (Some(4), None)), ('c', (None, Some(30)))];
        let expected = sorted([&matched[..], &alone].concat());
        assert_eq!(sorted(a.full_outer_join(&b).collect()?), expected);
    }
    Ok(())
}

fn cogroup(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let a = ctx.parallelize_into([('a', 1), ('b', 4), ('a', 2)], 2)?;
    let b = ctx.parallelize_into([('a', "x".to_owned()), ('c', "y".to_owned())], 3)?;
    let groups = a.cogroup(&b);
    let expected = [
        ('a', (vec![1, 2], vec!["x".to_owned()])),
        ('b', (vec![4], vec![])),
        ('c', (vec![], vec!["y".to_owned()])),
    ];
    assert_eq!(sorted(groups.collect()?), expected);
    assert_eq!(groups.num_partitions()?, 3);
    let itself = a.cogroup(&a);
    assert_eq!(
        sorted(itself.collect()?)[0],
        ('a', (vec![1, 2], vec![1, 2]))
    );
    Ok(())
}

fn one_task_a_key(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let spread = ctx.parallelize_into((0..400).map(|x| (x % 10, x)), 8)?;
    let groups = spread.group_by_key();
    let once = groups.collect()?;
    assert_eq!(once.len(), 10);
    for (key, values) in &once {
        let expected: Vec<i32> = (0..40).map(|n| n * 10 + key).collect();
        // In the order of the map tasks, each time.
        assert_eq!(values, &expected);
    }
    assert_eq!(groups.collect()?, once);
    Ok(())
}

fn empty_rdds(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let empty = ctx.empty_rdd::<(i32, i32)>();
    let some = ctx.parallelize([(1, 2)]);
    assert_eq!(empty.reduce_by_key(|a, b| a + b).count()?, 0);
    assert_eq!(empty.group_by_key().count()?, 0);
    assert_eq!(empty.join(&some).count()?, 0);
    assert_eq!(empty.right_outer_join(&some).collect()?, [(1, (None, 2))]);
    assert_eq!(some.cogroup(&empty).collect()?, [(1, (vec![2], vec![]))]);
    assert!(empty.count_by_key()?.is_empty());
    Ok(())
}
