//! A directory of log files, checked as one log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_core::{Error, ErrorKind, Result};

use super::entry::{MAX_SEGMENT_HEADER_BYTES, SegmentHeader, parse_file_name};
use super::scan::{Damage, Scan, Scanned, Visitor};
use super::window::Window;
use super::{Record, Recovered, Segment, WalOptions};
use crate::bytes::FrameFault;
use crate::disk::{self, Disk};

/// Where in a driver's directory its log is.
pub(super) const FOLDER: &str = "wal";

/// Reads a log and changes nothing: for tools, and for logs of drivers that are at work.
///
/// `dir` is the directory that a [`Lease`](crate::checkpoint::Lease) was claimed for.
///
/// ```
/// use std::sync::Arc;
/// use tidemill_streaming::checkpoint::Lease;
/// use tidemill_streaming::disk::LocalDisk;
/// use tidemill_streaming::wal::{Wal, WalOptions, inspect};
///
/// let dir = tempfile::tempdir()?;
/// let lease = Lease::claim(Arc::new(LocalDisk::new()), dir.path(), "wordcount")?;
/// let (wal, _) = Wal::open(Arc::new(lease), WalOptions::default(), &mut |_| Ok(()))?;
/// wal.append(b"hello")?;
/// wal.commit()?;
/// let found = inspect(&LocalDisk::new(), dir.path(), &WalOptions::default(), &mut |record| {
///     assert_eq!(record.body, b"hello");
///     Ok(())
/// })?;
/// assert_eq!((found.next, found.segments().count()), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`Wal::open`](super::Wal::open), except that no driver is in the way.
pub fn inspect(
    disk: &dyn Disk,
    dir: &Path,
    options: &WalOptions,
    visit: &mut dyn FnMut(Record<'_>) -> Result<()>,
) -> Result<Recovered> {
    let check = Check {
        disk,
        dir: &dir.join(FOLDER),
        options,
        owner: None,
    };
    check.run(visit).map(|log| log.recovered)
}

/// What one reading of a log is about.
#[derive(Debug)]
pub(super) struct Check<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) dir: &'a Path,
    pub(super) options: &'a WalOptions,
    /// Application and epoch of the driver that takes the log over.
    pub(super) owner: Option<(&'a str, u64)>,
}

/// A log that was read.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) recovered: Recovered,
    /// The newest file, unless it cannot be read.
    pub(super) newest: Option<Newest>,
    /// The number of the next file.
    pub(super) sequence: u64,
}

/// The file whose last bytes may be in memory only.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) window: Window,
    pub(super) seed: u32,
    pub(super) end: u64,
    pub(super) next: u64,
}

/// A log file by its name.
#[derive(Clone, Debug)]
struct File {
    sequence: u64,
    epoch: u64,
    path: PathBuf,
}

/// A file whose header is right.
struct Headed {
    window: Window,
    header: SegmentHeader,
    length: usize,
    seed: u32,
}

impl Check<'_> {
    /// Reads all files in order and hands out the records that are needed.
    pub(super) fn run(&self, visit: Visitor<'_>) -> Result<Log> {
        let (files, strays) = self.files()?;
        let mut log = Log::default();
        log.recovered.strays = strays.into_iter().map(|file| file.path).collect();
        let mut expected = None;
        let mut owner = self.owner.map(|(application, _)| application.to_owned());
        let num_files = files.len();
        for (index, file) in files.into_iter().enumerate() {
            log.sequence = file.sequence + 1;
            let is_last = index + 1 == num_files;
            let Some(headed) = self.headed(&file, &mut log, is_last)? else {
                continue;
            };
            self.owned(&headed, &mut owner)?;
            self.connected(&headed, expected, &mut log)?;
            let (next, newest) = self.scan(headed, file.sequence, is_last, &mut log, visit)?;
            expected = Some(next);
            log.newest = Some(newest);
        }
        log.recovered.next = log.recovered.next.max(expected.unwrap_or(0));
        self.complete(&mut log)?;
        Ok(log)
    }

    /// The log's files in order, and those of drivers that were replaced before they wrote them.
    fn files(&self) -> Result<(Vec<File>, Vec<File>)> {
        let names = disk::list(self.disk, self.dir)?;
        let mut files: Vec<File> = names
            .iter()
            .filter_map(|name| {
                let (sequence, epoch) = parse_file_name(name)?;
                let path = self.dir.join(name);
                Some(File {
                    sequence,
                    epoch,
                    path,
                })
            })
            .collect();
        files.sort_unstable_by_key(|file| (file.epoch, file.sequence));
        // A driver begins its first file behind all that it found: what an older epoch has at or
        // behind that place was not there yet.
        let (mut kept, mut strays) = (Vec::new(), Vec::new());
        let mut begin_of_later = u64::MAX;
        let mut epoch = u64::MAX;
        let mut begin = u64::MAX;
        for file in files.into_iter().rev() {
            if file.epoch != epoch {
                (epoch, begin_of_later) = (file.epoch, begin_of_later.min(begin));
            }
            if file.sequence >= begin_of_later {
                strays.push(file);
            } else {
                begin = file.sequence;
                kept.push(file);
            }
        }
        kept.reverse();
        Ok((kept, strays))
    }

    /// Reads a file's header; `None` when it is damaged and damage is skipped.
    fn headed(&self, file: &File, log: &mut Log, is_last: bool) -> Result<Option<Headed>> {
        let mut window = Window::open(self.disk, file.path.clone())?;
        let num_bytes = window.num_bytes();
        let bytes = window.at(0, num_bytes.min(MAX_SEGMENT_HEADER_BYTES))?;
        let reason = match SegmentHeader::decode(bytes.unwrap_or_default()) {
            Err(FrameFault::Version(version)) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "log was written by a newer version of Tidemill, use that one",
                )
                .with("file", file.path.display())
                .with("version", version));
            }
            Ok((header, length, seed)) => {
                if (header.sequence, header.epoch) == (file.sequence, file.epoch) {
                    return Ok(Some(Headed {
                        window,
                        header,
                        length,
                        seed,
                    }));
                }
                String::from("file's name is not its own")
            }
            Err(fault) => format!("file's header: {fault}"),
        };
        let damage = self.damage(&file.path, reason)?;
        log.recovered.skipped.push(damage.skipped(num_bytes, 0));
        // Nobody can say how many records it has; those of the newest file get no second time.
        let first = log.next();
        let end = if is_last { first + num_bytes } else { first };
        log.recovered.segments.push(Segment {
            path: file.path.clone(),
            sequence: file.sequence,
            records: first..end,
        });
        log.recovered.next = end;
        log.newest = None;
        Ok(None)
    }

    fn owned(&self, headed: &Headed, owner: &mut Option<String>) -> Result<()> {
        let header = &headed.header;
        let owner = owner.get_or_insert_with(|| header.application.clone());
        if *owner != header.application {
            return Err(Error::invalid("log belongs to another application")
                .with("file", headed.window.path().display())
                .with("application", owner)
                .with("owner", &header.application));
        }
        match self.owner {
            Some((_, epoch)) if header.epoch >= epoch => Err(Error::new(
                ErrorKind::Closed,
                "log was written after this driver's claim: another is at work, or the epoch file was lost",
            )
            .with("file", headed.window.path().display())
            .with("epoch", epoch)
            .with("written", header.epoch)),
            _ => Ok(()),
        }
    }

    /// Whether the file begins where the one before ends.
    fn connected(&self, headed: &Headed, expected: Option<u64>, log: &mut Log) -> Result<()> {
        let first = headed.header.first;
        let from = expected.unwrap_or_else(|| self.options.replay_from.min(first));
        if first < from {
            return Err(
                Error::data("log repeats record numbers, restore it from a copy")
                    .with("file", headed.window.path().display())
                    .with("offset", 0)
                    .with("first", first)
                    .with("expected", from),
            );
        }
        if first > from {
            let reason = format!("records {from} to {} are missing before it", first - 1);
            let damage = self.damage(headed.window.path(), reason)?;
            log.recovered.skipped.push(damage.skipped(0, first - from));
        }
        Ok(())
    }

    fn scan(
        &self,
        headed: Headed,
        sequence: u64,
        is_last: bool,
        log: &mut Log,
        visit: Visitor<'_>,
    ) -> Result<(u64, Newest)> {
        let Headed {
            mut window,
            header,
            length,
            seed,
        } = headed;
        let scan = Scan {
            window: &mut window,
            seed,
            is_last,
            on_damage: self.options.on_damage,
        };
        let (from, num_replayed) = (self.options.replay_from, &mut log.recovered.num_replayed);
        let scanned = scan.run(length as u64, header.first, &mut |record| {
            if record.lsn < from {
                return Ok(());
            }
            *num_replayed += 1;
            visit(record)
        })?;
        let Scanned {
            next,
            end,
            cut,
            skipped,
        } = scanned;
        log.recovered.segments.push(Segment {
            path: window.path().to_owned(),
            sequence,
            records: header.first..next,
        });
        log.recovered.cut = cut;
        log.recovered.skipped.extend(skipped);
        let newest = Newest {
            window,
            seed,
            end,
            next,
        };
        Ok((next, newest))
    }

    /// Whether the log reaches as far as the checkpoint knows.
    fn complete(&self, log: &mut Log) -> Result<()> {
        let known_to = self.options.known_to.max(self.options.replay_from);
        let next = log.recovered.next;
        if next >= known_to {
            return Ok(());
        }
        let reason =
            format!("log ends before record {next}, the checkpoint knows those before {known_to}");
        let (path, offset) = match log.newest.as_ref() {
            Some(newest) => (newest.window.path(), newest.end),
            None => (self.dir, 0),
        };
        let damage = Damage {
            file: path.to_owned(),
            offset,
            reason,
        };
        let damage = damage.refuse_unless(self.options.on_damage)?;
        log.recovered
            .skipped
            .push(damage.skipped(0, known_to - next));
        log.recovered.next = known_to;
        Ok(())
    }

    fn damage(&self, path: &Path, reason: String) -> Result<Damage> {
        let damage = Damage {
            file: path.to_owned(),
            offset: 0,
            reason,
        };
        damage.refuse_unless(self.options.on_damage)
    }
}

impl Log {
    /// The number behind the last record of the files so far.
    fn next(&self) -> u64 {
        self.recovered
            .segments
            .last()
            .map_or(0, |segment| segment.records.end)
    }

    /// Says in the program's log what was cut, skipped and ignored.
    pub(super) fn announce(&self) {
        if let Some(cut) = &self.recovered.cut {
            tracing::warn!(
                file = %cut.file.display(), offset = cut.offset, bytes = cut.num_bytes,
                records = cut.num_records, "torn end of the log is cut: it was never confirmed",
            );
        }
        for skipped in &self.recovered.skipped {
            tracing::error!(
                file = %skipped.file.display(), offset = skipped.offset, bytes = skipped.num_bytes,
                records = skipped.num_records, reason = skipped.reason, "damage in the log is skipped",
            );
        }
        for stray in &self.recovered.strays {
            tracing::warn!(file = %stray.display(), "log file of a replaced driver is ignored");
        }
    }
}

/// Writes the newest file anew, up to its last record and with a footer, over itself.
///
/// What was read may be in memory only, the footer, too, and a sync that failed once cannot be
/// repeated: the records must be written again before anything acts on them.
pub(super) fn seal(disk: &Arc<dyn Disk>, newest: Newest, attempt: &str) -> Result<()> {
    let Newest {
        mut window,
        seed,
        end,
        next,
    } = newest;
    let path = window.path().to_owned();
    let mut file = disk::Unpublished::create(disk, &path, attempt)?;
    match copy(&mut window, end, &mut file)
        .and_then(|()| file.append(&super::entry::RecordHeader::footer(next).encode(seed)))
    {
        Ok(()) => file.publish().map(drop),
        Err(error) => {
            file.abandon();
            Err(error)
        }
    }
}

fn copy(window: &mut Window, end: u64, file: &mut disk::Unpublished) -> Result<()> {
    const STEP_BYTES: u64 = 1 << 20;
    let mut offset = 0;
    while offset < end {
        let length = STEP_BYTES.min(end - offset);
        let bytes = window.at(offset, length)?.ok_or_else(|| {
            Error::unavailable("log file became shorter while it was read").with("offset", offset)
        })?;
        file.append(bytes)?;
        offset += length;
    }
    Ok(())
}
