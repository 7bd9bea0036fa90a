//! Cached partitions and shuffle outputs.

use tidemill_core::storage::BlockId;
use tidemill_core::{Context, ErrorKind, HashPartitioner, OrderedRdd, PairRdd, StorageLevel};

use crate::support::{Bench, Case, Outcome, Tally, case, count_in, sorted};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-182
        case("a_cached_rdd_is_computed_once", computed_once),
        // C-183
        case("take_caches_only_what_it_looked_at", partly_cached),
        // C-184
        case("a_storage_level_is_changed_by_unpersist_only", set_again),
        // C-185
        case("unpersist_frees_and_the_rdd_is_computed_again", unpersist),
        case("evicted_partitions_are_computed_again", evicted),
        case("partitions_without_room_are_read_from_disk", on_disk),
        case("any_level_in_any_memory_gives_the_same", any_level),
        case("kept_partitions_go_with_their_rdd", go_with_rdd),
        // C-229
        case("shuffles_over_their_memory_give_the_same", spilled),
        // C-206
        case("a_cached_rdd_hides_the_stages_above_it", hidden_stages),
        case("a_cached_rdd_needs_no_map_outputs", no_maps_needed),
        // C-205
        case("a_second_action_skips_the_map_stage", skipped_maps),
        // C-228
        case("many_reduce_partitions_give_the_same_as_few", many_reduces),
        // C-210, C-212
        case("only_a_lost_map_output_is_made_again", made_again),
        // C-232
        case("shuffle_outputs_go_with_their_rdd", shuffles_go),
    ]
}

fn is_kept(ctx: &Context, rdd: u64, split: usize) -> bool {
    ctx.blocks().contains(BlockId::Rdd { rdd, split }).unwrap()
}

fn computed_once(bench: &Bench) -> Outcome {
    let (ctx, tally) = (bench.ctx(), Tally::new());
    let rdd = ctx
        .parallelize_into(0..10, 3)?
        .with(tally.path())
        .map(|path, x| {
            count_in(path);
            x * 2
        });
    let cached = rdd.cache();
    assert_eq!(cached.storage_level(), StorageLevel::MemoryOnly);
    assert_eq!(tally.count(), 0, "caching alone computes nothing");
    let expected: Vec<i32> = (0..10).map(|x| x * 2).collect();
    assert_eq!(cached.collect()?, expected);
    let first = tally.count();
    assert!(first >= 10 && (!bench.is_exact() || first == 10));
    assert_eq!(cached.collect()?, expected);
    assert_eq!(cached.map(|x| x + 1).count()?, 10);
    assert_eq!(tally.count(), first, "the second action computed again");
    Ok(())
}

fn partly_cached(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.parallelize_into(0..12, 4)?.map(|x| x + 1).cache();
    assert_eq!(rdd.take(1)?, [1]);
    let kept: Vec<bool> = (0..4).map(|split| is_kept(&ctx, rdd.id(), split)).collect();
    assert_eq!(kept, [true, false, false, false]);
    assert_eq!(rdd.collect()?, (1..13).collect::<Vec<_>>());
    assert!((0..4).all(|split| is_kept(&ctx, rdd.id(), split)));
    Ok(())
}

fn no_maps_needed(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let pairs = ctx.parallelize_into((0..20).map(|x| (x % 3, x)), 4)?;
    let sums = pairs.reduce_by_key(|a, b| a + b).cache();
    let expected = sorted(sums.collect()?);
    sums.clean_shuffle_dependencies();
    recorder.take_jobs();
    assert_eq!(sorted(sums.collect()?), expected);
    assert_eq!(recorder.take_jobs()[0].num_tasks(), 4);
    // What was kept is gone after all: the map tasks run again.
    let (rdd, split) = (sums.id(), 2);
    ctx.blocks()
        .remove(&mut std::iter::once(BlockId::Rdd { rdd, split }));
    assert_eq!(sorted(sums.collect()?), expected);
    Ok(())
}

fn set_again(bench: &Bench) -> Outcome {
    let rdd = bench.ctx().range(0..4);
    assert_eq!(rdd.storage_level(), StorageLevel::None);
    let same = rdd
        .persist(StorageLevel::MemoryOnly)
        .persist(StorageLevel::MemoryOnly);
    assert_eq!(
        (same.id(), same.storage_level()),
        (rdd.id(), StorageLevel::MemoryOnly)
    );
    assert_eq!(same.count()?, 4);
    let other = rdd.persist(StorageLevel::DiskOnly);
    assert_eq!(other.storage_level(), StorageLevel::MemoryOnly);
    let error = other.map(|x| x + 1).count().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.fact("wanted"), Some("DISK_ONLY"));
    rdd.unpersist();
    assert_eq!(same.storage_level(), StorageLevel::None);
    let other = rdd.persist(StorageLevel::DiskOnly);
    assert_eq!(other.storage_level(), StorageLevel::DiskOnly);
    assert_eq!(other.collect()?, [0, 1, 2, 3]);
    Ok(())
}

fn unpersist(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.range(0..9).map(|x| x * x).cache();
    let records = rdd.collect()?;
    assert!(is_kept(&ctx, rdd.id(), 0));
    rdd.unpersist();
    assert!(!is_kept(&ctx, rdd.id(), 0) && !is_kept(&ctx, rdd.id(), 1));
    assert_eq!(rdd.collect()?, records);
    assert!(!is_kept(&ctx, rdd.id(), 0));
    rdd.unpersist();
    Ok(())
}

fn evicted(bench: &Bench) -> Outcome {
    let backend = bench.backend().backend_with(2, 3000)?;
    let ctx = Context::builder().backend(backend).build()?;
    let rdd = |base: u64| {
        ctx.parallelize_into((0..200).map(move |x| base + x), 2)
            .unwrap()
            .cache()
    };
    let rdds: Vec<_> = (0..4).map(|n| rdd(n << 40)).collect();
    for _ in 0..2 {
        for (n, rdd) in rdds.iter().enumerate() {
            let base = (n as u64) << 40;
            assert_eq!(rdd.collect()?, (base..base + 200).collect::<Vec<_>>());
        }
    }
    let kept = rdds.iter().filter(|rdd| is_kept(&ctx, rdd.id(), 0)).count();
    assert!((1..4).contains(&kept), "{kept} of 4 fit");
    Ok(())
}

fn on_disk(bench: &Bench) -> Outcome {
    // The first partition of 100 numbers fits, two do not.
    let ctx = small(bench, 1000);
    let levels = [
        StorageLevel::MemoryAndDisk,
        StorageLevel::MemoryAndDiskSer,
        StorageLevel::DiskOnly,
    ];
    for level in levels {
        let tally = Tally::new();
        let rdd = ctx
            .parallelize_into((0..400).map(|x| x << 40), 4)?
            .with(tally.path())
            .map(|path, x: i64| {
                count_in(path);
                x + 1
            })
            .persist(level);
        let expected: Vec<i64> = (0..400).map(|x| (x << 40) + 1).collect();
        assert_eq!(rdd.collect()?, expected);
        assert!(
            (0..4).all(|split| is_kept(&ctx, rdd.id(), split)),
            "{level}"
        );
        let first = tally.count();
        assert_eq!(rdd.collect()?, expected);
        assert_eq!(tally.count(), first, "{level}: computed again");
    }
    Ok(())
}

/// A context whose blocks have little memory.
fn small(bench: &Bench, max_bytes: usize) -> Context {
    let backend = bench.backend().backend_with(2, max_bytes).unwrap();
    Context::builder().backend(backend).build().unwrap()
}

/// The next of a row of numbers that look random: splitmix64.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) % below
}

fn any_level(bench: &Bench) -> Outcome {
    let levels: Vec<StorageLevel> = [
        "NONE",
        "MEMORY_ONLY",
        "MEMORY_ONLY_SER_2",
        "MEMORY_AND_DISK",
    ]
    .into_iter()
    .chain(["MEMORY_AND_DISK_SER", "DISK_ONLY", "DISK_ONLY_3"])
    .map(|name| name.parse().unwrap())
    .collect();
    for seed in 0..6 {
        let mut random = seed;
        let ctx = small(bench, draw(&mut random, 3000) as usize);
        let records: Vec<(u64, String)> = (0..draw(&mut random, 200))
            .map(|_| {
                let (key, x) = (draw(&mut random, 9), draw(&mut random, 1 << 40));
                (key, "x".repeat(x as usize % 20))
            })
            .collect();
        let mut next = |below: usize| draw(&mut random, below as u64) as usize;
        let rdd = ctx.parallelize_into(records.clone(), 1 + next(4))?;
        let lengths = rdd.map_values(|text| text.len() as u64);
        let lengths = lengths.persist(levels[next(levels.len())]);
        let sums = lengths.reduce_by_key(|a, b| a + b);
        let sums = sums.persist(levels[next(levels.len())]);
        let mut expected = std::collections::BTreeMap::new();
        for (key, text) in records {
            *expected.entry(key).or_default() += text.len() as u64;
        }
        let expected: Vec<(u64, u64)> = expected.into_iter().collect();
        for round in 0..2 {
            assert_eq!(
                sorted(sums.collect()?),
                expected,
                "seed {seed} round {round}"
            );
            let again = lengths.reduce_by_key(|a, b| a + b);
            assert_eq!(
                sorted(again.collect()?),
                expected,
                "seed {seed} round {round}"
            );
        }
    }
    Ok(())
}

fn go_with_rdd(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.range(0..9).map(|x| x * x).cache();
    let child = rdd.map(|x| x + 1);
    assert_eq!(child.count()?, 9);
    let id = rdd.id();
    drop(rdd);
    assert!(is_kept(&ctx, id, 0), "the child still needs it");
    drop(child);
    // The thread that ran the last task may still be about to let go of the plan.
    let gone = (0..1_000_000).any(|_| {
        std::thread::yield_now();
        !is_kept(&ctx, id, 0)
    });
    assert!(gone && !is_kept(&ctx, id, 1));
    Ok(())
}

fn spilled(bench: &Bench) -> Outcome {
    let records: Vec<(u64, u64)> = (0..600).map(|x| (x * 7 % 61, x)).collect();
    let run = |ctx: &Context| -> tidemill_core::Result<_> {
        let pairs = ctx.parallelize_into(records.clone(), 5)?;
        let sums = sorted(pairs.reduce_by_key(|a, b| a + b).collect()?);
        let groups = pairs.group_by_key().map_values(sorted);
        let groups = sorted(groups.collect()?);
        let in_order = pairs.sort_by_key(true)?.collect()?;
        let both = pairs.cogroup(&pairs.map_values(|x| x + 1));
        let both = both.map_values(|(a, b)| (sorted(a), sorted(b)));
        Ok((sums, groups, in_order, sorted(both.collect()?)))
    };
    let folder = tempfile::tempdir().unwrap();
    let num_folders = || std::fs::read_dir(folder.path()).unwrap().count();
    let limited = if bench.is_local() {
        let builder = Context::builder().master("local[2]".parse()?);
        builder
            .max_shuffle_bytes(200)
            .spill_folder(folder.path())
            .build()?
    } else {
        small(bench, 200)
    };
    let (got, expected) = (run(&limited)?, run(&bench.ctx())?);
    assert_eq!(got, expected);
    assert_eq!(got.0.iter().map(|pair| pair.1).sum::<u64>(), 599 * 300);
    assert_eq!(num_folders(), usize::from(bench.is_local()));
    limited.stop();
    assert_eq!(num_folders(), 0);
    Ok(())
}

fn hidden_stages(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let sums = ctx
        .parallelize((0..20).map(|x| (x % 3, x)))
        .reduce_by_key(|a, b| a + b)
        .cache();
    let twice = sums.map_values(|x| x * 2).repartition(2)?;
    let first = sorted(twice.collect()?);
    assert_eq!(recorder.take_jobs()[0].stages.len(), 3);
    let thrice = sums.map_values(|x| x * 3).repartition(2)?;
    assert_eq!(thrice.count()?, 3);
    // Without the cache it would be three again, of which one has nothing to do.
    assert_eq!(recorder.take_jobs()[0].stages.len(), 2);
    assert_eq!(first, [(0, 126), (1, 140), (2, 114)]);
    Ok(())
}

fn skipped_maps(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let sums = ctx
        .parallelize_into((0..20).map(|x| (x % 3, x)), 4)?
        .reduce_by_key(|a, b| a + b);
    assert_eq!(sums.count()?, 3);
    let tasks = |recorder: &tidemill_testing::Recorder| -> Vec<usize> {
        let jobs = recorder.take_jobs();
        jobs[0].stages.iter().map(|stage| stage.num_tasks).collect()
    };
    assert_eq!(tasks(&recorder), [4, 4]);
    assert_eq!(sorted(sums.collect()?), [(0, 63), (1, 70), (2, 57)]);
    assert_eq!(tasks(&recorder), [4]);
    assert_eq!(sums.map_values(|x| x + 1).count()?, 3);
    assert_eq!(tasks(&recorder), [4]);
    Ok(())
}

fn many_reduces(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    // A map task of hundreds of buckets hardly ever gets through where messages are lost.
    let num_keys = if bench.is_exact() { 509 } else { 7 };
    let records = (0..2000).map(|x| (x * 31 % num_keys, x));
    let records: Vec<(u64, u64)> = records.collect();
    let pairs = ctx.parallelize_into(records, 3)?;
    let sums = |num_partitions: usize| {
        let by = HashPartitioner::new(num_partitions);
        pairs.reduce_by_key_with(by, |a, b| a + b)
    };
    let (few, many) = (sums(2), sums(300));
    assert_eq!(many.num_partitions()?, 300);
    let (few, many) = (sorted(few.collect()?), sorted(many.collect()?));
    assert_eq!(few, many);
    assert_eq!(many.len() as u64, num_keys);
    // Without combining, too.
    let placed = pairs.partition_by(HashPartitioner::new(300));
    let filled = placed.glom().filter(|part| !part.is_empty());
    let num_filled = filled.count()?;
    assert!(num_filled <= num_keys && (!bench.is_exact() || num_filled > 200));
    assert_eq!(sorted(placed.collect()?), sorted(pairs.collect()?));
    Ok(())
}

fn made_again(bench: &Bench) -> Outcome {
    let ((ctx, recorder), tally) = (bench.recorded(), Tally::new());
    let sums = ctx
        .parallelize_into((0..200).map(|x| (x % 50, x)), 4)?
        .with(tally.path())
        .map(|path, pair| {
            count_in(path);
            pair
        })
        .reduce_by_key(|a, b| a + b);
    let expected = sorted(sums.collect()?);
    recorder.take_jobs();
    let before = tally.count();
    let (shuffle, map, reduce) = (0, 2, 1);
    let lost = BlockId::Shuffle {
        shuffle,
        map,
        reduce,
    };
    assert!(ctx.blocks().contains(lost)?);
    ctx.blocks().remove(&mut std::iter::once(lost));
    assert_eq!(sorted(sums.collect()?), expected);
    let tasks: Vec<Vec<usize>> = recorder
        .take_jobs()
        .into_iter()
        .map(|job| job.stages.iter().map(|stage| stage.num_tasks).collect())
        .collect();
    // The first plan finds the loss; the second has the one map task and what was not done.
    assert_eq!((tasks.len(), &tasks[0][..], tasks[1][0]), (2, &[4][..], 1));
    assert!((1..=4).contains(&tasks[1][1]), "{tasks:?}");
    let again = tally.count() - before;
    assert!(again >= 50 && (!bench.is_exact() || again == 50));
    Ok(())
}

fn shuffles_go(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let sums = ctx
        .parallelize_into((0..20).map(|x| (x, x)), 2)?
        .reduce_by_key(|a, b| a + b);
    assert_eq!(sums.count()?, 20);
    let blocks = || {
        let ids = [(0, 0), (0, 1), (1, 0), (1, 1)];
        let shuffle = 0;
        ids.into_iter()
            .filter(|&(map, reduce)| {
                let id = BlockId::Shuffle {
                    shuffle,
                    map,
                    reduce,
                };
                ctx.blocks().contains(id).unwrap()
            })
            .count()
    };
    assert_eq!(blocks(), 4);
    let child = sums.map(|pair| pair.1);
    drop(sums);
    assert_eq!(blocks(), 4, "the child still needs them");
    drop(child);
    // The thread that ran the last task may still be about to let go of the plan.
    let gone = (0..1_000_000).any(|_| {
        std::thread::yield_now();
        blocks() == 0
    });
    assert!(gone, "{} blocks are left", blocks());
    Ok(())
}
