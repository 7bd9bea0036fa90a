//! `cargo xtask test`: *the* test command.
//!
//! Every crate's unit tests, doctests, suites and examples, then a crate of its own outside the workspace. The
//! runners' output passes through unchanged while each outcome is written down for `cargo xtask conformance`.

mod log;
mod pipe;
pub(crate) mod record;
mod scratch;

use std::io::{self, IsTerminal};

use clap::Args;

use crate::Outcome;
use crate::workspace::Workspace;
use log::Log;
use pipe::Line;
use record::{Ending, TestRun};

/// What can be chosen about a test run.
#[derive(Args)]
pub(crate) struct Options {
    /// Run the operator suites on this backend only (the suites read TIDEMILL_TEST_BACKEND)
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
}

/// Runs everything; the last line printed is the total.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Outcome {
    record::forget(workspace)?;
    let mut runs = workspace_tests(workspace, options)?;
    runs.push(scratch_crate(workspace));
    record::save(workspace, &runs)?;
    let (passed, failed) = sum_up(&runs);
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0 && passed > 0)
}

fn workspace_tests(workspace: &Workspace, options: &Options) -> Result<Vec<TestRun>, String> {
    let mut command = workspace.cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    if io::stdout().is_terminal() {
        command.args(["--color", "always"]);
    }
    if let Some(backend) = &options.backend {
        command.env("TIDEMILL_TEST_BACKEND", backend);
    }
    // The suites let tasks panic by the hundred, and a panic's own line says where it stood.
    command.env("RUST_BACKTRACE", "0");
    let mut log = Log::default();
    let ending = pipe::stream(&mut command, |line| match line {
        Line::Output(bytes) => log.line(&text(bytes)),
        Line::Error(bytes) => log.error_line(&text(bytes)),
    })?;
    let mut runs = log.finish();
    if ending.left_running {
        runs.push(TestRun::failed(
            "cargo",
            "a test left a process behind that holds its output",
        ));
    }
    let is_explained = runs.iter().any(|run| run.ending == Ending::Failed);
    if !ending.success && !is_explained {
        runs.push(TestRun::failed(
            "cargo",
            "cargo test failed outside of any test",
        ));
    }
    Ok(runs)
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_owned()
}

/// The README's own program builds as a user would build it. Counts as one test.
fn scratch_crate(workspace: &Workspace) -> TestRun {
    const NAME: &str = "builds_outside_the_workspace";
    println!("\n     Scratch crate outside the workspace");
    match scratch::build(workspace) {
        Ok(()) => TestRun::passed("scratch_crate", NAME),
        Err(message) => {
            println!("scratch crate: {message}");
            TestRun::failed("scratch_crate", NAME)
        }
    }
}

/// Prints what was skipped and what failed; returns how many passed and failed.
fn sum_up(runs: &[TestRun]) -> (usize, usize) {
    println!();
    let (mut passed, mut failed) = (0, 0);
    for run in runs {
        match &run.ending {
            Ending::Passed => passed += 1,
            Ending::Failed => {
                failed += 1;
                println!("failed: {run}");
            }
            Ending::Ignored(reason) => println!("skipped: {run}: {reason}"),
        }
    }
    (passed, failed)
}
