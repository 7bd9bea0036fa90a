//! What the operators refuse: each with the kind `Invalid`, the operator, and what to change.

use std::time::Duration;

use tidemill_core::{Error, ErrorKind, NumericRdd, OrderedRdd, PairRdd, Sampling};

use crate::support::{Bench, Case, Outcome, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-102, C-100, C-103, C-104
        case("bad_samples_are_refused", samples),
        // C-168
        case("bad_histograms_are_refused", histograms),
        // C-154, C-156, C-159, C-161
        case("actions_refuse_what_has_no_answer", actions),
        case("zero_partitions_are_refused", zero_partitions),
    ]
}

/// Checks that a call was refused, by whom, and what it says.
fn refused<R>(result: Result<R, Error>, operator: &str, says: &str) {
    let Err(error) = result else {
        panic!("{operator} took what it should refuse: {says}");
    };
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    let by = error.fact("operator").unwrap_or_default();
    assert!(
        by.starts_with(&format!("{operator} at {}", file!())),
        "{error:?}"
    );
    assert!(error.report().contains(says), "{error:?}");
}

fn samples(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let numbers = ctx.range_into(0..10, 2)?;
    let (once, again) = (
        Sampling::without_replacement(),
        Sampling::with_replacement(),
    );
    for bad in [-0.1, f64::NAN, f64::INFINITY] {
        refused(numbers.sample(once, bad), "sample", "not negative");
        refused(numbers.sample(again, bad), "sample", "not negative");
    }
    refused(
        numbers.sample(once, 1.1),
        "sample",
        "sample with replacement",
    );
    assert!(numbers.sample(again, 1.1).is_ok());
    for weights in [&[1.0, -1.0][..], &[f64::NAN]] {
        refused(
            numbers.random_split(weights, None),
            "random_split",
            "not negative",
        );
    }
    for weights in [&[][..], &[0.0, 0.0]] {
        refused(
            numbers.random_split(weights, None),
            "random_split",
            "above 0",
        );
    }
    let pairs = numbers.map(|x| (x % 2, x));
    let rates = [(0, -1.0), (1, 0.5)];
    refused(
        pairs.sample_by_key(once, rates),
        "sample_by_key",
        "not negative",
    );
    let exact = pairs.sample_by_key_exact(once, rates);
    refused(exact, "sample_by_key_exact", "not negative");
    let exact = pairs.sample_by_key_exact(once, [(0, 1.0)]);
    refused(exact, "sample_by_key_exact", "give one for every key");
    let huge = numbers.take_sample(again, usize::MAX);
    refused(huge, "take_sample", "sample size cannot be greater than");
    Ok(())
}

fn histograms(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let numbers = ctx.parallelize_into([1.0, 2.0, 3.0], 2)?;
    refused(numbers.histogram(0), "histogram", "at least one bucket");
    for few in [&[][..], &[1.0]] {
        let result = numbers.histogram_between(few.to_vec());
        refused(result, "histogram_between", "at least two boundaries");
    }
    for bad in [[2.0, 1.0], [1.0, 1.0], [1.0, f64::NAN]] {
        refused(
            numbers.histogram_between(bad),
            "histogram_between",
            "must ascend",
        );
    }
    let nothing = ctx.empty_rdd::<f64>();
    refused(nothing.histogram(2), "histogram", "at least one number");
    let nan = ctx.parallelize([f64::NAN, f64::NAN]);
    refused(nan.histogram(2), "histogram", "all is NaN");
    for wide in [[0.0, f64::INFINITY], [f64::MIN, f64::MAX]] {
        refused(
            ctx.parallelize(wide).histogram(2),
            "histogram",
            "give boundaries",
        );
    }
    Ok(())
}

fn actions(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let numbers = ctx.range_into(0..10, 2)?;
    refused(
        numbers.tree_reduce(0, |a, b| a + b),
        "tree_reduce",
        "at least 1",
    );
    let aggregate = numbers.tree_aggregate(0, 0, |n, _| n, |a, b| a + b);
    refused(aggregate, "tree_aggregate", "at least 1");
    for nothing in [ctx.empty_rdd::<i64>(), ctx.parallelize_into([], 3)?] {
        refused(nothing.reduce(|a, _| a), "reduce", "empty collection");
        refused(
            nothing.tree_reduce(2, |a, _| a),
            "tree_reduce",
            "empty collection",
        );
        refused(nothing.max(), "max", "empty collection");
        refused(nothing.min(), "min", "empty collection");
        refused(nothing.max_by_key(|x| *x), "max_by_key", "empty collection");
        refused(nothing.min_by_key(|x| *x), "min_by_key", "empty collection");
        refused(nothing.first(), "first", "RDD is empty");
    }
    let second = Duration::from_secs(1);
    for bad in [-0.1, 1.1, f64::NAN] {
        refused(
            numbers.count_approx(second, bad),
            "count_approx",
            "between 0 and 1",
        );
        refused(
            numbers.sum_approx(second, bad),
            "sum_approx",
            "between 0 and 1",
        );
        refused(
            numbers.mean_approx(second, bad),
            "mean_approx",
            "between 0 and 1",
        );
    }
    for bad in [0.0, -0.05, 0.0007, f64::NAN] {
        let result = numbers.count_approx_distinct(bad);
        refused(result, "count_approx_distinct", "from 0.00073 on");
        let pairs = numbers.map(|x| (x, x));
        let result = pairs.count_approx_distinct_by_key(bad);
        refused(result, "count_approx_distinct_by_key", "from 0.00073 on");
    }
    Ok(())
}

fn zero_partitions(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let numbers = ctx.range_into(0..10, 2)?;
    let says = "positive number of partitions";
    refused(ctx.range_into(0..3, 0), "range", says);
    refused(numbers.coalesce(0), "coalesce", says);
    refused(numbers.repartition(0), "repartition", says);
    refused(numbers.distinct_into(0), "distinct", says);
    let pairs = numbers.map(|x| (x, x));
    refused(pairs.sort_by_key_into(true, 0), "sort_by_key", says);
    Ok(())
}
