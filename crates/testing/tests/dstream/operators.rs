//! Operators of one stream, on the tables of Spark's own suite.

use tidemill_streaming::{DStream, PairDStream};
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
        // S-063
        case("a_transform_may_pair_everything", cartesian),
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
        case("with_hands_data_to_every_operator", with_everywhere),
        case("map_partitions_with_index_sees_the_number", indexed),
        case("placed_by_says_where_pairs_go", placed),
        case("partition_by_places_every_pair", partition_by),
        // S-058 S-062
        case("many_streams_are_taken_in_their_order", many),
        // S-139
        case("an_rdd_of_a_batch_names_its_operator_and_line", origin),
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
    let parse = |s: &DStream<String>| s.try_map(|x| x.parse::<i32>());
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
    let sum = |s: &DStream<i32>| s.map_partitions(|x| [x.sum::<i32>()]);
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

fn cartesian(bench: &Bench) -> Outcome {
    let product = |left: &[i32], right: &[i32]| -> Vec<(i32, i32)> {
        let of = |a: &i32| right.iter().map(|b| (*a, *b)).collect::<Vec<_>>();
        left.iter().flat_map(of).collect()
    };
    let right: Vec<Vec<i32>> = vec![vec![7, 8, 9], vec![], vec![5]];
    let got = bench.table().run_two(numbers(), right.clone(), |a, b| {
        a.transform_with(b, |a, b, _| Ok(a.cartesian(b)?))
    })?;
    let sides = numbers().into_iter().zip(right);
    let expected: Vec<_> = sides.map(|(a, b)| product(&a, &b)).collect();
    assert_eq!(unordered(got), expected);
    let got = bench
        .table()
        .run(numbers(), |s| s.transform(|rdd, _| Ok(rdd.cartesian(rdd)?)))?;
    let expected: Vec<_> = numbers().iter().map(|a| product(a, a)).collect();
    assert_eq!(unordered(got), expected);
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

fn with_everywhere(bench: &Bench) -> Outcome {
    let run = |f: fn(&DStream<i32>) -> DStream<i32>| bench.table().run(numbers(), f);
    let got = run(|s| {
        s.with(100)
            .try_map(|add, x| x.checked_add(*add).ok_or("too large"))
    })?;
    assert_eq!(got[0], [101, 102, 103, 104]);
    let got = run(|s| {
        s.with(10)
            .map_partitions(|factor, x| [x.sum::<i32>() * factor])
    })?;
    assert_eq!(got[0], [30, 70]);
    let got = run(|s| {
        s.with(10)
            .map_partitions_with_index(|factor, at, x| [at as i32 * factor + x.sum::<i32>()])
    })?;
    assert_eq!(got[0], [3, 17]);
    let got = run(|s| s.with(3).reduce(|modulus, a, b| (a + b) % modulus))?;
    assert_eq!(got, [[1], [2], [0]]);
    let window = crate::windows::batches(2);
    let got = run(|s| {
        let window = crate::windows::batches(2);
        s.with(100)
            .reduce_by_window(window, |modulus, a, b| (a + b) % modulus)
    })?;
    assert_eq!(got, [[10], [36], [68]]);
    let got = bench.table().run(numbers(), move |s| {
        let pairs = s.map(|x| (x % 2, x));
        let sums = pairs
            .with(0)
            .reduce_by_key(|least, a, b| a.max(b).max(*least));
        let wide = pairs
            .with(0)
            .reduce_by_key_and_window(window, |least, a, b| a.max(b).max(*least));
        let lists = pairs.with(-1).combine_by_key(
            |first, x| vec![*first, x],
            |_, mut list, x| {
                list.push(x);
                list
            },
            |_, mut a, b| {
                a.extend(b);
                a
            },
        );
        let values = pairs.with(5).map_values(|add, x| x + add);
        let flat = values.with(vec![1, 2]).flat_map_values(|factors, x| {
            factors.iter().map(|factor| factor * x).collect::<Vec<_>>()
        });
        let lens = lists.map_values(|list| list.len() as i32);
        sums.union(&wide)
            .union(&lens)
            .union(&flat.filter(|(key, x)| *key == 0 && x % 2 == 0))
    })?;
    let first = [
        (0, 4),
        (0, 4),
        (0, 4),
        (0, 14),
        (0, 18),
        (1, 3),
        (1, 3),
        (1, 4),
    ];
    assert_eq!(unordered(got)[0], first);
    Ok(())
}

fn indexed(bench: &Bench) -> Outcome {
    let table = bench.table().partitions(3);
    let got = table.run(vec![vec![7, 8, 9], vec![]], |s| {
        s.map_partitions_with_index(|at, records| records.map(move |x| (at as u64, x)))
    })?;
    assert_eq!(got, [vec![(0, 7), (1, 8), (2, 9)], vec![]]);
    Ok(())
}

/// Places keys by their last digit.
#[derive(serde::Serialize, serde::Deserialize)]
struct LastDigit;

impl tidemill_core::Partitioner<i32> for LastDigit {
    fn num_partitions(&self) -> usize {
        10
    }

    fn partition(&self, key: &i32) -> usize {
        (key % 10) as usize
    }
}

fn placed(bench: &Bench) -> Outcome {
    let run = |f: fn(&DStream<(i32, i32)>) -> DStream<i32>| {
        let pairs = numbers()
            .into_iter()
            .map(|batch| batch.into_iter().map(|x| (x, 1)).collect());
        bench.table().run(pairs.collect(), |s| f(s).glom())
    };
    let ten = |key: i32| {
        let mut partitions = vec![vec![]; 10];
        (key..key + 4).for_each(|key| partitions[key as usize % 10].push(key));
        partitions
    };
    let expected = [ten(1), ten(5), ten(9)];
    let each: [fn(&DStream<(i32, i32)>) -> DStream<i32>; 8] = [
        |s| {
            s.placed_by(LastDigit)
                .reduce_by_key(|a, b| a + b)
                .map(|x| x.0)
        },
        |s| s.placed_by(LastDigit).group_by_key().map(|x| x.0),
        |s| {
            s.placed_by(LastDigit)
                .combine_by_key(|x| x, |a, b| a + b, |a, b| a + b)
                .map(|x| x.0)
        },
        |s| s.placed_by(LastDigit).join(s).map(|x| x.0),
        |s| s.placed_by(LastDigit).left_outer_join(s).map(|x| x.0),
        |s| s.placed_by(LastDigit).right_outer_join(s).map(|x| x.0),
        |s| s.placed_by(LastDigit).full_outer_join(s).map(|x| x.0),
        |s| s.placed_by(LastDigit).cogroup(s).map(|x| x.0),
    ];
    for operation in each {
        assert_eq!(run(operation)?, expected);
    }
    let one = crate::windows::batches(1);
    assert_eq!(one, crate::windows::batches(1));
    let got = run(|s| {
        let window = crate::windows::batches(1);
        s.placed_by(LastDigit)
            .reduce_by_key_and_window(window, |a, b| a + b)
            .map(|x| x.0)
    })?;
    assert_eq!(got, expected);
    let got = run(|s| {
        let window = crate::windows::batches(1);
        s.placed_by(LastDigit)
            .group_by_key_and_window(window)
            .map(|x| x.0)
    })?;
    assert_eq!(got, expected);
    Ok(())
}

fn partition_by(bench: &Bench) -> Outcome {
    let got = bench.table().run(numbers(), |s| {
        s.map(|x| (x, x))
            .partition_by(LastDigit)
            .map(|x| x.0)
            .glom()
    })?;
    assert_eq!(
        (got[2].len(), &got[2][9], &got[2][2]),
        (10, &vec![9], &vec![12])
    );
    Ok(())
}

fn many(bench: &Bench) -> Outcome {
    let program = bench.program();
    let streams: Vec<DStream<i32>> = [[1, 4], [2, 5], [3, 6]]
        .into_iter()
        .map(|of| program.queue(of.into_iter().map(|x| vec![x]).collect()))
        .collect();
    let union = crate::support::collect(&program.ssc.union(&streams));
    let turned = program.ssc.transform(&streams, |rdds, time| match rdds {
        [a, b, c] => Ok(b
            .union(c)?
            .union(a)?
            .with(time.as_ms() as i32)
            .map(|t, x| t + x)),
        _ => Err("three streams".into()),
    });
    let turned = crate::support::collect(&turned);
    let live = program.start();
    live.tick();
    live.tick();
    use crate::support::take;
    assert_eq!((take(&union), take(&union)), (vec![1, 2, 3], vec![4, 5, 6]));
    assert_eq!(take(&turned), [1_002, 1_003, 1_001]);
    assert_eq!(take(&turned), [2_005, 2_006, 2_004]);
    Ok(())
}

fn origin(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (sender, origins) = std::sync::mpsc::channel();
    let line = line!() + 1;
    let stream = program.queue(vec![vec![1]]).map(|x| (x, 1)).named("ones");
    let window = stream.reduce_by_key_and_window(crate::windows::batches(1), |a, b| a + b);
    for stream in [&stream, &window] {
        let sender = sender.clone();
        stream.for_each_rdd(move |rdd, _| Ok(sender.send(rdd.operator().to_string())?));
    }
    program.start().tick();
    use crate::support::take;
    assert_eq!(
        take(&origins),
        format!("map \"ones\" at {}:{line}", file!())
    );
    let place = format!("reduce_by_key_and_window at {}:{}", file!(), line + 1);
    assert_eq!(take(&origins), place);
    Ok(())
}
