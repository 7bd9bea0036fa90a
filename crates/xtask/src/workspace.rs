//! The checkout: where it is, what cargo says about it, and its Rust sources.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The workspace this program was started in.
pub(crate) struct Workspace {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// Cargo's target directory, absolute.
    pub(crate) target: PathBuf,
    /// What `cargo metadata --no-deps` printed.
    pub(crate) metadata: Value,
}

/// One Rust file of the workspace.
pub(crate) struct Source {
    /// The path below the root, with forward slashes.
    pub(crate) path: String,
    /// The file's text.
    pub(crate) text: String,
}

impl Workspace {
    /// Asks cargo about the workspace around the current folder.
    pub(crate) fn load() -> Result<Self, String> {
        let output = Command::new(cargo())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output()
            .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
        if !output.status.success() {
            return Err(format!(
                "cargo metadata failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("cargo metadata printed no JSON: {error}"))?;
        let folder = |key: &str| {
            metadata
                .get(key)
                .and_then(Value::as_str)
                .map(PathBuf::from)
                .ok_or(format!("cargo metadata has no {key}"))
        };
        Ok(Self {
            root: folder("workspace_root")?,
            target: folder("target_directory")?,
            metadata,
        })
    }

    /// A cargo command that runs at the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(cargo());
        command.current_dir(&self.root);
        command
    }

    /// Every Rust file below `crates`, sorted by path.
    pub(crate) fn sources(&self) -> Result<Vec<Source>, String> {
        let mut sources = Vec::new();
        let mut folders = vec![self.root.join("crates")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(|error| about(&folder, &error))? {
                let path = entry.map_err(|error| about(&folder, &error))?.path();
                if path.is_dir() {
                    if path.file_name().is_none_or(|name| name != "target") {
                        folders.push(path);
                    }
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    sources.push(self.source(&path)?);
                }
            }
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(sources)
    }

    fn source(&self, path: &Path) -> Result<Source, String> {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        Ok(Source {
            path: below.to_string_lossy().replace('\\', "/"),
            text: read(path)?,
        })
    }
}

/// Reads a text file; the error names it.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| about(path, &error))
}

/// An I/O error with the path it is about.
pub(crate) fn about(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The cargo that started this program, so that a chosen toolchain stays chosen.
fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}
