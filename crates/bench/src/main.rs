//! `cargo run --release -p tidemill-bench -- <workload> [--json]`: one workload beside its limit.
//!
//! Absolute figures move from machine to machine, so every claim is a ratio: the engine and a
//! hand-written loop take turns on the same bytes, and their results are compared. A result that
//! differs from the limit's is a failure of the program, not a number.

#![expect(
    clippy::print_stdout,
    reason = "a command-line program: its output is its purpose"
)]

mod generator;
mod limit;
mod report;
mod stopwatch;
mod workload;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::report::Report;
use crate::workload::{core_grep, core_wordcount, task_launch};

/// Allocators are a large part of what is measured: the programs we ship use this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures one workload beside its hand-written limit.
#[derive(Debug, Parser)]
#[command(name = "tidemill-bench")]
struct Arguments {
    /// What to measure.
    workload: Workload,
    /// Print the report as one line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    size: Size,
}

/// How much is measured, how often.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Size {
    /// How often the limit and the engine take turns.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Input blocks, one task each.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    blocks: u32,
    /// Bytes of one block, in units of 1,000,000.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    block_megabytes: u32,
    /// Blocks of one batch: each batch is a job of its own.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    blocks_per_batch: u32,
}

/// Each is one file in `workload/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Words of stored blocks, counted on two slots without the streaming engine
    CoreWordcount,
    /// Lines of stored blocks with a 6-byte pattern, counted on two slots
    CoreGrep,
    /// A stage of 1,000 tasks that do nothing
    TaskLaunch,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measure(arguments.workload, arguments.size) {
        Ok(report) if arguments.json => match serde_json::to_string(&report) {
            Ok(line) => {
                println!("{line}");
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        },
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&*error),
    }
}

fn measure(workload: Workload, size: Size) -> workload::Outcome<Report> {
    match workload {
        Workload::CoreWordcount => core_wordcount::measure(size),
        Workload::CoreGrep => core_grep::measure(size),
        Workload::TaskLaunch => task_launch::measure(size),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "why the program failed goes where scripts look for it"
)]
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  caused by: {cause}");
        source = cause.source();
    }
    ExitCode::FAILURE
}
