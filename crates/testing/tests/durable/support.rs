//! What the suites share: opening things, and disks to open them on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_core::Result;
use tidemill_streaming::checkpoint::Lease;
use tidemill_streaming::disk::{Disk, LocalDisk};
use tidemill_streaming::wal::{Recovered, Wal, WalOptions};
use tidemill_testing::SimDisk;

/// Where everything is on a simulated disk.
pub(crate) const DIR: &str = "/app";

pub(crate) const APPLICATION: &str = "wordcount";

/// A place to work in.
pub(crate) struct Site {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    /// Removes the directory at the end.
    _scratch: Option<tempfile::TempDir>,
}

impl Site {
    pub(crate) fn lease(&self) -> Result<Arc<Lease>> {
        Lease::claim(Arc::clone(&self.disk), &self.dir, APPLICATION).map(Arc::new)
    }
}

/// Runs a trial on the machine's disk, on a simulated one, and on one that takes few bytes at a time.
pub(crate) fn on_every_disk(trial: impl Fn(&Site)) {
    let scratch = tempfile::tempdir().unwrap();
    trial(&Site {
        disk: Arc::new(LocalDisk::new()),
        dir: scratch.path().join("app"),
        _scratch: Some(scratch),
    });
    for has_short_writes in [false, true] {
        let disk = SimDisk::new(1);
        disk.set_faults(tidemill_testing::DiskFaults {
            has_short_writes,
            ..Default::default()
        });
        trial(&Site {
            disk: Arc::new(disk),
            dir: PathBuf::from(DIR),
            _scratch: None,
        });
    }
}

/// A claim on a simulated disk.
pub(crate) fn lease(disk: &SimDisk) -> Result<Arc<Lease>> {
    Lease::claim(Arc::new(disk.clone()), DIR, APPLICATION).map(Arc::new)
}

/// Opens the log and gives what it hands out.
pub(crate) fn open(
    lease: Arc<Lease>,
    options: &WalOptions,
) -> Result<(Wal, Recovered, Vec<Vec<u8>>)> {
    let mut records = Vec::new();
    let mut expected = options.replay_from;
    let (wal, recovered) = Wal::open(lease, *options, &mut |record| {
        assert!(record.lsn >= expected, "records come in order");
        expected = record.lsn + 1;
        records.push(record.body.to_vec());
        Ok(())
    })?;
    Ok((wal, recovered, records))
}

/// The files of the log on a simulated disk, sorted.
pub(crate) fn wal_files(disk: &SimDisk) -> Vec<PathBuf> {
    let dir = Path::new(DIR).join("wal");
    let is_of_log = |path: &PathBuf| path.parent() == Some(&dir);
    disk.paths().into_iter().filter(is_of_log).collect()
}
