//! Reads what `cargo test` prints: which program runs, each test's outcome, and the program's own totals.
//!
//! The stable runners print for people. So nothing is believed twice: each program's totals are compared with the
//! outcomes found, and a program that ends without totals is itself a failure.

use crate::test::record::{Ending, TestRun};

/// What has been understood so far.
#[derive(Default)]
pub(crate) struct Log {
    runs: Vec<TestRun>,
    program: Option<Program>,
}

/// The test program that is running.
struct Program {
    name: String,
    /// Where this group's tests begin in `runs`; a doctest program prints several groups.
    group_start: usize,
    /// A test whose outcome is not on the same line, because something printed in between.
    pending: Option<(String, String)>,
    /// Between `failures:` and the totals stands what tests printed.
    in_failures: bool,
    has_totals: bool,
}

impl Log {
    /// Takes one line of the merged output.
    pub(crate) fn line(&mut self, line: &str) {
        let line = without_colours(line);
        if let Some(name) = program_name(&line) {
            self.end_program();
            let group_start = self.runs.len();
            self.program = Some(Program {
                name,
                group_start,
                pending: None,
                in_failures: false,
                has_totals: false,
            });
        } else if let Some(totals) = line.strip_prefix("test result: ") {
            self.check_totals(totals);
        } else if let Some(program) = &mut self.program {
            self.runs.extend(program.outcome(&line));
        }
    }

    /// The outcomes, after the last line.
    pub(crate) fn finish(mut self) -> Vec<TestRun> {
        self.end_program();
        self.runs
    }

    fn end_program(&mut self) {
        if let Some(program) = self.program.take().filter(|program| !program.has_totals) {
            self.runs.push(TestRun::failed(
                &program.name,
                "(ended without a test result)",
            ));
        }
    }

    fn check_totals(&mut self, totals: &str) {
        let Some(program) = &mut self.program else {
            return;
        };
        let group = self.runs.get(program.group_start..).unwrap_or_default();
        let count =
            |matches: fn(&Ending) -> bool| group.iter().filter(|run| matches(&run.ending)).count();
        let seen = [
            ("passed", count(|ending| *ending == Ending::Passed)),
            ("failed", count(|ending| *ending == Ending::Failed)),
            (
                "ignored",
                count(|ending| matches!(ending, Ending::Ignored(_))),
            ),
        ];
        for (label, seen) in seen {
            let said = total(totals, label);
            if said != Some(seen) {
                let said = said.map_or(String::from("no"), |number| number.to_string());
                let test = format!("(its totals say {said} {label}, its lines {seen})");
                self.runs.push(TestRun::failed(&program.name, &test));
            }
        }
        program.group_start = self.runs.len();
        program.pending = None;
        program.in_failures = false;
        program.has_totals = true;
    }
}

impl Program {
    /// The outcome that this line completes, if any.
    fn outcome(&mut self, line: &str) -> Option<TestRun> {
        if line.starts_with("running ") && line.trim_end_matches('s').ends_with(" test") {
            // A new group, whose totals have to follow.
            self.has_totals = false;
            return None;
        }
        if line == "failures:" {
            self.in_failures = true;
        }
        if self.in_failures {
            return None;
        }
        if let Some((kind, test, rest)) = test_line(line) {
            if let Some(ending) = ending(rest) {
                return Some(self.run(kind, test, ending));
            }
            self.pending = Some((kind.to_owned(), test.to_owned()));
            return None;
        }
        let ending = ending(line)?;
        let (kind, test) = self.pending.take()?;
        Some(self.run(&kind, &test, ending))
    }

    fn run(&mut self, kind: &str, test: &str, ending: Ending) -> TestRun {
        self.pending = None;
        let test = test.strip_suffix(" - should panic").unwrap_or(test);
        TestRun {
            kind: kind.to_owned(),
            ..TestRun::new(&self.name, test, ending)
        }
    }
}

/// `     Running tests/ops.rs (…/deps/ops-0123456789abcdef)` or `   Doc-tests tidemill_core`.
fn program_name(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("   Doc-tests ") {
        return Some(format!("doc:{name}"));
    }
    let path = line
        .strip_prefix("     Running ")?
        .strip_suffix(')')?
        .rsplit_once(" (")?
        .1;
    let file = path.rsplit(['/', '\\']).next()?;
    let (name, hash) = file.trim_end_matches(".exe").rsplit_once('-')?;
    let is_hash = hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit());
    is_hash.then(|| name.to_owned())
}

/// `test [loopback] map::keeps_order ... ok` in its three parts. What an unfinished line of a test may have left in
/// front of it is passed over.
fn test_line(line: &str) -> Option<(&str, &str, &str)> {
    let (head, rest) = line
        .split_once(" ... ")
        .or_else(|| Some((line.strip_suffix(" ...")?, "")))?;
    let named = match head.strip_prefix("test ") {
        Some(named) => named,
        None => head.rsplit_once("test ")?.1,
    };
    let (kind, test) = match named
        .strip_prefix('[')
        .and_then(|named| named.split_once("] "))
    {
        Some((kind, test)) => (kind, test),
        None => ("", named),
    };
    Some((kind, test.trim(), rest))
}

fn ending(text: &str) -> Option<Ending> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let is_timed = rest.is_empty() || (rest.starts_with('<') && rest.ends_with('>'));
    match word {
        "ok" if is_timed => Some(Ending::Passed),
        "FAILED" if is_timed => Some(Ending::Failed),
        "ignored" if is_timed => Some(Ending::Ignored(String::from("no reason given"))),
        "ignored," => Some(Ending::Ignored(rest.to_owned())),
        _ => None,
    }
}

/// The number before `label` in `ok. 3 passed; 0 failed; 1 ignored; …`.
fn total(totals: &str, label: &str) -> Option<usize> {
    totals
        .split(['.', ';'])
        .find_map(|part| part.trim().strip_suffix(label)?.trim_end().parse().ok())
}

/// The line without escape sequences of terminal colours.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut pieces = line.split("\u{1b}[");
    plain.extend(pieces.next());
    for piece in pieces {
        let text = piece.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
        plain.extend(text.chars().skip(1));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str =
        "     Running unittests src/lib.rs (/t/debug/deps/tidemill_core-0123456789abcdef)";
    const SUITE: &str = "     Running tests/ops.rs (/t/debug/deps/ops-fedcba9876543210)";

    fn outcomes(lines: &[&str]) -> Vec<String> {
        let mut log = Log::default();
        lines.iter().for_each(|line| log.line(line));
        log.finish()
            .iter()
            .map(|run| format!("{run}: {:?}", run.ending))
            .collect()
    }

    #[test]
    fn unit_tests_are_named_by_crate_and_suites_by_file() {
        let seen = outcomes(&[
            "   Compiling tidemill-core v0.1.0",
            UNIT,
            "",
            "running 2 tests",
            "test rdd::map::tests::keeps_order ... ok",
            "test rdd::map::tests::refuses - should panic ... ok",
            "",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            SUITE,
            "running 3 tests",
            "test [local]    map    ... ok",
            "test [loopback] map    ... FAILED",
            "test            filter ... ignored, needs a cluster",
            "failures:",
            "test nothing ... ok",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out",
        ]);
        assert_eq!(
            seen,
            [
                "tidemill_core::rdd::map::tests::keeps_order: Passed",
                "tidemill_core::rdd::map::tests::refuses: Passed",
                "ops::map [local]: Passed",
                "ops::map [loopback]: Failed",
                "ops::filter: Ignored(\"needs a cluster\")",
            ]
        );
    }

    #[test]
    fn what_tests_print_hides_no_outcome() {
        let seen = outcomes(&[
            SUITE,
            "running 3 tests",
            "test split ... Time: 1000 ms",
            "(hello,3)",
            "ok",
            "half a linetest glued ... ok",
            "test alone ...",
            "FAILED",
            "test slow has been running for over 60 seconds",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured",
        ]);
        assert_eq!(
            seen,
            [
                "ops::split: Passed",
                "ops::glued: Passed",
                "ops::alone: Failed"
            ]
        );
    }

    #[test]
    fn a_program_that_ends_without_totals_has_failed() {
        let seen = outcomes(&[UNIT, "running 1 test", "error: test failed", SUITE]);
        let expected = "(ended without a test result): Failed";
        assert_eq!(
            seen,
            [
                format!("tidemill_core::{expected}"),
                format!("ops::{expected}")
            ]
        );
    }

    #[test]
    fn totals_that_contradict_the_lines_are_a_failure() {
        let seen = outcomes(&[
            UNIT,
            "running 2 tests",
            "test a ... ok",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured",
        ]);
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(
            seen[1].contains("totals say 2 passed, its lines 1"),
            "{seen:?}"
        );
    }

    #[test]
    fn each_group_of_a_doctest_program_has_its_own_totals() {
        let seen = outcomes(&[
            "   Doc-tests tidemill_core",
            "running 1 test",
            "test crates/core/src/lib.rs - (line 3) ... ok",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured",
            "running 1 test",
            "test crates/core/src/lib.rs - (line 9) - compile fail ... ok",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured",
        ]);
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert_eq!(
            seen[0],
            "doc:tidemill_core::crates/core/src/lib.rs - (line 3): Passed"
        );
    }

    #[test]
    fn colours_change_nothing() {
        let line = "\u{1b}[0m\u{1b}[1m\u{1b}[32m     Running\u{1b}[0m tests/ops.rs (/t/ops-fedcba9876543210)";
        let seen = outcomes(&[
            line,
            "running 1 test",
            "test a ... \u{1b}[32mok\u{1b}[m",
            "test result: \u{1b}[32mok\u{1b}[0m. 1 passed; 0 failed; 0 ignored; 0 measured",
        ]);
        assert_eq!(seen.len(), 1, "{seen:?}");
    }
}
