//! What the examples have in common and nobody needs to read first: options, a source of lines,
//! Ctrl-C, a summary.

#![allow(
    dead_code,
    unused_imports,
    clippy::allow_attributes,
    reason = "each example uses what it needs"
)]

mod args;
mod lines;
mod run;

use std::ops::Deref;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser};

pub(crate) use args::{Folders, NoArgs, Output, Save, Server, Sessions};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What every stream can be told, and what this example can be told besides.
#[derive(Debug, Parser)]
pub(crate) struct Options<A: Args = NoArgs> {
    #[command(flatten)]
    own: A,
    /// Where tasks run: local, local[N], local[*], local[N,maxFailures].
    #[arg(long, default_value = "local[2]")]
    pub(crate) master: String,
    /// How long a batch is, in milliseconds.
    #[arg(long, default_value_t = 1_000, value_parser = args::at_least_one, allow_negative_numbers = true)]
    batch_ms: u64,
    /// End after so many batches (and one more, when something is left).
    #[arg(long, value_parser = args::at_least_one, allow_negative_numbers = true)]
    max_batches: Option<u64>,
}

/// What a program without a stream can be told.
#[derive(Debug, Parser)]
pub(crate) struct BatchOptions {
    /// Where tasks run: local, local[N], local[*], local[N,maxFailures].
    #[arg(long, default_value = "local[2]")]
    pub(crate) master: String,
}

impl<A: Args> Options<A> {
    /// The command line's options; ends the program when they are wrong. `about` is what `--help`
    /// says of the program.
    #[must_use]
    pub(crate) fn from_args(about: &'static str) -> Self {
        parse(about)
    }

    /// How long a batch is.
    #[must_use]
    pub(crate) fn batch_duration(&self) -> Duration {
        Duration::from_millis(self.batch_ms)
    }
}

/// The example's own options.
impl<A: Args> Deref for Options<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.own
    }
}

impl BatchOptions {
    /// As [`Options::from_args`].
    #[must_use]
    pub(crate) fn from_args(about: &'static str) -> Self {
        parse(about)
    }
}

fn parse<P: Parser>(about: &'static str) -> P {
    log_to_stderr();
    let matches = P::command().about(about).get_matches();
    P::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Warnings, or what `RUST_LOG` asks for.
fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()))
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
