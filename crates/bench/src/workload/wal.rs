//! Records appended to the write-ahead log, a sync for every thousand.
//!
//! The limit writes as many bytes in as many pieces and syncs as often, without checksums, files
//! to roll or epochs to look at.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use tidemill::streaming::checkpoint::Lease;
use tidemill::streaming::disk::LocalDisk;
use tidemill::streaming::wal::{Wal, WalOptions};

use super::Outcome;
use crate::report::{Report, Round};
use crate::stopwatch::timed;

const RECORD_BYTES: usize = 1_000;
/// What the log puts before each record.
const HEADER_BYTES: usize = 36;
const RECORDS_PER_SYNC: usize = 1_000;
const NUM_SYNCS: usize = 100;
const NUM_RECORDS: usize = RECORDS_PER_SYNC * NUM_SYNCS;

pub(crate) fn measure(num_rounds: u32) -> Outcome<Report> {
    let record = vec![b't'; RECORD_BYTES];
    let mut rounds = Vec::new();
    for round in 0..=num_rounds {
        // Each has a directory of its own: nothing is replaced or removed while it is timed.
        let (plain, engine) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let (written, limit) = timed(|| write_plain(plain.path(), &record));
        written?;
        let (written, engine) = timed(|| write_log(engine.path(), &record));
        if written? != NUM_RECORDS as u64 {
            return Err("wrong result: records are missing from the log".into());
        }
        // Not counted: the first round.
        if round > 0 {
            rounds.push(Round { engine, limit });
        }
    }
    let megabytes = (NUM_RECORDS * RECORD_BYTES) as f64 / 1e6;
    let mut report = Report::per_second("wal", "MB/s", megabytes, &rounds);
    let fastest = rounds.iter().map(|round| round.engine).min();
    let seconds = fastest.map_or(f64::NAN, |time| time.as_secs_f64());
    report.note("records_per_sec", NUM_RECORDS as f64 / seconds);
    report.note("syncs_per_sec", NUM_SYNCS as f64 / seconds);
    Ok(report)
}

fn write_plain(dir: &Path, record: &[u8]) -> Outcome<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .open(dir.join("plain"))?;
    let mut group = Vec::new();
    for _ in 0..NUM_SYNCS {
        group.clear();
        for _ in 0..RECORDS_PER_SYNC {
            group.extend([0; HEADER_BYTES]);
            group.extend(record);
        }
        file.write_all(&group)?;
        file.sync_data()?;
    }
    Ok(())
}

fn write_log(dir: &Path, record: &[u8]) -> Outcome<u64> {
    let lease = Lease::claim(Arc::new(LocalDisk::new()), dir, "bench")?;
    let options = WalOptions::default();
    let (wal, _) = Wal::open(Arc::new(lease), options, &mut |_| Ok(()))?;
    for _ in 0..NUM_SYNCS {
        for _ in 0..RECORDS_PER_SYNC {
            wal.append(record)?;
        }
        wal.commit()?;
    }
    Ok(wal.durable())
}
