//! Which files belong to which batch: the rules, without a file system.
//!
//! A file is chosen once, by the first batch `T` that sees it with a time of last change in
//! `(threshold, T]`, the threshold being `T` less the window, or when the stream was made. What was
//! chosen is remembered for the window: later its time lies below the threshold.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidemill_core::files::FoundFile;
use tidemill_core::{Error, Result};

use crate::time::{Time, as_ms};

/// The files chosen lately.
#[derive(Debug)]
pub(super) struct FileChoice {
    /// Files that were changed at this time or before are not read.
    since: Time,
    window: Duration,
    recent: HashSet<Arc<Path>>,
    /// Batches that have files, within the window.
    batches: BTreeMap<Time, Vec<FoundFile>>,
    last: Option<Time>,
}

/// The least whole number of slides that is not shorter than `min_remember`.
pub(super) fn window(slide: Duration, min_remember: Duration) -> Duration {
    let slides = min_remember
        .as_nanos()
        .div_ceil(slide.as_nanos().max(1))
        .max(1);
    slide.saturating_mul(u32::try_from(slides).unwrap_or(u32::MAX))
}

impl FileChoice {
    pub(super) fn new(since: Time, window: Duration) -> Self {
        Self {
            since,
            window,
            recent: HashSet::new(),
            batches: BTreeMap::new(),
            last: None,
        }
    }

    /// What a batch chose that comes again; `None` for one that has not come yet.
    pub(super) fn earlier(&self, time: Time) -> Result<Option<Vec<FoundFile>>> {
        let Some(last) = self.last.filter(|last| time <= *last) else {
            return Ok(None);
        };
        if time < last - self.window {
            return Err(
                Error::data("files of the batch have been forgotten").with("batch_time", time)
            );
        }
        Ok(Some(self.batches.get(&time).cloned().unwrap_or_default()))
    }

    /// Whether a file needs no look: it was chosen within the window.
    pub(super) fn is_known(&self, path: &Path) -> bool {
        self.recent.contains(path)
    }

    /// Whether a file last changed at `changed_ms` is due in the batch `time`.
    pub(super) fn is_due(&self, changed_ms: i64, time: Time) -> bool {
        let threshold = self.since.max(time - self.window).as_ms();
        changed_ms > threshold && changed_ms <= time.as_ms()
    }

    /// Forgets what the window of the batch `time` has left behind.
    pub(super) fn forget(&mut self, time: Time) {
        let kept = self.batches.split_off(&(time - self.window));
        let forgotten = std::mem::replace(&mut self.batches, kept);
        for file in forgotten.into_values().flatten() {
            self.recent.remove(&*file.path);
        }
    }

    /// Notes what the batch `time` has chosen.
    pub(super) fn record(&mut self, time: Time, files: Vec<FoundFile>) {
        self.last = Some(time);
        if !files.is_empty() {
            self.recent
                .extend(files.iter().map(|file| Arc::from(&*file.path)));
            self.batches.insert(time, files);
        }
    }

    /// How many files are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.recent.len()
    }
}

/// A file's time of last change, in milliseconds since the epoch, rounded down.
pub(super) fn changed_ms(info: &std::fs::Metadata) -> i64 {
    use std::os::unix::fs::MetadataExt;
    let span = Duration::from_nanos(u64::try_from(info.mtime_nsec()).unwrap_or(0));
    info.mtime()
        .saturating_mul(1_000)
        .saturating_add(as_ms(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: i64) -> Time {
        Time::from_ms(1_000 * seconds)
    }

    fn file(name: &str) -> FoundFile {
        FoundFile {
            path: name.into(),
            size_bytes: 1,
        }
    }

    // S-070, S-071, S-075
    #[test]
    fn files_are_due_above_the_threshold_and_up_to_the_batch() {
        let choice = FileChoice::new(at(100), 10 * SECOND);
        let due = |ms, time| choice.is_due(ms, at(time));
        // Before the window reaches it, the threshold is when the stream was made.
        assert_eq!([100_000, 100_001].map(|ms| due(ms, 105)), [false, true]);
        assert_eq!([105_000, 105_001].map(|ms| due(ms, 105)), [true, false]);
        assert_eq!([110_000, 110_001].map(|ms| due(ms, 120)), [false, true]);
    }

    // S-078
    #[test]
    fn the_window_is_a_whole_number_of_slides() {
        let minute = 60 * SECOND;
        assert_eq!(window(SECOND, minute), minute);
        assert_eq!(window(7 * SECOND, minute), 63 * SECOND);
        assert_eq!(window(2 * minute, minute), 2 * minute);
        assert_eq!(window(SECOND, Duration::from_millis(1)), SECOND);
    }

    #[test]
    fn a_chosen_file_is_forgotten_when_its_time_is_below_the_threshold() {
        let mut choice = FileChoice::new(at(0), 10 * SECOND);
        choice.record(at(20), vec![file("a")]);
        for second in 21..=30 {
            choice.forget(at(second));
            choice.record(at(second), Vec::new());
            assert!(choice.is_known(Path::new("a")));
        }
        choice.forget(at(31));
        choice.record(at(31), vec![file("b")]);
        assert!(!choice.is_known(Path::new("a")) && !choice.is_due(20_000, at(31)));
        assert_eq!(choice.len(), 1);
    }

    #[test]
    fn a_batch_that_comes_again_has_the_same_files_or_none_at_all() {
        let mut choice = FileChoice::new(at(0), 10 * SECOND);
        assert!(choice.earlier(at(1)).unwrap().is_none());
        choice.record(at(1), vec![file("a")]);
        choice.record(at(2), Vec::new());
        assert_eq!(choice.earlier(at(1)).unwrap(), Some(vec![file("a")]));
        assert_eq!(choice.earlier(at(2)).unwrap(), Some(Vec::new()));
        choice.forget(at(12));
        choice.record(at(12), Vec::new());
        assert!(
            choice
                .earlier(at(1))
                .unwrap_err()
                .to_string()
                .contains("1000 ms")
        );
        assert_eq!(choice.earlier(at(2)).unwrap(), Some(Vec::new()));
    }

    #[test]
    fn memory_is_bounded_by_the_window() {
        let mut choice = FileChoice::new(at(0), 10 * SECOND);
        for second in 1..=1_000 {
            choice.forget(at(second));
            choice.record(
                at(second),
                vec![file(&format!("a{second}")), file(&format!("b{second}"))],
            );
            assert!(choice.len() <= 22, "{}", choice.len());
        }
    }
}
