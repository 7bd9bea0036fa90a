//! Reads what `cargo test` prints: which programs run, each test's outcome, and each program's own totals.
//!
//! Cargo names its programs on standard error, the runners tell outcomes on standard output, and each is read from
//! its own pipe: what tests write to standard error cannot tear an outcome apart. The two meet only at the end, by
//! order: a program prints one group of outcomes, and doctests, which cargo runs last, as many as they like.
//!
//! The stable runners print for people. So nothing is believed twice: each group's totals are compared with the
//! outcomes found, and a program that ends without totals is itself a failure.

use crate::test::record::{Ending, TestRun};

/// What has been understood so far.
#[derive(Default)]
pub(crate) struct Log {
    programs: Vec<String>,
    groups: Vec<Group>,
}

/// What stands between `running 3 tests` and `test result:`.
#[derive(Default)]
struct Group {
    outcomes: Vec<Outcome>,
    /// A test whose outcome is not on the same line, because something printed in between.
    pending: Option<(String, String)>,
    /// Between `failures:` and the totals stands what tests printed.
    in_failures: bool,
    totals: Option<String>,
}

/// One test as the runner tells it.
struct Outcome {
    kind: String,
    test: String,
    ending: Ending,
}

/// The program that doctests are said to run in: their names begin with their file.
const DOCTESTS: &str = "doc";

impl Log {
    /// Takes one line of standard error.
    pub(crate) fn error_line(&mut self, line: &str) {
        self.programs.extend(program_name(&without_colours(line)));
    }

    /// Takes one line of standard output.
    pub(crate) fn line(&mut self, line: &str) {
        let line = without_colours(line);
        let is_open = self.groups.last().is_some_and(|group| group.in_failures);
        if is_start(&line) && !is_open {
            self.groups.push(Group::default());
        } else if let Some(group) = self.groups.last_mut() {
            group.line(&line);
        }
    }

    /// The outcomes, after the last line.
    pub(crate) fn finish(self) -> Vec<TestRun> {
        let silent = self.programs.iter().skip(self.groups.len());
        let silent: Vec<TestRun> = silent.map(|program| without_result(program)).collect();
        let names = self.programs.iter().map(String::as_str);
        let names = names.chain(std::iter::repeat(DOCTESTS));
        let told = names
            .zip(self.groups)
            .flat_map(|(program, group)| group.finish(program));
        told.chain(silent).collect()
    }
}

impl Group {
    fn line(&mut self, line: &str) {
        if let Some(totals) = line.strip_prefix("test result: ") {
            self.totals = Some(totals.to_owned());
            self.in_failures = false;
        } else if line == "failures:" {
            self.in_failures = true;
        } else if !self.in_failures && self.totals.is_none() {
            let outcome = self.outcome(line);
            self.outcomes.extend(outcome);
        }
    }

    /// The outcome that this line completes, if any.
    fn outcome(&mut self, line: &str) -> Option<Outcome> {
        if let Some((kind, test, rest)) = test_line(line) {
            self.pending = Some((kind.to_owned(), test.to_owned()));
            return ending(rest).and_then(|ending| self.complete(ending));
        }
        ending(line).and_then(|ending| self.complete(ending))
    }

    fn complete(&mut self, ending: Ending) -> Option<Outcome> {
        let (kind, test) = self.pending.take()?;
        let test = test.strip_suffix(" - should panic").unwrap_or(&test);
        Some(Outcome {
            kind,
            test: test.to_owned(),
            ending,
        })
    }

    fn finish(self, program: &str) -> Vec<TestRun> {
        let faults = match &self.totals {
            Some(totals) => self.contradictions(program, totals),
            None => vec![without_result(program)],
        };
        let runs = self.outcomes.into_iter().map(|outcome| TestRun {
            kind: outcome.kind,
            ..TestRun::new(program, &outcome.test, outcome.ending)
        });
        runs.chain(faults).collect()
    }

    fn contradictions(&self, program: &str, totals: &str) -> Vec<TestRun> {
        let count = |matches: fn(&Ending) -> bool| {
            let outcomes = self.outcomes.iter();
            outcomes.filter(|run| matches(&run.ending)).count()
        };
        let seen = [
            ("passed", count(|ending| *ending == Ending::Passed)),
            ("failed", count(|ending| *ending == Ending::Failed)),
            (
                "ignored",
                count(|ending| matches!(ending, Ending::Ignored(_))),
            ),
        ];
        let wrong = seen
            .into_iter()
            .map(|(label, seen)| (label, seen, total(totals, label)))
            .filter(|(_, seen, said)| *said != Some(*seen));
        wrong
            .map(|(label, seen, said)| {
                let said = said.map_or(String::from("no"), |number| number.to_string());
                let test = format!("(its totals say {said} {label}, its lines {seen})");
                TestRun::failed(program, &test)
            })
            .collect()
    }
}

fn without_result(program: &str) -> TestRun {
    TestRun::failed(program, "(ended without a test result)")
}

/// `running 3 tests`
fn is_start(line: &str) -> bool {
    let count = line
        .strip_prefix("running ")
        .and_then(|rest| rest.split_once(" test"));
    count.is_some_and(|(count, rest)| count.parse::<usize>().is_ok() && matches!(rest, "" | "s"))
}

/// `     Running tests/ops.rs (…/deps/ops-0123456789abcdef)`
fn program_name(line: &str) -> Option<String> {
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

    /// What a log says that cargo wrote to standard error, and the runners to standard output.
    fn outcomes(programs: &[&str], lines: &[&str]) -> Vec<String> {
        let mut log = Log::default();
        programs.iter().for_each(|line| log.error_line(line));
        lines.iter().for_each(|line| log.line(line));
        log.finish()
            .iter()
            .map(|run| format!("{run}: {:?}", run.ending))
            .collect()
    }

    #[test]
    fn unit_tests_are_named_by_crate_and_suites_by_file() {
        let programs = ["   Compiling tidemill-core v0.1.0", UNIT, SUITE];
        let lines = [
            "",
            "running 2 tests",
            "test rdd::map::tests::keeps_order ... ok",
            "test rdd::map::tests::refuses - should panic ... ok",
            "",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "running 3 tests",
            "test [local]    map    ... ok",
            "test [loopback] map    ... FAILED",
            "test            filter ... ignored, needs a cluster",
            "failures:",
            "test nothing ... ok",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out",
        ];
        assert_eq!(
            outcomes(&programs, &lines),
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
        let lines = [
            "running 3 tests",
            "test split ... Time: 1000 ms",
            "(hello,3)",
            "ok",
            "half a linetest glued ... ok",
            "test alone ...",
            "FAILED",
            "test slow has been running for over 60 seconds",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured",
        ];
        assert_eq!(
            outcomes(&[SUITE], &lines),
            [
                "ops::split: Passed",
                "ops::glued: Passed",
                "ops::alone: Failed"
            ]
        );
    }

    #[test]
    fn a_program_that_ends_without_totals_has_failed() {
        let seen = outcomes(&[UNIT, "error: test failed", SUITE], &["running 1 test"]);
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
        let lines = [
            "running 2 tests",
            "test a ... ok",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured",
        ];
        let seen = outcomes(&[UNIT], &lines);
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(
            seen[1].contains("totals say 2 passed, its lines 1"),
            "{seen:?}"
        );
    }

    #[test]
    fn doctests_come_in_groups_with_their_own_totals() {
        let lines = [
            "running 1 test",
            "test map::tests::keeps_order ... ok",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured",
            "running 1 test",
            "test crates/core/src/lib.rs - (line 3) ... ok",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured",
            "running 1 test",
            "test crates/core/src/lib.rs - (line 9) - compile fail ... ok",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured",
        ];
        assert_eq!(
            outcomes(&[UNIT, "   Doc-tests tidemill_core"], &lines),
            [
                "tidemill_core::map::tests::keeps_order: Passed",
                "doc::crates/core/src/lib.rs - (line 3): Passed",
                "doc::crates/core/src/lib.rs - (line 9) - compile fail: Passed",
            ]
        );
    }

    #[test]
    fn colours_change_nothing() {
        let program = "\u{1b}[0m\u{1b}[1m\u{1b}[32m     Running\u{1b}[0m tests/ops.rs (/t/ops-fedcba9876543210)";
        let lines = [
            "running 1 test",
            "test a ... \u{1b}[32mok\u{1b}[m",
            "test result: \u{1b}[32mok\u{1b}[0m. 1 passed; 0 failed; 0 ignored; 0 measured",
        ];
        assert_eq!(outcomes(&[program], &lines), ["ops::a: Passed"]);
    }
}
