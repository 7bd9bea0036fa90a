//! A crate outside the workspace with the program that the README tells new users to copy.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use crate::workspace::{Workspace, about, read};

/// The README's heading contains these words.
const HEADING: &str = "own crate";

/// Builds the README's program as a new crate in a temporary folder, with its own part of the target directory.
pub(super) fn build(workspace: &Workspace) -> Result<(), String> {
    let readme = read(&workspace.root.join("README.md"))?;
    let program = program(&readme).ok_or(format!(
        "README.md has no ```rust program under a heading with `{HEADING}`"
    ))?;
    let folder = Folder::create()?;
    folder.write(
        "Cargo.toml",
        &manifest(&workspace.root.join("crates/tidemill")),
    )?;
    folder.write("src/main.rs", &program)?;
    // The versions that the workspace was tested with; cargo drops what the crate does not need.
    if let Ok(lock) = read(&workspace.root.join("Cargo.lock")) {
        folder.write("Cargo.lock", &lock)?;
    }
    let status = workspace
        .cargo()
        .arg("build")
        .arg("--target-dir")
        .arg(workspace.target.join("scratch"))
        .current_dir(&folder.0)
        .status()
        .map_err(|error| format!("cannot run cargo build: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(String::from("the README's program does not build"))
    }
}

fn manifest(facade: &Path) -> String {
    let facade = facade.display().to_string();
    format!(
        "[package]\nname = \"my-stream\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dependencies]\ntidemill = {{ path = {facade:?} }}\n\n[workspace]\n"
    )
}

/// The first Rust block with a `main` under the heading.
fn program(readme: &str) -> Option<String> {
    let mut lines = readme.lines();
    lines.find(|line| line.starts_with('#') && line.to_lowercase().contains(HEADING))?;
    while lines.find(|line| line.starts_with("```rust")).is_some() {
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if block.iter().any(|line| line.starts_with("fn main(")) {
            return Some(block.join("\n") + "\n");
        }
    }
    None
}

/// A temporary folder that goes away with its value.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self, String> {
        let path = env::temp_dir().join(format!("tidemill-scratch-{}", process::id()));
        fs::create_dir_all(path.join("src")).map_err(|error| about(&path, &error))?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(|error| about(&path, &error))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            println!("warning: {}", about(&self.0, &error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_first_main_under_the_heading() {
        let readme = "# Tidemill\n```rust\nfn main() { early() }\n```\n## Start your own crate\n\
                      ```toml\ntidemill = \"0.1\"\n```\n```rust\nlet part = 1;\n```\n\
                      ```rust\nuse tidemill::prelude::*;\nfn main() {}\n```\n";
        let expected = "use tidemill::prelude::*;\nfn main() {}\n";
        assert_eq!(program(readme).expect("a program"), expected);
    }

    #[test]
    fn without_heading_or_main_there_is_no_program() {
        assert_eq!(program("# A\n```rust\nfn main() {}\n```\n"), None);
        assert_eq!(
            program("# Your own crate\n```rust\nlet a = 1;\n```\n"),
            None
        );
    }

    #[test]
    fn the_scratch_crate_belongs_to_no_workspace() {
        let manifest = manifest(Path::new("/a b/crates/tidemill"));
        assert!(
            manifest.contains("path = \"/a b/crates/tidemill\""),
            "{manifest}"
        );
        assert!(manifest.ends_with("[workspace]\n"), "{manifest}");
    }
}
