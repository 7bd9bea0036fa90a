//! Operators that shuffle nothing, and `repartition` and `distinct`.

use tidemill_core::{ErrorKind, HashPartitioner, PairRdd, Text};

use crate::support::{Bench, Case, Outcome, case, sorted};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-077
        case("map_and_flat_map_keep_order", map_and_flat_map),
        // C-078
        case("filter_keeps_partitions_and_partitioner", filter),
        // C-079
        case("map_partitions_sees_empty_partitions", map_partitions),
        // C-080
        case("glom_gives_one_list_a_partition", glom),
        // C-081
        case("functions_of_values_keep_the_partitioner", value_functions),
        case("keys_and_values_are_split_off", keys_and_values),
        case("try_map_passes_what_is_ok", try_map),
        // C-090
        case("union_keeps_duplicates_and_order", union),
        case("union_of_many_keeps_order", union_of_many),
        // C-178, C-179
        case("coalesce_groups_neighbours", coalesce),
        // C-180
        case("repartition_spreads_evenly", repartition),
        // C-181
        case(
            "repartition_and_coalesce_lose_the_partitioner",
            placement_is_lost,
        ),
        // C-089
        case("distinct_keeps_each_record_once", distinct),
        case("with_hands_data_to_each_operator", with_data),
        case("words_of_texts_are_counted", words),
    ]
}

fn map_and_flat_map(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for partitions in [1, 2, 5, 30] {
        let rdd = ctx.parallelize_into(0..20, partitions)?;
        let expected: Vec<i32> = (0..20).map(|x| x * x).collect();
        assert_eq!(rdd.map(|x| x * x).collect()?, expected);
        let expected: Vec<i32> = (0..20).flat_map(|x| 0..x % 4).collect();
        assert_eq!(rdd.flat_map(|x| 0..x % 4).collect()?, expected);
    }
    let texts = ctx.parallelize(["ab".to_owned(), String::new(), "c".to_owned()]);
    let letters = texts.flat_map(|text| text.chars().collect::<Vec<_>>());
    assert_eq!(letters.collect()?, ['a', 'b', 'c']);
    Ok(())
}

fn filter(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.parallelize_into(0..10, 5)?.filter(|x| *x >= 8);
    assert_eq!(rdd.num_partitions()?, 5);
    assert_eq!(
        rdd.glom().collect()?,
        [vec![], vec![], vec![], vec![], vec![8, 9]]
    );
    let pairs = ctx.parallelize((0..10).map(|x| (x % 3, x)));
    assert!(pairs.filter(|_| true).partitioner().is_none());
    let placed = pairs.partition_by(HashPartitioner::new(3));
    assert_eq!(placed.filter(|_| true).partitioner(), placed.partitioner());
    assert!(placed.partitioner().is_some());
    Ok(())
}

fn map_partitions(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.parallelize_into(0..3, 5)?;
    let sums = rdd.map_partitions(|records| Some(records.sum::<i32>()));
    assert_eq!(sums.collect()?, [0, 0, 0, 1, 2]);
    let numbered = rdd.map_partitions_with_index(|at, records| Some((at, records.count())));
    assert_eq!(
        numbered.collect()?,
        [(0, 0), (1, 1), (2, 0), (3, 1), (4, 1)]
    );
    // What it returns is walked lazily: nothing but the first record is asked for.
    let endless = rdd.map_partitions(|_| std::iter::repeat(7));
    assert_eq!(endless.take(3)?, [7, 7, 7]);
    Ok(())
}

fn glom(bench: &Bench) -> Outcome {
    let rdd = bench.ctx().parallelize_into(0..4, 3)?;
    assert_eq!(rdd.glom().collect()?, [vec![0], vec![1], vec![2, 3]]);
    assert_eq!(rdd.filter(|x| *x > 9).glom().count()?, 3);
    Ok(())
}

fn value_functions(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let placed = ctx
        .parallelize((0..12).map(|x| (x % 4, x)))
        .partition_by(HashPartitioner::new(3));
    let by = placed.partitioner();
    let mapped = placed.map_values(|x| x * 2);
    let flattened = placed.flat_map_values(|x| 0..x % 3);
    assert_eq!(
        (mapped.partitioner(), flattened.partitioner()),
        (by.clone(), by)
    );
    let expected = sorted((0..12).map(|x| (x % 4, x * 2)));
    assert_eq!(sorted(mapped.collect()?), expected);
    let expected = sorted((0..12).flat_map(|x| (0..x % 3).map(move |y| (x % 4, y))));
    assert_eq!(sorted(flattened.collect()?), expected);
    assert!(placed.map(|pair| pair).partitioner().is_none());
    assert!(placed.keys().partitioner().is_none());
    assert!(placed.values().partitioner().is_none());
    // A map that leaves keys alone says so by being `map_values`.
    Ok(())
}

fn keys_and_values(bench: &Bench) -> Outcome {
    let pairs = bench
        .ctx()
        .parallelize_into([('b', 1), ('a', 2), ('b', 3)], 2)?;
    assert_eq!(pairs.keys().collect()?, ['b', 'a', 'b']);
    assert_eq!(pairs.values().collect()?, [1, 2, 3]);
    let keyed = pairs.values().key_by(|x| x % 2);
    assert_eq!(keyed.collect()?, [(1, 1), (0, 2), (1, 3)]);
    Ok(())
}

fn try_map(bench: &Bench) -> Outcome {
    let texts = bench
        .ctx()
        .parallelize(["1", "22", "333"].map(String::from));
    assert_eq!(
        texts.try_map(|text| text.parse::<u32>()).collect()?,
        [1, 22, 333]
    );
    Ok(())
}

fn union(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let (a, b) = (
        ctx.parallelize_into([1, 2, 2], 2)?,
        ctx.parallelize_into([2, 3], 3)?,
    );
    let both = a.union(&b)?;
    assert_eq!(both.collect()?, [1, 2, 2, 2, 3]);
    assert_eq!(both.num_partitions()?, 5);
    assert_eq!(a.union(&a)?.collect()?, [1, 2, 2, 1, 2, 2]);
    let pairs = |records: [(i32, char); 3]| {
        ctx.parallelize(records)
            .partition_by(HashPartitioner::new(3))
    };
    let (left, right) = (
        pairs([(1, 'a'), (2, 'b'), (3, 'c')]),
        pairs([(3, 'x'), (1, 'y'), (9, 'z')]),
    );
    let placed = left.union(&right)?;
    assert_eq!(placed.num_partitions()?, 3);
    assert_eq!(placed.partitioner(), left.partitioner());
    let parts = left
        .glom()
        .collect()?
        .into_iter()
        .zip(right.glom().collect()?);
    let expected: Vec<Vec<(i32, char)>> = parts.map(|(l, r)| [l, r].concat()).collect();
    assert_eq!(placed.glom().collect()?, expected);
    let other = left.union(&right.partition_by(HashPartitioner::new(4)))?;
    assert_eq!((other.num_partitions()?, other.partitioner()), (7, None));
    Ok(())
}

fn union_of_many(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdds: Vec<_> = (0..10).map(|x| ctx.range(x..x + 2)).collect();
    let expected: Vec<i64> = (0..10).flat_map(|x| [x, x + 1]).collect();
    assert_eq!(ctx.union(&rdds)?.collect()?, expected);
    assert_eq!(ctx.union::<i64>(&[])?.count()?, 0);
    let with_empty = ctx.union(&[ctx.empty_rdd(), ctx.range(0..3), ctx.empty_rdd()])?;
    assert_eq!(with_empty.collect()?, [0, 1, 2]);
    Ok(())
}

fn coalesce(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.parallelize_into(0..10, 10)?;
    assert_eq!(
        rdd.coalesce(1)?.glom().collect()?,
        [(0..10).collect::<Vec<_>>()]
    );
    let thirds = rdd.coalesce(3)?.glom().collect()?;
    assert_eq!(thirds, [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7, 8, 9]]);
    assert_eq!(rdd.coalesce(20)?.num_partitions()?, 10);
    assert_eq!(rdd.coalesce(20)?.collect()?, rdd.collect()?);
    let error = rdd.coalesce(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.fact("operator").unwrap().starts_with("coalesce at "));
    assert_eq!(ctx.empty_rdd::<i32>().coalesce(2)?.count()?, 0);
    Ok(())
}

fn repartition(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.parallelize_into(0..1000, 2)?.repartition(20)?;
    let parts = rdd.glom().collect()?;
    assert_eq!(parts.len(), 20);
    assert!(parts.iter().all(|part| part.len() == 50), "{parts:?}");
    assert_eq!(sorted(rdd.collect()?), (0..1000).collect::<Vec<_>>());
    let few = rdd.repartition(3)?;
    assert_eq!((few.num_partitions()?, few.count()?), (3, 1000));
    assert_eq!(rdd.repartition(0).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(ctx.empty_rdd::<i32>().repartition(2)?.glom().count()?, 2);
    Ok(())
}

fn placement_is_lost(bench: &Bench) -> Outcome {
    let pairs = bench.ctx().parallelize((0..10).map(|x| (x, x)));
    let placed = pairs.partition_by(HashPartitioner::new(4));
    assert!(placed.partitioner().is_some());
    assert!(placed.repartition(4)?.partitioner().is_none());
    assert!(placed.coalesce(2)?.partitioner().is_none());
    Ok(())
}

fn distinct(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    for partitions in [1, 2, 9] {
        let rdd = ctx.parallelize_into((0..100).map(|x| x % 7), partitions)?;
        assert_eq!(
            sorted(rdd.distinct().collect()?),
            (0..7).collect::<Vec<_>>()
        );
        assert_eq!(rdd.distinct().num_partitions()?, partitions);
        let five = rdd.distinct_into(5)?;
        assert_eq!((five.num_partitions()?, five.count()?), (5, 7));
    }
    assert_eq!(ctx.empty_rdd::<i32>().distinct().count()?, 0);
    assert_eq!(
        ctx.range(0..1).distinct_into(0).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    Ok(())
}

fn with_data(bench: &Bench) -> Outcome {
    let rdd = bench.ctx().parallelize_into(0..10, 3)?;
    let table = vec!["even".to_owned(), "odd".to_owned()];
    let named = rdd
        .with(table)
        .map(|table, x| table[x as usize % 2].clone());
    assert_eq!(named.filter(|name| name == "odd").count()?, 5);
    assert_eq!(rdd.with(7).filter(|least, x| x > least).collect()?, [8, 9]);
    let repeated = rdd
        .with(2)
        .flat_map(|times, x| std::iter::repeat_n(x, *times));
    assert_eq!(repeated.count()?, 20);
    let sums = rdd
        .with(100)
        .map_partitions_with_index(|base, at, records| {
            Some(base + at as i32 + records.sum::<i32>())
        });
    assert_eq!(sums.collect()?, [103, 113, 132]);
    Ok(())
}

fn words(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let lines = ctx.parallelize(["to be or", "not to be", ""].map(Text::from));
    let counts = lines
        .flat_map(|line| line.words())
        .map(|word| (word, 1_u64))
        .reduce_by_key(|a, b| a + b);
    let expected = [("be", 2), ("not", 1), ("or", 1), ("to", 2)];
    assert_eq!(
        sorted(counts.collect()?),
        expected.map(|(word, n)| (Text::from(word), n))
    );
    Ok(())
}
