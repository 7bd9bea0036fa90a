//! `print`, to the byte.

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_streaming::PairDStream;

use crate::support::{Bench, Case, Outcome, Program, driver_case, local_case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-131
        driver_case("print_writes_what_spark_writes", print),
        // S-131
        driver_case("print_first_shows_as_many_as_told", print_first),
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
