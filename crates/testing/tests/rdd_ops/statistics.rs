//! `NumericRdd`, `histogram_between` and the approximate actions.

use std::sync::Arc;
use std::time::Duration;

use tidemill_core::{Context, ManualClock, NumericRdd, StatCounter};

use crate::arbitrary::{Arbitrary, SEEDS};
use crate::support::{Bench, Case, Outcome, Tally, case, count_in, sorted};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-156
        case("max_min_sum_and_mean_match_the_examples", examples),
        case("stats_are_the_same_as_in_one_pass", same_as_one_pass),
        // C-166, C-167
        case("histograms_match_the_examples", histograms),
        // C-169
        case("equal_numbers_give_one_bucket", one_bucket),
        // C-159
        case("approximations_of_finished_jobs_are_exact", finished),
        // C-160
        case("approximations_bound_what_is_not_done_in_time", unfinished),
        // C-161
        case("count_approx_distinct_stays_within_its_deviation", distinct),
        case(
            "count_approx_distinct_by_key_counts_each_key",
            distinct_by_key,
        ),
    ]
}

fn examples(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let numbers = ctx.parallelize_into([1_i64, 5, 43, 10], 3)?;
    assert_eq!((numbers.max()?, numbers.min()?), (43, 1));
    assert_eq!((numbers.sum()?, numbers.mean()?), (59, 14.75));
    assert_eq!(numbers.max_by_key(|x| x.to_string())?, 5);
    // Exact beyond what a floating point number can hold.
    let large = ctx.parallelize_into([u64::MAX, u64::MAX, 1], 2)?;
    assert_eq!(large.sum()?, 2 * i128::from(u64::MAX) + 1);
    let halves = ctx.parallelize_into([0.5_f32, 1.5, -3.0], 2)?;
    assert_eq!((halves.sum()?, halves.stats()?.min()), (-1.0, -3.0));
    let empty = ctx.empty_rdd::<i64>();
    assert_eq!((empty.sum()?, empty.mean()?), (0, 0.0));
    let hollow = ctx.parallelize_into(Vec::<f64>::new(), 2)?;
    assert!(hollow.variance()?.is_nan() && hollow.sample_stdev()?.is_nan());
    Ok(())
}

fn same_as_one_pass(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let near =
        |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1.0) || a.is_nan() && b.is_nan();
    for seed in SEEDS {
        let mut arbitrary = Arbitrary::new(seed);
        let numbers = arbitrary.numbers();
        let rdd = arbitrary.rdd(&ctx, &numbers)?;
        let whole: StatCounter = numbers.iter().map(|x| *x as f64).collect();
        let stats = rdd.stats()?;
        assert_eq!(stats.count(), whole.count(), "seed {seed}");
        assert_eq!(
            (stats.max(), stats.min()),
            (whole.max(), whole.min()),
            "seed {seed}"
        );
        for (found, expected) in [
            (rdd.mean()?, whole.mean()),
            (rdd.variance()?, whole.variance()),
            (rdd.stdev()?, whole.stdev()),
            (rdd.sample_variance()?, whole.sample_variance()),
            (rdd.sample_stdev()?, whole.sample_stdev()),
        ] {
            assert!(near(found, expected), "seed {seed}: {found} {expected}");
        }
        assert_eq!(
            rdd.sum()?,
            numbers.iter().map(|x| i128::from(*x)).sum(),
            "seed {seed}"
        );
    }
    Ok(())
}

fn histograms(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let numbers = ctx.range_into(0..51, 3)?;
    let even = numbers.histogram(2)?;
    assert_eq!(
        (even.boundaries, even.counts),
        (vec![0.0, 25.0, 50.0], vec![25, 26])
    );
    assert_eq!(numbers.histogram_between([0, 5, 25, 50])?, [5, 20, 26]);
    assert_eq!(
        numbers.histogram_between([0, 15, 30, 45, 60])?,
        [15, 15, 15, 6]
    );
    let even = ctx.parallelize_into([1, 2, 3, 4], 2)?.histogram(2)?;
    assert_eq!(
        (even.boundaries, even.counts),
        (vec![1.0, 2.5, 4.0], vec![2, 2])
    );
    let words = ctx.parallelize(["ab", "ac", "b", "bd", "ef"].map(String::from));
    assert_eq!(
        words.histogram_between(["a", "b", "c"].map(String::from))?,
        [2, 2]
    );
    // What lies outside, and what is no number, is left out.
    let odd = ctx.parallelize_into([-1.0, 0.0, f64::NAN, 0.5, 1.0, 7.0, f64::INFINITY], 2)?;
    assert_eq!(odd.histogram_between([0.0, 0.5, 1.0])?, [1, 2]);
    let with_nan = ctx.parallelize_into([f64::NAN, 1.0, 2.0, 4.0], 2)?;
    assert_eq!(with_nan.histogram(3)?.counts, [1, 1, 1]);
    // Arithmetic on even boundaries gives what the search gives.
    let spread = ctx
        .range_into(0..1000, 4)?
        .map(|x| (x * 37 % 1000) as f64 / 7.0);
    let even = spread.histogram(9)?;
    assert_eq!(spread.histogram_between(even.boundaries)?, even.counts);
    assert_eq!(ctx.empty_rdd::<f64>().histogram_between([0.0, 1.0])?, [0]);
    Ok(())
}

fn one_bucket(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let equal = ctx.parallelize_into([3, 3, 3], 2)?.histogram(10)?;
    assert_eq!((equal.boundaries, equal.counts), (vec![3.0, 3.0], vec![3]));
    let one = ctx.parallelize_into([1, 9, 4], 2)?.histogram(1)?;
    assert_eq!((one.boundaries, one.counts), (vec![1.0, 9.0], vec![3]));
    Ok(())
}

fn finished(bench: &Bench) -> Outcome {
    // A clock that stands: the timeout never comes.
    let builder = bench.backend().builder(2)?;
    let ctx = builder.clock(Arc::new(ManualClock::new(0))).build()?;
    let numbers = ctx.range_into(0..1000, 10)?;
    let minute = Duration::from_secs(60);
    for (found, exact) in [
        (numbers.count_approx(minute, 1.0)?, 1000.0),
        (numbers.sum_approx(minute, 0.9)?, 499_500.0),
        (numbers.mean_approx(minute, 0.9)?, 499.5),
    ] {
        assert!((found.value - exact).abs() < 1e-6, "{found}");
        assert_eq!((found.low, found.high), (found.value, found.value));
        assert_eq!(found.confidence, 1.0);
    }
    assert_eq!(ctx.empty_rdd::<i64>().count_approx(minute, 0.5)?.value, 0.0);
    Ok(())
}

/// Runs `measure` on 40 partitions of which only about half are ever done, and ends the time when
/// that many are.
fn while_half_is_done<R: Send>(
    bench: &Bench,
    measure: impl FnOnce(&tidemill_core::Rdd<i64>) -> Result<R, tidemill_core::Error> + Send,
) -> Result<R, tidemill_core::Error> {
    let clock = ManualClock::new(0);
    let builder = bench.backend().builder(2)?;
    let ctx: Context = builder.clock(Arc::new(clock.clone())).build()?;
    let tally = Tally::new();
    let done = ctx
        .range_into(0..2000, 20)?
        .with(tally.path())
        .map_partitions_with_index(|path, _, numbers| {
            let numbers: Vec<i64> = numbers.collect();
            count_in(path);
            numbers
        });
    // Nobody ever counts these to their end.
    let endless = ctx.range_into(0..i64::MAX, 20)?;
    let both = done.union(&endless)?;
    // Where places are lost, a lost partition may wait behind endless ones for ever.
    let enough = if bench.is_exact() { 20 } else { 10 };
    let found = std::thread::scope(|scope| {
        let measured = scope.spawn(|| measure(&both));
        while tally.count() < enough {
            std::thread::yield_now();
        }
        // All but the last of them have surely arrived.
        clock.advance(Duration::from_secs(60));
        measured.join().unwrap()
    })?;
    // The context lives on, and its slots are free.
    assert_eq!(ctx.range(0..10).count()?, 10);
    Ok(found)
}

fn unfinished(bench: &Bench) -> Outcome {
    let minute = Duration::from_secs(60);
    let count = while_half_is_done(bench, |numbers| numbers.count_approx(minute, 0.95))?;
    assert_eq!(count.confidence, 0.95);
    // Where places are lost, partitions are counted on the tally twice.
    let exact = bench.is_exact();
    assert!(
        !exact || (3_800.0..=4_000.0).contains(&count.value),
        "{count:?}"
    );
    assert!(
        count.low < count.value && count.value < count.high,
        "{count:?}"
    );
    let mean = while_half_is_done(bench, |numbers| numbers.mean_approx(minute, 0.95))?;
    assert!(!exact || (mean.value - 999.5).abs() <= 50.0, "{mean:?}");
    assert!(
        mean.low <= mean.value && mean.value <= mean.high,
        "{mean:?}"
    );
    let sum = while_half_is_done(bench, |numbers| numbers.sum_approx(minute, 0.95))?;
    assert!(
        !exact || (sum.value / 3_998_000.0 - 1.0).abs() < 0.15,
        "{sum:?}"
    );
    Ok(())
}

fn distinct(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for (deviation, records) in [
        (0.05, 100_i64),
        (0.05, 20_000),
        (0.03, 20_000),
        (0.01, 20_000),
    ] {
        let numbers = ctx
            .range_into(0..40_000, 5)?
            .with(records)
            .map(|n, x| x % n);
        let about = numbers.count_approx_distinct(deviation)? as f64;
        let off = (about / records as f64 - 1.0).abs();
        assert!(off <= 5.0 * deviation, "{deviation} {records}: {about}");
        // However the records are partitioned.
        let other = numbers.coalesce(2)?.count_approx_distinct(deviation)? as f64;
        assert!((other / about - 1.0).abs() <= 2.0 * deviation);
    }
    assert_eq!(ctx.empty_rdd::<i64>().count_approx_distinct(0.05)?, 0);
    let words = ctx.parallelize(["a", "b", "a"].map(String::from));
    assert_eq!(words.count_approx_distinct(0.05)?, 2);
    Ok(())
}

fn distinct_by_key(bench: &Bench) -> Outcome {
    let pairs = bench
        .ctx()
        .range_into(0..3000, 4)?
        .map(|x| (x % 3, x / 3 % (10 + x % 3)));
    let counts = pairs.count_approx_distinct_by_key(0.03)?;
    assert_eq!(sorted(counts.collect()?), [(0, 10), (1, 11), (2, 12)]);
    Ok(())
}
