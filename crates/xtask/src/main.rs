//! `cargo xtask <verb>`: everything larger than `cargo build`, one verb per file.
//!
//! An ordinary crate of the workspace, so that nothing has to be installed to run the project's own commands.
//! Nothing else depends on it and it depends on none of the other crates: it works while they do not compile.

#![expect(
    clippy::print_stdout,
    reason = "a command-line program: its output is its purpose"
)]

mod check;
mod conformance;
mod strip;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// The workspace's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Format, clippy, rustdoc, crate layers, the one unsafe module, licences
    Check,
    /// Build and run every test there is, and write down each outcome
    Test(test::Options),
    /// Compare docs/conformance.md with the outcomes of the last `test`
    Conformance,
}

/// What a verb ends with: `Ok(false)` when it failed and has said why, an error when it could not do its work.
type Outcome = Result<bool, String>;

fn main() -> ExitCode {
    match run(&Arguments::parse().verb) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Outcome {
    let workspace = Workspace::load()?;
    match verb {
        Verb::Check => check::run(&workspace),
        Verb::Test(options) => test::run(&workspace, options),
        Verb::Conformance => conformance::run(&workspace),
    }
}
