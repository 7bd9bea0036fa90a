//! What a program of streams can get wrong: all of it refused at start, with what to change.

use std::time::Duration;

use tidemill_core::{ErrorKind, StorageLevel};
use tidemill_streaming::{DStream, PairDStream, StopHandle, Window};

use crate::support::{BATCH, Bench, Case, Outcome, Program, collect, local_case};
use crate::windows::batches;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-101
        local_case("spans_that_are_no_batches_are_refused", spans),
        // S-098
        local_case("streams_of_two_slides_are_refused", slides),
        // S-058 S-062
        local_case("nothing_cannot_be_united", nothing),
        // S-127
        local_case("intervals_that_no_batch_is_at_are_refused", intervals),
        // S-029 S-125
        local_case("what_is_set_after_the_start_is_refused", too_late),
        local_case("an_output_may_not_have_another_ones_name", equal_names),
    ]
}

/// Start refuses what `define` makes, and says what is wrong and what to change.
fn refused(bench: &Bench, define: impl Fn(&Program), text: &str, hint: &str) {
    let program = bench.program();
    define(&program);
    let error = program.try_start().map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains(text), "{error}, not {text}");
    assert!(
        error.fact("hint").is_some_and(|said| said.contains(hint)),
        "{error}, not {hint}"
    );
    assert!(
        error
            .fact("operator")
            .is_some_and(|operator| operator.contains("misuse.rs:")),
        "{error}"
    );
}

fn numbers(program: &Program) -> DStream<(u32, u32)> {
    program.queue(vec![vec![(1, 1)]])
}

type Windowed = fn(&DStream<(u32, u32)>, Window);

/// Every operator with a window.
const WINDOWED: [Windowed; 7] = [
    |s, window| drop(collect(&s.window(window))),
    |s, window| drop(collect(&s.reduce_by_window(window, |a, _| a))),
    |s, window| drop(collect(&s.count_by_window(window))),
    |s, window| drop(collect(&s.count_by_value_and_window(window))),
    |s, window| drop(collect(&s.reduce_by_key_and_window(window, |a, b| a + b))),
    |s, window| drop(collect(&s.group_by_key_and_window(window))),
    |s, window| {
        drop(collect(
            &s.with(1).reduce_by_key_and_window(window, |_, a, b| a + b),
        ))
    },
];

fn spans(bench: &Bench) -> Outcome {
    let ms = Duration::from_millis;
    let table = [
        (
            Window::of(ms(1_500)),
            "the window duration of windowed DStream (1500 ms) must be a multiple of the slide \
             duration of parent DStream (1000 ms)",
            "1000 ms or 2000 ms",
        ),
        (
            batches(2).every(ms(100)),
            "the slide duration of windowed DStream (100 ms) must be a multiple of the slide \
             duration of parent DStream (1000 ms)",
            "1000 ms",
        ),
        (Window::of(Duration::ZERO), "must be positive", "1000 ms"),
        (
            batches(2).every(Duration::ZERO),
            "must be positive",
            "1000 ms",
        ),
        (Window::of(Duration::MAX), "must be a multiple", "1000 ms"),
    ];
    for (window, text, hint) in table {
        for operator in WINDOWED {
            refused(
                bench,
                |program| operator(&numbers(program), window),
                text,
                hint,
            );
        }
    }
    // Over a window, its slide is the measure.
    let outer = |program: &Program| {
        let inner = numbers(program).window(batches(2).every(2 * BATCH));
        drop(collect(&inner.window(batches(3))));
    };
    refused(
        bench,
        outer,
        "of parent DStream (2000 ms)",
        "2000 ms or 4000 ms",
    );
    Ok(())
}

fn slides(bench: &Bench) -> Outcome {
    let text = "some of the DStreams have different slide durations";
    let two = |program: &Program| {
        let stream = numbers(program);
        let slow = stream.window(batches(2).every(2 * BATCH));
        (
            program.ssc.union(&[stream.clone(), slow.clone()]),
            stream,
            slow,
        )
    };
    let hint = "1000 ms and 2000 ms";
    refused(bench, |p| drop(collect(&two(p).0)), text, hint);
    let union = |p: &Program| {
        let (_, stream, slow) = two(p);
        drop(collect(&stream.union(&slow)));
    };
    refused(bench, union, text, hint);
    let join = |p: &Program| {
        let (_, stream, slow) = two(p);
        drop(collect(&stream.join(&slow)));
    };
    refused(bench, join, text, hint);
    let cogroup = |p: &Program| {
        let (_, stream, slow) = two(p);
        drop(collect(&stream.cogroup(&slow)));
    };
    refused(bench, cogroup, text, hint);
    let transform = |p: &Program| {
        let (_, stream, slow) = two(p);
        drop(collect(
            &stream.transform_with(&slow, |a, b, _| Ok(a.union(b)?)),
        ));
    };
    refused(bench, transform, text, hint);
    let other = bench.program();
    let mixed = |p: &Program| drop(collect(&p.ssc.union(&[numbers(p), numbers(&other)])));
    refused(
        bench,
        mixed,
        "have different contexts",
        "one StreamingContext",
    );
    Ok(())
}

fn nothing(bench: &Bench) -> Outcome {
    let none: [DStream<u32>; 0] = [];
    let union = |p: &Program| drop(collect(&p.ssc.union(&none)));
    refused(
        bench,
        union,
        "list of DStreams to union is empty",
        "at least one",
    );
    let transform = |p: &Program| {
        let made = p.ssc.transform(&none, |rdds, _| match rdds {
            [first, ..] => Ok(first.clone()),
            [] => Err("nothing".into()),
        });
        drop(collect(&made));
    };
    let text = "list of DStreams to transform is empty";
    refused(bench, transform, text, "at least one");
    Ok(())
}

fn intervals(bench: &Bench) -> Outcome {
    let marked = |interval: Duration, level: Option<StorageLevel>| {
        move |program: &Program| {
            let slow = numbers(program).window(batches(2).every(2 * BATCH));
            let stream = slow.map(|pair| pair).checkpoint(interval);
            let stream = match level {
                Some(level) => stream.persist(level),
                None => stream,
            };
            drop(collect(&stream));
        }
    };
    let lower = "which is lower than its slide time (2000 ms)";
    refused(bench, marked(BATCH, None), lower, "five to ten");
    let uneven = "which not a multiple of its slide time (2000 ms)";
    refused(bench, marked(3 * BATCH, None), uneven, "five to ten");
    let unkept = "has been marked for checkpointing but the storage level has not been set to \
                  enable persisting";
    let none = Some(StorageLevel::None);
    refused(bench, marked(4 * BATCH, none), unkept, "persist it");
    let program = bench.program();
    marked(4 * BATCH, None)(&program);
    program.start();
    Ok(())
}

fn too_late(bench: &Bench) -> Outcome {
    let settings: [(&str, fn(DStream<(u32, u32)>)); 3] = [
        ("storage level", |s| drop(s.persist(StorageLevel::None))),
        ("storage level", |s| drop(s.cache())),
        ("checkpoint interval", |s| drop(s.checkpoint(BATCH))),
    ];
    for (what, set) in settings {
        let program = bench.program();
        let stream = numbers(&program).map(|pair| pair);
        let rows = collect(&stream);
        let live = program.start();
        live.tick();
        set(stream.clone());
        assert_eq!(stream.storage_level(), StorageLevel::None);
        let error = live.running.await_termination().unwrap_err();
        let text = format!("cannot change {what} of a DStream after streaming context has started");
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Invalid, &*text)
        );
        assert!(
            error
                .fact("operator")
                .is_some_and(|at| at.contains("misuse.rs:"))
        );
        // The stream goes on.
        live.tick();
        assert_eq!(rows.try_iter().count(), 2);
        let _: StopHandle = live.running.stop_handle();
    }
    Ok(())
}

fn equal_names(bench: &Bench) -> Outcome {
    let program = bench.program();
    let stream = numbers(&program).named("pairs");
    stream.for_each_rdd(|_, _| Ok(())).named("pairs");
    let error = program.try_start().map(|_| ()).unwrap_err();
    assert_eq!(error.message(), "two operators have the same name");
    let text = error.to_string();
    assert!(text.contains("for_each_rdd \"pairs\" at "), "{text}");
    Ok(())
}
