//! A folder of 100,000 files in which ten new ones appear for each batch.
//!
//! The limit is one thread that lists the folder, looks at each file, and reads the new ones. Both
//! see the same folder; a manual clock ticks as soon as a batch has ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidemill::core::{Context, ManualClock, Master};
use tidemill::prelude::*;
use tidemill::streaming::StreamEvent;

use super::{NUM_SLOTS, Outcome};
use crate::report::{Report, Round, rss_bytes};
use crate::stopwatch::timed;

const NUM_FILES: usize = 100_000;
const NEW_FILES: usize = 10;
const LINES: usize = 100;
const BATCH: Duration = Duration::from_secs(1);
/// The files of the first day of 1970 are old; the stream's clock stands at the second.
const START_MS: u64 = 86_400_000;

pub(crate) fn measure(num_rounds: u32) -> Outcome<Report> {
    let folder = Folder::new()?;
    let clock = ManualClock::new(i64::try_from(START_MS)?);
    let ctx = Context::builder()
        .master(Master::local(NUM_SLOTS))
        .clock(Arc::new(clock.clone()))
        .build()?;
    let ssc = StreamingContext::new(&ctx, BATCH)?;
    let (sender, counts) = channel();
    ssc.text_file_stream(&folder.0.display().to_string())
        .for_each_rdd(move |rdd, _| Ok(sender.send(rdd.count()?)?));
    let (sender, completed) = channel();
    ssc.add_listener(move |event: &StreamEvent| {
        if let StreamEvent::BatchCompleted(batch) = event {
            let _ = sender.send(batch.num_failed);
        }
    });
    let running = ssc.start()?;
    let tick = || -> Outcome<u64> {
        clock.advance(BATCH);
        completed.recv()?;
        Ok(counts.recv()?)
    };
    // The window is full by then, and memory is what it will be.
    let warm = 70;
    let num_batches = warm + 10 * num_rounds.max(3);
    let (mut rounds, mut before) = (Vec::new(), 0);
    for batch in 1..=num_batches {
        let at_ms = START_MS + 1_000 * u64::from(batch);
        for number in 0..NEW_FILES {
            folder.put(&format!("new-{batch}-{number}"), at_ms - 500)?;
        }
        let (limit_count, limit) = timed(|| folder.read_new(at_ms - 1_000));
        let (engine_count, engine) = timed(tick);
        let (found, expected) = (engine_count?, limit_count?);
        if found != expected || expected != (NEW_FILES * LINES) as u64 {
            return Err(format!("wrong result: {found} lines, the limit has {expected}").into());
        }
        if batch == warm {
            before = rss_bytes().unwrap_or(0);
        } else if batch > warm {
            rounds.push(Round { engine, limit });
        }
    }
    let after = rss_bytes().unwrap_or(0);
    running.stop(Stop::now())?;
    let mut report = Report::micros_each("files", "seconds a batch", 1e6, &rounds);
    let grown = after as f64 - before as f64;
    report.note("bytes_kept_a_batch", grown / rounds.len() as f64);
    report.note("num_files", NUM_FILES as f64);
    Ok(report)
}

/// The folder; removed with all in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Outcome<Self> {
        let path = std::env::temp_dir().join(format!("tidemill-files-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        let folder = Self(path);
        for number in 0..NUM_FILES {
            folder.put(&format!("old-{number:06}"), number as u64)?;
        }
        Ok(folder)
    }

    fn put(&self, name: &str, changed_ms: u64) -> Outcome<()> {
        let path = self.0.join(name);
        let content = if name.starts_with("new") {
            "a line of a new file\n".repeat(LINES)
        } else {
            String::new()
        };
        fs::write(&path, content)?;
        let file = File::options().write(true).open(&path)?;
        Ok(file.set_modified(UNIX_EPOCH + Duration::from_millis(changed_ms))?)
    }

    /// Lines of the files changed after `after_ms`.
    fn read_new(&self, after_ms: u64) -> Outcome<u64> {
        let after: SystemTime = UNIX_EPOCH + Duration::from_millis(after_ms);
        let mut num_lines = 0;
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.metadata()?.modified()? > after {
                num_lines += count_lines(&entry.path())?;
            }
        }
        Ok(num_lines)
    }
}

fn count_lines(path: &Path) -> Outcome<u64> {
    let bytes = fs::read(path)?;
    Ok(memchr::memchr_iter(b'\n', &bytes).count() as u64)
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
