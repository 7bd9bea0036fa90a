//! Where input files are: lists of paths, globs, folders.
//!
//! Public for the engine's own crates; programs use the methods of `Context`.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

pub use crate::rdd::{BinaryRecords, FileFormat, FileSplit, TextLines};

/// How files are read.
///
/// ```
/// use tidemill_core::FileOptions;
///
/// let options = FileOptions { recursive: true, ..FileOptions::default() };
/// assert!(!options.ignore_missing_files);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOptions {
    /// At least about so many partitions. Default: two, or one where one task runs at a time.
    pub min_partitions: Option<usize>,
    /// Whether folders inside a folder are read too. Default false: they are refused.
    pub recursive: bool,
    /// Whether a path that does not exist, or a file that is gone when a task comes to it, is
    /// passed over with a warning. Default false: it fails the action.
    pub ignore_missing_files: bool,
    /// Whether the rest of a file that cannot be read or is damaged is passed over with a warning;
    /// what was read before is kept. Default false: it fails the action.
    pub ignore_corrupt_files: bool,
}

/// A file as it was when it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Where it is; absolute.
    pub path: PathBuf,
    /// How long it was.
    pub size_bytes: u64,
}

/// The local path that a path or `file:` URI means.
///
/// # Errors
/// `Invalid` for an empty path, `Unsupported` for a URI of another scheme.
pub fn local_path(path: &str) -> Result<&str> {
    if path.is_empty() {
        return Err(Error::invalid("path is empty"));
    }
    if let Some(rest) = path.strip_prefix("file:")
        && rest.starts_with('/')
    {
        // `file:///a` and `file:/a` are the same.
        return Ok(rest.strip_prefix("//").unwrap_or(rest));
    }
    let scheme = path.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some(scheme) if !scheme.is_empty() && !scheme.contains(['/', '{', '*', '?', '[']) => {
            let error = Error::new(ErrorKind::Unsupported, "only local files can be used here");
            Err(error.with("path", path).with("scheme", scheme))
        }
        _ => Ok(path),
    }
}

/// The path as it is seen from every folder.
///
/// # Errors
/// `Unavailable` when the current folder is gone.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| unreadable(path, e))
}

/// The paths of a list. A comma inside braces belongs to a glob.
pub(crate) fn paths(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    let comma = move |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    list.split(comma)
        .map(str::trim)
        .filter(|path| !path.is_empty())
}

fn missing(path: &str) -> Error {
    Error::invalid("input path does not exist: Input path does not exist").with("path", path)
}

/// The error of a file that a program could read at another time.
pub(crate) fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::unavailable("file cannot be read")
        .with("path", path.display())
        .caused_by(error)
}

/// The files of a list of paths and globs, each path's sorted. Names that begin with `_` or `.`
/// are skipped; a folder stands for the files directly in it, or for all below it.
pub(crate) fn find_files(list: &str, options: &FileOptions) -> Result<Vec<FoundFile>> {
    let mut files = Vec::new();
    for pattern in paths(list) {
        let plain = local_path(pattern)?;
        let matches = if is_glob(plain) {
            expand(plain, &is_visible)?
        } else {
            vec![absolute(plain.as_ref())?]
        };
        let mut is_found = false;
        for path in matches {
            match std::fs::metadata(&path) {
                Ok(info) => add(path, &info, options, &mut files)?,
                Err(error) if is_missing(&error) => continue,
                Err(error) => return Err(unreadable(&path, error)),
            }
            is_found = true;
        }
        if !is_found && !options.ignore_missing_files {
            return Err(missing(plain));
        }
        if !is_found {
            tracing::warn!(path = plain, "input path does not exist and is passed over");
        }
    }
    Ok(files)
}

fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// Adds a file, or the files of a folder.
fn add(
    path: PathBuf,
    info: &std::fs::Metadata,
    options: &FileOptions,
    files: &mut Vec<FoundFile>,
) -> Result<()> {
    if !info.is_dir() {
        let size_bytes = info.len();
        files.push(FoundFile { path, size_bytes });
        return Ok(());
    }
    // A folder that is reached again through a link would be read for ever.
    let mut seen = HashSet::from([(info.dev(), info.ino())]);
    let mut open = vec![path];
    while let Some(folder) = open.pop() {
        let mut inner = Vec::new();
        for child in children(&folder, &is_visible)? {
            let info = match std::fs::metadata(&child) {
                Err(error) if options.ignore_missing_files && is_missing(&error) => continue,
                info => info.map_err(|e| unreadable(&child, e))?,
            };
            if !info.is_dir() {
                let (path, size_bytes) = (child, info.len());
                files.push(FoundFile { path, size_bytes });
            } else if !options.recursive {
                let error = "not a file: folders inside an input folder are not read";
                return Err(Error::invalid(error)
                    .with("path", child.display())
                    .with("hint", "FileOptions { recursive: true, .. }"));
            } else if seen.insert((info.dev(), info.ino())) {
                inner.push(child);
            }
        }
        open.extend(inner.into_iter().rev());
    }
    Ok(())
}

fn is_visible(name: &str) -> bool {
    !name.starts_with(['_', '.'])
}

/// Entries of a folder whose names are wanted, sorted by name.
fn children(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|e| unreadable(folder, e))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| unreadable(folder, e))?;
        if wanted(&entry.file_name().to_string_lossy()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether a path has a wildcard: `*`, `?`, `[ab]`, `{a,b}`.
#[must_use]
pub fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '[', '{'])
}

fn matcher(pattern: &str) -> Result<GlobMatcher> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    let glob = glob.map_err(|e| {
        Error::invalid("path is not a valid glob")
            .with("path", pattern)
            .caused_by(e)
    })?;
    Ok(glob.compile_matcher())
}

/// Refuses a glob that cannot be understood.
///
/// # Errors
/// `Invalid`, with the pattern.
pub fn check_glob(pattern: &str) -> Result<()> {
    matcher(pattern).map(drop)
}

/// All paths that match a glob, walking from its last folder without a wildcard; absolute, sorted.
/// Names that are not `wanted` are not looked at.
///
/// # Errors
/// `Invalid` for a glob that cannot be understood, `Unavailable` when a folder cannot be read.
pub fn expand(pattern: &str, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let pattern = pattern.trim_end_matches('/');
    let glob = matcher(pattern)?;
    let wild = pattern.find(['*', '?', '[', '{']).unwrap_or(pattern.len());
    let base = pattern
        .get(..wild)
        .and_then(|fixed| fixed.rfind('/').map(|at| &fixed[..=at]));
    let depth = pattern
        .get(base.map_or(0, str::len)..)
        .map_or(1, |rest| rest.matches('/').count() + 1);
    let mut level = vec![PathBuf::from(base.unwrap_or("."))];
    for _ in 0..depth {
        let mut next = Vec::new();
        for folder in level.iter().filter(|path| path.is_dir()) {
            next.extend(children(folder, wanted)?);
        }
        level = next;
    }
    level
        .into_iter()
        .map(|path| match base {
            Some(_) => path,
            None => path
                .strip_prefix(".")
                .map_or_else(|_| path.clone(), Path::to_path_buf),
        })
        .filter(|path| glob.is_match(path))
        .map(|path| absolute(&path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_local_or_refused() {
        for (path, local) in [
            ("/a/b", "/a/b"),
            ("a", "a"),
            ("file:///a/b", "/a/b"),
            ("file:/a/b", "/a/b"),
            ("file:a", "file:a"),
            ("{a,b}://c", "{a,b}://c"),
        ] {
            assert_eq!(local_path(path).unwrap(), local);
        }
        for path in ["hdfs://host/a", "s3a://bucket/key", ""] {
            let error = local_path(path).unwrap_err();
            assert_ne!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
    }

    #[test]
    fn a_comma_inside_braces_belongs_to_the_glob() {
        let found: Vec<&str> = paths(" a, b{c,d} ,,e").collect();
        assert_eq!(found, ["a", "b{c,d}", "e"]);
    }

    #[test]
    fn recursion_ends_at_a_folder_it_has_seen() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("b/c");
        std::fs::create_dir_all(&inner).unwrap();
        for file in ["a", "d", "b/x", "b/c/y", "b/_hidden"] {
            std::fs::write(root.path().join(file), "1").unwrap();
        }
        std::os::unix::fs::symlink(root.path(), inner.join("loop")).unwrap();
        let options = FileOptions {
            recursive: true,
            ..FileOptions::default()
        };
        let found = find_files(&root.path().display().to_string(), &options).unwrap();
        let names: Vec<&Path> = found
            .iter()
            .map(|file| file.path.strip_prefix(root.path()).unwrap())
            .collect();
        assert_eq!(names, ["a", "d", "b/x", "b/c/y"].map(Path::new));
    }
}
