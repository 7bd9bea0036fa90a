//! RDDs out of nothing: `parallelize`, `empty_rdd`, `range`.

use tidemill_core::ErrorKind;

use crate::support::{Bench, Case, Outcome, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-022, C-023
        case("parallelize_slices_evenly", parallelize_slices_evenly),
        // C-027
        case("parallelize_gives_one_record_each", one_record_each),
        // C-024
        case("zero_slices_are_refused", zero_slices_are_refused),
        // C-028
        case("empty_sources_have_their_partitions", empty_sources),
        // C-030, C-032
        case("range_gives_the_listed_numbers", range_lists),
        // C-031
        case("range_never_wraps", range_never_wraps),
        // C-019
        case(
            "the_default_minimum_of_partitions_is_at_most_two",
            min_partitions,
        ),
    ]
}

fn parallelize_slices_evenly(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for (len, slices) in [(10, 4), (3, 5), (7, 1), (0, 2), (1000, 7)] {
        let records: Vec<usize> = (0..len).collect();
        let bound = |i: usize| i * len / slices;
        let expected: Vec<&[usize]> = (0..slices)
            .map(|i| &records[bound(i)..bound(i + 1)])
            .collect();
        let rdd = ctx.parallelize_into(records.clone(), slices)?;
        assert_eq!(rdd.num_partitions()?, slices);
        assert_eq!(rdd.glom().collect()?, expected, "{len} in {slices}");
        assert_eq!(rdd.collect()?, records);
    }
    let sizes = |len: i32, slices| {
        let parts = ctx.parallelize_into(0..len, slices)?.glom();
        parts.map(|part| part.len()).collect()
    };
    assert_eq!(sizes(10, 4)?, [2, 3, 2, 3]);
    assert_eq!(sizes(3, 5)?, [0, 1, 0, 1, 1]);
    Ok(())
}

fn one_record_each(bench: &Bench) -> Outcome {
    let parts = bench.ctx().parallelize_into([0, 2, 3, 4, 6], 5)?.glom();
    assert_eq!(parts.collect()?, [[0], [2], [3], [4], [6]]);
    Ok(())
}

fn zero_slices_are_refused(bench: &Bench) -> Outcome {
    let error = bench.ctx().parallelize_into([1], 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error
            .to_string()
            .contains("positive number of partitions required")
    );
    assert!(
        error
            .fact("operator")
            .unwrap()
            .starts_with("parallelize at ")
    );
    Ok(())
}

fn empty_sources(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let none = ctx.parallelize_into(Vec::<i32>::new(), 3)?;
    assert_eq!(none.glom().collect()?, [[], [], [] as [i32; 0]]);
    let empty = ctx.empty_rdd::<i32>();
    assert_eq!((empty.num_partitions()?, empty.count()?), (0, 0));
    assert_eq!(empty.map(|x| x + 1).glom().count()?, 0);
    Ok(())
}

fn range_lists(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    assert_eq!(ctx.range(0..5).collect()?, [0, 1, 2, 3, 4]);
    assert_eq!(ctx.range(2..4).collect()?, [2, 3]);
    assert_eq!(ctx.range_by(1, 7, 2)?.collect()?, [1, 3, 5]);
    assert_eq!(ctx.range_by(5, 0, -1)?.collect()?, [5, 4, 3, 2, 1]);
    assert!(ctx.range_by(0, 5, -1)?.collect()?.is_empty());
    assert_eq!(ctx.range(0..1000).collect()?, (0..1000).collect::<Vec<_>>());
    let wide = bench
        .backend()
        .builder(2)?
        .default_parallelism(10)
        .build()?;
    assert_eq!(wide.range(0..5).num_partitions()?, 10);
    assert_eq!(wide.range(0..5).collect()?, [0, 1, 2, 3, 4]);
    Ok(())
}

fn range_never_wraps(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let top = ctx.range_by(i64::MAX - 2, i64::MAX, 5)?;
    assert_eq!(top.collect()?, [i64::MAX - 2]);
    let bottom = ctx.range_by(i64::MIN + 2, i64::MIN, -1)?;
    assert_eq!(bottom.collect()?, [i64::MIN + 2, i64::MIN + 1]);
    let across = ctx.range_by(i64::MIN, i64::MAX, i64::MAX)?;
    assert_eq!(across.collect()?, [i64::MIN, -1, i64::MAX - 1]);
    let error = ctx.range_by(0, 5, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    Ok(())
}

fn min_partitions(bench: &Bench) -> Outcome {
    for (slots, expected) in [(1, 1), (2, 2), (3, 2)] {
        let ctx = bench.backend().context(slots)?;
        assert_eq!(ctx.default_parallelism(), slots);
        assert_eq!(ctx.default_min_partitions(), expected);
    }
    Ok(())
}
