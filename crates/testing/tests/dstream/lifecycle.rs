//! From start to stop: who may stop, who waits, and what is too late.

use std::sync::Arc;
use std::sync::mpsc::channel;

use parking_lot::Mutex;
use tidemill_core::ErrorKind;
use tidemill_streaming::{Running, Stop, StopHandle, StreamEvent};

use crate::feed::fed;
use crate::support::{
    BATCH, Bench, Case, Outcome, alone, collect, driver_case, gate, local_case, take,
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-027
        local_case(
            "an_output_after_start_is_invalid_with_its_line",
            late_output,
        ),
        // S-028
        local_case(
            "an_output_after_stop_is_invalid_with_its_line",
            later_output,
        ),
        // S-025 S-041
        local_case("awaiting_ends_when_the_stream_stops", await_stop),
        // S-042
        local_case("awaiting_ends_at_its_timeout", await_timeout),
        // S-030 S-026
        local_case("stop_may_be_called_again", stop_again),
        // S-046 S-047
        local_case("stop_stops_the_context_only_when_told", stop_context),
        // S-048
        local_case("a_listener_stops_by_handle_only", stop_in_listener),
        local_case("an_output_stops_by_handle_only", stop_in_output),
        local_case("a_stream_dropped_in_its_own_output_stops", drop_in_output),
        local_case("a_stream_dropped_in_a_listener_stops", drop_in_listener),
        driver_case("dropping_a_stream_stops_it", drop_stops),
        local_case("batches_that_fall_behind_are_told_of_once", falls_behind),
    ]
}

fn late_output(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1], vec![2]]);
    let rows = collect(&stream);
    let live = program.start();
    let line = line!() + 1;
    stream.for_each_rdd(|_, _| Ok(()));
    let error = live.running.await_termination().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error
            .message()
            .contains("after starting a context is not supported"),
        "{error}"
    );
    let place = format!("for_each_rdd at {}:{line}", file!());
    assert_eq!(error.fact("operator"), Some(place.as_str()));
    live.tick();
    assert_eq!(take(&rows), [1]);
    Ok(())
}

fn later_output(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1]]);
    let _rows = collect(&stream);
    let live = program.start();
    live.running.stop(Stop::now())?;
    stream.print();
    let error = live.running.await_termination().unwrap_err();
    assert!(
        error
            .message()
            .contains("after stopping a context is not supported"),
        "{error}"
    );
    Ok(())
}

fn await_stop(bench: &Bench) -> Outcome {
    let program = bench.program();
    let _rows = collect(&program.queue(vec![vec![1]]));
    let live = program.start();
    assert!(!live.running.is_stopped());
    let handle = live.running.stop_handle();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| live.running.await_termination());
        live.tick();
        assert!(!waiting.is_finished());
        handle.stop(Stop::now());
        waiting.join().unwrap()
    })?;
    assert!(live.running.is_stopped());
    live.running.await_termination()?;
    assert!(live.running.await_termination_or_timeout(BATCH)?);
    Ok(())
}

fn await_timeout(bench: &Bench) -> Outcome {
    let program = bench.program();
    let _rows = collect(&program.queue(vec![vec![1]]));
    let live = program.start();
    let has_stopped = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| live.running.await_termination_or_timeout(BATCH / 2));
        while !waiting.is_finished() {
            live.clock.advance(BATCH / 1_000);
            std::thread::yield_now();
        }
        waiting.join().unwrap()
    })?;
    assert!(!has_stopped && !live.running.is_stopped());
    live.running.stop(Stop::now())?;
    assert!(live.running.await_termination_or_timeout(BATCH)?);
    Ok(())
}

fn stop_again(bench: &Bench) -> Outcome {
    let program = bench.program();
    let _rows = collect(&program.queue(vec![vec![1]]));
    let live = program.start();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| live.running.stop(Stop::now()));
        live.running.stop(Stop::gracefully())?;
        other.join().unwrap()
    })?;
    live.running.stop(Stop::now())?;
    live.running.stop(Stop::gracefully())?;
    live.running.stop_handle().stop(Stop::now());
    assert!(live.running.is_stopped());
    Ok(())
}

fn stop_context(bench: &Bench) -> Outcome {
    let program = bench.program();
    let _rows = collect(&program.queue(vec![vec![1]]));
    let live = program.start();
    live.running.stop(Stop::now())?;
    assert_eq!(live.ctx.range(0..3).count()?, 3);
    let with_context = Stop {
        stop_context: true,
        ..Stop::now()
    };
    live.running.stop(with_context)?;
    assert_eq!(
        live.ctx.range(0..3).count().unwrap_err().kind(),
        ErrorKind::Closed
    );

    let program = bench.program();
    let _rows = collect(&program.queue(vec![vec![1]]));
    let live = program.start();
    live.running.stop_handle().stop(with_context);
    live.running.await_termination()?;
    assert_eq!(
        live.ctx.range(0..3).count().unwrap_err().kind(),
        ErrorKind::Closed
    );
    Ok(())
}

/// A place where code of a stream finds the stream that runs it.
type Own = Arc<Mutex<Option<Running>>>;

fn stop_in_listener(bench: &Bench) -> Outcome {
    let program = bench.program();
    let _rows = collect(&program.queue(vec![vec![1]]));
    let own = Own::default();
    let (sender, refusals) = channel();
    let for_listener = Arc::clone(&own);
    program.ssc.add_listener(move |event: &StreamEvent| {
        if matches!(event, StreamEvent::BatchCompleted(_)) {
            let own = for_listener.lock();
            let running = own.as_ref().unwrap();
            let _ = sender.send(running.stop(Stop::now()));
            running.stop_handle().stop(Stop::now());
        }
    });
    let live = program.start();
    *own.lock() = Some(live.running);
    live.clock.advance(BATCH);
    let error = take(&refusals).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("StopHandle"), "{error}");
    let running = own.lock().take().unwrap();
    running.await_termination()
}

fn stop_in_output(bench: &Bench) -> Outcome {
    let program = bench.program();
    let own = Own::default();
    let (sender, refusals) = channel();
    let for_output = Arc::clone(&own);
    program.queue(vec![vec![1]]).for_each_rdd(move |_, _| {
        let own = for_output.lock();
        let running = own.as_ref().ok_or("not there yet")?;
        sender.send(running.stop(Stop::now()))?;
        running.stop_handle().stop(Stop::now());
        Ok(())
    });
    let live = program.start();
    *own.lock() = Some(live.running);
    live.clock.advance(BATCH);
    let error = take(&refusals).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("StopHandle"), "{error}");
    let running = own.lock().take().unwrap();
    running.await_termination()
}

fn drop_in_output(bench: &Bench) -> Outcome {
    let program = bench.program();
    let own = Own::default();
    let (sender, dropped) = channel();
    let for_output = Arc::clone(&own);
    program.queue(vec![vec![1]]).for_each_rdd(move |_, _| {
        drop(for_output.lock().take());
        Ok(sender.send(())?)
    });
    let live = program.start();
    *own.lock() = Some(live.running);
    live.clock.advance(BATCH);
    take(&dropped);
    // The last thing that the stream held is gone when its threads are.
    assert!(dropped.recv().is_err());
    Ok(())
}

fn drop_in_listener(bench: &Bench) -> Outcome {
    let program = bench.program();
    let rows = collect(&program.queue(vec![vec![1]]));
    let own = Own::default();
    let for_listener = Arc::clone(&own);
    program.ssc.add_listener(move |event: &StreamEvent| {
        if matches!(event, StreamEvent::BatchCompleted(_)) {
            drop(for_listener.lock().take());
        }
    });
    let live = program.start();
    *own.lock() = Some(live.running);
    live.clock.advance(BATCH);
    assert_eq!(take(&rows), [1]);
    assert!(rows.recv().is_err());
    Ok(())
}

fn drop_stops(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (feed, receiver) = fed();
    let rows = collect(&program.ssc.receiver_stream(receiver));
    let live = program.start();
    feed.store([1, 2]);
    live.tick();
    assert_eq!(take(&rows), [1, 2]);
    let handle: StopHandle = live.running.stop_handle();
    drop(live.running);
    let last = live.events.into_iter().last().unwrap();
    assert!(matches!(last, StreamEvent::ReceiverStopped(_)), "{last:?}");
    assert!(rows.recv().is_err());
    handle.stop(Stop::now());
    Ok(())
}

/// The first batch holds up a score of others, and then all are done.
fn falls_behind(bench: &Bench) -> Outcome {
    let show = |bench: &Bench| {
        let program = bench.program();
        let (gate, barrier) = gate();
        program.queue::<u64>(vec![]).for_each_rdd(move |_, _| {
            barrier.lock().pass();
            Ok(())
        });
        let live = program.start();
        for _ in 0..20 {
            live.advance();
            live.event(|event| matches!(event, StreamEvent::BatchSubmitted(_)).then_some(()));
        }
        drop(gate);
        (0..20).for_each(|_| drop(live.completed()));
        (0..3).for_each(|_| drop(live.tick()));
        Ok(())
    };
    let name = "batches_that_fall_behind_are_told_of_once";
    alone(bench, name, show, |text| {
        let told: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("tidemill: batches "))
            .collect();
        let expected = [
            "tidemill: batches fall behind: they take longer than the batch interval \
             oldest_batch=1000 ms late_ms=11000 batch_interval_ms=1000 \
             hint=longer batches, faster outputs, more slots or less input",
            "tidemill: batches have caught up: oldest_batch=21000 ms",
        ];
        assert_eq!(told, expected);
    })
}
