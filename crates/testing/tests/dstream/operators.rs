//! Operators of one stream, on the tables of Spark's own suite.

use tidemill_streaming::PairDStream;
use tidemill_testing::unordered;

use crate::support::{Bench, Case, Outcome, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-088
        case("map_applies_to_each_record", map),
        case("try_map_fails_the_batch_on_an_error", try_map),
        case("filter_keeps_what_holds", filter),
        // S-088
        case("flat_map_chains_what_it_returns", flat_map),
        case("map_partitions_sees_each_partition", map_partitions),
        case("map_partitions_sees_empty_partitions", empty_partitions),
        // S-088
        case("glom_gives_each_partition", glom),
        // S-090
        case("repartition_gives_exactly_so_many", repartition),
        // S-091
        case("reduce_gives_one_record_or_none", reduce),
        // S-092
        case("count_gives_a_zero_for_an_empty_batch", count),
        // S-094
        case("count_by_value_counts_each_batch", count_by_value),
        // S-058
        case("union_puts_one_after_the_other", union),
        case("transform_sees_the_rdd_and_the_time", transform),
        case("transform_with_sees_both_rdds", transform_with),
        // S-095
        case("reduce_by_key_combines_each_batch", reduce_by_key),
        // S-095
        case("group_by_key_keeps_all_values", group_by_key),
        // S-095
        case("combine_by_key_builds_any_combiner", combine_by_key),
        // S-095
        case("map_values_keeps_keys", map_values),
        // S-095
        case("flat_map_values_repeats_keys", flat_map_values),
        case("with_hands_data_to_the_next_operator", with_captures),
        case("a_persisted_stream_gives_the_same", persisted),
    ]
}

fn numbers() -> Vec<Vec<i32>> {
    vec![vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10, 11, 12]]
}

pub(crate) fn words(batches: &[&[&str]]) -> Vec<Vec<String>> {
    let owned = |words: &&[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    batches.iter().map(owned).collect()
}

fn pair<V>(key: &str, value: V) -> (String, V) {
    (key.to_owned(), value)
}

fn map(bench: &Bench) -> Outcome {
    let got = bench.table().run(numbers(), |s| s.map(|x| x.to_string()))?;
    let expected = [
        ["1", "2", "3", "4"],
        ["5", "6", "7", "8"],
        ["9", "10", "11", "12"],
    ];
    assert_eq!(got, expected);
    Ok(())
}

fn try_map(bench: &Bench) -> Outcome {
    let parse = |s: &tidemill_streaming::DStream<String>| s.try_map(|x| x.parse::<i32>());
    let got = bench.table().run(words(&[&["1", "2"], &[]]), parse)?;
    assert_eq!(got, [vec![1, 2], vec![]]);
    let error = bench.table().run(words(&[&["1"], &["x"]]), parse);
    let report = error.unwrap_err().report();
    assert!(
        report.contains("try_map at ") && report.contains("invalid digit"),
        "{report}"
    );
    Ok(())
}

fn filter(bench: &Bench) -> Outcome {
    let got = bench.table().run(numbers(), |s| s.filter(|x| x % 2 == 0))?;
    assert_eq!(got, [[2, 4], [6, 8], [10, 12]]);
    Ok(())
}

fn flat_map(bench: &Bench) -> Outcome {
    let got = bench
        .table()
        .run(numbers(), |s| s.flat_map(|x| [x, 2 * x]))?;
    let expected = [
        [1, 2, 2, 4, 3, 6, 4, 8],
        [5, 10, 6, 12, 7, 14, 8, 16],
        [9, 18, 10, 20, 11, 22, 12, 24],
    ];
    assert_eq!(got, expected);
    Ok(())
}

fn map_partitions(bench: &Bench) -> Outcome {
    let sum = |s: &tidemill_streaming::DStream<i32>| s.map_partitions(|x| [x.sum::<i32>()]);
    let got = bench.table().run(numbers(), sum)?;
    assert_eq!(got, [[3, 7], [11, 15], [19, 23]]);
    Ok(())
}

fn empty_partitions(bench: &Bench) -> Outcome {
    let table = bench.table().partitions(3);
    let got = table.run(vec![vec![7], vec![]], |s| {
        s.map_partitions(|x| [x.count() as u64])
    })?;
    assert_eq!(unordered(got), [[0, 0, 1], [0, 0, 0]]);
    Ok(())
}

fn glom(bench: &Bench) -> Outcome {
    let got = bench.table().run(numbers(), |s| s.glom())?;
    let expected = [
        [vec![1, 2], vec![3, 4]],
        [vec![5, 6], vec![7, 8]],
        [vec![9, 10], vec![11, 12]],
    ];
    assert_eq!(got, expected);
    Ok(())
}

fn repartition(bench: &Bench) -> Outcome {
    for (from, to) in [(2, 5), (5, 2)] {
        let table = bench.table().partitions(from);
        let input = vec![(0..100).collect::<Vec<i32>>(), vec![], vec![1]];
        let got = table.run(input, |s| s.repartition(to).glom())?;
        for batch in &got {
            assert_eq!(batch.len(), to);
        }
        let mut first = got[0].concat();
        first.sort_unstable();
        assert_eq!(first, (0..100).collect::<Vec<_>>());
    }
    let got = bench.table().run(numbers(), |s| s.repartition(0).glom())?;
    assert!(got.iter().all(|batch| batch.len() == 1));
    Ok(())
}

fn reduce(bench: &Bench) -> Outcome {
    let mut input = numbers();
    input.push(vec![]);
    let got = bench.table().run(input, |s| s.reduce(|a, b| a + b))?;
    assert_eq!(got, [vec![10], vec![26], vec![42], vec![]]);
    Ok(())
}

fn count(bench: &Bench) -> Outcome {
    let input = vec![vec![], vec![1], vec![1; 2], vec![1; 3], vec![1; 4]];
    let got = bench.table().run(input.clone(), |s| s.count())?;
    assert_eq!(got, [[0], [1], [2], [3], [4]]);
    let got = bench.table().partitions(5).run(input, |s| s.count())?;
    assert_eq!(got, [[0], [1], [2], [3], [4]]);
    Ok(())
}

fn count_by_value(bench: &Bench) -> Outcome {
    let input = vec![vec![1], vec![1, 1, 1], vec![1, 2], vec![1, 1, 2, 2], vec![]];
    let got = bench.table().run(input, |s| s.count_by_value())?;
    let expected = [
        vec![(1, 1)],
        vec![(1, 3)],
        vec![(1, 1), (2, 1)],
        vec![(1, 2), (2, 2)],
        vec![],
    ];
    assert_eq!(unordered(got), expected);
    Ok(())
}

fn union(bench: &Bench) -> Outcome {
    let right = numbers()
        .into_iter()
        .map(|b| b.into_iter().map(|x| x + 100).collect());
    let got = bench
        .table()
        .run_two(numbers(), right.collect(), |a, b| a.union(b))?;
    let expected: Vec<Vec<i32>> = numbers()
        .into_iter()
        .map(|b| [b.clone(), b.iter().map(|x| x + 100).collect()].concat())
        .collect();
    assert_eq!(got, expected);
    let got = bench.table().run(numbers(), |s| s.union(s).glom())?;
    assert_eq!(got[0], [[1, 2], [3, 4], [1, 2], [3, 4]]);
    Ok(())
}

fn transform(bench: &Bench) -> Outcome {
    let got = bench.table().run(numbers(), |s| {
        s.transform(|rdd, time| Ok(rdd.with(time.as_ms()).map(|ms, x| i64::from(x) + ms)))
    })?;
    let expected = [
        [1_001, 1_002, 1_003, 1_004],
        [2_005, 2_006, 2_007, 2_008],
        [3_009, 3_010, 3_011, 3_012],
    ];
    assert_eq!(got, expected);
    Ok(())
}

fn transform_with(bench: &Bench) -> Outcome {
    let left = words(&[&["a", "b"], &["a", ""], &[""], &[]]);
    let right = words(&[&["a", "b"], &["b", ""], &[], &[""]]);
    let got = bench.table().run_two(left, right, |a, b| {
        let (a, b) = (a.map(|w| (w, 1)), b.map(|w| (w, 2)));
        a.transform_with(&b, |a, b, _| {
            use tidemill_core::PairRdd;
            Ok(a.join(b))
        })
    })?;
    let expected = [
        vec![pair("a", (1, 2)), pair("b", (1, 2))],
        vec![pair("", (1, 2))],
        vec![],
        vec![],
    ];
    assert_eq!(unordered(got), expected);
    Ok(())
}

fn keyed() -> Vec<Vec<String>> {
    words(&[&["a", "a", "b"], &["", ""], &[]])
}

fn reduce_by_key(bench: &Bench) -> Outcome {
    let got = bench
        .table()
        .run(keyed(), |s| s.map(|w| (w, 1)).reduce_by_key(|a, b| a + b))?;
    let expected = [vec![pair("a", 2), pair("b", 1)], vec![pair("", 2)], vec![]];
    assert_eq!(unordered(got), expected);
    Ok(())
}

fn group_by_key(bench: &Bench) -> Outcome {
    let got = bench
        .table()
        .run(keyed(), |s| s.map(|w| (w, 1)).group_by_key())?;
    let expected = [
        vec![pair("a", vec![1, 1]), pair("b", vec![1])],
        vec![pair("", vec![1, 1])],
        vec![],
    ];
    assert_eq!(unordered(got), expected);
    Ok(())
}

fn combine_by_key(bench: &Bench) -> Outcome {
    let got = bench.table().run(keyed(), |s| {
        s.map(|w| (w, 1_u64)).combine_by_key(
            |x| (x, 1_u64),
            |(sum, count), x| (sum + x, count + 1),
            |(a, m), (b, n)| (a + b, m + n),
        )
    })?;
    let expected = [
        vec![pair("a", (2, 2)), pair("b", (1, 1))],
        vec![pair("", (2, 2))],
        vec![],
    ];
    assert_eq!(unordered(got), expected);
    Ok(())
}

fn map_values(bench: &Bench) -> Outcome {
    let got = bench
        .table()
        .run(keyed(), |s| s.map(|w| (w, 1)).map_values(|x| x + 10))?;
    let expected = [
        vec![pair("a", 11), pair("a", 11), pair("b", 11)],
        vec![pair("", 11), pair("", 11)],
        vec![],
    ];
    assert_eq!(got, expected);
    Ok(())
}

fn flat_map_values(bench: &Bench) -> Outcome {
    let got = bench.table().run(keyed(), |s| {
        s.map(|w| (w, 1)).flat_map_values(|x| [x, x + 10])
    })?;
    let twice = |key: &str| vec![pair(key, 1), pair(key, 11)];
    let expected = [
        [twice("a"), twice("a"), twice("b")].concat(),
        [twice(""), twice("")].concat(),
        vec![],
    ];
    assert_eq!(got, expected);
    Ok(())
}

fn with_captures(bench: &Bench) -> Outcome {
    let least = numbers()[1][1];
    let got = bench.table().run(numbers(), move |s| {
        s.with(least)
            .filter(|least, x| x >= least)
            .with(vec![1, 10])
            .flat_map(|factors, x| factors.iter().map(|f| f * x).collect::<Vec<_>>())
            .with("!".to_owned())
            .map(|mark, x| format!("{x}{mark}"))
    })?;
    assert_eq!(got[0], Vec::<String>::new());
    assert_eq!(got[1], ["6!", "60!", "7!", "70!", "8!", "80!"]);
    Ok(())
}

fn persisted(bench: &Bench) -> Outcome {
    let got = bench.table().run(numbers(), |s| {
        let cached = s.map(|x| x + 1).cache();
        cached.union(&cached).reduce(|a, b| a + b)
    })?;
    assert_eq!(got, [[28], [60], [92]]);
    Ok(())
}
