//! `lookup`, `collect_as_map`, `reduce_by_key_locally`, `filter_by_range`, `max`, `min`,
//! `to_local_iterator`, and what sorting runs when.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tidemill_core::{HashPartitioner, OrderedRdd, PairRdd, Partitioner};

use crate::arbitrary::{Arbitrary, SEEDS};
use crate::support::{Bench, Case, Outcome, Tally, case, count_in, sorted};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-128
        case("counts_and_sums_of_keys_come_as_maps", maps),
        // C-129
        case("collect_as_map_keeps_the_last_value", last_value),
        // C-130, C-131
        case("lookup_runs_one_task_where_keys_are_placed", lookup),
        // C-140
        case("sort_by_key_samples_in_one_job_when_made", sampling_job),
        // C-141
        case(
            "partitions_are_placed_and_sorted_in_one_shuffle",
            place_and_sort,
        ),
        // C-142
        case("filter_by_range_is_inclusive_and_prunes", by_range),
        // C-144
        case(
            "local_iterator_fetches_a_partition_when_reached",
            local_iterator,
        ),
        case("local_iterator_prefetches_the_next_partition", prefetch),
        case("max_and_min_choose_by_order_and_by_key", max_and_min),
        case("keyed_actions_are_the_same_as_on_a_map", same_as_map),
    ]
}

fn maps(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let pairs = ctx.parallelize_into([('a', 1), ('b', 4), ('a', 2), ('b', 5), ('a', 3)], 3)?;
    let sums = pairs.reduce_by_key_locally(|a, b| a + b)?;
    assert_eq!(sums, HashMap::from([('a', 6), ('b', 9)]));
    assert_eq!(pairs.count_by_key()?, HashMap::from([('a', 3), ('b', 2)]));
    let counts = pairs.keys().count_by_value()?;
    assert_eq!(counts, HashMap::from([('a', 3), ('b', 2)]));
    let single = ctx.parallelize([(1, 1), (2, 2)]);
    let untouched = single.reduce_by_key_locally(|_, _| panic!("called for a single value"))?;
    assert_eq!(untouched.len(), 2);
    let empty = ctx.empty_rdd::<(i32, i32)>();
    assert!(empty.reduce_by_key_locally(|a, _| a)?.is_empty());
    Ok(())
}

fn last_value(bench: &Bench) -> Outcome {
    let pairs = bench
        .ctx()
        .parallelize_into([(1, 'a'), (2, 'b'), (1, 'c'), (1, 'd')], 3)?;
    assert_eq!(pairs.collect_as_map()?, HashMap::from([(1, 'd'), (2, 'b')]));
    Ok(())
}

fn lookup(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let pairs = ctx.parallelize_into((0..100).map(|x| (x % 20, x)), 6)?;
    let expected: Vec<i32> = (0..100).filter(|x| x % 20 == 7).collect();
    let tasks = || {
        recorder
            .take_jobs()
            .last()
            .unwrap()
            .stages
            .last()
            .unwrap()
            .num_tasks
    };
    assert_eq!((pairs.lookup(7)?, tasks()), (expected.clone(), 6));
    assert_eq!((pairs.lookup(50)?, tasks()), (vec![], 6));
    let placed = pairs.partition_by(HashPartitioner::new(5));
    assert_eq!((placed.lookup(7)?, tasks()), (expected.clone(), 1));
    assert_eq!((placed.map_values(|x| x).lookup(50)?, tasks()), (vec![], 1));
    for ascending in [true, false] {
        let by_key = pairs.sort_by_key(ascending)?;
        assert_eq!((by_key.lookup(7)?, tasks()), (expected.clone(), 1));
        assert_eq!((by_key.lookup(50)?, tasks()), (vec![], 1));
    }
    Ok(())
}

fn sampling_job(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let pairs = ctx.parallelize_into((0..100).map(|x| (x * 37 % 100, x)), 4)?;
    let by_key = pairs.sort_by_key(true)?;
    let jobs = recorder.take_jobs();
    assert_eq!((jobs.len(), jobs[0].num_tasks()), (1, 4));
    assert_eq!(by_key.num_partitions()?, 4);
    assert!(pairs.sort_by_key_into(true, 1)?.collect()?.is_sorted());
    assert_eq!(
        recorder.take_jobs().len(),
        1,
        "one partition needs no sample"
    );
    Ok(())
}

/// A placement by remainder.
#[derive(Clone, Serialize, Deserialize)]
struct ByRemainder(usize);

impl Partitioner<i32> for ByRemainder {
    fn num_partitions(&self) -> usize {
        self.0
    }

    fn partition(&self, key: &i32) -> usize {
        key.rem_euclid(self.0 as i32) as usize
    }
}

fn place_and_sort(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let records = [(0, 5), (3, 8), (2, 6), (0, 8), (3, 8), (1, 3)];
    let pairs = ctx.parallelize_into(records, 2)?;
    let up = pairs.repartition_and_sort_within_partitions(ByRemainder(2), true);
    let expected = [vec![(0, 5), (0, 8), (2, 6)], vec![(1, 3), (3, 8), (3, 8)]];
    assert_eq!(up.glom().collect()?, expected);
    assert_eq!(recorder.take_jobs()[0].stages.len(), 2);
    let down = pairs.repartition_and_sort_within_partitions(ByRemainder(2), false);
    let expected = [vec![(2, 6), (0, 5), (0, 8)], vec![(3, 8), (3, 8), (1, 3)]];
    assert_eq!(down.glom().collect()?, expected);
    // The placement is known afterwards.
    recorder.take_jobs();
    assert_eq!(up.reduce_by_key(|a, b| a + b).count()?, 4);
    assert_eq!(recorder.take_jobs()[0].stages.len(), 1);
    Ok(())
}

fn by_range(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let pairs = ctx.parallelize_into((0..1000).map(|x| (x * 7919 % 1000, ())), 10)?;
    let expected: Vec<i32> = (300..=420).collect();
    for ascending in [true, false] {
        let by_key = pairs.sort_by_key(ascending)?;
        let some = by_key.filter_by_range(300..=420).keys();
        recorder.take_jobs();
        assert_eq!(sorted(some.collect()?), expected);
        let tasks = recorder.take_jobs()[0].stages.last().unwrap().num_tasks;
        assert!((2..=3).contains(&tasks), "{tasks} of 10 partitions");
        assert_eq!(by_key.filter_by_range(-5..=-1).count()?, 0);
        assert_eq!(by_key.filter_by_range(999..=2000).count()?, 1);
        #[expect(clippy::reversed_empty_ranges, reason = "this is what is tested")]
        let nothing = by_key.filter_by_range(420..=300);
        assert_eq!(nothing.count()?, 0);
    }
    // Pairs in no order are filtered where they are.
    let some = pairs.filter_by_range(300..=420);
    assert_eq!((some.count()?, some.num_partitions()?), (121, 10));
    Ok(())
}

fn local_iterator(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let numbers = ctx.range_into(0..9, 3)?;
    let mut records = numbers.to_local_iterator()?;
    assert!(recorder.take_jobs().is_empty());
    for x in 0..3 {
        assert_eq!(records.next().unwrap()?, x);
    }
    assert_eq!(recorder.take_jobs().len(), 1);
    let rest: Vec<i64> = records.collect::<Result<_, _>>()?;
    assert_eq!(rest, [3, 4, 5, 6, 7, 8]);
    assert_eq!(recorder.take_jobs().len(), 2);
    // A failure shows when its partition is reached, and is the last item.
    let failing = numbers.map(|x| {
        if x == 4 {
            panic!("no luck with {x}")
        } else {
            x
        }
    });
    let mut records = failing.to_local_iterator()?;
    let first: Vec<i64> = records.by_ref().take(3).collect::<Result<_, _>>()?;
    assert_eq!(first, [0, 1, 2]);
    let error = records.next().unwrap().unwrap_err();
    assert!(error.report().contains("no luck with 4"), "{error:?}");
    assert!(records.next().is_none());
    assert!(ctx.empty_rdd::<i64>().to_local_iterator()?.next().is_none());
    Ok(())
}

fn prefetch(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let tally = Tally::new();
    let counted = ctx.range_into(0..9, 3)?.with(tally.path()).map(|path, x| {
        count_in(path);
        x
    });
    let mut records = counted.to_local_iterator()?.prefetch();
    assert_eq!(
        (records.next().transpose()?, records.next().transpose()?),
        (Some(0), Some(1))
    );
    // The second partition comes although nobody has asked for it.
    while tally.count() < 6 {
        std::thread::yield_now();
    }
    let rest: Vec<i64> = records.collect::<Result<_, _>>()?;
    assert_eq!(rest, [2, 3, 4, 5, 6, 7, 8]);
    let failing = ctx
        .range_into(0..9, 3)?
        .map(|x| if x == 4 { panic!("no luck") } else { x });
    let records: Vec<_> = failing.to_local_iterator()?.prefetch().collect();
    assert!(records.len() == 4 && records[3].is_err());
    Ok(())
}

fn max_and_min(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for partitions in [1, 3, 8] {
        let numbers = ctx.parallelize_into([2, 5, 43, 10, 43], partitions)?;
        assert_eq!((numbers.max()?, numbers.min()?), (43, 2));
        assert_eq!(numbers.max_by_key(|x| x.to_string())?, 5);
        assert_eq!(numbers.min_by_key(|x| x.to_string())?, 10);
        // Of equals the first.
        let pairs = ctx.parallelize_into([(1, 'a'), (2, 'b'), (2, 'c'), (1, 'd')], partitions)?;
        assert_eq!(pairs.max_by_key(|pair| pair.0)?, (2, 'b'));
        assert_eq!(pairs.min_by_key(|pair| pair.0)?, (1, 'a'));
    }
    Ok(())
}

fn same_as_map(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for seed in SEEDS {
        let mut arbitrary = Arbitrary::new(seed);
        let pairs = arbitrary.pairs();
        let rdd = arbitrary.rdd(&ctx, &pairs)?;
        let mut sums: HashMap<i64, u64> = HashMap::new();
        for (key, value) in &pairs {
            *sums.entry(*key).or_default() += value;
        }
        assert_eq!(
            rdd.reduce_by_key_locally(|a, b| a + b)?,
            sums,
            "seed {seed}"
        );
        let last: HashMap<i64, u64> = pairs.iter().copied().collect();
        assert_eq!(rdd.collect_as_map()?, last, "seed {seed}");
        let mut records = Vec::new();
        for record in rdd.to_local_iterator()? {
            records.push(record?);
        }
        assert_eq!(records, pairs, "seed {seed}");
        let by_key = rdd.sort_by_key(seed % 2 == 0)?;
        for key in -6..16 {
            let of_key = pairs.iter().filter(|pair| pair.0 == key);
            let expected: Vec<u64> = of_key.map(|pair| pair.1).collect();
            assert_eq!(rdd.lookup(key)?, expected, "seed {seed}");
            assert_eq!(by_key.lookup(key)?, expected, "seed {seed}");
        }
        let expected = sorted(
            pairs
                .iter()
                .copied()
                .filter(|(key, _)| (0..=5).contains(key)),
        );
        assert_eq!(
            sorted(by_key.filter_by_range(0..=5).collect()?),
            expected,
            "seed {seed}"
        );
    }
    Ok(())
}
