//! What `start` checks, and when the first batch comes.

use std::sync::Arc;
use std::time::Duration;

use tidemill_core::{Context, ErrorKind, JobGroup, JobScope, ManualClock};
use tidemill_streaming::{QueueMode, RddQueue, Stop, StreamSettings, StreamingContext, Time};

use crate::support::{BATCH, Bench, Case, Outcome, collect, driver_case, gate, local_case, take};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-021
        local_case("a_batch_of_no_length_is_refused", no_length),
        // S-037
        local_case("a_program_without_outputs_is_refused", without_outputs),
        // S-034
        local_case("a_failed_start_leaves_nothing_behind", failed_start),
        local_case("a_program_that_never_starts_is_freed", never_started),
        // S-058
        local_case("streams_of_two_contexts_are_refused_at_start", two_contexts),
        local_case("two_operators_of_one_name_are_refused", equal_names),
        // S-038
        driver_case("a_capture_is_refused_at_start_with_its_line", capture),
        // S-040
        driver_case(
            "a_stream_inside_a_closure_stays_in_the_process",
            stream_in_closure,
        ),
        driver_case("data_handed_over_passes_the_check", handed_over),
        driver_case("a_capture_nobody_needs_is_not_refused", unused_capture),
        // S-033
        local_case("start_does_not_wait_for_a_batch", does_not_block),
        // S-168
        local_case("the_first_batch_is_at_the_next_multiple", first_batch),
        // S-169
        local_case("missed_batch_times_are_made_up_for_in_order", missed_ticks),
        // S-032 S-019
        local_case("two_programs_share_a_context", two_programs),
        local_case("a_stop_leaves_the_jobs_of_others_alone", jobs_of_others),
        // S-057
        local_case("remember_is_set_once", remember_once),
        // S-035, S-036
        local_case(
            "jobs_of_a_stream_are_marked_as_its_starter_was",
            scope_of_jobs,
        ),
    ]
}

fn no_length(bench: &Bench) -> Outcome {
    let ctx = bench.backend().context(1)?;
    for bad in [Duration::ZERO, Duration::from_micros(1_500)] {
        let error = StreamingContext::new(&ctx, bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error.to_string().contains("batch duration must be"),
            "{error}"
        );
        assert!(error.fact("hint").is_some(), "{error}");
    }
    Ok(())
}

fn without_outputs(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1]]).map(|x| x + 1);
    let error = program.ssc.start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = "no output operations registered, so nothing to execute";
    assert_eq!(error.message(), text);
    assert!(
        error
            .fact("hint")
            .is_some_and(|hint| hint.contains("for_each_rdd"))
    );
    drop(stream);
    Ok(())
}

/// What a program holds is freed with it, and the context can run another.
fn failed_start(bench: &Bench) -> Outcome {
    let ctx = bench.backend().context(1)?;
    let held = Arc::new(());
    let ssc = StreamingContext::new(&ctx, BATCH)?;
    let queue = RddQueue::<u64>::new();
    let stream = ssc.queue_stream(&queue, QueueMode::All);
    let a = stream.map(|x| x).named("same");
    let b = stream.map(|x| x).named("same");
    let kept = Arc::clone(&held);
    a.union(&b).for_each_rdd(move |_, _| {
        let _ = &kept;
        Ok(())
    });
    drop((stream, a, b));
    assert_eq!(ssc.start().unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(Arc::strong_count(&held), 1);
    let ssc = StreamingContext::new(&ctx, BATCH)?;
    let rows = collect(&ssc.queue_stream(&queue, QueueMode::All));
    let running = ssc.start()?;
    running.stop(Stop::now())?;
    assert!(rows.try_recv().is_err());
    assert_eq!(ctx.range(0..3).count()?, 3);
    Ok(())
}

fn never_started(bench: &Bench) -> Outcome {
    let program = bench.program();
    let held = Arc::new(());
    let kept = Arc::clone(&held);
    program.queue(vec![vec![1]]).for_each_rdd(move |_, _| {
        let _ = &kept;
        Ok(())
    });
    drop(program);
    assert_eq!(Arc::strong_count(&held), 1);
    Ok(())
}

fn two_contexts(bench: &Bench) -> Outcome {
    let (one, other) = (bench.program(), bench.program());
    let left = one.queue(vec![vec![1]]);
    let right = other.queue(vec![vec![2]]);
    let _rows = collect(&left.union(&right).named("both"));
    let error = one.ssc.start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.message(),
        "some of the DStreams have different contexts"
    );
    assert!(
        error
            .fact("operator")
            .is_some_and(|name| name.starts_with("union \"both\" at "))
    );
    Ok(())
}

fn equal_names(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1]]);
    let left = stream.map(|x| x + 1).named("step");
    let right = stream.filter(|x| *x > 0).named("step");
    let _rows = collect(&left.union(&right));
    let error = program.ssc.start().unwrap_err();
    assert_eq!(error.message(), "two operators have the same name");
    let text = error.to_string();
    assert!(
        text.contains("map \"step\" at ") && text.contains("filter \"step\" at "),
        "{text}"
    );
    Ok(())
}

fn capture(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1, 2, 3]]);
    let least = program.ctx.default_parallelism();
    let line = line!() + 1;
    let rows = collect(&stream.filter(move |x| *x >= least));
    match program.try_start() {
        Ok(live) => {
            assert!(bench.is_local());
            live.tick();
            assert_eq!(take(&rows), [2, 3]);
        }
        Err(error) => {
            assert!(!bench.is_local(), "{error:?}");
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let place = format!("filter at {}:{line}", file!());
            assert_eq!(error.fact("operator"), Some(place.as_str()));
            assert!(error.message().contains(".with(data)"), "{error}");
        }
    }
    Ok(())
}

fn stream_in_closure(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = program.queue(vec![vec![1, 2]]);
    let inner = stream.clone();
    let _rows = collect(&stream.map(move |x| inner.slide_duration().as_millis() as i32 + x));
    match program.try_start() {
        Ok(_) => assert!(bench.is_local()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(
                error
                    .fact("operator")
                    .is_some_and(|operator| operator.starts_with("map at "))
            );
        }
    }
    Ok(())
}

fn handed_over(bench: &Bench) -> Outcome {
    let program = bench.program();
    let least = program.ctx.default_parallelism();
    let stream = program.queue(vec![vec![1, 2, 3]]);
    let rows = collect(&stream.with(least).filter(|least, x| x >= least));
    let live = program.start();
    live.tick();
    assert_eq!(take(&rows), [2, 3]);
    Ok(())
}

/// The check is about what runs: a stream without an output never does.
fn unused_capture(bench: &Bench) -> Outcome {
    let program = bench.program();
    let least = program.ctx.default_parallelism();
    let stream = program.queue(vec![vec![1_usize, 2, 3]]);
    let unused = stream.map(move |x| x + least);
    let rows = collect(&stream);
    let live = program.start();
    live.tick();
    assert_eq!(take(&rows), [1, 2, 3]);
    drop(unused);
    Ok(())
}

fn does_not_block(bench: &Bench) -> Outcome {
    let program = bench.program();
    let rows = collect(&program.queue(vec![vec![1]]));
    let live = program.start();
    assert!(!live.running.is_stopped());
    assert!(rows.try_recv().is_err());
    live.tick();
    assert_eq!(take(&rows), [1]);
    Ok(())
}

fn first_batch(_: &Bench) -> Outcome {
    for (now, first) in [(1_350, 1_400), (1_400, 1_600), (0, 200)] {
        let clock = ManualClock::new(now);
        let builder = Context::builder().clock(Arc::new(clock.clone()));
        let ctx = builder.master("local[1]".parse()?).build()?;
        let ssc = StreamingContext::new(&ctx, Duration::from_millis(200))?;
        let (sender, times) = std::sync::mpsc::channel();
        let queue = RddQueue::<u64>::new();
        ssc.queue_stream(&queue, QueueMode::All)
            .for_each_rdd(move |_, time| Ok(sender.send(time)?));
        let running = ssc.start()?;
        assert_eq!(running.first_batch(), Time::from_ms(first));
        clock.set(first);
        assert_eq!(take(&times), Time::from_ms(first));
    }
    Ok(())
}

fn missed_ticks(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (sender, times) = std::sync::mpsc::channel();
    program
        .queue(vec![vec![1]])
        .for_each_rdd(move |_, time| Ok(sender.send(time.as_ms())?));
    let live = program.start();
    live.clock.advance(5 * BATCH);
    let seen: Vec<i64> = (0..5).map(|_| take(&times)).collect();
    assert_eq!(seen, [1_000, 2_000, 3_000, 4_000, 5_000]);
    Ok(())
}

/// Stopping one at once does no harm to the other's jobs.
fn two_programs(bench: &Bench) -> Outcome {
    let clock = ManualClock::new(0);
    let ctx = bench
        .backend()
        .builder(2)?
        .clock(Arc::new(clock.clone()))
        .build()?;
    let make = || {
        let ssc = StreamingContext::with_settings(&ctx, BATCH, StreamSettings::default()).unwrap();
        let queue = RddQueue::new();
        queue.push(ctx.parallelize([1_u64, 2]));
        let rows = collect(&ssc.queue_stream(&queue, QueueMode::All));
        (ssc.start().unwrap(), rows)
    };
    let ((one, first), (other, second)) = (make(), make());
    clock.advance(BATCH);
    assert_eq!((take(&first), take(&second)), (vec![1, 2], vec![1, 2]));
    one.stop(Stop::now())?;
    clock.advance(BATCH);
    assert_eq!(take(&second), Vec::<u64>::new());
    assert!(!other.is_stopped());
    other.stop(Stop::now())
}

fn jobs_of_others(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (gate, barrier) = gate();
    let rows = collect(&program.queue(vec![vec![1]]).transform(move |rdd, _| {
        barrier.lock().pass();
        Ok(rdd.clone())
    }));
    let live = program.start();
    live.advance();
    gate.wait_for_arrival();
    let (begun, beginning) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let ctx = live.ctx.clone();
        let other = scope.spawn(move || {
            let told = std::sync::Once::new();
            let slow = ctx.range(0..200_000).map(move |x| {
                told.call_once(|| begun.send(()).unwrap());
                x
            });
            slow.count()
        });
        take(&beginning);
        live.running.stop_handle().stop(Stop::now());
        drop(gate);
        live.running.stop(Stop::now())?;
        assert_eq!(other.join().unwrap()?, 200_000);
        Ok(())
    })?;
    assert!(rows.try_recv().is_err());
    Ok(())
}

fn scope_of_jobs(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (sender, scopes) = std::sync::mpsc::channel();
    let stream = program.queue(vec![vec![1], vec![2]]);
    stream.for_each_rdd(move |rdd, _| {
        rdd.count()?;
        sender.send(JobScope::current()).unwrap();
        Ok(())
    });
    let mine = JobScope::current().property("key", "value1");
    let mine = mine.in_group(&JobGroup::named("mine"));
    let live = mine.tag("t")?.run(|| {
        let live = program.start();
        let unchanged = JobScope::current();
        assert_eq!(unchanged.group().and_then(JobGroup::id), Some("mine"));
        assert_eq!(unchanged.description(), None);
        let changed = unchanged.property("key", "value2").without_tags();
        changed.run(|| live.advance());
        live
    });
    let scope = take(&scopes);
    assert_eq!(scope.property_of("key"), Some("value1"));
    assert!(scope.tags().eq(["t"]));
    assert_eq!(scope.group().and_then(JobGroup::id), None);
    let job = live.ctx.status().job(0).unwrap();
    assert_eq!((job.group, job.tags), (None, vec!["t".to_owned()]));
    let description = "Streaming job from output 0 of batch 1000 ms";
    assert_eq!(job.description.as_deref(), Some(description));
    live.running.stop(Stop::now())
}

fn remember_once(bench: &Bench) -> Outcome {
    let program = bench.program();
    program.ssc.remember(BATCH)?;
    let error = program.ssc.remember(2 * BATCH).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    Ok(())
}
