//! What the examples can be told, and what they say to those who tell them what cannot work.

use super::program::{Program, batches, output};

/// Examples that take lines from a socket or make their own.
const OF_SOCKETS: [&str; 7] = [
    "custom_receiver",
    "network_wordcount",
    "recoverable_network_wordcount",
    "sessions",
    "static_join",
    "stateful_network_wordcount",
    "windowed_top_words",
];

#[test]
fn without_a_server_lines_of_their_own_are_taken_until_the_last_batch() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("counts.txt").display().to_string();
    for example in OF_SOCKETS {
        let mut arguments = vec!["--batch-ms", "50", "--max-batches", "4"];
        if example == "recoverable_network_wordcount" {
            arguments.extend(["--output", &output]);
        }
        let printed = Program::start(example, &arguments).end();
        let summary = printed.iter().find(|line| line.contains(" batches ("));
        let summary = summary.unwrap_or_else(|| panic!("{example}: {printed:?}"));
        assert!(
            summary.contains(" batches (0 failed), "),
            "{example}: {summary}"
        );
        let (num_batches, _) = summary.split_once(' ').unwrap();
        // The stop comes when the last batch has ended; some more may be on their way by then.
        assert!(
            num_batches.parse::<u64>().unwrap() >= 4,
            "{example}: {summary}"
        );
        // Lines of batches at which a window does not slide are in no batch's report.
        let has_shown = !batches(&printed).concat().is_empty();
        let has_counted = summary.contains(" lines, ");
        assert!(has_counted || has_shown, "{example}: {summary}");
    }
}

#[test]
fn help_says_what_each_example_does_and_takes() {
    let streams = OF_SOCKETS.iter().chain(&["file_wordcount", "queue_stream"]);
    for example in streams {
        let output = output(example, &["--help"]);
        assert!(output.status.success(), "{example}");
        let help = String::from_utf8(output.stdout).unwrap();
        for option in ["--master", "--batch-ms", "--max-batches"] {
            assert!(help.contains(option), "{example}: {help}");
        }
        let takes = |option: &str| help.contains(option);
        assert_eq!(
            takes("[HOST] [PORT]"),
            OF_SOCKETS.contains(example),
            "{help}"
        );
        assert_eq!(takes("--save"), *example == "network_wordcount", "{help}");
        assert_eq!(takes("--gap-ms"), *example == "sessions", "{help}");
        assert_eq!(
            takes("<INBOX> <OUTBOX>"),
            *example == "file_wordcount",
            "{help}"
        );
        assert_eq!(
            takes("--output"),
            *example == "recoverable_network_wordcount",
            "{help}"
        );
        let about = help.lines().next().unwrap();
        assert!(about.len() > 20 && !about.starts_with("Usage"), "{help}");
    }
}

/// What it writes to standard error, once it has refused its arguments.
fn refusal(example: &str, arguments: &[&str]) -> String {
    let output = output(example, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn numbers_that_cannot_work_are_refused_by_name_and_range() {
    for option in ["--batch-ms", "--max-batches"] {
        for value in ["-1", "0", "1.5", "fast"] {
            let told = refusal("network_wordcount", &[option, value]);
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
        let told = refusal("network_wordcount", &["localhost", port]);
        let start =
            format!("error: invalid value '{port}' for '[PORT]': {port} is not in 1..=65535");
        assert!(told.starts_with(&start), "{told}");
    }
}

#[test]
fn a_folder_that_is_missing_is_refused() {
    let told = refusal("file_wordcount", &["inbox"]);
    assert!(told.contains("<OUTBOX>"), "{told}");
}
