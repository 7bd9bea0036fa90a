//! Checkpoints of RDDs: files, or kept blocks, in the place of a lineage.

use std::collections::BTreeMap;
use std::path::Path;

use tidemill_core::storage::BlockId;
use tidemill_core::{
    Context, ErrorKind, HashPartitioner, PairRdd, PartitionedBy, Rdd, StorageLevel,
};
use tidemill_testing::Recorder;

use crate::support::{Bench, Case, Outcome, Tally, case, count_in, sorted};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-073, C-190
        case("a_checkpoint_needs_a_folder", folder_needed),
        // C-191, C-192
        case("a_checkpoint_takes_the_place_of_the_lineage", lineage_cut),
        // C-193
        case("a_checkpoint_may_come_after_a_job", after_a_job),
        // C-194
        case("a_checkpoint_keeps_the_partitioner", partitioner_kept),
        // C-195
        case("a_checkpoint_computes_again_unless_cached", computed_again),
        // C-196
        case("a_local_checkpoint_is_in_kept_blocks", local),
        // C-197
        case("marked_ancestors_are_checkpointed_too", ancestors),
        // C-198
        case("cleaned_shuffle_outputs_are_made_again", cleaned),
        case("a_damaged_checkpoint_fails_the_job", damaged),
        case("a_long_iteration_with_checkpoints_is_the_same", iteration),
    ]
}

/// A context with a checkpoint folder, what writes down its jobs, and the folder.
fn with_folder(bench: &Bench) -> (Context, std::sync::Arc<Recorder>, tempfile::TempDir) {
    let (ctx, recorder) = bench.recorded();
    let folder = tempfile::tempdir().unwrap();
    ctx.set_checkpoint_dir(folder.path()).unwrap();
    (ctx, recorder, folder)
}

fn names(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    sorted(files.map(|file| file.unwrap().file_name().into_string().unwrap()))
}

fn folder_needed(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let rdd = ctx.range(0..4);
    assert_eq!(ctx.checkpoint_dir(), None);
    let error = rdd.checkpoint().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("set_checkpoint_dir"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let made = ctx.set_checkpoint_dir(folder.path())?;
    assert_eq!(ctx.checkpoint_dir(), Some(made.clone()));
    assert_eq!(made.parent(), Some(folder.path()));
    assert_ne!(ctx.set_checkpoint_dir(folder.path())?, made);
    rdd.checkpoint()
}

fn lineage_cut(bench: &Bench) -> Outcome {
    let (ctx, recorder, _folder) = with_folder(bench);
    let sums = ctx
        .parallelize_into((0..20).map(|x| (x % 3, x)), 2)?
        .reduce_by_key(|a, b| a + b);
    let doubled = sums.map_values(|x| x * 2);
    sums.checkpoint()?;
    sums.checkpoint()?;
    assert!(!sums.is_checkpointed() && sums.checkpoint_file().is_none());
    let expected = [(0, 126), (1, 140), (2, 114)];
    assert_eq!(sorted(doubled.collect()?), expected);
    assert!(sums.is_checkpointed() && !doubled.is_checkpointed());
    let file = sums.checkpoint_file().unwrap();
    let folder = ctx.checkpoint_dir().unwrap();
    assert_eq!(file, folder.join(format!("rdd-{}", sums.id())));
    assert_eq!(names(&file), ["part-00000", "part-00001"]);
    // The shuffle above is let go, and with it its outputs.
    recorder.take_jobs();
    let (shuffle, map, reduce) = (0, 0, 0);
    let output = BlockId::Shuffle {
        shuffle,
        map,
        reduce,
    };
    let gone = (0..1_000_000).any(|_| {
        std::thread::yield_now();
        !ctx.blocks().contains(output).unwrap()
    });
    assert!(gone, "the lineage is still there");
    assert_eq!(sorted(doubled.collect()?), expected);
    assert_eq!(sums.count()?, 3);
    let jobs = recorder.take_jobs();
    assert!(jobs.iter().all(|job| job.stages.len() == 1), "{jobs:?}");
    Ok(())
}

fn counted(ctx: &Context, tally: &Tally) -> Rdd<u64> {
    ctx.parallelize_into(0..10_u64, 2)
        .unwrap()
        .with(tally.path())
        .map(|path, x| {
            count_in(path);
            x + 1
        })
}

fn after_a_job(bench: &Bench) -> Outcome {
    let (ctx, _, _folder) = with_folder(bench);
    let rdd = ctx.range(0..10).map(|x| x * x);
    assert_eq!(rdd.count()?, 10);
    rdd.checkpoint()?;
    assert!(!rdd.is_checkpointed());
    assert_eq!(rdd.count()?, 10);
    assert!(rdd.is_checkpointed());
    assert_eq!(rdd.collect()?, (0..10).map(|x| x * x).collect::<Vec<_>>());
    Ok(())
}

fn partitioner_kept(bench: &Bench) -> Outcome {
    let (ctx, recorder, _folder) = with_folder(bench);
    let placed = ctx
        .parallelize_into((0..20).map(|x| (x, 1)), 2)?
        .partition_by(HashPartitioner::new(3));
    let by: Option<PartitionedBy> = placed.partitioner();
    assert!(by.is_some());
    placed.checkpoint()?;
    assert_eq!(placed.count()?, 20);
    assert!(placed.is_checkpointed());
    assert_eq!(placed.partitioner(), by);
    recorder.take_jobs();
    let sums = placed.reduce_by_key(|a, b| a + b);
    assert_eq!(sums.count()?, 20);
    assert_eq!(recorder.take_jobs()[0].stages.len(), 1, "no shuffle");
    Ok(())
}

fn computed_again(bench: &Bench) -> Outcome {
    let (ctx, _, _folder) = with_folder(bench);
    for (is_cached, times) in [(false, 20), (true, 10)] {
        let tally = Tally::new();
        let rdd = counted(&ctx, &tally);
        let rdd = if is_cached { rdd.cache() } else { rdd };
        rdd.checkpoint()?;
        assert_eq!(rdd.count()?, 10);
        let calls = tally.count();
        assert!(calls >= times && (!bench.is_exact() || calls == times));
        rdd.unpersist();
        assert_eq!(rdd.collect()?, (1..=10).collect::<Vec<_>>());
        assert_eq!(tally.count(), calls, "read from the files");
    }
    Ok(())
}

fn local(bench: &Bench) -> Outcome {
    let (ctx, tally) = (bench.ctx(), Tally::new());
    let rdd = counted(&ctx, &tally).cache();
    assert_eq!(rdd.take(1)?, [1]);
    let rdd = rdd.local_checkpoint();
    assert_eq!(rdd.storage_level(), StorageLevel::MemoryAndDisk);
    assert!(!rdd.is_checkpointed());
    assert_eq!(rdd.take(1)?, [1]);
    assert!(rdd.is_checkpointed() && rdd.checkpoint_file().is_none());
    let calls = tally.count();
    assert!(calls >= 10 && (!bench.is_exact() || calls == 10));
    assert_eq!(rdd.collect()?, (1..=10).collect::<Vec<_>>());
    assert_eq!(tally.count(), calls, "all partitions are kept");
    let (rdd_id, split) = (rdd.id(), 1);
    let lost = BlockId::Rdd { rdd: rdd_id, split };
    ctx.blocks().remove(&mut std::iter::once(lost));
    let error = rdd.collect().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let block = format!("block=rdd_{rdd_id}_1");
    assert!(error.to_string().contains(&block), "{error}");
    Ok(())
}

fn ancestors(bench: &Bench) -> Outcome {
    let (ctx, _, _folder) = with_folder(bench);
    let tally = Tally::new();
    let parent = counted(&ctx, &tally);
    let child = parent.map(|x| x * 2);
    let other = ctx.range(0..3);
    for rdd in [&child, &parent] {
        rdd.checkpoint()?;
    }
    other.checkpoint()?;
    assert_eq!(child.map(|x| x + 1).count()?, 10);
    assert!(parent.is_checkpointed() && child.is_checkpointed());
    assert!(!other.is_checkpointed(), "no job has read it");
    // The job itself, and the parent's files; the child's are made from those.
    let calls = tally.count();
    assert!(calls >= 20 && (!bench.is_exact() || calls == 20));
    assert_eq!(child.take(2)?, [2, 4]);
    Ok(())
}

fn cleaned(bench: &Bench) -> Outcome {
    let (ctx, recorder) = bench.recorded();
    let sums = ctx
        .parallelize_into((0..20).map(|x| (x % 3, x)), 4)?
        .reduce_by_key(|a, b| a + b);
    let again = sums.map(|(key, sum)| (sum, key)).reduce_by_key(|a, _| a);
    let expected = sorted(again.collect()?);
    recorder.take_jobs();
    assert_eq!(sorted(again.collect()?), expected);
    assert_eq!(recorder.take_jobs()[0].num_tasks(), 4);
    again.clean_shuffle_dependencies();
    for shuffle in 0..2 {
        let of_maps = (0..4).flat_map(|map| {
            (0..4).map(move |reduce| BlockId::Shuffle {
                shuffle,
                map,
                reduce,
            })
        });
        assert_eq!(
            of_maps
                .filter(|id| ctx.blocks().contains(*id).unwrap())
                .count(),
            0
        );
    }
    assert_eq!(sorted(again.collect()?), expected);
    assert_eq!(recorder.take_jobs()[0].num_tasks(), 12);
    Ok(())
}

fn damaged(bench: &Bench) -> Outcome {
    let (ctx, _, _folder) = with_folder(bench);
    let rdd = ctx.parallelize_into(0..3000_u64, 1)?.map(|x| x * 2);
    rdd.checkpoint()?;
    assert_eq!(rdd.count()?, 3000);
    let path = rdd.checkpoint_file().unwrap().join("part-00000");
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    // A flipped bit, a file that ends between two pieces, and none at all.
    for bytes in [Some(&flipped[..]), Some(&whole[..whole.len() - 24]), None] {
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = rdd.count().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("part-00000"), "{error}");
    }
    std::fs::write(&path, whole).unwrap();
    assert_eq!(rdd.count()?, 3000);
    Ok(())
}

fn iteration(bench: &Bench) -> Outcome {
    let (ctx, _, _folder) = with_folder(bench);
    let mut rdd = ctx.parallelize_into((0..30_u64).map(|x| (x % 7, x)), 2)?;
    let mut plain: Vec<(u64, u64)> = (0..30).map(|x| (x % 7, x)).collect();
    for round in 0..12_u64 {
        rdd = rdd
            .with(round)
            .map(|round, (key, x)| ((key * 3 + round) % 11, x + round))
            .reduce_by_key(|a, b| a + b);
        let mut sums = BTreeMap::new();
        for (key, x) in plain {
            *sums.entry((key * 3 + round) % 11).or_default() += x + round;
        }
        plain = sums.into_iter().collect();
        if round % 4 == 1 {
            rdd.checkpoint()?;
        } else if round % 4 == 3 {
            rdd = rdd.local_checkpoint();
        }
        assert_eq!(sorted(rdd.collect()?), plain, "round {round}");
    }
    Ok(())
}
