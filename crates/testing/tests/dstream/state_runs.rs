//! States over whole runs: any batching and partitioning, batches computed again, and another run
//! of the program.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_core::storage::BlockId;
use tidemill_core::{Data, Rdd};
use tidemill_streaming::{DStream, StateSpec, StreamSettings};
use tidemill_testing::unordered;

use crate::support::{BATCH, Bench, Case, Live, Outcome, Program, case, collect, sorted, take};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-112 S-116
        case(
            "states_are_those_of_one_computation_over_all_records",
            any_batching,
        ),
        // S-116 S-121
        case("a_remembered_batch_computed_again_is_the_same", again),
        // S-121
        case("a_state_goes_on_in_another_run", another_run),
        case("what_is_restored_must_belong_to_an_operator", strangers),
    ]
}

/// Small numbers from a seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

pub(crate) type Record = (u64, i64);

/// Batches of records with few keys, some batches empty.
pub(crate) fn random_batches(dice: &mut Dice, num_batches: u64) -> Vec<Vec<Record>> {
    let mut batch = |_| {
        let len = dice.below(4) * dice.below(6);
        let record = |_| (dice.below(9), dice.below(5) as i64);
        (0..len).map(record).collect()
    };
    (0..num_batches).map(&mut batch).collect()
}

/// The sum of each key; a key whose sum is a multiple of 7 goes.
fn fold(sums: &mut BTreeMap<u64, i64>, batch: &[Record], by_batch: bool) -> Vec<(u64, i64)> {
    let mut mapped = Vec::new();
    let mut new: BTreeMap<u64, i64> = BTreeMap::new();
    for (key, value) in batch {
        if by_batch {
            *new.entry(*key).or_default() += value;
            continue;
        }
        let sum = sums.get(key).copied().unwrap_or(1) + value;
        mapped.push((*key, sum));
        if sum % 7 == 0 {
            sums.remove(key);
        } else {
            sums.insert(*key, sum);
        }
    }
    if by_batch {
        let keys: Vec<u64> = sums.keys().chain(new.keys()).copied().collect();
        for key in keys {
            let Some(value) = new
                .remove(&key)
                .or_else(|| sums.contains_key(&key).then_some(0))
            else {
                continue;
            };
            let sum = sums.get(&key).copied().unwrap_or(1) + value;
            if sum % 7 == 0 {
                sums.remove(&key);
            } else {
                sums.insert(key, sum);
            }
        }
    }
    mapped
}

pub(crate) fn update(pairs: &DStream<Record>, spec: StateSpec<u64, i64>) -> DStream<(u64, i64)> {
    pairs.update_state_by_key_with(spec, |values, sum| {
        let sum = sum.unwrap_or(1) + values.iter().sum::<i64>();
        (sum % 7 != 0).then_some(sum)
    })
}

pub(crate) fn map(pairs: &DStream<Record>, spec: StateSpec<u64, i64>) -> Mapped {
    let mapped = pairs.map_with_state(spec, |key, value, state| {
        let sum = state.get().copied().unwrap_or(1) + value.unwrap_or(0);
        if state.is_timing_out() {
            return (*key, -sum);
        }
        if sum % 7 == 0 {
            state.remove();
        } else {
            state.update(sum);
        }
        (*key, sum)
    });
    let states = mapped.state_snapshots();
    (mapped.named("sums").into_mapped(), states)
}

pub(crate) type Mapped = (DStream<(u64, i64)>, DStream<(u64, i64)>);

fn any_batching(bench: &Bench) -> Outcome {
    for seed in 0..3 {
        let mut dice = Dice(seed);
        let input = random_batches(&mut dice, 7);
        let (parts, shards) = (1 + dice.below(4) as usize, 1 + dice.below(5) as usize);
        let spec = || StateSpec::new().partitions(shards);
        let table = bench.table().partitions(parts);
        let context = format!("seed {seed}, {parts} partitions, {shards} shards");

        let got = table.run(input.clone(), |pairs| update(pairs, spec()))?;
        let mut sums = BTreeMap::new();
        for (batch, got) in input.iter().zip(unordered(got)) {
            fold(&mut sums, batch, true);
            assert_eq!(
                got,
                sums.clone().into_iter().collect::<Vec<_>>(),
                "{context}"
            );
        }

        let mapped = table.run(input.clone(), |pairs| map(pairs, spec()).0)?;
        let states = table.run(input.clone(), |pairs| map(pairs, spec()).1)?;
        let mut sums = BTreeMap::new();
        for ((batch, mapped), states) in input.iter().zip(mapped).zip(unordered(states)) {
            // The records of a partition come in order, and so do those of a key.
            let expected = fold(&mut sums, batch, false);
            for key in 0..9 {
                let of_key = |rows: &[(u64, i64)]| -> Vec<i64> {
                    let rows = rows.iter().filter(|row| row.0 == key);
                    rows.map(|row| row.1).collect()
                };
                assert_eq!(of_key(&mapped), of_key(&expected), "{context}");
            }
            assert_eq!(
                states,
                sums.clone().into_iter().collect::<Vec<_>>(),
                "{context}"
            );
        }
    }
    Ok(())
}

type Kept<T> = Arc<Mutex<Vec<(Rdd<T>, Vec<T>)>>>;

/// Each batch's RDD and what was in it.
fn keep<T: Data>(stream: &DStream<T>) -> Kept<T> {
    let kept = Kept::default();
    let keep = Arc::clone(&kept);
    stream.for_each_rdd(move |rdd, _| {
        let records = rdd.collect()?;
        keep.lock().push((rdd.clone(), records));
        Ok(())
    });
    kept
}

/// With time-outs, cached partitions dropped at random, and later batches there already.
fn again(bench: &Bench) -> Outcome {
    for seed in 10..12 {
        let mut dice = Dice(seed);
        let batches = random_batches(&mut dice, 9);
        let program = bench.program();
        program.ssc.remember(4 * BATCH)?;
        let spec = StateSpec::new().partitions(3).timeout(BATCH);
        let (mapped, states) = map(&program.queue(batches.clone()), spec);
        let (mapped, states) = (keep(&mapped), keep(&states));
        let live = program.start();
        for batch in 0..batches.len() {
            let info = live.tick();
            if info.num_failed > 0 {
                return live.running.await_termination();
            }
            let first = batch.saturating_sub(3);
            let remembered = mapped.lock()[first..].to_vec();
            for (rdd, _) in &remembered {
                let dropped = (0..3).filter(|_| dice.below(2) == 0);
                let ids = dropped.map(|split| BlockId::Rdd {
                    rdd: rdd.id(),
                    split,
                });
                live.ctx
                    .blocks()
                    .remove(&mut ids.collect::<Vec<_>>().into_iter());
            }
            let remembered = remembered
                .into_iter()
                .chain(states.lock()[first..].to_vec());
            for (rdd, records) in remembered {
                assert_eq!(rdd.collect()?, records, "seed {seed}, {rdd:?}");
            }
        }
        let over = mapped.lock()[0].0.clone();
        let error = over.collect().unwrap_err();
        assert!(error.report().contains("forgotten"), "{error:?}");
    }
    Ok(())
}

/// The program of `another_run`: two states, one below the other, in so many shards.
fn two_states(
    program: &Program,
    batches: Vec<Vec<Record>>,
    shards: usize,
) -> impl Fn(&Live) -> (Vec<(u64, i64)>, Vec<(u64, i64)>) + use<> {
    let input = program.queue(batches);
    let spec = StateSpec::new().partitions(shards).timeout(2 * BATCH);
    let mapped = input.map_with_state(spec, |key, value, state| {
        let sum = state.get().copied().unwrap_or(0) + value.unwrap_or(100);
        if !state.is_timing_out() {
            state.update(sum);
        }
        (*key, sum)
    });
    let mapped = mapped.named("sums").into_mapped();
    let spec = StateSpec::new().partitions(shards + 1);
    let states = update(&mapped, spec).named("sums of sums");
    let (rows, states) = (collect(&mapped), collect(&states));
    move |live| {
        assert_eq!(live.tick().num_failed, 0);
        (sorted(take(&rows)), sorted(take(&states)))
    }
}

fn another_run(bench: &Bench) -> Outcome {
    let batches = random_batches(&mut Dice(20), 8);
    let program = bench.program();
    let tick = two_states(&program, batches.clone(), 2);
    let live = program.start();
    let expected: Vec<_> = batches.iter().map(|_| tick(&live)).collect();
    drop(live);

    let half = batches.len() / 2;
    let program = bench.program();
    let tick = two_states(&program, batches[..half].to_vec(), 2);
    let live = program.start();
    for expected in &expected[..half] {
        assert_eq!(tick(&live), *expected);
    }
    let encoded = live.running.encode_states()?;
    let names: Vec<&str> = encoded.iter().map(|(name, _)| name.as_str()).collect();
    assert!(
        names[0].contains("sums") && names[1].contains("sums of sums"),
        "{names:?}"
    );
    let num_keys: Vec<u64> = live
        .running
        .state_sizes()?
        .iter()
        .map(|(_, size)| size.num_keys)
        .collect();
    assert!(num_keys.iter().all(|num| *num > 0), "{num_keys:?}");
    let now = live.clock.clone();
    drop(live);

    // The clock goes on, for time-outs; everything else is new.
    let builder = bench.backend().builder(2)?;
    let program = Program::at(builder, StreamSettings::default(), now);
    let tick = two_states(&program, batches[half..].to_vec(), 5);
    program.ssc.restore_states(encoded);
    let live = program.start();
    for expected in &expected[half..] {
        assert_eq!(tick(&live), *expected);
    }
    Ok(())
}

fn strangers(bench: &Bench) -> Outcome {
    let program = bench.program();
    collect(&update(&program.queue(vec![]), StateSpec::new()));
    program
        .ssc
        .restore_states(vec![("someone else".to_owned(), vec![1, 0])]);
    let error = program.try_start().err().unwrap();
    assert_eq!(error.fact("state"), Some("someone else"));
    let program = bench.program();
    let states = update(&program.queue(vec![]), StateSpec::new()).named("sums");
    collect(&states);
    program
        .ssc
        .restore_states(vec![("sums".to_owned(), vec![99, 0])]);
    let error = program.try_start().err().unwrap();
    assert!(
        error
            .message()
            .contains("format that this version does not know"),
        "{error}"
    );
    Ok(())
}
