//! The example that reads files.

use std::fs;
use std::path::Path;

use super::program::{Program, counts, saved, sums};

#[test]
fn file_wordcount_counts_a_file_that_appears_and_keeps_the_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (inbox, outbox) = (path("in"), path("out"));
    fs::create_dir(&inbox).unwrap();

    let mut program = Program::stream("file_wordcount", &[&inbox, &outbox]);
    // Files from before the start are not read: this one comes after the first batch.
    program.until(|printed| printed.iter().any(|line| line.starts_with("Time: ")));
    fs::write(path("new"), "the tide\nthe mill\n").unwrap();
    fs::rename(path("new"), path("in/new")).unwrap();
    let expected = counts([("mill", 1), ("the", 2), ("tide", 1)]);
    let printed = program.stop_when(|printed| sums(printed) == expected);

    assert_eq!(sums(&printed), expected);
    assert_eq!(saved(Path::new(&outbox)), expected);
}
