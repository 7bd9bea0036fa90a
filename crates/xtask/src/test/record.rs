//! The outcome of every test of a run, and the file that keeps them until the next run.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::workspace::{Workspace, about, read};

/// One test that the runner named.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TestRun {
    /// The program it ran in: the crate of unit tests, the file of an integration test, `doc` for doctests.
    pub(crate) binary: String,
    /// What the suite says about its trials in brackets, such as the backend; mostly empty.
    pub(crate) kind: String,
    /// The test's path inside the program.
    pub(crate) test: String,
    /// How it ended.
    pub(crate) ending: Ending,
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ending {
    /// As it should.
    Passed,
    /// Otherwise, or not at all.
    Failed,
    /// It did not run, for the reason given.
    Ignored(String),
}

impl TestRun {
    /// A test that passed.
    pub(crate) fn passed(binary: &str, test: &str) -> Self {
        Self::new(binary, test, Ending::Passed)
    }

    /// A test, or the program around it, that failed.
    pub(crate) fn failed(binary: &str, test: &str) -> Self {
        Self::new(binary, test, Ending::Failed)
    }

    /// A test without a kind.
    pub(crate) fn new(binary: &str, test: &str, ending: Ending) -> Self {
        Self {
            binary: binary.to_owned(),
            kind: String::new(),
            test: test.to_owned(),
            ending,
        }
    }

    /// The name that rows of the conformance table use: `ops::map_keeps_order`.
    pub(crate) fn path(&self) -> String {
        format!("{}::{}", self.binary, self.test)
    }

    fn to_json(&self) -> Value {
        let (outcome, reason) = match &self.ending {
            Ending::Passed => ("passed", ""),
            Ending::Failed => ("failed", ""),
            Ending::Ignored(reason) => ("ignored", reason.as_str()),
        };
        json!({
            "binary": self.binary,
            "kind": self.kind,
            "test": self.test,
            "outcome": outcome,
            "reason": reason,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let ending = match text("outcome")?.as_str() {
            "passed" => Ending::Passed,
            "failed" => Ending::Failed,
            "ignored" => Ending::Ignored(text("reason")?),
            _ => return None,
        };
        Some(Self {
            binary: text("binary")?,
            kind: text("kind")?,
            test: text("test")?,
            ending,
        })
    }
}

impl fmt::Display for TestRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())?;
        if self.kind.is_empty() {
            Ok(())
        } else {
            write!(f, " [{}]", self.kind)
        }
    }
}

/// Removes the outcomes of earlier runs, so that a run that breaks off leaves none.
pub(crate) fn forget(workspace: &Workspace) -> Result<(), String> {
    let path = file(workspace);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(about(&path, &error)),
        _ => Ok(()),
    }
}

/// Writes the outcomes of a complete run, one test a line.
pub(crate) fn save(workspace: &Workspace, runs: &[TestRun]) -> Result<(), String> {
    let path = file(workspace);
    fs::write(&path, render(runs)).map_err(|error| about(&path, &error))
}

/// The outcomes of the last complete run; an error says when there was none.
pub(crate) fn load(workspace: &Workspace) -> Result<Vec<TestRun>, String> {
    let path = file(workspace);
    if !path.exists() {
        return Err(String::from(
            "no outcomes of a complete test run: run `cargo xtask test` first",
        ));
    }
    parse(&read(&path)?).ok_or(format!(
        "{}: not the outcomes of a test run",
        path.display()
    ))
}

fn file(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tidemill-tests.json")
}

fn render(runs: &[TestRun]) -> String {
    let lines: Vec<String> = runs.iter().map(|run| run.to_json().to_string()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

fn parse(text: &str) -> Option<Vec<TestRun>> {
    let value: Value = serde_json::from_str(text).ok()?;
    value.as_array()?.iter().map(TestRun::from_json).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_the_file() {
        let mut on_loopback = TestRun::passed("ops", "map::keeps_order");
        on_loopback.kind = String::from("loopback");
        let ignored = Ending::Ignored(String::from("needs \"quotes\""));
        let runs = [
            on_loopback,
            TestRun::failed("tidemill_core", "text::tests::splits"),
            TestRun::new("ops", "later", ignored),
        ];
        assert_eq!(parse(&render(&runs)).expect("a list"), runs);
        assert_eq!(parse(&render(&[])).expect("an empty list"), []);
        assert_eq!(runs[0].to_string(), "ops::map::keeps_order [loopback]");
    }

    #[test]
    fn an_unknown_outcome_is_refused() {
        let text = r#"[{"binary":"a","kind":"","test":"b","outcome":"perhaps","reason":""}]"#;
        assert_eq!(parse(text), None);
    }
}
