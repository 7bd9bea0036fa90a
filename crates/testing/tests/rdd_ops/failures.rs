//! Functions that fail: what the user is told, and how often it is tried.

use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use tidemill_core::{Error, ErrorKind, PairRdd};

use crate::support::{Bench, Case, Outcome, Tally, case, count_in};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-084
        case("a_panic_names_message_operator_and_line", panic_names),
        case("an_error_names_message_operator_and_line", error_names),
        case("each_operator_is_blamed_for_its_own_function", blame),
        // C-016
        case("without_retries_the_first_failure_is_the_last", no_retries),
        // C-017
        case("a_task_may_fail_until_its_last_attempt", last_attempt),
        // C-207
        case("a_task_that_always_fails_says_how_often", always_fails),
        case("a_failed_job_leaves_the_context_working", context_works),
        // C-082
        case("an_rdd_inside_a_function_is_refused", nested_rdd),
        // C-208
        case(
            "a_result_that_cannot_be_encoded_is_not_tried_again",
            stubborn_result,
        ),
        case(
            "a_panic_while_encoding_fails_only_the_task",
            panicking_codec,
        ),
    ]
}

/// Checks kind, message, operator and line of a failure.
fn assert_blames(error: &Error, operator: &str, line: u32, message: &str) {
    assert_eq!(error.kind(), ErrorKind::User, "{error:?}");
    let expected = format!("{operator} at {}:{line}", file!());
    assert_eq!(error.fact("operator"), Some(&*expected));
    assert!(error.report().contains(message), "{error:?}");
}

fn panic_names(bench: &Bench) -> Outcome {
    let rdd = bench.ctx().range(0..10);
    let line = line!() + 1;
    let failing = rdd.map(|x| {
        if x == 7 {
            panic!("no luck with {x}")
        } else {
            x
        }
    });
    let error = failing.filter(|_| true).count().unwrap_err();
    assert_blames(&error, "map", line, "no luck with 7");
    assert!(
        error.fact("job").unwrap().starts_with("count at "),
        "{error:?}"
    );
    Ok(())
}

fn error_names(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let texts = ctx.parallelize(["1", "two"].map(String::from));
    let line = line!() + 1;
    let parsed = texts.try_map(|text| text.parse::<i32>());
    let error = parsed.collect().unwrap_err();
    assert_blames(&error, "try_map", line, "invalid digit");
    let line = line!() + 2;
    let error = texts
        .for_each_partition(|_| Err("disk is full"))
        .unwrap_err();
    assert_blames(&error, "for_each_partition", line, "disk is full");
    Ok(())
}

fn blame(bench: &Bench) -> Outcome {
    let rdd = bench.ctx().range(0..3);
    let none = |_| -> Vec<i64> { panic!("no list") };
    let failing = [
        ("filter", rdd.filter(|_| panic!("no test")).count()),
        ("flat_map", rdd.flat_map(none).count()),
        (
            "map_partitions",
            rdd.map_partitions(|_| -> Vec<i64> { panic!("no list") })
                .count(),
        ),
        (
            "map",
            rdd.map(|_| -> i64 { panic!("no number") })
                .filter(|_| true)
                .count(),
        ),
        ("for_each", rdd.for_each(|_| panic!("no end")).map(|()| 0)),
        ("reduce", rdd.reduce(|_, _| panic!("no sum")).map(|_| 0)),
        (
            "reduce_by_key",
            rdd.map(|x| (0, x))
                .reduce_by_key(|_, _| panic!("no sum"))
                .count(),
        ),
    ];
    for (operator, result) in failing {
        let error = result.unwrap_err();
        let expected = format!("{operator} at {}:", file!());
        assert!(
            error.fact("operator").unwrap().starts_with(&expected),
            "{error:?}"
        );
        assert!(error.report().contains(": no "), "{error:?}");
    }
    Ok(())
}

fn no_retries(bench: &Bench) -> Outcome {
    for master in ["local", "local[2]"] {
        let (ctx, tally) = (bench.retrying(master), Tally::new());
        let one = ctx.parallelize_into([1], 1)?;
        let failing = one.with(tally.path()).map(|path, x| {
            count_in(path);
            assert!(x > 1, "always");
            x
        });
        let error = failing.count().unwrap_err();
        assert_eq!(error.fact("failed_times"), Some("1"), "{error:?}");
        assert!(!bench.is_exact() || tally.count() == 1);
    }
    Ok(())
}

fn last_attempt(bench: &Bench) -> Outcome {
    let (ctx, tally) = (bench.retrying("local[2,4]"), Tally::new());
    let one = ctx.parallelize_into([1], 1)?;
    let unlucky = one.with(tally.path()).map(|path, x| {
        assert!(count_in(path) >= 3, "not yet");
        x
    });
    assert_eq!(unlucky.collect()?, [1]);
    assert!(tally.count() >= 4 && (!bench.is_exact() || tally.count() == 4));
    Ok(())
}

fn always_fails(bench: &Bench) -> Outcome {
    let (ctx, tally) = (bench.retrying("local[2,4]"), Tally::new());
    let one = ctx.parallelize_into([1], 1)?;
    let failing = one.with(tally.path()).map(|path, x: i32| {
        count_in(path);
        assert!(x > 1, "hopeless");
        x
    });
    let error = failing.count().unwrap_err();
    assert_eq!(
        (error.kind(), error.fact("failed_times")),
        (ErrorKind::User, Some("4"))
    );
    assert!(error.report().contains("hopeless"), "{error:?}");
    assert!(!bench.is_exact() || tally.count() == 4);
    Ok(())
}

fn context_works(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.range(0..100);
    for _ in 0..3 {
        let error = rdd
            .map(|x| assert!(x < 50, "too large"))
            .count()
            .unwrap_err();
        assert!(error.report().contains("too large"));
        assert_eq!(rdd.count()?, 100);
    }
    Ok(())
}

fn nested_rdd(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let inner = ctx.range(0..3);
    let line = line!() + 3;
    let nested = ctx
        .range(0..2)
        .try_map(move |x| inner.count().map(|n| n as i64 + x));
    let error = nested.collect().unwrap_err();
    if bench.is_local() {
        assert_blames(
            &error,
            "try_map",
            line,
            "an RDD was used inside another RDD's function",
        );
    } else {
        // It never gets that far: the RDD is a capture.
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let expected = format!("try_map at {}:{line}", file!());
        assert_eq!(error.fact("operator"), Some(&*expected));
    }
    assert_eq!(ctx.range(0..2).count()?, 2);
    Ok(())
}

/// Can be cloned and read, but not written.
#[derive(Clone, Deserialize)]
struct Stubborn(i64);

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("stubborn"))
    }
}

fn stubborn_result(bench: &Bench) -> Outcome {
    let (ctx, tally) = (bench.retrying("local[2,4]"), Tally::new());
    let rdd = ctx
        .parallelize_into([1_i64], 1)?
        .with(tally.path())
        .map(|path, x| {
            count_in(path);
            Stubborn(x)
        });
    match rdd.collect() {
        // Inside one process nothing is encoded.
        Ok(records) => assert!(bench.is_local() && records[0].0 == 1),
        Err(error) => {
            assert!(!bench.is_local(), "{error:?}");
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
            assert!(error.message().contains("cannot be encoded"));
        }
    }
    assert!(!bench.is_exact() || tally.count() == 1);
    Ok(())
}

/// Panics when it is written.
#[derive(Clone, Deserialize)]
struct Explosive;

impl Serialize for Explosive {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("do not write me")
    }
}

fn panicking_codec(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let result = ctx.range(0..2).map(|_| Explosive).collect();
    assert_eq!(result.is_ok(), bench.is_local());
    if let Err(error) = result {
        assert_eq!(error.kind(), ErrorKind::User);
        assert!(error.report().contains("do not write me"), "{error:?}");
    }
    assert_eq!(ctx.range(0..2).count()?, 2);
    Ok(())
}
