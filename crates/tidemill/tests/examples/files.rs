//! The example that reads files.

use std::fs;

use super::program::{Program, counts, pair, sums};

#[test]
fn file_wordcount_counts_a_file_that_appears_and_keeps_the_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (inbox, outbox) = (path("in"), path("out"));
    fs::create_dir(&inbox).unwrap();

    let mut program = Program::start("file_wordcount", &[&inbox, &outbox, "--batch-ms", "50"]);
    // Files from before the start are not read: this one comes after the first batch.
    program.until(|printed| printed.iter().any(|line| line.starts_with("Time: ")));
    fs::write(path("new"), "the tide\nthe mill\n").unwrap();
    fs::rename(path("new"), path("in/new")).unwrap();
    let expected = counts([("mill", 1), ("the", 2), ("tide", 1)]);
    let printed = program.stop_when(|printed| sums(printed) == expected);

    assert_eq!(sums(&printed), expected);
    let mut saved: Vec<(String, i64)> = Vec::new();
    for batch in fs::read_dir(outbox).unwrap().map(Result::unwrap) {
        for part in fs::read_dir(batch.path()).unwrap().map(Result::unwrap) {
            if part.file_name().to_string_lossy().starts_with("part-") {
                let text = fs::read_to_string(part.path()).unwrap();
                saved.extend(text.lines().map(pair));
            }
        }
    }
    assert_eq!(
        saved
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>(),
        expected
    );
}
