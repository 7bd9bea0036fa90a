//! Operators that no other property covers: the same as the plain computation over a `Vec`, for
//! arbitrary records in arbitrary partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use tidemill_core::{Context, PairRdd, Rdd};

use crate::arbitrary::{Arbitrary, SEEDS};
use crate::support::{Bench, Case, Outcome, case, sorted};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("narrow_operators_are_the_same_as_on_a_vec", narrow),
        case("actions_are_the_same_as_on_a_vec", actions),
        case("orders_are_the_same_as_on_a_vec", orders),
        case("keyed_operators_are_the_same_as_on_a_vec", keyed),
        case("joins_are_the_same_as_on_a_vec", joins),
    ]
}

type Pair = (i64, u64);

/// Arbitrary records, and the same in an RDD.
struct Given {
    seed: u64,
    numbers: Vec<i64>,
    rdd: Rdd<i64>,
    left: Vec<Pair>,
    left_rdd: Rdd<Pair>,
    right: Vec<Pair>,
    right_rdd: Rdd<Pair>,
}

impl Given {
    fn new(ctx: &Context, seed: u64) -> Result<Self, tidemill_core::Error> {
        let mut arbitrary = Arbitrary::new(seed);
        let mut numbers = arbitrary.numbers();
        numbers.push(3);
        let (left, right) = (arbitrary.pairs(), arbitrary.pairs());
        Ok(Self {
            seed,
            rdd: arbitrary.rdd(ctx, &numbers)?,
            numbers,
            left_rdd: arbitrary.rdd(ctx, &left)?,
            left,
            right_rdd: arbitrary.rdd(ctx, &right)?,
            right,
        })
    }

    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "both are made for the comparison"
    )]
    fn same<T: PartialEq + Debug>(&self, what: &str, found: T, expected: T) {
        assert_eq!(found, expected, "{what}, seed {}", self.seed);
    }
}

fn for_each_seed(bench: &Bench, claim: impl Fn(&Given) -> Outcome) -> Outcome {
    let ctx = bench.ctx();
    SEEDS
        .into_iter()
        .try_for_each(|seed| claim(&Given::new(&ctx, seed)?))
}

fn collected<T: Copy, U>(records: &[T], f: impl Fn(T) -> U) -> Vec<U> {
    records.iter().copied().map(f).collect()
}

fn narrow(bench: &Bench) -> Outcome {
    for_each_seed(bench, |given| {
        let (rdd, numbers) = (&given.rdd, &given.numbers);
        let found = rdd.try_map(|x| Ok::<_, tidemill_core::Error>(x - 1));
        given.same("try_map", found.collect()?, collected(numbers, |x| x - 1));
        let found = rdd.key_by(|x| x % 3).collect()?;
        given.same("key_by", found, collected(numbers, |x| (x % 3, x)));
        let found = rdd.map_partitions(|part| part.filter(|x| x % 2 == 0));
        let even = numbers.iter().copied().filter(|x| x % 2 == 0).collect();
        given.same("map_partitions", found.collect()?, even);
        let found = rdd.flat_map(|x| vec![x; x.unsigned_abs() as usize % 3]);
        let repeated = |x: &i64| vec![*x; x.unsigned_abs() as usize % 3];
        let expected = numbers.iter().flat_map(repeated).collect();
        given.same("flat_map", found.collect()?, expected);
        given.same("glom", rdd.glom().collect()?.concat(), numbers.clone());
        given.same("coalesce", rdd.coalesce(2)?.collect()?, numbers.clone());
        let found = rdd.union(&rdd.map(|x| -x))?.collect()?;
        let expected = [numbers.clone(), collected(numbers, |x| -x)].concat();
        given.same("union", found, expected);
        let (pairs, left) = (&given.left_rdd, &given.left);
        given.same(
            "values",
            pairs.values().collect()?,
            collected(left, |p| p.1),
        );
        let found = pairs.map_values(|v| v + 1).collect()?;
        given.same("map_values", found, collected(left, |p| (p.0, p.1 + 1)));
        let found = pairs.flat_map_values(|v| 0..v % 3).collect()?;
        let expected = left.iter().flat_map(|(k, v)| (0..v % 3).map(|x| (*k, x)));
        given.same("flat_map_values", found, expected.collect());
        Ok(())
    })
}

fn actions(bench: &Bench) -> Outcome {
    for_each_seed(bench, |given| {
        let (rdd, numbers) = (&given.rdd, &given.numbers);
        let sum: i64 = numbers.iter().sum();
        given.same("reduce", rdd.reduce(|a, b| a + b)?, sum);
        given.same("fold", rdd.fold(0, |a, b| a + b)?, sum);
        // Which of two partitions ends first must not show.
        let found = rdd.aggregate(
            BTreeSet::new(),
            |mut seen: BTreeSet<i64>, x| {
                seen.insert(x);
                seen
            },
            |mut a, b| {
                a.extend(b);
                a
            },
        )?;
        given.same("aggregate", found, numbers.iter().copied().collect());
        given.same("first", rdd.first()?, numbers[0]);
        given.same(
            "take",
            rdd.take(7)?,
            numbers.iter().copied().take(7).collect(),
        );
        given.same("count", rdd.count()?, numbers.len() as u64);
        let counter = rdd.context().long_accumulator("seen");
        rdd.with(counter.clone())
            .for_each(|counter, x| counter.add(x))?;
        given.same("for_each", counter.value()?.sum, sum);
        Ok(())
    })
}

fn orders(bench: &Bench) -> Outcome {
    for_each_seed(bench, |given| {
        let (rdd, numbers) = (&given.rdd, &given.numbers);
        let ordered = sorted(numbers.iter().copied());
        let reversed: Vec<i64> = ordered.iter().rev().copied().collect();
        for num in [0, 1, 7, 100] {
            let first = |records: &[i64]| records.iter().copied().take(num).collect();
            given.same("take_ordered", rdd.take_ordered(num)?, first(&ordered));
            given.same("top", rdd.top(num)?, first(&reversed));
        }
        given.same(
            "sort_by",
            rdd.sort_by(|x| *x, true)?.collect()?,
            ordered.clone(),
        );
        given.same(
            "sort_by, reversed",
            rdd.sort_by(|x| *x, false)?.collect()?,
            reversed,
        );
        // Equal keys stay in the order they came in.
        let found = rdd.sort_by(|x| x.rem_euclid(3), true)?.collect()?;
        let mut stable = numbers.clone();
        stable.sort_by_key(|x| x.rem_euclid(3));
        given.same("sort_by, stable", sorted(found), sorted(stable));
        let distinct: Vec<i64> = numbers
            .iter()
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        for num in [1, 4] {
            let found = rdd.distinct_into(num)?.collect()?;
            given.same("distinct_into", sorted(found), distinct.clone());
        }
        Ok(())
    })
}

/// The values of each key, in order of the records.
fn groups(pairs: &[Pair]) -> BTreeMap<i64, Vec<u64>> {
    let mut groups: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for (key, value) in pairs {
        groups.entry(*key).or_default().push(*value);
    }
    groups
}

fn keyed(bench: &Bench) -> Outcome {
    for_each_seed(bench, |given| {
        let (pairs, groups) = (&given.left_rdd, groups(&given.left));
        let of_groups = |f: &dyn Fn(&[u64]) -> u64| -> Vec<Pair> {
            groups
                .iter()
                .map(|(key, values)| (*key, f(values)))
                .collect()
        };
        let sums = of_groups(&|values| values.iter().sum());
        let found = pairs.reduce_by_key(|a, b| a + b).collect()?;
        given.same("reduce_by_key", sorted(found), sums.clone());
        let found = pairs.fold_by_key(0, |a, b| a + b).collect()?;
        given.same("fold_by_key", sorted(found), sums);
        let found = pairs.aggregate_by_key(0, |n: u64, _| n + 1, |a, b| a + b);
        let lengths = of_groups(&|values| values.len() as u64);
        given.same("aggregate_by_key", sorted(found.collect()?), lengths);
        let found = pairs.combine_by_key(|v| v, u64::max, u64::max);
        let greatest = of_groups(&|values| values.iter().copied().max().unwrap_or(0));
        given.same("combine_by_key", sorted(found.collect()?), greatest);
        // Values come in the order of the partitions, and so of the records.
        let found: BTreeMap<_, _> = pairs.group_by_key().collect()?.into_iter().collect();
        given.same("group_by_key", found, groups.clone());
        Ok(())
    })
}

fn joins(bench: &Bench) -> Outcome {
    for_each_seed(bench, |given| {
        let (left, right) = (&given.left_rdd, &given.right_rdd);
        let (ours, theirs) = (groups(&given.left), groups(&given.right));
        let keys: BTreeSet<i64> = ours.keys().chain(theirs.keys()).copied().collect();
        let of = |groups: &BTreeMap<i64, Vec<u64>>, key| -> Vec<u64> {
            groups.get(&key).cloned().unwrap_or_default()
        };
        let expected: BTreeMap<_, _> = keys
            .iter()
            .map(|key| (*key, (of(&ours, *key), of(&theirs, *key))))
            .collect();
        let found: BTreeMap<_, _> = left.cogroup(right).collect()?.into_iter().collect();
        given.same("cogroup", found, expected);
        // All pairs of a key; a side that lacks it has one value, `None`.
        let side = |groups: &BTreeMap<i64, Vec<u64>>, key| -> Vec<Option<u64>> {
            match of(groups, key) {
                values if values.is_empty() => vec![None],
                values => values.into_iter().map(Some).collect(),
            }
        };
        let mut full = Vec::new();
        for key in keys {
            for a in side(&ours, key) {
                full.extend(side(&theirs, key).into_iter().map(|b| (key, (a, b))));
            }
        }
        let full = sorted(full);
        let found = left.full_outer_join(right).collect()?;
        given.same("full_outer_join", sorted(found), full.clone());
        let rows = full
            .iter()
            .filter_map(|(key, (a, b))| Some((*key, ((*a)?, *b))));
        let found = left.left_outer_join(right).collect()?;
        given.same("left_outer_join", sorted(found), rows.collect());
        let rows = full
            .iter()
            .filter_map(|(key, (a, b))| Some((*key, (*a, (*b)?))));
        let found = left.right_outer_join(right).collect()?;
        given.same("right_outer_join", sorted(found), rows.collect());
        let rows = full
            .iter()
            .filter_map(|(key, (a, b))| Some((*key, ((*a)?, (*b)?))));
        let found = left.join(right).collect()?;
        given.same("join", sorted(found), rows.collect());
        Ok(())
    })
}
