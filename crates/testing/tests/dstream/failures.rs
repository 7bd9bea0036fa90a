//! What fails: it is told once, names its place, and later batches run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use serde::{Deserialize, Serialize, Serializer};
use tidemill_core::ErrorKind;
use tidemill_streaming::{BoxError, Receiver, ReceiverContext, Stop, StreamEvent};

use crate::support::{Bench, Case, Outcome, collect, driver_case, local_case, take};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-043 S-044
        driver_case("a_failed_task_is_told_and_later_batches_run", task),
        // S-171
        local_case(
            "a_failed_transform_is_told_and_later_batches_run",
            transform,
        ),
        local_case(
            "a_panic_in_an_output_names_it_and_its_batch",
            panic_in_output,
        ),
        local_case("a_batch_that_always_fails_stops_nothing", always),
        // S-045
        local_case("an_error_stays", sticky),
        // S-060
        local_case("a_union_with_a_parent_without_rdd_fails_the_batch", no_rdd),
        driver_case(
            "a_capture_inside_a_transform_is_refused_when_it_is_made",
            capture_in_transform,
        ),
        driver_case(
            "a_capture_inside_an_output_is_refused_when_it_is_made",
            capture_in_output,
        ),
        driver_case(
            "a_block_that_cannot_be_kept_is_told_to_its_receiver",
            unkept,
        ),
    ]
}

fn task(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1], vec![0], vec![2]]);
    let line = line!() + 1;
    let rows = collect(&stream.map(|x| 10 / x));
    let live = program.start();
    live.tick();
    let failed = live.tick();
    assert_eq!((failed.num_outputs, failed.num_failed), (1, 1));
    let error = live.running.await_termination().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    let report = error.report();
    assert!(report.contains("attempt to divide by zero"), "{report}");
    assert!(
        report.contains(&format!("map at {}:{line}", file!())),
        "{report}"
    );
    assert_eq!(error.fact("batch_time"), Some("2000 ms"));
    assert_eq!(live.tick().num_failed, 0);
    assert_eq!((take(&rows), take(&rows)), (vec![10], vec![5]));
    Ok(())
}

fn transform(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1], vec![2], vec![3]]);
    let rows = collect(&stream.transform(|rdd, time| {
        if time.as_ms() == 1_000 {
            return Err("no luck".into());
        }
        assert!(time.as_ms() != 2_000, "worse luck");
        Ok(rdd.clone())
    }));
    let live = program.start();
    live.advance();
    let error = live.running.await_termination().unwrap_err();
    assert_eq!(
        (error.kind(), error.fact("while")),
        (ErrorKind::User, Some("generating jobs"))
    );
    assert!(error.report().contains("no luck") && error.to_string().contains("transform at "));
    live.advance();
    live.tick();
    assert_eq!(take(&rows), [3]);
    let error = live.running.await_termination().unwrap_err();
    assert!(error.report().contains("worse luck"), "{error:?}");
    assert_eq!(error.fact("batch"), Some("2000 ms"));
    Ok(())
}

fn capture_in_transform(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1, 5], vec![7]]);
    let went_on = Arc::new(AtomicUsize::new(0));
    let made = Arc::clone(&went_on);
    let line = line!() + 3;
    let rows = collect(&stream.transform(move |rdd, time| {
        let least = time.as_ms() / 500;
        let large = rdd.filter(move |x| i64::from(*x) > least);
        made.fetch_add(1, Ordering::Relaxed);
        // Nothing asks for the records of the refused RDD.
        drop(large);
        Ok(rdd.clone())
    }));
    let live = program.start();
    if bench.is_local() {
        live.tick();
        assert_eq!(take(&rows), [1, 5]);
        assert_eq!(went_on.load(Ordering::Relaxed), 1);
        return Ok(());
    }
    live.advance();
    let error = live.running.await_termination().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let place = format!("filter at {}:{line}", file!());
    assert_eq!(error.fact("operator"), Some(place.as_str()));
    assert!(error.message().contains(".with(data)"), "{error}");
    assert_eq!(went_on.load(Ordering::Relaxed), 0);
    Ok(())
}

fn capture_in_output(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1, 5]]);
    let (sender, made) = channel();
    let line = line!() + 3;
    stream.for_each_rdd(move |rdd, time| {
        let factor = time.as_ms();
        let _never_used = rdd.map(move |x| i64::from(x) * factor);
        Ok(sender.send(rdd.count()?)?)
    });
    let live = program.start();
    let failed = live.tick().num_failed;
    if bench.is_local() {
        assert_eq!((failed, take(&made)), (0, 2));
        return Ok(());
    }
    assert_eq!(failed, 1);
    assert!(made.try_recv().is_err());
    let error = live.running.await_termination().unwrap_err();
    let place = format!("map at {}:{line}", file!());
    assert_eq!(error.fact("operator"), Some(place.as_str()));
    assert_eq!(error.fact("batch_time"), Some("1000 ms"));
    Ok(())
}

fn panic_in_output(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1]]);
    let line = line!() + 1;
    stream.for_each_rdd(|_, _| panic!("out of paper"));
    let live = program.start();
    assert_eq!(live.tick().num_failed, 1);
    let error = live.running.await_termination().unwrap_err();
    assert_eq!(error.fact("batch_time"), Some("1000 ms"));
    let place = format!("for_each_rdd at {}:{line}", file!());
    assert_eq!(error.fact("operator"), Some(place.as_str()));
    assert!(error.report().ends_with("out of paper"), "{error:?}");
    Ok(())
}

fn always(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1]; 50]);
    stream.for_each_rdd(|_, _| Err("never works".into()));
    let rows = collect(&stream);
    let live = program.start();
    for batch in 1..=50 {
        let info = live.tick();
        assert_eq!((info.time.as_ms(), info.num_failed), (1_000 * batch, 1));
        assert_eq!(take(&rows), [1]);
    }
    assert!(live.running.await_termination().is_err());
    assert!(!live.running.is_stopped());
    live.running.stop(Stop::gracefully())
}

fn sticky(bench: &Bench) -> Outcome {
    let program = bench.program();
    program
        .queue(vec![vec![1]])
        .for_each_rdd(|_, _| Err("once".into()));
    let live = program.start();
    live.tick();
    live.running.stop(Stop::now())?;
    for _ in 0..3 {
        let error = live.running.await_termination().unwrap_err();
        assert!(error.report().ends_with("once"), "{error:?}");
        let timeout = std::time::Duration::from_secs(1);
        assert!(live.running.await_termination_or_timeout(timeout).is_err());
    }
    Ok(())
}

fn no_rdd(bench: &Bench) -> Outcome {
    let program = bench.program();
    let some = program.queue(vec![vec![1], vec![2]]);
    let none = program
        .ssc
        .input_stream(crate::inputs::EveryOther(program.ctx.clone()));
    let rows = collect(&some.union(&none.map(|x| x as i32)));
    let live = program.start();
    live.advance();
    let error = live.running.await_termination().unwrap_err();
    assert!(
        error
            .message()
            .contains("could not generate RDD from a parent"),
        "{error}"
    );
    live.tick();
    assert_eq!(take(&rows), [2, 2_000]);
    Ok(())
}

/// A record that does not let itself be written.
#[derive(Clone, Deserialize)]
struct Shy(bool);

impl Serialize for Shy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(!self.0, "too shy");
        serializer.serialize_bool(self.0)
    }
}

#[derive(Serialize, Deserialize)]
struct StoresShy;

impl Receiver for StoresShy {
    type Item = Shy;

    fn run(&self, ctx: &ReceiverContext<Shy>) -> Result<(), BoxError> {
        let error = ctx.store_block(vec![Shy(true)]).unwrap_err();
        ctx.report_error(error);
        ctx.store_block(vec![Shy(false); 2])?;
        ctx.report_error("stored");
        ctx.wait_until_stopped();
        Ok(())
    }
}

fn unkept(bench: &Bench) -> Outcome {
    let program = bench.program();
    let rows = collect(&program.ssc.receiver_stream(StoresShy).count());
    let live = program.start();
    let told = live.receiver_error().last_error.unwrap();
    assert!(told.contains("too shy"), "{told}");
    let stored = live.event(|event| match event {
        StreamEvent::ReceiverError(info) => info.last_error,
        _ => None,
    });
    assert!(stored.ends_with("stored"), "{stored}");
    live.tick();
    assert_eq!(take(&rows), [2]);
    Ok(())
}
