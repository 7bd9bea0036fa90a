//! What listeners hear, and in which order.

use std::sync::mpsc::channel;
use std::time::Duration;

use tidemill_core::Error;
use tidemill_streaming::{Stop, StreamEvent, Time};

use crate::feed::{Order, fed};
use crate::support::{Bench, Case, Live, Outcome, alone, collect, gate, local_case, take};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-213
        local_case("batch_events_come_in_order_with_their_times", batches),
        // S-214 S-175
        local_case(
            "output_events_are_numbered_and_say_why_they_failed",
            outputs,
        ),
        // S-142 S-215
        local_case("receiver_events_tell_of_start_error_and_stop", receivers),
        // S-216
        local_case("batches_tell_what_each_input_contributed", inputs),
        // S-217
        local_case("nothing_is_heard_after_the_stop", after_stop),
        // C-222
        local_case("a_listener_that_panics_goes_on_hearing", panicking),
        // C-222
        local_case(
            "events_beyond_the_queue_are_dropped_and_nobody_waits",
            overflow,
        ),
    ]
}

/// The kinds of all events so far, and of those that follow a stop.
fn kinds(live: Live) -> Result<Vec<String>, Error> {
    live.running.stop(Stop::gracefully())?;
    let kind = |event: StreamEvent| {
        let text = format!("{event:?}");
        let kind = text.split('(').next().unwrap_or_default();
        match event {
            StreamEvent::OutputStarted(info) | StreamEvent::OutputCompleted(info) => {
                format!("{kind} {}", info.id)
            }
            _ => kind.to_owned(),
        }
    };
    Ok(live.events.into_iter().map(kind).collect())
}

fn batches(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1, 2], vec![]]);
    let (gate, barrier) = gate();
    stream.for_each_rdd(move |_, _| {
        barrier.lock().pass();
        Ok(())
    });
    let live = program.start();
    let started = live.event(|event| match event {
        StreamEvent::Started(time) => Some(time),
        other => panic!("{other:?} before the start"),
    });
    assert_eq!(started, Time::from_ms(0));
    live.clock.advance(Duration::from_millis(1_100));
    gate.wait_for_arrival();
    let submitted = live.event(|event| match event {
        StreamEvent::BatchSubmitted(info) => Some(info),
        other => panic!("{other:?} before the batch was submitted"),
    });
    assert_eq!(
        (submitted.time.as_ms(), submitted.submitted.as_ms()),
        (1_000, 1_100)
    );
    assert!(submitted.started.is_none() && submitted.completed.is_none());
    assert!(submitted.scheduling_delay.is_none() && submitted.total_delay().is_none());
    assert_eq!((submitted.num_outputs, submitted.num_failed), (1, 0));
    let started = live.event(|event| match event {
        StreamEvent::BatchStarted(info) => Some(info),
        _ => None,
    });
    assert_eq!(started.started, Some(Time::from_ms(1_100)));
    assert_eq!(started.scheduling_delay, Some(Duration::ZERO));
    assert!(started.completed.is_none() && started.processing_delay.is_none());
    live.clock.advance(Duration::from_millis(250));
    gate.open();
    let completed = live.completed();
    assert_eq!(completed.completed, Some(Time::from_ms(1_350)));
    assert_eq!(completed.processing_delay, Some(Duration::from_millis(250)));
    assert_eq!(completed.total_delay(), Some(Duration::from_millis(250)));
    assert_eq!(completed.submitted, submitted.submitted);
    Ok(())
}

fn outputs(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1]]);
    stream.for_each_rdd(|_, _| Ok(()));
    stream.for_each_rdd(|_, _| Err("the second one".into()));
    stream.for_each_rdd(|_, _| Ok(()));
    let (sender, failures) = channel();
    program.ssc.add_listener(move |event: &StreamEvent| {
        if let StreamEvent::OutputCompleted(info) = event {
            let _ = sender.send((info.id, info.name.clone(), info.failure.clone()));
        }
    });
    let live = program.start();
    live.advance();
    let ends: Vec<_> = (0..3).map(|_| take(&failures)).collect();
    assert!(
        ends.iter()
            .all(|(_, name, _)| name.starts_with("for_each_rdd at "))
    );
    assert_eq!(
        ends.iter().map(|(id, ..)| *id).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert!(ends[0].2.is_none() && ends[2].2.is_none());
    assert!(ends[1].2.as_ref().unwrap().ends_with("the second one"));
    let expected = [
        "Started",
        "BatchSubmitted",
        "BatchStarted",
        "OutputStarted 0",
        "OutputCompleted 0",
        "OutputStarted 1",
        "OutputCompleted 1",
        "OutputStarted 2",
        "OutputCompleted 2",
        "BatchCompleted",
    ];
    assert_eq!(kinds(live)?, expected);
    Ok(())
}

fn receivers(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (feed, receiver) = fed();
    let _rows = collect(&program.ssc.receiver_stream(receiver));
    let live = program.start();
    let started = live.event(|event| match event {
        StreamEvent::ReceiverStarted(info) => Some(info),
        _ => None,
    });
    assert_eq!((started.stream_id, started.name.as_str()), (0, "Fed-0"));
    assert!(started.is_active && started.last_error.is_none());
    feed.order(Order::Report("a hiccup"));
    let error = live.receiver_error();
    assert!(error.is_active && error.last_error.unwrap().ends_with("a hiccup"));
    live.running.stop(Stop::now())?;
    let stopped = live.event(|event| match event {
        StreamEvent::ReceiverStopped(info) => Some(info),
        _ => None,
    });
    assert!(!stopped.is_active && stopped.last_error.unwrap().ends_with("a hiccup"));
    Ok(())
}

fn inputs(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (feed, receiver) = fed();
    let queue = program.queue(vec![vec![1_u64, 2]]);
    let rows = collect(&queue.union(&program.ssc.receiver_stream(receiver)));
    let live = program.start();
    feed.store([7, 8, 9]);
    let batch = live.tick();
    assert_eq!(take(&rows), [1, 2, 7, 8, 9]);
    // An RDD in a queue is not counted: that would be a job.
    let records: Vec<u64> = batch.inputs.iter().map(|input| input.num_records).collect();
    assert_eq!((records, batch.num_records()), (vec![0, 3], 3));
    assert_eq!(batch.inputs[1].description, "1 blocks");
    assert_eq!(live.tick().num_records(), 0);
    Ok(())
}

fn after_stop(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (feed, receiver) = fed();
    let _rows = collect(&program.ssc.receiver_stream(receiver));
    let live = program.start();
    feed.store([1]);
    live.tick();
    live.running.stop(Stop::now())?;
    let last = live.events.try_iter().last().unwrap();
    assert!(matches!(last, StreamEvent::ReceiverStopped(_)), "{last:?}");
    live.advance();
    // The channel is closed: the listener itself is gone.
    assert!(live.events.recv().is_err());
    Ok(())
}

fn panicking(bench: &Bench) -> Outcome {
    let program = bench.program();
    let rows = collect(&program.queue(vec![vec![1], vec![2]]));
    program.ssc.add_listener(|event: &StreamEvent| {
        assert!(matches!(event, StreamEvent::Started(_)), "not again");
    });
    let (sender, heard) = channel();
    program.ssc.add_listener(move |event: &StreamEvent| {
        if matches!(event, StreamEvent::BatchCompleted(_)) {
            let _ = sender.send(());
        }
    });
    let live = program.start();
    live.tick();
    live.tick();
    assert_eq!((take(&rows), take(&rows)), (vec![1], vec![2]));
    (0..2).for_each(|_| take(&heard));
    live.running.await_termination_or_timeout(Duration::ZERO)?;
    Ok(())
}

/// While a listener hears its first event, more come than may wait, and batches are run.
fn overflow(bench: &Bench) -> Outcome {
    const ERRORS: u64 = 12_000;
    const BATCHES: u64 = 3;
    let show = |bench: &Bench| {
        let program = bench.program();
        let (feed, receiver) = fed();
        let rows = collect(&program.ssc.receiver_stream(receiver));
        let (gate, barrier) = gate();
        program
            .ssc
            .add_listener(move |_: &StreamEvent| barrier.lock().pass());
        let live = program.start();
        gate.wait_for_arrival();
        for _ in 0..ERRORS {
            feed.order(Order::Report("one of many"));
            assert!(feed.is_done());
        }
        for batch in 0..BATCHES {
            feed.store([batch]);
            live.advance();
            assert_eq!(take(&rows), [batch]);
        }
        drop(gate);
        live.running.stop(Stop::gracefully())?;
        let (mut heard, mut dropped) = (0, 0);
        for event in live.events {
            match event {
                StreamEvent::EventsDropped(number) => dropped += number,
                _ => heard += 1,
            }
        }
        // A start and an end of the receiver and the stream's, and five events a batch.
        assert_eq!(heard + dropped, 3 + ERRORS + 5 * BATCHES);
        assert!(dropped >= ERRORS - 10_000, "{dropped}");
        Ok(())
    };
    let name = "events_beyond_the_queue_are_dropped_and_nobody_waits";
    alone(bench, name, show, |text| {
        let told: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("tidemill: stream listeners: "))
            .collect();
        let &[slow, dropped] = &told[..] else {
            panic!("{text}");
        };
        assert!(
            slow.contains("being dropped listener=add_listener at ")
                && slow.contains("waiting=10000"),
            "{text}"
        );
        assert!(dropped.contains("events were dropped dropped=2"), "{text}");
    })
}
