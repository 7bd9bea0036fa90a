//! `zip`, `zip_partitions`, `zip_with_index`, `zip_with_unique_id`, `cartesian`.

use tidemill_core::ErrorKind;

use crate::arbitrary::{Arbitrary, SEEDS};
use crate::support::{Bench, Case, Outcome, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-095
        case("cartesian_has_all_pairs_and_chains", cartesian),
        // C-096
        case("zip_refuses_what_does_not_match", zip_mismatch),
        // C-098
        case("zip_with_index_counts_over_partitions", with_index),
        // C-099
        case("zip_with_unique_id_interleaves_partitions", unique_id),
        case("zip_partitions_gives_both_iterators", zip_partitions),
        case("zipping_is_the_same_as_on_a_vec", same_as_vec),
    ]
}

fn cartesian(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let a = ctx.range_into(0..5, 3)?;
    let b = ctx.parallelize_into(['x', 'y', 'z'], 2)?;
    let pairs = a.cartesian(&b)?;
    assert_eq!(pairs.num_partitions()?, 6);
    let parts = pairs.glom().collect()?;
    let (lefts, rights) = (a.glom().collect()?, b.glom().collect()?);
    for (at, part) in parts.iter().enumerate() {
        let (left, right) = (&lefts[at / 2], &rights[at % 2]);
        let expected: Vec<_> = left
            .iter()
            .flat_map(|x| right.iter().map(move |y| (*x, *y)))
            .collect();
        assert_eq!(part, &expected, "partition {at}");
    }
    // An RDD with itself; pairs of pairs; pairs that are zipped.
    assert_eq!(a.cartesian(&a)?.count()?, 25);
    let chained = pairs.cartesian(&a)?;
    assert_eq!((chained.count()?, chained.num_partitions()?), (75, 18));
    let zipped = pairs.zip(&pairs)?.collect()?;
    assert!(zipped.len() == 15 && zipped.iter().all(|(left, right)| left == right));
    assert_eq!(ctx.empty_rdd::<i64>().cartesian(&a)?.num_partitions()?, 0);
    assert_eq!(a.cartesian(&ctx.empty_rdd::<i64>())?.count()?, 0);
    // A shuffle above, and one below.
    let shuffled = a.repartition(2)?.cartesian(&b.repartition(3)?)?;
    assert_eq!(shuffled.distinct().count()?, 15);
    Ok(())
}

fn zip_mismatch(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let two = ctx.range_into(0..10, 2)?;
    let three = ctx.range_into(0..10, 3)?;
    let line = line!() + 1;
    let error = two.zip(&three).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("same number of partitions"));
    assert_eq!(
        (error.fact("left"), error.fact("right")),
        (Some("2"), Some("3"))
    );
    assert_eq!(
        error.fact("operator"),
        Some(&*format!("zip at {}:{line}", file!()))
    );
    for (left, right, longer) in [(10, 11, "right"), (11, 10, "left")] {
        let uneven = ctx
            .range_into(0..left, 2)?
            .zip(&ctx.range_into(0..right, 2)?)?;
        let error = uneven.count().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        let message = "can only zip RDDs with the same number of records in each partition";
        assert!(error.report().contains(message), "{error:?}");
        assert_eq!(error.fact("longer"), Some(longer));
        assert_eq!(error.fact("shorter_has"), Some("5"));
    }
    Ok(())
}

fn with_index(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let one = ctx.range_into(10..15, 1)?.zip_with_index()?;
    assert!(
        recorder.take_jobs().is_empty(),
        "one partition needs no count"
    );
    assert_eq!(
        one.collect()?,
        [(10, 0), (11, 1), (12, 2), (13, 3), (14, 4)]
    );
    recorder.take_jobs();
    let many = ctx
        .range_into(0..50, 8)?
        .filter(|x| *x > 20)
        .zip_with_index()?;
    let jobs = recorder.take_jobs();
    assert_eq!(
        (jobs.len(), jobs[0].num_tasks()),
        (1, 7),
        "the last is not counted"
    );
    let expected: Vec<(i64, u64)> = (21..50).zip(0..).collect();
    assert_eq!(many.collect()?, expected);
    assert_eq!(ctx.empty_rdd::<i64>().zip_with_index()?.count()?, 0);
    Ok(())
}

fn unique_id(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let letters = ctx.parallelize_into('a'..='e', 3)?.zip_with_unique_id()?;
    let expected = [('a', 0), ('b', 1), ('c', 4), ('d', 2), ('e', 5)];
    assert_eq!(letters.collect()?, expected);
    assert_eq!(ctx.empty_rdd::<char>().zip_with_unique_id()?.count()?, 0);
    Ok(())
}

fn zip_partitions(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let a = ctx.range_into(0..10, 3)?;
    let b = ctx.parallelize_into("uneven text".chars(), 3)?;
    let both = a.zip_partitions(&b, |a, b| {
        let (sum, text): (i64, String) = (a.sum(), b.collect());
        [(sum, text)]
    })?;
    let expected = [(3, "une"), (12, "ven "), (30, "text")].map(|(n, t)| (n, t.to_owned()));
    assert_eq!(both.collect()?, expected);
    let error = a.zip_partitions(&b.coalesce(1)?, |a, _| a).unwrap_err();
    assert!(error.message().contains("same number of partitions"));
    Ok(())
}

fn same_as_vec(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for seed in SEEDS {
        let mut arbitrary = Arbitrary::new(seed);
        let (left, right) = (arbitrary.numbers(), arbitrary.numbers());
        let rdd = arbitrary.rdd(&ctx, &left)?;
        let doubled = rdd.zip(&rdd.map(|x| x * 2))?;
        let expected: Vec<_> = left.iter().map(|x| (*x, x * 2)).collect();
        assert_eq!(doubled.collect()?, expected, "seed {seed}");
        let expected: Vec<_> = left.iter().copied().zip(0..).collect();
        assert_eq!(rdd.zip_with_index()?.collect()?, expected, "seed {seed}");
        let ids = rdd.zip_with_unique_id()?.map(|(_, id)| id);
        assert_eq!(ids.distinct().count()?, left.len() as u64, "seed {seed}");
        let mut pairs = rdd.cartesian(&arbitrary.rdd(&ctx, &right)?)?.collect()?;
        let all = left.iter().flat_map(|x| right.iter().map(|y| (*x, *y)));
        let mut expected: Vec<_> = all.collect();
        pairs.sort_unstable();
        expected.sort_unstable();
        assert_eq!(pairs, expected, "seed {seed}");
    }
    Ok(())
}
