//! Long runs keep no more than short ones, and what is remembered can be computed again.

use std::fmt::Debug;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_core::Data;
use tidemill_core::storage::BlockId;
use tidemill_streaming::{DStream, PairDStream, StateSpec, Time};
use tidemill_testing::{Footprint, Soak};

use crate::state_runs::{Dice, map, random_batches, update};
use crate::support::{BATCH, Bench, Case, Live, Outcome, alone, driver_case, local_case, sorted};
use crate::windows::{batches, next_rdd};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        local_case(LONG_RUN, long_run),
        driver_case(
            "a_batch_of_a_whole_program_computed_again_is_the_same",
            again,
        ),
    ]
}

const LONG_RUN: &str = "a_long_run_keeps_no_more_than_a_short_one";

/// In a process of its own: memory is the whole process's.
fn long_run(bench: &Bench) -> Outcome {
    alone(bench, LONG_RUN, |_| run_long(), |_| ())
}

fn run_long() -> Outcome {
    let mut soak = Soak::start()?;
    for _ in 0..2 * Soak::PERIOD {
        soak.tick()?;
    }
    let (warm, rss_warm) = kept_over_a_period(&mut soak)?;
    for _ in 0..Soak::PERIOD {
        soak.tick()?;
    }
    let (end, rss_end) = kept_over_a_period(&mut soak)?;
    assert_eq!(warm, end);
    // An allocator keeps what it likes; a few hundred bytes a batch would be more than this.
    let most = rss_warm + rss_warm / 20;
    assert!(rss_end <= most, "{rss_warm} … {rss_end} bytes");
    Ok(())
}

/// The most that is kept after a batch, and the least memory; 0 where the system does not say.
fn kept_over_a_period(soak: &mut Soak) -> Result<(Footprint, u64), tidemill_core::Error> {
    let (mut footprint, mut rss) = (Footprint::default(), u64::MAX);
    for _ in 0..Soak::PERIOD {
        soak.tick()?;
        footprint = footprint.max(soak.footprint());
        rss = rss.min(rss_bytes().unwrap_or(0));
    }
    Ok((footprint, rss))
}

fn rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// A batch's records, to be computed once more.
struct Remembered {
    what: &'static str,
    time: Time,
    again: Box<dyn Fn() -> Result<bool, tidemill_core::Error> + Send>,
}

type Kept = Arc<Mutex<Vec<Remembered>>>;

fn keep<T: Data + Ord + Debug>(kept: &Kept, what: &'static str, stream: &DStream<T>) {
    let kept = Arc::clone(kept);
    stream.for_each_rdd(move |rdd, time| {
        let (rdd, records) = (rdd.clone(), sorted(rdd.collect()?));
        let again = Box::new(move || Ok(sorted(rdd.collect()?) == records));
        kept.lock().push(Remembered { what, time, again });
        Ok(())
    });
}

type Pairs = DStream<(u64, i64)>;

/// Windows, both kinds of state, and joins, some below others.
fn define(kept: &Kept, pairs: &Pairs, others: &Pairs) {
    let sums = pairs.reduce_by_key_and_window(batches(5), |a, b| a + b);
    let inverse = pairs.reduce_by_key_and_window_inverse(batches(3), |a, b| a + b, |a, b| a - b);
    let states = update(pairs, StateSpec::new().partitions(2));
    let spec = StateSpec::new().partitions(3).timeout(2 * BATCH);
    let (mapped, snapshots) = map(others, spec);
    keep(kept, "window", &pairs.window(batches(2)));
    keep(kept, "join of windows", &sums.join(&inverse));
    keep(kept, "join of states", &states.full_outer_join(&snapshots));
    keep(kept, "mapped", &mapped);
    keep(kept, "window of mapped", &mapped.window(batches(2)));
    keep(kept, "join", &pairs.join(others));
}

/// Drops cached partitions and shuffle outputs, each with a chance of one half.
fn lose(live: &Live, dice: &mut Dice) {
    let rdds = 0..next_rdd(live);
    let cached = rdds.flat_map(|rdd| (0..4).map(move |split| BlockId::Rdd { rdd, split }));
    // Each shuffle has an RDD that reads it.
    let outputs = (0..next_rdd(live)).flat_map(|shuffle| {
        (0..16).map(move |at| BlockId::Shuffle {
            shuffle,
            map: at / 4,
            reduce: at % 4,
        })
    });
    let mut lost = cached.chain(outputs).filter(|_| dice.below(2) == 0);
    live.ctx.blocks().remove(&mut lost);
}

fn again(bench: &Bench) -> Outcome {
    const REMEMBERED: u32 = 4;
    for seed in 30..32 {
        let mut dice = Dice(seed);
        let program = bench.program();
        program.ssc.remember(REMEMBERED * BATCH)?;
        let mut input = || {
            let stream = program.queue(random_batches(&mut dice, 10));
            stream.repartition(1 + dice.below(3) as usize)
        };
        let (pairs, others) = (input(), input());
        let kept = Kept::default();
        define(&kept, &pairs, &others);
        let live = program.start();
        for _ in 0..10 {
            let info = live.tick();
            if info.num_failed > 0 {
                return live.running.await_termination();
            }
            lose(&live, &mut dice);
            let mut kept = kept.lock();
            kept.retain(|kept| info.time.since(kept.time) < REMEMBERED * BATCH);
            for Remembered { what, time, again } in kept.iter() {
                let now = info.time;
                assert!(again()?, "seed {seed}: {what} of {time}, at {now}");
            }
        }
    }
    Ok(())
}
