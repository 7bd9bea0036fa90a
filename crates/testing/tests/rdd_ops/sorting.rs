//! `sort_by`, `sort_by_key`, `sort`.

use tidemill_core::OrderedRdd;

use crate::support::{Bench, Case, Outcome, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-135
        case(
            "sort_by_key_orders_over_all_partitions",
            over_all_partitions,
        ),
        // C-136
        case("sort_by_key_takes_one_and_no_partition", one_and_none),
        // C-138
        case("equal_keys_share_a_partition_after_a_sort", equal_keys),
        // C-139
        case("sort_by_orders_by_what_the_function_says", by_function),
    ]
}

/// Numbers in no order, each once.
fn shuffled(len: u64) -> impl Iterator<Item = u64> {
    (0..len).map(move |x| x * 7919 % len)
}

fn over_all_partitions(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for partitions in [2, 5] {
        let pairs = ctx.parallelize_into(shuffled(1009).map(|x| (x, x + 1)), partitions)?;
        let ascending = pairs.sort_by_key(true)?;
        let expected: Vec<(u64, u64)> = (0..1009).map(|x| (x, x + 1)).collect();
        assert_eq!(ascending.collect()?, expected);
        let descending = pairs.sort_by_key(false)?;
        let expected: Vec<(u64, u64)> = (0..1009).rev().map(|x| (x, x + 1)).collect();
        assert_eq!(descending.collect()?, expected);
        let sizes = ascending.glom().map(|part| part.len()).collect()?;
        assert_eq!(sizes.len(), partitions);
        assert!(
            sizes.iter().all(|len| *len > 1009 / partitions / 3),
            "{sizes:?}"
        );
    }
    Ok(())
}

fn one_and_none(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let pairs = ctx.parallelize_into([(3, 'c'), (1, 'a'), (2, 'b')], 1)?;
    assert_eq!(
        pairs.sort_by_key(true)?.collect()?,
        [(1, 'a'), (2, 'b'), (3, 'c')]
    );
    assert_eq!(ctx.empty_rdd::<(i32, i32)>().sort_by_key(true)?.count()?, 0);
    let hollow = ctx.parallelize_into(Vec::<(i32, i32)>::new(), 3)?;
    assert_eq!(hollow.sort_by_key(false)?.count()?, 0);
    Ok(())
}

fn equal_keys(bench: &Bench) -> Outcome {
    let pairs = bench
        .ctx()
        .parallelize_into((0..300).map(|x| (x % 4, x)), 6)?;
    let parts = pairs.sort_by_key(true)?.glom().collect()?;
    for key in 0..4 {
        let holders = parts
            .iter()
            .filter(|part| part.iter().any(|(k, _)| *k == key));
        assert_eq!(holders.count(), 1, "key {key}");
    }
    // Stable: equal keys stay in the order they had.
    let values: Vec<i32> = parts.into_iter().flatten().map(|(_, x)| x).collect();
    let expected: Vec<i32> = (0..4)
        .flat_map(|key| (0..300).filter(move |x| x % 4 == key))
        .collect();
    assert_eq!(values, expected);
    Ok(())
}

fn by_function(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let records = [('b', 3), ('c', 1), ('a', 2)];
    let rdd = ctx.parallelize_into(records, 2)?;
    assert_eq!(
        rdd.sort_by(|record| record.1, true)?.collect()?,
        [('c', 1), ('a', 2), ('b', 3)]
    );
    assert_eq!(
        rdd.sort_by(|record| record.0, false)?.collect()?,
        [('c', 1), ('b', 3), ('a', 2)]
    );
    let numbers = ctx.parallelize_into(shuffled(101), 4)?.sort()?;
    assert_eq!(numbers.collect()?, (0..101).collect::<Vec<_>>());
    Ok(())
}
