//! Receivers of the user's own.

use std::time::Duration;

use tidemill_streaming::{Stop, StreamEvent, StreamSettings};

use crate::feed::{Order, fed};
use crate::support::{
    BATCH, Bench, Case, Live, Outcome, collect, driver_case, gate, local_case, take,
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-086 S-140
        driver_case("what_a_receiver_stores_is_in_the_next_batch", stores),
        // S-141
        driver_case("a_stored_block_is_kept_when_store_returns", stores_blocks),
        // S-143 S-145
        local_case(
            "a_receiver_that_ends_is_started_again_after_the_delay",
            restarts,
        ),
        // S-149
        local_case("a_receiver_that_fails_is_reported_and_started_again", fails),
        // S-146
        driver_case("a_block_is_cut_at_each_interval", intervals),
        // S-152
        driver_case("each_block_is_in_exactly_one_batch", exactly_one_batch),
        local_case("a_receiver_waits_while_too_much_waits", back_pressure),
        // S-144
        local_case("a_receiver_stores_nothing_after_the_stop", after_stop),
    ]
}

fn stores(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (feed, receiver) = fed();
    let rows = collect(&program.ssc.receiver_stream(receiver).map(|x| x + 1));
    let live = program.start();
    for batch in 0..5 {
        feed.store(10 * batch..10 * batch + batch);
        live.tick();
        assert_eq!(
            take(&rows),
            (10 * batch + 1..10 * batch + batch + 1).collect::<Vec<_>>()
        );
    }
    Ok(())
}

fn stores_blocks(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (feed, receiver) = fed();
    let rows = collect(&program.ssc.receiver_stream(receiver).glom());
    let live = program.start();
    feed.store([1]);
    for block in [vec![2, 3], vec![], vec![4]] {
        feed.order(Order::StoreBlock(block));
        assert!(feed.is_done());
    }
    feed.store([5, 6]);
    live.tick();
    assert_eq!(take(&rows), [vec![1], vec![2, 3], vec![4], vec![5, 6]]);
    Ok(())
}

fn started(live: &Live) {
    live.event(|event| matches!(event, StreamEvent::ReceiverStarted(_)).then_some(()));
}

fn restarts(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (feed, receiver) = fed();
    let rows = collect(&program.ssc.receiver_stream(receiver));
    let live = program.start();
    started(&live);
    feed.store([1]);
    feed.order(Order::End);
    feed.order(Order::Store(vec![2]));
    live.tick();
    assert_eq!(take(&rows), [1]);
    assert!(feed.answer().is_none());
    // The delay begins when the receiver ends, which may be after the first of these.
    while !feed.is_done_after(|| live.advance()) {}
    live.running.stop(Stop::gracefully())?;
    assert_eq!(rows.into_iter().flatten().collect::<Vec<_>>(), [2]);
    Ok(())
}

fn fails(bench: &Bench) -> Outcome {
    for (order, said) in [
        (Order::Fail("no more"), "no more"),
        (Order::Panic("overboard"), "overboard"),
    ] {
        let settings = StreamSettings {
            receiver_restart_delay: 3 * BATCH,
            ..StreamSettings::default()
        };
        let program = bench.program_with(settings);
        let (feed, receiver) = fed();
        let rows = collect(&program.ssc.receiver_stream(receiver));
        let live = program.start();
        started(&live);
        feed.order(order);
        let told = live.receiver_error().last_error.unwrap();
        assert!(told.ends_with(said), "{told}");
        feed.order(Order::Store(vec![9]));
        live.tick();
        live.tick();
        assert!(feed.answer().is_none());
        live.tick();
        assert!(feed.is_done());
        live.tick();
        let seen: Vec<Vec<u64>> = (0..4).map(|_| take(&rows)).collect();
        assert_eq!(seen.concat(), [9]);
    }
    Ok(())
}

fn intervals(bench: &Bench) -> Outcome {
    let settings = StreamSettings {
        block_interval: Duration::from_millis(100),
        ..StreamSettings::default()
    };
    let program = bench.program_with(settings);
    let (feed, receiver) = fed();
    let rows = collect(&program.ssc.receiver_stream(receiver).glom());
    let live = program.start();
    let block = |number| {
        let id = tidemill_core::storage::BlockId::Input { stream: 0, number };
        while !live.ctx.blocks().contains(id).unwrap() {
            std::thread::yield_now();
        }
    };
    feed.store([1, 2]);
    live.clock.advance(Duration::from_millis(100));
    block(0);
    // Nothing came: no block.
    live.clock.advance(Duration::from_millis(300));
    feed.store([3]);
    live.clock.advance(Duration::from_millis(100));
    block(1);
    feed.store([4, 5]);
    live.clock.advance(Duration::from_millis(500));
    live.completed();
    assert_eq!(take(&rows), [vec![1, 2], vec![3], vec![4, 5]]);
    Ok(())
}

/// Batches come while records are stored: none is lost, none is twice, all are in order.
fn exactly_one_batch(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (feed, receiver) = fed();
    let rows = collect(&program.ssc.receiver_stream(receiver));
    let live = program.start();
    for x in 0..200 {
        feed.order(Order::Store(vec![3 * x, 3 * x + 1]));
        feed.order(Order::StoreBlock(vec![3 * x + 2]));
        if x % 5 == 0 {
            live.clock.advance(Duration::from_millis(170));
        }
    }
    (0..400).for_each(|_| assert!(feed.is_done()));
    live.running.stop(Stop::gracefully())?;
    let seen: Vec<u64> = rows.into_iter().flatten().collect();
    assert_eq!(seen, (0..600).collect::<Vec<_>>());
    Ok(())
}

/// One block fills all the room: the next record waits until that block's batch has ended.
fn back_pressure(bench: &Bench) -> Outcome {
    let settings = StreamSettings {
        max_block_bytes: 8,
        max_waiting_bytes: 8,
        ..StreamSettings::default()
    };
    let program = bench.program_with(settings);
    let (gate, barrier) = gate();
    let (feed, receiver) = fed();
    let (sender, rows) = std::sync::mpsc::channel();
    program
        .ssc
        .receiver_stream(receiver)
        .for_each_rdd(move |rdd, _| {
            barrier.lock().pass();
            Ok(sender.send(rdd.collect()?)?)
        });
    let live = program.start();
    feed.store([1]);
    feed.order(Order::Store(vec![2]));
    live.advance();
    gate.wait_for_arrival();
    for _ in 0..3 {
        live.advance();
        live.event(|event| matches!(event, StreamEvent::BatchSubmitted(_)).then_some(()));
    }
    assert!(feed.answer().is_none());
    gate.open();
    assert!(feed.is_done());
    drop(gate);
    live.running.stop(Stop::gracefully())?;
    let seen: Vec<Vec<u64>> = rows.into_iter().collect();
    assert_eq!(seen[0], [1]);
    assert_eq!(seen.concat(), [1, 2]);
    Ok(())
}

fn after_stop(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (feed, receiver) = fed();
    let rows = collect(&program.ssc.receiver_stream(receiver));
    let live = program.start();
    feed.store([1]);
    live.running.stop(Stop::gracefully())?;
    feed.order_nobody(Order::Store(vec![2]));
    assert_eq!(rows.into_iter().flatten().collect::<Vec<_>>(), [1]);
    assert!(feed.answer().is_none());
    Ok(())
}
