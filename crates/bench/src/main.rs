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

use crate::workload::{
    core_grep, core_wordcount, files, interval, skew, soak, sort, startup, state, task_launch, wal,
    window, wordcount, wordcount_tcp,
};

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
    /// How long `interval` runs.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Keys that `state` keeps.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..))]
    keys: u64,
    /// Batches that `soak` runs.
    #[arg(long, default_value_t = 100_000)]
    batches: u64,
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
    /// Words of stored blocks, counted by the streaming engine, batches back to back
    Wordcount,
    /// Words from a socket, fed by another process, batches of one second
    WordcountTcp,
    /// Lines of stored blocks with a 6-byte pattern, counted on two slots
    Grep,
    /// Batches of 1 ms without a shuffle: their scheduling delay
    Interval,
    /// Batches of 5 ms with a shuffle: their scheduling delay
    IntervalShuffle,
    /// A stage of 1,000 tasks that do nothing
    TaskLaunch,
    /// From the start of a process to the first batch's output
    Startup,
    /// States of many keys, of which a batch touches one in a hundred
    State,
    /// Records appended to the write-ahead log, a sync for every thousand
    Wal,
    /// Words of stored blocks, counted on two slots without the streaming engine
    CoreWordcount,
    /// Reduced windows of 300 s beside those of 10 s: what a batch takes
    Window,
    /// A folder of 100,000 files with ten new ones a batch
    Files,
    /// Random pairs in the order of their keys, sorted on two slots
    Sort,
    /// Pairs reduced by key: skewed keys beside evenly spread ones
    Skew,
    /// Windows, states and a join for 100,000 batches: nothing may grow
    Soak,
    /// What `wordcount-tcp` starts to be fed by
    #[value(hide = true)]
    Feeder,
    /// What `startup` starts
    #[value(hide = true)]
    FirstBatch,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measure(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

fn measure(arguments: &Arguments) -> workload::Outcome<()> {
    let (size, seconds) = (arguments.size, arguments.seconds);
    let report = match arguments.workload {
        Workload::Wordcount => wordcount::measure(size)?,
        Workload::WordcountTcp => wordcount_tcp::measure(size)?,
        Workload::Grep => core_grep::measure(size)?,
        Workload::TaskLaunch => task_launch::measure(size)?,
        Workload::Wal => wal::measure(size.rounds)?,
        Workload::Startup => startup::measure(size.rounds)?,
        Workload::State => state::measure(arguments.keys, size.rounds)?,
        Workload::Sort => sort::measure(size.rounds)?,
        Workload::Skew => skew::measure(size.rounds)?,
        Workload::CoreWordcount => core_wordcount::measure(size)?,
        Workload::Window => window::measure(size.rounds)?,
        Workload::Files => files::measure(size.rounds)?,
        Workload::Interval => return print(arguments, &interval::measure(1, seconds, false)?),
        Workload::IntervalShuffle => {
            return print(arguments, &interval::measure(5, seconds, true)?);
        }
        Workload::Soak => {
            let report = soak::measure(arguments.batches)?;
            print(arguments, &report)?;
            return if report.verdict {
                Ok(())
            } else {
                Err("something grows from batch to batch".into())
            };
        }
        Workload::Feeder => return wordcount_tcp::feed(size),
        Workload::FirstBatch => return startup::first_batch(),
    };
    print(arguments, &report)
}

fn print<R: serde::Serialize + std::fmt::Display>(
    arguments: &Arguments,
    report: &R,
) -> workload::Outcome<()> {
    if arguments.json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        println!("{report}");
    }
    Ok(())
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
