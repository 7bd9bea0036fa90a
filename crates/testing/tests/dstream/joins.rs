//! Joins and cogroup, on the matrix of Spark's own suite.

use tidemill_core::{Data, Result};
use tidemill_streaming::{DStream, PairDStream};
use tidemill_testing::unordered;

use crate::operators::words;
use crate::support::{Bench, Case, Outcome, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-097
        case("join_pairs_what_both_have", join),
        // S-097
        case("left_outer_join_keeps_the_left", left_outer_join),
        // S-097
        case("right_outer_join_keeps_the_right", right_outer_join),
        // S-097
        case("full_outer_join_keeps_both", full_outer_join),
        // S-097
        case("cogroup_gathers_both_sides", cogroup),
    ]
}

type Keyed<V> = DStream<(String, V)>;

/// `("", (1, 'x'))` and the like, of the four batches.
fn matrix<U: Data + Ord>(
    bench: &Bench,
    operation: impl Fn(&Keyed<i32>, &Keyed<char>) -> DStream<U>,
) -> Result<Vec<Vec<U>>> {
    let left = words(&[&["a", "b"], &["a", ""], &[""], &[]]);
    let right = words(&[&["a", "b"], &["b", ""], &[], &[""]]);
    let got = bench.table().run_two(left, right, |left, right| {
        operation(&left.map(|word| (word, 1)), &right.map(|word| (word, 'x')))
    })?;
    Ok(unordered(got))
}

fn pair<V>(key: &str, value: V) -> (String, V) {
    (key.to_owned(), value)
}

fn join(bench: &Bench) -> Outcome {
    let got = matrix(bench, |left, right| left.join(right))?;
    let expected = [
        vec![pair("a", (1, 'x')), pair("b", (1, 'x'))],
        vec![pair("", (1, 'x'))],
        vec![],
        vec![],
    ];
    assert_eq!(got, expected);
    Ok(())
}

fn left_outer_join(bench: &Bench) -> Outcome {
    let got = matrix(bench, |left, right| left.left_outer_join(right))?;
    let expected = [
        vec![pair("a", (1, Some('x'))), pair("b", (1, Some('x')))],
        vec![pair("", (1, Some('x'))), pair("a", (1, None))],
        vec![pair("", (1, None))],
        vec![],
    ];
    assert_eq!(got, expected);
    Ok(())
}

fn right_outer_join(bench: &Bench) -> Outcome {
    let got = matrix(bench, |left, right| left.right_outer_join(right))?;
    let expected = [
        vec![pair("a", (Some(1), 'x')), pair("b", (Some(1), 'x'))],
        vec![pair("", (Some(1), 'x')), pair("b", (None, 'x'))],
        vec![],
        vec![pair("", (None, 'x'))],
    ];
    assert_eq!(got, expected);
    Ok(())
}

fn full_outer_join(bench: &Bench) -> Outcome {
    let got = matrix(bench, |left, right| left.full_outer_join(right))?;
    let both = (Some(1), Some('x'));
    let expected = [
        vec![pair("a", both), pair("b", both)],
        vec![
            pair("", both),
            pair("a", (Some(1), None)),
            pair("b", (None, Some('x'))),
        ],
        vec![pair("", (Some(1), None))],
        vec![pair("", (None, Some('x')))],
    ];
    assert_eq!(got, expected);
    Ok(())
}

fn cogroup(bench: &Bench) -> Outcome {
    let got = matrix(bench, |left, right| left.cogroup(right))?;
    let group = |key, left: &[i32], right: &[char]| pair(key, (left.to_vec(), right.to_vec()));
    let expected = [
        vec![group("a", &[1], &['x']), group("b", &[1], &['x'])],
        vec![
            group("", &[1], &['x']),
            group("a", &[1], &[]),
            group("b", &[], &['x']),
        ],
        vec![group("", &[1], &[])],
        vec![group("", &[], &['x'])],
    ];
    assert_eq!(got, expected);
    Ok(())
}
