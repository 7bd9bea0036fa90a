//! What the example says to those who call it in a way that cannot work.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

use std::process::Command;

/// What it writes to standard error, once it has refused its arguments.
fn refusal(arguments: &[&str]) -> String {
    // Cargo puts examples beside the folder of the tests, and builds them before the tests run.
    let own = std::env::current_exe().unwrap();
    let built = own.parent().and_then(|deps| deps.parent()).unwrap();
    let example = built.join("examples").join("network_wordcount");
    let output = Command::new(&example)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{} cannot be run: {e}", example.display()));
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn numbers_that_cannot_work_are_refused_by_name_and_range() {
    for option in ["--batch-ms", "--max-batches"] {
        for value in ["-1", "0", "1.5", "fast"] {
            let told = refusal(&[option, value]);
            let start = format!("error: invalid value '{value}' for '{option} ");
            assert!(told.starts_with(&start), "{told}");
            assert!(
                told.contains("it must be a whole number, at least 1"),
                "{told}"
            );
        }
    }
}

#[test]
fn ports_that_cannot_be_connected_to_are_refused() {
    for port in ["0", "-1", "65536"] {
        let told = refusal(&["localhost", port]);
        let start =
            format!("error: invalid value '{port}' for '[PORT]': {port} is not in 1..=65535");
        assert!(told.starts_with(&start), "{told}");
    }
}
