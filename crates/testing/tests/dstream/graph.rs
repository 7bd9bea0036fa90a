//! What is computed, how often, and when it is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tidemill_core::storage::BlockId;
use tidemill_core::{Context, Rdd};
use tidemill_streaming::{DStream, StreamEvent, StreamSettings};

use crate::feed::fed;
use crate::support::{
    BATCH, Bench, Case, Live, Outcome, collect, driver_case, gate, local_case, take,
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-010
        local_case("a_stream_that_no_output_needs_is_never_computed", unused),
        // S-007
        local_case("a_stream_that_two_outputs_read_is_computed_once", once),
        // S-011 S-012
        driver_case("inputs_count_up_and_an_unused_one_is_cleaned_up", input_ids),
        // S-015 S-155
        driver_case(
            "rdds_and_blocks_are_forgotten_after_the_next_batch",
            forgotten,
        ),
        driver_case("remember_keeps_rdds_and_blocks", remembered),
        // S-016
        driver_case("nothing_leaves_memory_without_unpersist", kept),
        // S-154
        driver_case("blocks_of_a_running_batch_are_kept", running),
    ]
}

fn counted(stream: &DStream<u64>) -> (DStream<u64>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let stream = stream.transform(move |rdd, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(rdd.clone())
    });
    (stream, calls)
}

fn unused(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1], vec![2]]);
    let (unused, calls) = counted(&stream);
    let rows = collect(&stream);
    let live = program.start();
    live.tick();
    live.tick();
    assert_eq!((take(&rows), take(&rows)), (vec![1], vec![2]));
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    drop(unused);
    Ok(())
}

fn once(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (stream, calls) = counted(&program.queue(vec![vec![1], vec![2]]));
    let (one, other) = (
        collect(&stream),
        collect(&stream.union(&stream.map(|x| 10 * x))),
    );
    let live = program.start();
    live.tick();
    live.tick();
    assert_eq!((take(&one), take(&one)), (vec![1], vec![2]));
    assert_eq!((take(&other), take(&other)), (vec![1, 10], vec![2, 20]));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    Ok(())
}

fn input_ids(bench: &Bench) -> Outcome {
    let program = bench.program();
    let queue = program.queue(vec![vec![1_u64]]);
    let ((feed, unused), (other, used)) = (fed(), fed());
    let _unused = program.ssc.receiver_stream(unused);
    let rows = collect(&queue.union(&program.ssc.receiver_stream(used)));
    let live = program.start();
    feed.store([5]);
    other.store([6]);
    let batch = live.tick();
    assert_eq!(take(&rows), [1, 6]);
    let ids: Vec<usize> = batch.inputs.iter().map(|input| input.stream_id).collect();
    assert_eq!(ids, [0, 2]);
    live.tick();
    assert_eq!(
        (has_block(&live, 1, 0), has_block(&live, 2, 0)),
        (false, false)
    );
    Ok(())
}

fn has_block(live: &Live, stream: usize, number: u64) -> bool {
    let id = BlockId::Input { stream, number };
    live.ctx.blocks().contains(id).unwrap()
}

/// A cached stream of a receiver, and the ids of its RDDs.
struct Cached {
    live: Live,
    feed: crate::feed::Feed,
    rdds: Arc<Mutex<Vec<u64>>>,
}

fn cached(bench: &Bench, settings: StreamSettings, remember: Option<u32>) -> Cached {
    let program = bench.program_with(settings);
    if let Some(batches) = remember {
        program.ssc.remember(batches * BATCH).unwrap();
    }
    let (feed, receiver) = fed();
    let rdds = Arc::<Mutex<Vec<u64>>>::default();
    let ids = Arc::clone(&rdds);
    let stream = program.ssc.receiver_stream(receiver).map(|x| x + 1).cache();
    stream.for_each_rdd(move |rdd: &Rdd<u64>, _| {
        ids.lock().push(rdd.id());
        rdd.count()?;
        Ok(())
    });
    let live = program.start();
    Cached { live, feed, rdds }
}

impl Cached {
    fn run(&self, batches: u64) {
        for batch in 0..batches {
            self.feed.store([batch]);
            self.live.tick();
        }
    }

    /// Which batches' blocks and cached RDDs are there.
    fn present(&self) -> (Vec<bool>, Vec<bool>) {
        let rdds = self.rdds.lock().clone();
        let blocks = (0..rdds.len() as u64)
            .map(|n| has_block(&self.live, 0, n))
            .collect();
        let ctx: &Context = &self.live.ctx;
        let is_cached = |rdd| {
            ctx.blocks()
                .contains(BlockId::Rdd { rdd, split: 0 })
                .unwrap()
        };
        (blocks, rdds.into_iter().map(is_cached).collect())
    }
}

fn forgotten(bench: &Bench) -> Outcome {
    let cached = cached(bench, StreamSettings::default(), None);
    cached.run(4);
    // Batch 4 asks for batch 3 no more.
    cached.live.tick();
    let (blocks, rdds) = cached.present();
    assert_eq!(blocks[..3], [false; 3]);
    assert_eq!(rdds[..3], [false; 3]);
    drop(cached.live.running);
    assert!(!cached.live.ctx.blocks().contains(BlockId::Input {
        stream: 0,
        number: 3
    })?);
    Ok(())
}

fn remembered(bench: &Bench) -> Outcome {
    let cached = cached(bench, StreamSettings::default(), Some(3));
    cached.run(5);
    cached.live.tick();
    let (blocks, rdds) = cached.present();
    assert_eq!(blocks[..2], [false; 2]);
    assert_eq!(rdds[..2], [false; 2]);
    assert_eq!(
        (&blocks[3..5], &rdds[3..5]),
        (&[true; 2][..], &[true; 2][..])
    );
    Ok(())
}

fn kept(bench: &Bench) -> Outcome {
    let settings = StreamSettings {
        unpersist: false,
        ..StreamSettings::default()
    };
    let cached = cached(bench, settings, None);
    cached.run(4);
    cached.live.tick();
    let (blocks, rdds) = cached.present();
    assert_eq!((&blocks[..4], &rdds[..4]), (&[true; 4][..], &[true; 4][..]));
    Ok(())
}

/// Later batches end while the first is still running: it finds its block.
fn running(bench: &Bench) -> Outcome {
    let settings = StreamSettings {
        concurrent_jobs: 2,
        ..StreamSettings::default()
    };
    let program = bench.program_with(settings);
    let (gate, barrier) = gate();
    let (feed, receiver) = fed();
    let (sender, counts) = std::sync::mpsc::channel();
    program
        .ssc
        .receiver_stream(receiver)
        .for_each_rdd(move |rdd, time| {
            if time.as_ms() == 1_000 {
                barrier.lock().pass();
            }
            Ok(sender.send((time.as_ms(), rdd.count()?))?)
        });
    let live = program.start();
    feed.store([1, 2, 3]);
    live.advance();
    gate.wait_for_arrival();
    for batch in 2..6 {
        feed.store([4]);
        live.tick();
        assert_eq!(take(&counts), (1_000 * batch, 1));
    }
    assert!(has_block(&live, 0, 0));
    gate.open();
    assert_eq!(take(&counts), (1_000, 3));
    live.event(|event| match event {
        StreamEvent::BatchCompleted(info) if info.time.as_ms() == 1_000 => Some(()),
        _ => None,
    });
    live.tick();
    live.tick();
    assert!(!has_block(&live, 0, 0) && !has_block(&live, 0, 1));
    Ok(())
}
