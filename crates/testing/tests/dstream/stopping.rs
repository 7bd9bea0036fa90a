//! Stopping: gracefully all that was received is processed, at once all that waits is dropped.

use std::sync::Arc;
use std::sync::mpsc::{Receiver as Inbox, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidemill_core::storage::BlockId;
use tidemill_core::{Error, ErrorKind, Rdd};
use tidemill_streaming::{
    BoxError, QueueMode, RddQueue, Receiver, ReceiverContext, StateSpec, Stop, StreamEvent,
    StreamSettings,
};

use crate::feed::{Order, fed};
use crate::support::{
    BATCH, Barrier, Bench, Case, Gate, Live, Outcome, Program, alone, collect, driver_case, gate,
    local_case, take,
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-191 S-194
        driver_case("a_graceful_stop_processes_all_that_was_received", graceful),
        // S-192
        local_case("a_graceful_stop_waits_for_a_slow_receiver", slow_receiver),
        // S-192
        local_case("a_graceful_stop_ends_at_its_deadline", deadline),
        local_case("a_handle_keeps_the_deadline_too", handle_deadline),
        // S-170
        local_case(
            "a_graceful_stop_ends_with_a_batch_at_the_next_multiple",
            last_batch,
        ),
        // S-193
        local_case("a_graceful_stop_right_after_start_ends", right_after_start),
        local_case("a_second_graceful_stop_is_as_patient", second_graceful),
        local_case("a_stop_at_once_overtakes_a_graceful_one", overtaken),
        // S-190
        local_case("a_stop_at_once_drops_what_waits", at_once),
        // S-190
        local_case("a_stop_at_once_cancels_the_running_job", cancels),
        // S-190
        local_case("a_receiver_that_does_not_end_is_left_behind", deaf),
        local_case("an_output_that_does_not_end_is_left_behind", stuck_output),
        local_case(
            "a_transform_that_does_not_end_is_left_behind",
            stuck_transform,
        ),
        local_case(
            "a_transform_above_a_state_does_not_hold_up_the_stop",
            stuck_above_state,
        ),
        local_case("a_task_that_does_not_end_is_left_behind", stuck_task),
        local_case(
            "a_listener_that_does_not_end_is_left_behind",
            stuck_listener,
        ),
        local_case(
            "a_deadline_leaves_behind_what_does_not_end",
            deadline_with_deaf,
        ),
        local_case("what_is_left_behind_is_named", named),
        local_case(
            "blocks_of_no_batch_leave_the_store_with_the_stop",
            leftovers,
        ),
        // S-144 S-148
        local_case("a_receiver_without_room_is_freed_by_the_stop", without_room),
    ]
}

/// The stop comes while records are being stored: each that was taken is in exactly one batch.
fn graceful(bench: &Bench) -> Outcome {
    for round in 0..20_u64 {
        let program = bench.program();
        let (feed, receiver) = fed();
        let rows = collect(&program.ssc.receiver_stream(receiver));
        let live = program.start();
        let mut taken = 0;
        for chunk in 0..round % 4 {
            feed.store(100 * chunk..100 * chunk + 1 + round);
            taken += 1 + round;
            if chunk % 2 == 0 {
                live.advance();
            }
        }
        // Stored or refused while the stream stops, each on its own.
        for x in 0..200 {
            feed.order(Order::Store(vec![1_000 + x]));
        }
        if round % 3 == 0 {
            assert!(feed.is_done());
            taken += 1;
        }
        live.running.stop(Stop::gracefully())?;
        while let Some(stored) = feed.answer() {
            taken += u64::from(stored);
        }
        let mut seen: Vec<u64> = rows.into_iter().flatten().collect();
        assert_eq!(seen.len() as u64, taken, "round {round}");
        seen.sort_unstable();
        seen.dedup();
        let unique = seen.iter().filter(|x| **x >= 1_000).count();
        assert!(unique <= 200);
    }
    Ok(())
}

fn last_batch(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (feed, receiver) = fed();
    let (sender, rows) = channel();
    program
        .ssc
        .receiver_stream(receiver)
        .for_each_rdd(move |rdd, time| Ok(sender.send((time.as_ms(), rdd.collect()?))?));
    let live = program.start();
    live.tick();
    live.clock.advance(BATCH / 2);
    feed.store([1, 2]);
    live.running.stop(Stop::gracefully())?;
    live.clock.advance(5 * BATCH);
    let seen: Vec<(i64, Vec<u64>)> = rows.into_iter().collect();
    assert_eq!(seen, [(1_000, vec![]), (2_000, vec![1, 2])]);
    Ok(())
}

fn slow_receiver(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (gate, barrier) = gate();
    let (feed, receiver) = fed();
    let stream = program.ssc.receiver_stream(receiver);
    let rows = collect(&stream.transform(move |rdd, _| {
        barrier.lock().pass();
        Ok(rdd.clone())
    }));
    let live = program.start();
    feed.store(0..10);
    live.advance();
    gate.wait_for_arrival();
    feed.store(10..20);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| live.running.stop(Stop::gracefully()));
        live.event(|event| matches!(event, StreamEvent::ReceiverStopped(_)).then_some(()));
        assert!(!stopping.is_finished());
        gate.open();
        gate.wait_for_arrival();
        gate.open();
        stopping.join().unwrap()
    })?;
    let all: Vec<u64> = rows.into_iter().flatten().collect();
    assert_eq!(all, (0..20).collect::<Vec<_>>());
    Ok(())
}

/// A batch that never ends, and a stop that waits two seconds for it.
fn deadline(bench: &Bench) -> Outcome {
    ends_at_its_deadline(bench, |running, stop| running.stop(stop))
}

fn handle_deadline(bench: &Bench) -> Outcome {
    ends_at_its_deadline(bench, |running, stop| {
        running.stop_handle().stop(stop);
        running
            .await_termination()
            .or_else(|error| match error.kind() {
                ErrorKind::Cancelled => Ok(()),
                _ => Err(error),
            })
    })
}

fn ends_at_its_deadline(
    bench: &Bench,
    stop: fn(&tidemill_streaming::Running, Stop) -> Outcome,
) -> Outcome {
    let program = bench.program();
    let (sender, started) = channel();
    program
        .queue(vec![vec![0_u64]])
        .for_each_rdd(move |rdd, _| {
            sender.send(())?;
            endless(rdd)?;
            Ok(())
        });
    let live = program.start();
    live.advance();
    take(&started);
    let patient = Stop {
        deadline: Some(2 * BATCH),
        ..Stop::gracefully()
    };
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| stop(&live.running, patient));
        while !stopping.is_finished() {
            live.clock.advance(Duration::from_millis(10));
            std::thread::yield_now();
        }
        stopping.join().unwrap()
    })
}

/// Runs until it is cancelled.
fn endless(rdd: &Rdd<u64>) -> Result<u64, Error> {
    rdd.context().range(0..i64::MAX).filter(|x| *x < 0).count()
}

/// Waits until the driver has heard of a stop: it stops the receivers then.
fn wait_until_stopping(live: &Live) {
    live.event(|event| matches!(event, StreamEvent::ReceiverStopped(_)).then_some(()));
}

fn right_after_start(bench: &Bench) -> Outcome {
    for _ in 0..20 {
        let program = bench.program();
        let (_feed, receiver) = fed();
        let stream = program.ssc.receiver_stream(receiver);
        let _rows = collect(&stream.union(&program.queue(vec![])));
        program.start().running.stop(Stop::gracefully())?;
    }
    Ok(())
}

fn second_graceful(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (gate, barrier) = gate();
    let (feed, receiver) = fed();
    let (sender, counts) = channel();
    program
        .ssc
        .receiver_stream(receiver)
        .for_each_rdd(move |rdd, _| {
            barrier.lock().pass();
            Ok(sender.send(rdd.count()?)?)
        });
    let live = program.start();
    feed.store(0..5);
    live.advance();
    gate.wait_for_arrival();
    feed.store(5..15);
    live.running.stop_handle().stop(Stop::gracefully());
    wait_until_stopping(&live);
    live.running.stop_handle().stop(Stop::gracefully());
    gate.open();
    gate.open();
    live.running.stop(Stop::gracefully())?;
    assert_eq!(counts.into_iter().sum::<u64>(), 15);
    Ok(())
}

fn overtaken(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (gate, barrier) = gate();
    let (sender, ran) = channel();
    program.queue(vec![vec![1]]).for_each_rdd(move |_, _| {
        barrier.lock().pass();
        Ok(sender.send(())?)
    });
    let live = program.start();
    live.advance();
    live.advance();
    gate.wait_for_arrival();
    live.running.stop_handle().stop(Stop::gracefully());
    live.running.stop_handle().stop(Stop::now());
    live.running.await_termination_or_timeout(Duration::ZERO)?;
    drop(gate);
    live.running.await_termination()?;
    live.running.stop(Stop::now())?;
    assert!(ran.into_iter().count() <= 2);
    Ok(())
}

fn at_once(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (gate, barrier) = gate();
    let (_feed, receiver) = fed();
    let _unused = program.ssc.receiver_stream(receiver);
    let queue = RddQueue::new();
    for x in 0..3_u64 {
        queue.push(program.ctx.parallelize([x]));
    }
    let (sender, ran) = channel();
    program
        .ssc
        .queue_stream(&queue, QueueMode::OneAtATime)
        .for_each_rdd(move |_, time| {
            sender.send(time.as_ms())?;
            barrier.lock().pass();
            Ok(())
        });
    let live = program.start();
    live.clock.advance(3 * BATCH);
    gate.wait_for_arrival();
    for _ in 0..3 {
        live.event(|event| matches!(event, StreamEvent::BatchSubmitted(_)).then_some(()));
    }
    live.running.stop_handle().stop(Stop::now());
    wait_until_stopping(&live);
    drop(gate);
    live.running.stop(Stop::now())?;
    assert_eq!(ran.into_iter().collect::<Vec<_>>(), [1_000]);
    Ok(())
}

fn cancels(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (sender, ends) = channel();
    program
        .queue(vec![vec![0_u64]])
        .for_each_rdd(move |rdd, _| {
            sender.send(None)?;
            sender.send(Some(endless(rdd)))?;
            Ok(())
        });
    let live = program.start();
    live.advance();
    assert!(take(&ends).is_none());
    live.running.stop(Stop::now())?;
    let error = take(&ends).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    Ok(())
}

fn without_room(bench: &Bench) -> Outcome {
    for stop in [Stop::now(), Stop::gracefully()] {
        let settings = tidemill_streaming::StreamSettings {
            max_waiting_bytes: 8,
            max_block_bytes: 8,
            ..Default::default()
        };
        let program = bench.program_with(settings);
        let (feed, receiver) = fed();
        let rows = collect(&program.ssc.receiver_stream(receiver));
        let live = program.start();
        feed.store([1]);
        // One record fills a block, one block fills the room: the next waits.
        feed.order(Order::Store(vec![2]));
        feed.order(Order::Store(vec![3]));
        live.running.stop(stop)?;
        let seen: Vec<u64> = rows.into_iter().flatten().collect();
        let mut taken = 1;
        while let Some(stored) = feed.answer() {
            taken += usize::from(stored);
        }
        if stop.gracefully {
            assert_eq!(seen.len(), taken);
        } else {
            assert!(seen.is_empty());
        }
    }
    Ok(())
}

/// How long a stop at once waits unless it is told otherwise.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Stops at once, and sees that the stop was as patient as it should be.
fn leaves_behind(live: &Live) -> Outcome {
    let passed = live.stop_while_time_passes(Stop::now())?;
    assert!(passed >= STOP_PATIENCE, "{passed:?}");
    assert!(live.running.is_stopped());
    // Nobody waits for it a second time.
    live.running.stop(Stop::gracefully())
}

/// Hears nothing of a stop. After it, it stores what it is refused.
#[derive(Serialize, Deserialize)]
struct Deaf {
    #[serde(skip)]
    ends: Option<Arc<Mutex<(Barrier, Sender<ErrorKind>)>>>,
}

impl Receiver for Deaf {
    type Item = u64;

    fn run(&self, ctx: &ReceiverContext<u64>) -> Result<(), BoxError> {
        let ends = self
            .ends
            .as_ref()
            .ok_or("a barrier does not travel")?
            .lock();
        let (barrier, kinds) = &*ends;
        ctx.store(1)?;
        barrier.pass();
        for stored in [ctx.store(2), ctx.store_block(vec![3])] {
            kinds.send(stored.unwrap_err().kind())?;
        }
        Ok(())
    }
}

/// A program with a deaf receiver, which waits at the gate.
fn deaf_program(bench: &Bench) -> (Program, Gate, Inbox<ErrorKind>) {
    let program = bench.program();
    let (gate, barrier) = gate();
    let (sender, kinds) = channel();
    let receiver = Deaf {
        ends: Some(Arc::new(Mutex::new((barrier.into_inner(), sender)))),
    };
    let _rows = collect(&program.ssc.receiver_stream(receiver));
    (program, gate, kinds)
}

/// The receiver goes on, and is refused whatever it stores.
fn is_refused(live: &Live, gate: Gate, kinds: &Inbox<ErrorKind>) -> Outcome {
    drop(gate);
    assert_eq!(
        (take(kinds), take(kinds)),
        (ErrorKind::Closed, ErrorKind::Closed)
    );
    // The channel is closed when the receiver is gone.
    assert!(kinds.recv().is_err());
    no_blocks(live)
}

fn no_blocks(live: &Live) -> Outcome {
    for number in 0..10 {
        let id = BlockId::Input { stream: 0, number };
        assert!(!live.ctx.blocks().contains(id)?, "{id}");
    }
    Ok(())
}

fn deaf(bench: &Bench) -> Outcome {
    let (program, gate, kinds) = deaf_program(bench);
    let live = program.start();
    gate.wait_for_arrival();
    leaves_behind(&live)?;
    is_refused(&live, gate, &kinds)
}

fn deadline_with_deaf(bench: &Bench) -> Outcome {
    let (program, gate, kinds) = deaf_program(bench);
    let live = program.start();
    gate.wait_for_arrival();
    let patient = Stop {
        deadline: Some(5 * BATCH),
        ..Stop::gracefully()
    };
    let passed = live.stop_while_time_passes(patient)?;
    assert!(passed >= 5 * BATCH + STOP_PATIENCE, "{passed:?}");
    is_refused(&live, gate, &kinds)
}

fn stuck_output(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (gate, barrier) = gate();
    program.queue(vec![vec![1]]).for_each_rdd(move |_, _| {
        barrier.lock().pass();
        Ok(())
    });
    let live = program.start();
    live.advance();
    gate.wait_for_arrival();
    leaves_behind(&live)
}

fn stuck_transform(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (gate, barrier) = gate();
    let stuck = program.queue(vec![vec![1]]).transform(move |rdd, _| {
        barrier.lock().pass();
        Ok(rdd.clone())
    });
    let rows = collect(&stuck);
    let live = program.start();
    live.advance();
    gate.wait_for_arrival();
    leaves_behind(&live)?;
    drop(gate);
    assert!(rows.recv().is_err());
    Ok(())
}

/// A batch is done, and what it no longer needs is forgotten, while the next one is stuck.
fn stuck_above_state(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (gate, barrier) = gate();
    let (last, last_barrier) = crate::support::gate();
    let input = program.queue(vec![vec![("a".to_owned(), 1)]; 2]);
    let stuck = input.transform(move |rdd, time| {
        if time.as_ms() == 2_000 {
            barrier.lock().pass();
        }
        Ok(rdd.clone())
    });
    let mapped = stuck.map_with_state(StateSpec::new(), |_, one: Option<i32>, state| {
        state.update(one.unwrap_or(0));
    });
    mapped.for_each_rdd(move |_, _| {
        last_barrier.lock().pass();
        Ok(())
    });
    let live = program.start();
    live.advance();
    last.wait_for_arrival();
    live.advance();
    gate.wait_for_arrival();
    last.open();
    // The driver goes on.
    assert_eq!(live.completed().time.as_ms(), 1_000);
    leaves_behind(&live)?;
    drop((gate, last));
    Ok(())
}

/// The task's slot is lost to the context, too; its stop does not wait for ever either.
fn stuck_task(bench: &Bench) -> Outcome {
    for stop_context in [false, true] {
        let program = bench.program();
        let (gate, barrier) = gate();
        let barrier = Arc::new(barrier);
        let _rows = collect(&program.queue(vec![vec![1]]).map(move |x| {
            barrier.lock().pass();
            x
        }));
        let live = program.start();
        live.advance();
        gate.wait_for_arrival();
        let stop = Stop {
            stop_context,
            ..Stop::now()
        };
        let passed = live.stop_while_time_passes(stop)?;
        assert!(passed >= STOP_PATIENCE, "{passed:?}");
        drop(gate);
        if stop_context {
            // The context stops by itself then, which the stream no longer waits for.
            while live.ctx.range(0..3).count().is_ok() {
                std::thread::yield_now();
            }
        } else {
            assert_eq!(live.ctx.range(0..3).count()?, 3);
        }
    }
    Ok(())
}

fn stuck_listener(bench: &Bench) -> Outcome {
    let program = bench.program();
    let rows = collect(&program.queue(vec![vec![1]]));
    let (gate, barrier) = gate();
    let (sender, heard) = channel();
    program.ssc.add_listener(move |event: &StreamEvent| {
        let _ = sender.send(format!("{event:?}"));
        barrier.lock().pass();
    });
    let live = program.start();
    gate.wait_for_arrival();
    live.advance();
    assert_eq!(take(&rows), [1]);
    leaves_behind(&live)?;
    drop(gate);
    assert_eq!(heard.into_iter().count(), 1);
    Ok(())
}

fn named(bench: &Bench) -> Outcome {
    let show = |bench: &Bench| {
        let (program, gate, _kinds) = deaf_program(bench);
        let (hold, barrier) = crate::support::gate();
        program.queue(vec![vec![1]]).for_each_rdd(move |_, _| {
            barrier.lock().pass();
            Ok(())
        });
        let live = program.start();
        gate.wait_for_arrival();
        live.advance();
        hold.wait_for_arrival();
        leaves_behind(&live)
    };
    alone(bench, "what_is_left_behind_is_named", show, |told| {
        let warnings: Vec<&str> = told
            .lines()
            .filter(|line| line.contains("left_behind"))
            .collect();
        let &[warning] = &warnings[..] else {
            panic!("{told}");
        };
        for part in [
            "tidemill: stream stopped: code of the program has not ended and is left behind",
            "left_behind=receiver Deaf-0, output for_each_rdd at ",
            " of batch 1000 ms waited_ms=2000 hint=",
            "is_stopped()",
            "StreamSettings::stop_patience",
        ] {
            assert!(warning.contains(part), "{part} is not in: {warning}");
        }
    })
}

fn leftovers(bench: &Bench) -> Outcome {
    let settings = StreamSettings {
        unpersist: false,
        ..StreamSettings::default()
    };
    let program = bench.program_with(settings);
    let (feed, receiver) = fed();
    let rows = collect(&program.ssc.receiver_stream(receiver));
    let live = program.start();
    for batch in 0..3 {
        feed.store([batch]);
        live.tick();
        assert_eq!(take(&rows), [batch]);
    }
    let first = BlockId::Input {
        stream: 0,
        number: 0,
    };
    assert!(live.ctx.blocks().contains(first)?);
    feed.order(Order::StoreBlock(vec![3]));
    assert!(feed.is_done());
    live.running.stop(Stop::now())?;
    no_blocks(&live)
}
