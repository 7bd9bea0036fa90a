//! The folder of a save: reserved first, committed by the driver.
//!
//! Tasks only write files of their own into `_temporary`; nothing they do can be seen under a
//! part's name. When all have ended, the driver moves, for each partition, the one file whose task
//! it has the result of. There is no right to commit that an attempt could take and then lose, and
//! no attempt has to be denied.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::save::{Compression, SaveOptions};
use super::save_parts::Part;
use crate::error::{Error, Result};
use crate::files::{absolute, local_path};

const TEMPORARY: &str = "_temporary";
const SUCCESS: &str = "_SUCCESS";

/// An output that is not committed yet; taken back when it is dropped.
pub(super) struct OutputFolder {
    path: PathBuf,
    options: SaveOptions,
    /// Whether the save made the folder: then all in it is the save's own.
    is_new: bool,
    /// Folders above it that the save made, and the one they are in.
    above: Vec<PathBuf>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Tasks write. An earlier output is as it was.
    Open,
    /// Parts are being moved.
    Committing,
    Committed,
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::unavailable(what.to_owned())
        .with("path", path.display())
        .caused_by(error)
}

fn sync_folder(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| failed("folder cannot be synced", path, e))
}

impl OutputFolder {
    /// Makes the folder, or takes it over when it may be overwritten.
    pub(super) fn begin(path: &str, options: SaveOptions) -> Result<Self> {
        let path = absolute(local_path(path)?.as_ref())?;
        let above = make_above(&path)?;
        let is_new = match fs::create_dir(&path) {
            Ok(()) => true,
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("output directory cannot be made", &path, error));
            }
            Err(_) if options.overwrite && path.is_dir() => false,
            Err(_) => return Err(exists(&path)),
        };
        let folder = Self {
            path,
            options,
            is_new,
            above,
            state: State::Open,
        };
        let temporary = folder.temporary();
        // Left by a save that was killed.
        remove_folder(&temporary)
            .and_then(|()| fs::create_dir(&temporary))
            .map_err(|e| failed("output directory cannot be written", &temporary, e))?;
        Ok(folder)
    }

    /// Where the attempts write.
    pub(super) fn temporary(&self) -> PathBuf {
        self.path.join(TEMPORARY)
    }

    /// Makes the parts, and nothing else, the output. Each step can be repeated by another save.
    pub(super) fn commit(mut self, parts: &[Part]) -> Result<()> {
        self.state = State::Committing;
        if !self.is_new {
            self.remove_earlier(SUCCESS)?;
            self.sync()?;
        }
        let mut names = Vec::with_capacity(parts.len());
        for part in parts {
            let name = part_name(part.split, self.options.compression);
            let from = self.temporary().join(&part.file_name);
            let to = self.path.join(&name);
            fs::rename(&from, &to).map_err(|e| failed("output cannot be moved", &to, e))?;
            names.push(name);
        }
        if !self.is_new {
            self.remove_other_parts(&names)?;
        }
        let temporary = self.temporary();
        remove_folder(&temporary)
            .map_err(|e| failed("temporary output cannot be removed", &temporary, e))?;
        self.sync()?;
        let success = self.path.join(SUCCESS);
        File::create(&success).map_err(|e| failed("output cannot be written", &success, e))?;
        self.sync()?;
        if self.options.sync {
            self.above
                .iter()
                .try_for_each(|folder| sync_folder(folder))?;
        }
        self.state = State::Committed;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        if self.options.sync {
            sync_folder(&self.path)?;
        }
        Ok(())
    }

    fn remove_earlier(&self, name: &str) -> Result<()> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("earlier output cannot be removed", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// Parts of an earlier output that had more of them, or packed them otherwise.
    fn remove_other_parts(&self, names: &[String]) -> Result<()> {
        let unreadable = |e| failed("earlier output cannot be read", &self.path, e);
        let names: std::collections::HashSet<&str> = names.iter().map(String::as_str).collect();
        for entry in fs::read_dir(&self.path).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            if let Some(name) = name.to_str()
                && is_part(name)
                && !names.contains(name)
            {
                self.remove_earlier(name)?;
            }
        }
        Ok(())
    }
}

impl Drop for OutputFolder {
    /// Takes back what was not committed: there is no `_SUCCESS` of ours and nothing else is left,
    /// so that the same save can be tried again. Of an earlier output that was to be replaced,
    /// parts may be gone or new when a commit failed; it has no `_SUCCESS` then.
    fn drop(&mut self) {
        match self.state {
            State::Committed => return,
            State::Committing => drop(fs::remove_file(self.path.join(SUCCESS))),
            State::Open => {}
        }
        let removed = if self.is_new {
            remove_folder(&self.path)
        } else {
            remove_folder(&self.temporary())
        };
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "failed output is not removed");
        }
    }
}

fn exists(path: &Path) -> Error {
    Error::invalid("output directory already exists")
        .with("path", path.display())
        .with(
            "hint",
            "SaveOptions { overwrite: true, .. } replaces an earlier output",
        )
}

/// `part-00007`, with what says how it is packed.
fn part_name(split: usize, compression: Compression) -> String {
    let extension = match compression {
        Compression::None => "",
        Compression::Gzip => ".gz",
    };
    format!("part-{split:05}{extension}")
}

fn is_part(name: &str) -> bool {
    let number = name.strip_prefix("part-").unwrap_or_default();
    let number = number.strip_suffix(".gz").unwrap_or(number);
    number.len() >= 5 && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Makes the folders above; returns those whose entries are new, innermost first.
fn make_above(path: &Path) -> Result<Vec<PathBuf>> {
    let Some(parent) = path.parent() else {
        return Err(exists(path));
    };
    let mut above: Vec<PathBuf> = Vec::new();
    for folder in parent.ancestors() {
        above.push(folder.to_path_buf());
        if folder.exists() {
            break;
        }
    }
    fs::create_dir_all(parent)
        .map_err(|e| failed("folder of the output cannot be made", parent, e))?;
    Ok(above)
}

/// Removes a folder with all in it, if it is there. A task that was given up may be making a last
/// file in it meanwhile.
fn remove_folder(path: &Path) -> io::Result<()> {
    const MAX_TRIES: u32 = 10;
    let mut result = Ok(());
    for _ in 0..MAX_TRIES {
        result = match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        };
        match &result {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            _ => break,
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(folder: &OutputFolder, split: usize) -> Part {
        let file_name = format!("attempt-{split}");
        fs::write(folder.temporary().join(&file_name), split.to_string()).unwrap();
        Part { split, file_name }
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn begin(path: &Path, overwrite: bool) -> Result<OutputFolder> {
        let options = SaveOptions {
            overwrite,
            ..SaveOptions::default()
        };
        OutputFolder::begin(path.to_str().unwrap(), options)
    }

    #[test]
    fn a_commit_leaves_the_parts_and_success() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("above/out");
        let folder = begin(&path, false).unwrap();
        let parts = [part(&folder, 0), part(&folder, 12)];
        // The file of an attempt that nobody asked for.
        part(&folder, 3);
        folder.commit(&parts).unwrap();
        assert_eq!(names(&path), ["_SUCCESS", "part-00000", "part-00012"]);
        assert_eq!(fs::read(path.join("part-00012")).unwrap(), b"12");
    }

    // C-172
    #[test]
    fn what_is_not_committed_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("out");
        let folder = begin(&path, false).unwrap();
        let there = part(&folder, 0);
        let gone = Part {
            split: 1,
            file_name: "gone".to_owned(),
        };
        let error = folder.commit(&[there, gone]).unwrap_err();
        assert!(
            error.fact("path").unwrap().ends_with("part-00001"),
            "{error}"
        );
        assert!(!path.exists());
        drop(begin(&path, false).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn an_earlier_output_is_replaced_and_other_files_stay() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("out");
        fs::create_dir(&path).unwrap();
        for name in [
            "_SUCCESS",
            "part-00000.gz",
            "part-00001",
            "part-1",
            "mine",
            "part-00001.txt",
        ] {
            fs::write(path.join(name), "old").unwrap();
        }
        fs::create_dir(path.join("_temporary")).unwrap();
        fs::write(path.join("_temporary/left"), "old").unwrap();
        let folder = begin(&path, true).unwrap();
        assert_eq!(names(&folder.temporary()), [""; 0]);
        let parts = [part(&folder, 0)];
        folder.commit(&parts).unwrap();
        let expected = ["_SUCCESS", "mine", "part-00000", "part-00001.txt", "part-1"];
        assert_eq!(names(&path), expected);
    }

    #[test]
    fn an_output_that_was_to_be_replaced_is_not_whole_when_that_fails() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("out");
        let folder = begin(&path, false).unwrap();
        let parts = [part(&folder, 0)];
        folder.commit(&parts).unwrap();
        // A job that failed has changed nothing.
        drop(begin(&path, true).unwrap());
        assert_eq!(names(&path), ["_SUCCESS", "part-00000"]);
        let gone = Part {
            split: 0,
            file_name: "gone".to_owned(),
        };
        begin(&path, true).unwrap().commit(&[gone]).unwrap_err();
        assert_eq!(names(&path), ["part-00000"]);
        assert!(path.join("part-00000").exists() && !path.join("_temporary").exists());
    }

    // C-171
    #[test]
    fn a_path_that_exists_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        for (path, overwrite) in [(root.path(), false), (&file, false), (&file, true)] {
            let error = begin(path, overwrite).err().unwrap();
            assert!(error.message().contains("already exists"), "{error}");
        }
        assert!(begin(&file.join("below"), false).is_err());
        assert_eq!(names(root.path()), ["file"]);
    }
}
