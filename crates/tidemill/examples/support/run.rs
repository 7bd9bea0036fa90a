//! Runs a stream until Ctrl-C or the last batch.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use tidemill::core::ErrorKind;
use tidemill::prelude::*;
use tidemill::streaming::{StopHandle, StreamEvent};

use super::Options;

impl<A: Args> Options<A> {
    /// Runs the stream until Ctrl-C or the last batch, and prints a summary.
    ///
    /// # Errors
    /// A failed batch; a folder that cannot be written.
    pub(crate) fn run(&self, ssc: StreamingContext) -> Result<()> {
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
    records: AtomicU64,
    busy_us: AtomicU64,
}

impl Summary {
    /// Takes in a batch; returns how many there are.
    fn add(&self, batch: &tidemill::streaming::BatchInfo) -> u64 {
        let busy = batch.processing_delay.unwrap_or_default().as_micros();
        self.busy_us
            .fetch_add(u64::try_from(busy).unwrap_or(0), Ordering::Relaxed);
        self.records
            .fetch_add(batch.num_records(), Ordering::Relaxed);
        self.failed
            .fetch_add(u64::from(batch.num_failed > 0), Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (batches, records) = (read(&self.batches), read(&self.records));
        write!(f, "{batches} batches ({} failed)", read(&self.failed))?;
        // Files and queued RDDs are not counted as they come in.
        if records > 0 {
            write!(f, ", {records} lines")?;
        }
        let busy_ms = read(&self.busy_us) as f64 / 1_000.0;
        write!(f, ", {:.1} ms a batch", busy_ms / batches.max(1) as f64)
    }
}
