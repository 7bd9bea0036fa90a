//! The node of a file stream: looks at folders when a batch is made.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::files::{FileFormat, FoundFile, check_glob, expand, is_glob, local_path};
use tidemill_core::{Context, Error, FileOptions, Operator, Rdd, Result};

use super::file_choice::{FileChoice, changed_ms, window};
use super::files::FileStreamOptions;
use crate::dstream::node::{AnyStream, Batch, StreamNode};
use crate::listener::InputInfo;
use crate::notice::warn;
use crate::time::Time;

/// Paths that a batch's description names at the most.
const MAX_NAMED: usize = 1_000;

/// The files that appear in a folder, or in the folders that a glob names.
pub(super) struct FileInput<F> {
    id: usize,
    ctx: Context,
    slide: Duration,
    folder: String,
    /// Or why there is none: an error of the start.
    format: Result<Arc<F>>,
    options: FileStreamOptions,
    choice: Mutex<FileChoice>,
    /// What was said of the folder last: the same is not said again.
    told: Mutex<Option<String>>,
}

impl<F: FileFormat> FileInput<F> {
    pub(super) fn new(
        id: usize,
        ctx: Context,
        slide: Duration,
        folder: &str,
        format: Result<F>,
        options: FileStreamOptions,
    ) -> Self {
        let since = if options.new_files_only {
            Time::from_ms(ctx.clock().now_ms())
        } else {
            Time::from_ms(0)
        };
        let choice = FileChoice::new(since, window(slide, options.min_remember));
        Self {
            id,
            ctx,
            slide,
            folder: folder.to_owned(),
            format: format.map(Arc::new),
            options,
            choice: Mutex::new(choice),
            told: Mutex::default(),
        }
    }

    /// The files of a batch. What cannot be looked at now is found by a later batch.
    fn files_of(&self, operator: &Operator, time: Time) -> Result<Vec<FoundFile>> {
        let mut choice = self.choice.lock();
        if let Some(earlier) = choice.earlier(time)? {
            return Ok(earlier);
        }
        choice.forget(time);
        let clock = self.ctx.clock();
        let began_us = clock.monotonic_us();
        let found = match self.look(operator, &choice, time) {
            Ok(found) => {
                *self.told.lock() = None;
                found
            }
            Err(error) => {
                self.complain(&error.with("operator", operator));
                Vec::new()
            }
        };
        let taken = Duration::from_micros(clock.monotonic_us().saturating_sub(began_us));
        if taken > self.slide {
            tracing::warn!(
                folder = self.folder, batch_time = %time, taken_ms = taken.as_millis(),
                "time taken to find new files is longer than a batch: \
                 move files that were read out of the folder"
            );
        }
        choice.record(time, found.clone());
        Ok(found)
    }

    /// Looks at the folders. All of the files that are due, or none.
    fn look(&self, operator: &Operator, choice: &FileChoice, time: Time) -> Result<Vec<FoundFile>> {
        let mut due: Vec<(i64, FoundFile)> = Vec::new();
        for folder in self.folders()? {
            let filter = &self.options.filter;
            let is_wanted =
                |path: &Path| !choice.is_known(path) && operator.call(|| filter.accepts(path));
            let found = list(&folder, &is_wanted, &mut |path, info| {
                let changed_ms = changed_ms(info);
                if choice.is_due(changed_ms, time) {
                    let size_bytes = info.len();
                    due.push((changed_ms, FoundFile { path, size_bytes }));
                }
            });
            found.map_err(|e| {
                Error::unavailable(
                    "error finding new files under a folder: they are looked for again",
                )
                .with("folder", folder.display())
                .caused_by(e)
            })?;
        }
        due.sort_by(|(a, left), (b, right)| (a, &left.path).cmp(&(b, &right.path)));
        Ok(due.into_iter().map(|(_, file)| file).collect())
    }

    /// The folders that are there.
    fn folders(&self) -> Result<Vec<PathBuf>> {
        let plain = local_path(&self.folder)?;
        let mut folders = if is_glob(plain) {
            expand(plain, &|_| true)?
        } else {
            vec![PathBuf::from(plain)]
        };
        folders.retain(|folder| folder.is_dir());
        if folders.is_empty() {
            return Err(Error::unavailable(
                "no directory to scan: batches are empty until it is there",
            )
            .with("folder", &self.folder));
        }
        Ok(folders)
    }

    fn complain(&self, error: &Error) {
        let mut told = self.told.lock();
        if told.as_deref() == Some(error.message()) {
            tracing::debug!(error = %error.report(), "files cannot be found");
            return;
        }
        *told = Some(error.message().to_owned());
        warn("file stream", error);
    }
}

/// Shows each wanted file of a folder, itself or what a link leads to. Only files that are wanted
/// are looked at.
fn list(
    folder: &Path,
    is_wanted: &dyn Fn(&Path) -> bool,
    found: &mut dyn FnMut(PathBuf, &Metadata),
) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            continue;
        }
        let path = entry.path();
        if !is_wanted(&path) {
            continue;
        }
        let info = if kind.is_symlink() {
            std::fs::metadata(&path)
        } else {
            entry.metadata()
        };
        match info {
            Ok(info) if info.is_file() => found(path, &info),
            Ok(_) => {}
            // Gone meanwhile, or a link that leads nowhere or in circles.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound)
                    || (kind.is_symlink() && !matches!(path.try_exists(), Ok(true))) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The paths, one a line, whatever is in them.
fn description(files: &[FoundFile]) -> String {
    let mut lines: Vec<String> = files
        .iter()
        .take(MAX_NAMED)
        .map(|file| file.path.display().to_string().replace('\n', "\\n"))
        .collect();
    if let Some(more) = files.len().checked_sub(MAX_NAMED + 1) {
        lines.push(format!("and {} more", more + 1));
    }
    lines.join("\n")
}

impl<F: FileFormat> StreamNode<F::Item> for FileInput<F> {
    fn compute(
        &self,
        operator: &Operator,
        time: Time,
        batch: &Batch,
    ) -> Result<Option<Rdd<F::Item>>> {
        let format = self.format.clone()?;
        let files = self
            .files_of(operator, time)
            .map_err(|e| e.with("operator", operator))?;
        batch.report(InputInfo {
            stream_id: self.id,
            // Counting them would be reading them.
            num_records: 0,
            description: description(&files),
        });
        let mut empty = files.iter().filter(|file| file.size_bytes == 0);
        if let Some(first) = empty.next() {
            let (path, others) = (first.path.display(), empty.count());
            tracing::warn!(%path, others, batch_time = %time, "file has no data in it");
        }
        let options = FileOptions {
            ignore_missing_files: self.options.ignore_missing_files,
            ignore_corrupt_files: self.options.ignore_corrupt_files,
            ..FileOptions::default()
        };
        let rdd = self.ctx.files_as(operator.clone(), &files, format, options);
        rdd.map(Some).map_err(|e| e.with("batch_time", time))
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        Vec::new()
    }

    fn input_id(&self) -> Option<usize> {
        Some(self.id)
    }

    fn validate(&self, operator: &Operator) -> Result<()> {
        let check = || {
            self.format.as_ref().map_err(Clone::clone)?;
            if self.options.min_remember.is_zero() {
                return Err(Error::invalid("min_remember must be positive"));
            }
            let plain = local_path(&self.folder)?;
            if is_glob(plain) {
                return check_glob(plain);
            }
            match std::fs::metadata(plain) {
                Ok(info) if !info.is_dir() => Err(Error::invalid(
                    "not a folder: a file stream reads the files in one",
                )
                .with("path", plain)),
                _ => Ok(()),
            }
        };
        check().map_err(|error| error.with("operator", operator))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S-077
    #[test]
    fn a_folder_that_cannot_be_listed_is_an_error() {
        let nothing = |_: &Path| -> bool { panic!("nothing to show") };
        for path in ["Cargo.toml", "/no/such/folder"] {
            assert!(list(Path::new(path), &nothing, &mut |_, _| ()).is_err());
        }
    }

    #[test]
    fn a_description_names_so_many_files_and_counts_the_rest() {
        let file = |number: usize| FoundFile {
            path: format!("/a/{number}").into(),
            size_bytes: 1,
        };
        let described =
            |num_files: usize| description(&(0..num_files).map(file).collect::<Vec<_>>());
        assert_eq!(described(2), "/a/0\n/a/1");
        assert_eq!(described(1_000).lines().count(), 1_000);
        assert!(described(1_001).ends_with("/a/999\nand 1 more"));
    }
}
