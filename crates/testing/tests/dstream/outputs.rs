//! `print`, to the byte.

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_streaming::{PairDStream, QueueMode, RddQueue};

use crate::support::{Bench, Case, Outcome, Program, case, driver_case, local_case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-131
        driver_case("print_writes_what_spark_writes", print),
        // S-131
        driver_case("print_first_shows_as_many_as_told", print_first),
        case(
            "for_each_partition_runs_where_the_partition_is",
            each_partition,
        ),
        driver_case("for_each_partition_refuses_captures", partition_capture),
        local_case("a_named_output_goes_by_its_name", named),
        local_case("prints_defined_later_go_elsewhere", print_to),
        local_case("a_printer_that_fails_fails_the_batch", broken_printer),
    ]
}

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

fn printing(program: &Program) -> Paper {
    let paper = Paper::default();
    program.ssc.print_to(paper.clone());
    paper
}

const RULE: &str = "-------------------------------------------";

fn frame(ms: u64, records: &[&str]) -> String {
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    format!("{RULE}\nTime: {ms} ms\n{RULE}\n{lines}\n")
}

fn print(bench: &Bench) -> Outcome {
    assert_eq!(RULE.len(), 43);
    let program = bench.program();
    let paper = printing(&program);
    let words = vec![vec!["hello", "", "hello"], vec![], vec!["(a,b)"]];
    let words = words
        .into_iter()
        .map(|w| w.into_iter().map(String::from).collect());
    let words = program.queue(words.collect());
    words.print();
    words
        .map(|word| (word, 1))
        .reduce_by_key(|a, b| a + b)
        .filter(|(_, n)| *n > 1)
        .print();
    let live = program.start();
    (0..3).for_each(|_| drop(live.tick()));
    let expected = [
        frame(1_000, &["hello", "", "hello"]),
        frame(1_000, &["(hello,2)"]),
        frame(2_000, &[]),
        frame(2_000, &[]),
        frame(3_000, &["(a,b)"]),
        frame(3_000, &[]),
    ];
    assert_eq!(paper.text(), expected.concat());
    Ok(())
}

fn print_first(bench: &Bench) -> Outcome {
    let program = bench.program();
    let paper = printing(&program);
    let numbers = program.queue(vec![(1..=11).collect::<Vec<i32>>(), (1..=10).collect()]);
    numbers.print();
    numbers.print_first(2);
    numbers.print_first(0);
    let live = program.start();
    live.tick();
    live.tick();
    let ten = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    let expected = [
        frame(1_000, &[&ten[..], &["..."]].concat()),
        frame(1_000, &["1", "2", "..."]),
        frame(1_000, &["..."]),
        frame(2_000, &ten),
        frame(2_000, &["1", "2", "..."]),
        frame(2_000, &["..."]),
    ];
    assert_eq!(paper.text(), expected.concat());
    Ok(())
}

fn print_to(bench: &Bench) -> Outcome {
    let program = bench.program();
    let numbers = program.queue(vec![vec![1]]);
    let first = printing(&program);
    numbers.print();
    let second = printing(&program);
    numbers.map(|x| x + 1).print();
    program.start().tick();
    assert_eq!(first.text(), frame(1_000, &["1"]));
    assert_eq!(second.text(), frame(1_000, &["2"]));
    Ok(())
}

struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("out of ink"))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn broken_printer(bench: &Bench) -> Outcome {
    let program = bench.program();
    program.ssc.print_to(Broken);
    program.queue(vec![vec![1]]).print();
    let live = program.start();
    assert_eq!(live.tick().num_failed, 1);
    let error = live.running.await_termination().unwrap_err();
    assert!(error.report().contains("out of ink"), "{error:?}");
    assert!(
        error
            .fact("output")
            .is_some_and(|output| output.starts_with("print at "))
    );
    Ok(())
}

fn each_partition(bench: &Bench) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sums").display().to_string();
    let program = bench.program();
    let queue = RddQueue::new();
    queue.push(program.ctx.parallelize_into(vec![1, 2, 3], 3)?);
    queue.push(program.ctx.parallelize_into(Vec::new(), 2)?);
    let numbers = program.ssc.queue_stream(&queue, QueueMode::OneAtATime);
    numbers
        .with(path.clone())
        .for_each_partition(|path, records| {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.create(true).append(true).open(path)?;
            file.write_all(format!("{}\n", records.sum::<i32>()).as_bytes())
        });
    let live = program.start();
    live.tick();
    live.tick();
    live.running
        .await_termination_or_timeout(std::time::Duration::ZERO)?;
    let text = std::fs::read_to_string(path).unwrap();
    let mut sums: Vec<&str> = text.lines().collect();
    sums.sort_unstable();
    // A task whose answer is lost is run again: at least once.
    if !bench.is_faulty() {
        assert_eq!(sums, ["0", "0", "1", "2", "3"]);
    }
    sums.dedup();
    assert_eq!(sums, ["0", "1", "2", "3"]);
    Ok(())
}

fn partition_capture(bench: &Bench) -> Outcome {
    let program = bench.program();
    let least = program.ctx.default_parallelism() as i32;
    let numbers = program.queue(vec![vec![1]]);
    let line = line!() + 1;
    let output = numbers.for_each_partition(move |records| {
        let sum = records.sum::<i32>();
        if sum < least { Err("too few") } else { Ok(()) }
    });
    let place = format!("for_each_partition at {}:{line}", file!());
    assert_eq!(format!("{output:?}"), place);
    match program.try_start() {
        Ok(live) => {
            assert!(bench.is_local());
            assert_eq!(live.tick().num_failed, 1);
            let report = live.running.await_termination().unwrap_err().report();
            assert!(
                report.contains("too few") && report.contains(&place),
                "{report}"
            );
        }
        Err(error) => {
            assert!(!bench.is_local(), "{error:?}");
            assert_eq!(error.fact("operator"), Some(place.as_str()));
        }
    }
    Ok(())
}

fn named(bench: &Bench) -> Outcome {
    let program = bench.program();
    let numbers = program.queue(vec![vec![1]]);
    numbers
        .for_each_rdd(|_, _| Err("no luck".into()))
        .named("sink");
    let live = program.start();
    live.advance();
    let name = live.event(|event| match event {
        tidemill_streaming::StreamEvent::OutputCompleted(info) => Some(info.name),
        _ => None,
    });
    assert!(name.starts_with("for_each_rdd \"sink\" at "), "{name}");
    let error = live.running.await_termination().unwrap_err();
    assert_eq!(error.fact("output"), Some(name.as_str()));
    Ok(())
}
