//! What the examples have in common and nobody needs to read first: options, a source of
//! sentences, Ctrl-C, a summary.

mod sentences;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use tidemill::core::ErrorKind;
use tidemill::prelude::*;
use tidemill::streaming::{StopHandle, StreamEvent};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Counts the words that arrive on a TCP socket.
#[derive(Debug, Parser)]
#[command(
    after_help = "Without HOST and PORT, sentences of its own are counted. \
    A server to type into: cargo run --release --example text_server 9999"
)]
pub(crate) struct Options {
    /// The server to connect to.
    #[arg(requires = "port")]
    host: Option<String>,
    /// Its port.
    #[arg(value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    port: Option<u16>,
    /// Where tasks run: local, local[N], local[*], local[N,maxFailures].
    #[arg(long, default_value = "local[2]")]
    pub(crate) master: String,
    /// How long a batch is, in milliseconds.
    #[arg(long, default_value_t = 1_000, value_parser = at_least_one, allow_negative_numbers = true)]
    batch_ms: u64,
    /// End after so many batches (and one more, when something is left).
    #[arg(long, value_parser = at_least_one, allow_negative_numbers = true)]
    max_batches: Option<u64>,
    /// Write each batch's counts to a folder `counts-TIME.txt` in this folder.
    #[arg(long)]
    save: Option<PathBuf>,
}

fn at_least_one(text: &str) -> std::result::Result<u64, &'static str> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("it must be a whole number, at least 1"),
    }
}

impl Options {
    /// The command line's options; ends the program when they are wrong.
    #[must_use]
    pub(crate) fn from_args() -> Self {
        tracing_subscriber::fmt()
            .with_env_filter(
                tracing_subscriber::EnvFilter::try_from_default_env()
                    .unwrap_or_else(|_| "warn".into()),
            )
            .with_writer(std::io::stderr)
            .log_internal_errors(false)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init();
        Self::parse()
    }

    /// How long a batch is.
    #[must_use]
    pub(crate) fn batch_duration(&self) -> Duration {
        Duration::from_millis(self.batch_ms)
    }

    /// The server to connect to; one of our own when none was named.
    ///
    /// # Errors
    /// `Unavailable` when no port is free.
    pub(crate) fn server(&self, ssc: &StreamingContext) -> Result<(String, u16)> {
        match (&self.host, self.port) {
            (Some(host), Some(port)) => Ok((host.clone(), port)),
            _ => sentences::serve(Arc::clone(ssc.context().clock())),
        }
    }

    /// Runs the stream until Ctrl-C or the last batch, and prints a summary.
    ///
    /// # Errors
    /// A failed batch; a folder that cannot be written.
    pub(crate) fn run(&self, ssc: StreamingContext, counts: &DStream<(Text, u64)>) -> Result<()> {
        if let Some(folder) = &self.save {
            counts.save_as_text_files(&format!("{}/counts", folder.display()), "txt");
        }
        let summary = Arc::new(Summary::default());
        let (listener, max_batches) = (Arc::clone(&summary), self.max_batches);
        let (sender, receiver) = std::sync::mpsc::channel::<StopHandle>();
        let stopper = std::sync::Mutex::new((receiver, None));
        ssc.add_listener(move |event: &StreamEvent| {
            let StreamEvent::BatchCompleted(batch) = event else {
                return;
            };
            if listener.add(batch) == max_batches.unwrap_or(u64::MAX)
                && let Ok(mut stopper) = stopper.lock()
            {
                let (receiver, handle) = &mut *stopper;
                let handle = handle.get_or_insert_with(|| receiver.recv().ok());
                if let Some(handle) = handle {
                    handle.stop(Stop::gracefully());
                }
            }
        });
        let running = ssc.start()?;
        let _ = sender.send(running.stop_handle());
        stop_on_signal(running.stop_handle())?;
        let result = running.await_termination();
        running.stop(Stop::gracefully())?;
        // A closed terminal is no reason to fail.
        let _ = writeln!(std::io::stdout(), "{summary}");
        match result {
            Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
            result => result,
        }
    }
}

/// The first Ctrl-C or SIGTERM stops the stream gracefully, the second one ends the program.
fn stop_on_signal(handle: StopHandle) -> Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]);
    let mut signals =
        signals.map_err(|e| Error::unavailable("signals cannot be handled").caused_by(e))?;
    std::thread::spawn(move || {
        for (signal, count) in signals.forever().zip(1..) {
            if count == 1 {
                handle.stop(Stop::gracefully());
                let _ = writeln!(
                    std::io::stderr(),
                    "stopping: what was received is processed first; again to stop at once"
                );
            } else {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    });
    Ok(())
}

/// What went through, for the last line.
#[derive(Debug, Default)]
struct Summary {
    batches: AtomicU64,
    failed: AtomicU64,
    lines: AtomicU64,
    busy_us: AtomicU64,
}

impl Summary {
    /// Takes in a batch; returns how many there are.
    fn add(&self, batch: &tidemill::streaming::BatchInfo) -> u64 {
        let busy = batch.processing_delay.unwrap_or_default().as_micros();
        self.busy_us
            .fetch_add(u64::try_from(busy).unwrap_or(0), Ordering::Relaxed);
        self.lines.fetch_add(batch.num_records(), Ordering::Relaxed);
        self.failed
            .fetch_add(u64::from(batch.num_failed > 0), Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (batches, busy_us) = (read(&self.batches), read(&self.busy_us));
        write!(
            f,
            "{batches} batches ({} failed), {} lines, {:.1} ms a batch",
            read(&self.failed),
            read(&self.lines),
            busy_us as f64 / 1_000.0 / batches.max(1) as f64,
        )
    }
}
