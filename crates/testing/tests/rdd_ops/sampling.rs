//! `sample`, `random_split`, `take_sample`, `sample_by_key`, `sample_by_key_exact`.

use std::collections::{BTreeMap, HashMap};

use tidemill_core::{ErrorKind, HashPartitioner, PairRdd, Sampling};

use crate::arbitrary::{Arbitrary, SEEDS};
use crate::support::{Bench, Case, Outcome, case, sorted};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-100
        case("sample_repeats_with_its_seed_and_keeps_order", repeats),
        // C-101
        case("sample_draws_as_many_as_the_fraction_says", sizes),
        // C-103
        case("random_split_leaves_nothing_out_and_nothing_twice", split),
        // C-104
        case("sample_by_key_draws_each_key_at_its_rate", by_key),
        // C-105
        case("sample_by_key_exact_draws_exact_numbers", by_key_exact),
        // C-106
        case("take_sample_is_exact", take_sample),
        case("samples_hold_only_records_that_there_are", only_records),
    ]
}

fn repeats(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let numbers = ctx.range_into(0..1000, 4)?;
    for sampling in [
        Sampling::with_replacement(),
        Sampling::without_replacement(),
    ] {
        let once = numbers.sample(sampling.seed(1), 0.3)?;
        let records = once.collect()?;
        assert!(records.is_sorted(), "in the order of the parent");
        assert_eq!(numbers.sample(sampling.seed(1), 0.3)?.collect()?, records);
        assert_ne!(numbers.sample(sampling.seed(2), 0.3)?.collect()?, records);
        // Without a seed each operator has its own, and draws the same each time it is run.
        let unseeded = numbers.sample(sampling, 0.3)?;
        assert_eq!(unseeded.collect()?, unseeded.collect()?);
        assert_ne!(
            numbers.sample(sampling, 0.3)?.collect()?,
            unseeded.collect()?
        );
        // Partitions draw different numbers: their samples are not the same positions.
        let parts = once.map(|x| x % 250).glom().collect()?;
        assert_ne!(parts[0], parts[1]);
    }
    let placed = numbers
        .map(|x| (x, x))
        .partition_by(HashPartitioner::new(3));
    let sample = placed.sample(Sampling::without_replacement(), 0.5)?;
    assert_eq!(sample.partitioner(), placed.partitioner());
    Ok(())
}

fn sizes(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let numbers = ctx.range_into(0..4000, 5)?;
    // Five standard deviations either way.
    for (fraction, low, high) in [
        (0.0, 0, 0),
        (0.1, 305, 495),
        (0.5, 1842, 2158),
        (1.0, 4000, 4000),
    ] {
        let sample = numbers.sample(Sampling::without_replacement().seed(11), fraction)?;
        let records = sample.collect()?;
        assert!((low..=high).contains(&records.len()), "{fraction}");
        assert!(records.windows(2).all(|pair| pair[0] < pair[1]), "no twins");
    }
    for (fraction, low, high) in [(0.0, 0, 0), (0.5, 1776, 2224), (3.0, 11_452, 12_548)] {
        let sample = numbers.sample(Sampling::with_replacement().seed(11), fraction)?;
        let count = sample.count()?;
        assert!((low..=high).contains(&count), "{fraction}: {count}");
    }
    Ok(())
}

fn split(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let numbers = ctx.range_into(0..2000, 3)?;
    // Weights are shares of their sum.
    let pieces = numbers.random_split(&[2.0, 0.0, 6.0], Some(5))?;
    let records: Vec<Vec<i64>> = pieces
        .iter()
        .map(|p| p.collect())
        .collect::<Result<_, _>>()?;
    assert!(records.iter().all(|piece| piece.is_sorted()));
    assert!(
        (403..=597).contains(&records[0].len()),
        "{}",
        records[0].len()
    );
    assert!(records[1].is_empty());
    assert_eq!(sorted(records.concat()), (0..2000).collect::<Vec<_>>());
    let again = numbers.random_split(&[1.0, 3.0], Some(5))?;
    assert_eq!(again[0].collect()?, records[0]);
    let own = numbers.random_split(&[1.0, 1.0], None)?;
    assert_eq!(own[0].count()? + own[1].count()?, 2000);
    Ok(())
}

fn by_key(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let pairs = ctx.range_into(0..4000, 4)?.map(|x| (x % 4, x));
    let rates = [(0, 0.0), (1, 0.25), (2, 1.0), (3, 0.5)];
    let drawn = pairs.sample_by_key(Sampling::without_replacement().seed(3), rates)?;
    let records = drawn.collect()?;
    assert!(records.is_sorted_by_key(|(_, x)| *x));
    let counts = drawn.count_by_key()?;
    assert_eq!((counts.get(&0), counts[&2]), (None, 1000));
    assert!((181..=319).contains(&counts[&1]), "{counts:?}");
    assert!((420..=580).contains(&counts[&3]), "{counts:?}");
    let rates = [(0, 2.0), (1, 0.0), (2, 0.0), (3, 0.0)];
    let twice = pairs.sample_by_key(Sampling::with_replacement().seed(3), rates)?;
    assert!((1776..=2224).contains(&twice.count()?));
    // A key without a rate fails the task.
    let missing = pairs.sample_by_key(Sampling::without_replacement(), [(0, 1.0)])?;
    let error = missing.count().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(
        error.report().contains("a key has no fraction"),
        "{error:?}"
    );
    assert!(
        error
            .fact("operator")
            .unwrap()
            .starts_with("sample_by_key at ")
    );
    Ok(())
}

fn by_key_exact(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for partitions in [1, 4] {
        let pairs = ctx.range_into(0..900, partitions)?.map(|x| (x % 3, x));
        let rates = [(0, 0.1), (1, 0.333), (2, 1.0)];
        let sampling = Sampling::without_replacement().seed(9);
        let drawn = pairs.sample_by_key_exact(sampling, rates)?;
        let expected: HashMap<i64, u64> = [(0, 30), (1, 100), (2, 300)].into();
        assert_eq!(drawn.count_by_key()?, expected);
        assert_eq!(drawn.distinct().count()?, 430, "no twins");
        assert_eq!(
            pairs.sample_by_key_exact(sampling, rates)?.collect()?,
            drawn.collect()?
        );
        let sampling = Sampling::with_replacement().seed(9);
        let drawn = pairs.sample_by_key_exact(sampling, [(0, 2.5), (1, 0.0), (2, 1.0)])?;
        let expected: HashMap<i64, u64> = [(0, 750), (2, 300)].into();
        assert_eq!(drawn.count_by_key()?, expected);
    }
    let pairs = ctx.parallelize([(1, 'a'), (2, 'b')]);
    let refused = pairs.sample_by_key_exact(Sampling::without_replacement(), [(1, 0.5)]);
    assert!(
        refused
            .unwrap_err()
            .report()
            .contains("a key has no fraction")
    );
    Ok(())
}

fn take_sample(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let numbers = ctx.range_into(0..100, 7)?;
    for num in [1, 50, 99, 100, 250] {
        let once = numbers.take_sample(Sampling::without_replacement().seed(1), num)?;
        assert_eq!(once.len(), num.min(100));
        let distinct: std::collections::BTreeSet<_> = once.iter().collect();
        assert_eq!(distinct.len(), once.len());
        let again = numbers.take_sample(Sampling::with_replacement().seed(1), num)?;
        assert_eq!(again.len(), num);
    }
    assert_eq!(recorder.take_jobs().len(), 20, "two jobs each");
    let all = numbers.take_sample(Sampling::without_replacement().seed(1), 100)?;
    assert!(!all.is_sorted(), "in random order");
    assert_eq!(sorted(all), (0..100).collect::<Vec<_>>());
    recorder.take_jobs();
    let none = numbers.take_sample(Sampling::with_replacement(), 0)?;
    assert!(none.is_empty() && recorder.take_jobs().is_empty());
    let empty = ctx.empty_rdd::<i64>();
    assert!(
        empty
            .take_sample(Sampling::with_replacement(), 5)?
            .is_empty()
    );
    let hollow = ctx.parallelize_into(Vec::<i64>::new(), 3)?;
    assert!(
        hollow
            .take_sample(Sampling::with_replacement(), 5)?
            .is_empty()
    );
    Ok(())
}

fn only_records(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for seed in SEEDS {
        let mut arbitrary = Arbitrary::new(seed);
        let records = arbitrary.numbers();
        let rdd = arbitrary.rdd(&ctx, &records)?;
        let mut times: BTreeMap<i64, usize> = BTreeMap::new();
        for record in &records {
            *times.entry(*record).or_default() += 1;
        }
        let half = rdd.sample(Sampling::without_replacement().seed(seed), 0.5)?;
        for sample in [
            half.collect()?,
            rdd.take_sample(Sampling::without_replacement().seed(seed), 20)?,
        ] {
            let mut left = times.clone();
            for record in sample {
                let left = left.get_mut(&record).expect("a record that there is");
                *left = left.checked_sub(1).unwrap_or_else(|| panic!("seed {seed}"));
            }
        }
        let many = rdd.sample(Sampling::with_replacement().seed(seed), 2.0)?;
        assert!(
            many.collect()?.iter().all(|x| times.contains_key(x)),
            "seed {seed}"
        );
    }
    Ok(())
}
