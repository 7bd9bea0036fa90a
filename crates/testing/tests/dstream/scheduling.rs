//! Which jobs run, in which order, and which at the same time.

use std::sync::Arc;
use std::sync::mpsc::channel;

use tidemill_core::Context;
use tidemill_streaming::{PairDStream, StreamEvent, StreamSettings};
use tidemill_testing::Recorder;

use crate::inputs::EveryOther;
use crate::support::{
    Bench, Case, Outcome, Program, collect, driver_case, gate, local_case, sorted, take,
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-129 S-174
        local_case("outputs_run_in_the_order_of_their_definition", in_order),
        // S-173
        local_case("one_output_runs_at_a_time", one_at_a_time),
        // S-173
        local_case("concurrent_jobs_overlap", overlapping),
        // S-130
        driver_case("an_output_without_an_action_runs_no_job", no_action),
        // S-013 S-172
        local_case("a_batch_without_rdd_has_no_job_and_no_events", no_rdd),
        // S-096
        driver_case("values_change_without_a_second_shuffle", one_shuffle),
        // S-006
        local_case("no_batch_comes_before_its_time", before_its_time),
    ]
}

fn in_order(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1], vec![2]]);
    let (sender, seen) = channel();
    for output in 0..5 {
        let sender = sender.clone();
        stream.for_each_rdd(move |_, time| Ok(sender.send((time.as_ms(), output))?));
    }
    let live = program.start();
    live.clock.advance(2 * crate::support::BATCH);
    let seen: Vec<(i64, usize)> = (0..10).map(|_| take(&seen)).collect();
    let of = |time| (0..5).map(move |output| (time, output));
    assert_eq!(seen, of(1_000).chain(of(2_000)).collect::<Vec<_>>());
    Ok(())
}

/// While the first output is held, no other has begun.
fn one_at_a_time(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (gate, barrier) = gate();
    let stream = program.queue(vec![vec![1], vec![2]]);
    stream.for_each_rdd(move |_, _| {
        barrier.lock().pass();
        Ok(())
    });
    let rows = collect(&stream);
    let live = program.start();
    live.advance();
    live.advance();
    gate.wait_for_arrival();
    for _ in 0..2 {
        live.event(|event| matches!(event, StreamEvent::BatchSubmitted(_)).then_some(()));
    }
    assert!(rows.try_recv().is_err());
    gate.open();
    gate.wait_for_arrival();
    assert_eq!(rows.try_recv().ok(), Some(vec![1]));
    gate.open();
    assert_eq!(take(&rows), [2]);
    Ok(())
}

/// Two outputs that each wait for the other end only when they run together.
fn overlapping(bench: &Bench) -> Outcome {
    let settings = StreamSettings {
        concurrent_jobs: 2,
        ..StreamSettings::default()
    };
    let program = bench.program_with(settings);
    let stream = program.queue(vec![vec![1]]);
    let both = Arc::new(std::sync::Barrier::new(2));
    for _ in 0..2 {
        let both = Arc::clone(&both);
        stream.for_each_rdd(move |_, _| {
            both.wait();
            Ok(())
        });
    }
    let live = program.start();
    let batch = live.tick();
    assert_eq!((batch.num_outputs, batch.num_failed), (2, 0));
    Ok(())
}

fn recorded(bench: &Bench) -> (Program, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::new(bench.backend().backend(2).unwrap()));
    let builder = Context::builder().backend(recorder.clone());
    (Program::on(builder, StreamSettings::default()), recorder)
}

fn no_action(bench: &Bench) -> Outcome {
    let (program, recorder) = recorded(bench);
    let stream = program.queue(vec![vec![1], vec![2]]).map(|x| x + 1);
    let (sender, seen) = channel();
    stream.for_each_rdd(move |_, time| Ok(sender.send(time.as_ms())?));
    let live = program.start();
    live.tick();
    live.tick();
    assert_eq!((take(&seen), take(&seen)), (1_000, 2_000));
    assert!(recorder.take_jobs().is_empty());
    Ok(())
}

fn no_rdd(bench: &Bench) -> Outcome {
    let (program, recorder) = recorded(bench);
    let source = EveryOther(program.ctx.clone());
    let rows = collect(&program.ssc.input_stream(source));
    let live = program.start();
    live.advance();
    live.advance();
    assert_eq!(take(&rows), [2_000]);
    live.completed();
    assert_eq!(recorder.take_jobs().len(), 1);
    live.running.stop(tidemill_streaming::Stop::now())?;
    assert_eq!(live.events.try_iter().count(), 0);

    let program = bench.program();
    let source = EveryOther(program.ctx.clone());
    let _rows = collect(&program.ssc.input_stream(source));
    let live = program.start();
    live.advance();
    live.running.stop(tidemill_streaming::Stop::gracefully())?;
    let events: Vec<StreamEvent> = live.events.into_iter().collect();
    assert!(
        matches!(events[..], [StreamEvent::Started(_)]),
        "{events:?}"
    );
    Ok(())
}

fn one_shuffle(bench: &Bench) -> Outcome {
    let (program, recorder) = recorded(bench);
    let counts = program
        .queue(vec![vec!["a".to_owned(), "b".to_owned(), "a".to_owned()]])
        .map(|word| (word, 1))
        .reduce_by_key(|a, b| a + b)
        .map_values(|count| 10 * count)
        .flat_map_values(|count| [count, count + 1])
        .reduce_by_key(|a, b| a + b);
    let rows = collect(&counts);
    let live = program.start();
    live.tick();
    assert_eq!(
        sorted(take(&rows)),
        [("a".to_owned(), 41), ("b".to_owned(), 21)]
    );
    let jobs = recorder.take_jobs();
    assert_eq!((jobs.len(), jobs[0].stages.len()), (1, 2));
    Ok(())
}

fn before_its_time(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (sender, seen) = channel();
    program
        .queue(vec![vec![1]])
        .for_each_rdd(move |_, time| Ok(sender.send(time.as_ms())?));
    let live = program.start();
    for _ in 0..999 {
        live.clock.advance(std::time::Duration::from_millis(1));
    }
    assert!(seen.try_recv().is_err());
    live.clock.advance(std::time::Duration::from_millis(1));
    assert_eq!(take(&seen), 1_000);
    live.clock.advance(std::time::Duration::from_millis(1_999));
    assert_eq!(take(&seen), 2_000);
    live.running.stop(tidemill_streaming::Stop::gracefully())?;
    assert!(seen.recv().is_err());
    Ok(())
}
