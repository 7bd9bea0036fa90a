//! Examples that are fed by a socket.
//!
//! What they are fed may be cut into several batches. So each test waits until what was printed
//! adds up, and then ends the program as Ctrl-C would.

use std::fs;

use super::program::{Program, batches, counts, pair, saved, say, sums};

const TIDE: &str = "the tide fills the pond\nthe mill turns\n";

#[test]
fn network_wordcount_counts_what_is_typed_into_text_server() {
    let mut server = Program::start("text_server", &["0"]);
    let is_address = |line: &String| line.contains("listening on ");
    let told = server.until(|printed| printed.iter().any(is_address));
    let (_, port) = told[0].rsplit_once(':').unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let arguments = ["127.0.0.1", port, "--save", &path];
    let mut program = Program::stream("network_wordcount", &arguments);
    server.say("the tide\n");
    program.until(|printed| sums(printed) == counts([("the", 1), ("tide", 1)]));
    server.say("the mill\n");
    let expected = counts([("mill", 1), ("the", 2), ("tide", 1)]);
    program.until(|printed| sums(printed) == expected);
    // The server ends with its input, while its client is still there.
    let told = server.end();
    assert!(told[1].ends_with(" is connected"), "{told:?}");
    let printed = program.stop_when(|printed| sums(printed) == expected);

    assert_eq!(sums(&printed), expected);
    assert_eq!(saved(folder.path()), expected);
}

#[test]
fn custom_receiver_counts_what_a_server_says() {
    let port = say(TIDE);
    let program = Program::stream("custom_receiver", &["localhost", &port]);
    let words = [
        ("fills", 1),
        ("mill", 1),
        ("pond", 1),
        ("the", 3),
        ("tide", 1),
        ("turns", 1),
    ];
    let expected = counts(words);
    let printed = program.stop_when(|printed| sums(printed) == expected);
    assert_eq!(sums(&printed), expected);
}

#[test]
fn stateful_network_wordcount_goes_on_from_its_initial_state() {
    let port = say("hello tide\nhello mill\n");
    let arguments = ["localhost", &port];
    let program = Program::stream("stateful_network_wordcount", &arguments);
    let last = |printed: &[String]| {
        let records = batches(printed).concat();
        let pairs = records.iter().map(|record| pair(record));
        pairs.collect::<std::collections::BTreeMap<_, _>>()
    };
    let expected = counts([("hello", 3), ("mill", 1), ("tide", 1)]);
    let printed = program.stop_when(|printed| last(printed) == expected);
    assert_eq!(last(&printed), expected);
}

#[test]
fn windowed_top_words_prints_the_five_most_frequent_in_order() {
    let port = say("a b c d e f\na b c d e\na b c d\na b c\na b\na\n");
    let arguments = ["localhost", &port];
    let program = Program::stream("windowed_top_words", &arguments);
    let expected = ["(a,6)", "(b,5)", "(c,4)", "(d,3)", "(e,2)"];
    let has_all = |printed: &[String]| batches(printed).iter().any(|top| top == &expected);
    let printed = program.stop_when(has_all);
    assert!(has_all(&printed));
    // Words leave again: a window counts no word twice.
    assert!(batches(&printed).iter().all(|top| top.len() <= 5));
    let counted = batches(&printed).concat();
    assert!(
        counted.iter().all(|record| pair(record).1 <= 6),
        "{counted:?}"
    );
}

#[test]
fn recoverable_network_wordcount_leaves_words_out_and_appends_counts() {
    let port = say(TIDE);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("counts.txt");
    fs::write(&file, "from an earlier run\n").unwrap();
    let arguments = ["localhost", &port, "--output"];
    let path = file.display().to_string();
    let program = Program::stream(
        "recoverable_network_wordcount",
        &[&arguments[..], &[&path]].concat(),
    );
    let is_all = |line: &String| line == "Dropped 3 words in total";
    let printed = program.stop_when(|printed| printed.iter().any(is_all));

    let written = fs::read_to_string(&file).unwrap();
    let mut lines = written.lines();
    assert_eq!(lines.next(), Some("from an earlier run"));
    let told = printed
        .iter()
        .filter(|line| line.starts_with("Counts at time "));
    assert!(lines.eq(told), "{written}");
    for word in ["fills", "mill", "pond", "tide", "turns"] {
        assert_eq!(
            written.matches(&format!("({word},1)")).count(),
            1,
            "{written}"
        );
    }
    assert!(!written.contains("(the,"), "{written}");
}

#[test]
fn static_join_scores_the_words_of_its_list_alone() {
    let port = say("good rain good mill\nsad storm\n");
    let program = Program::stream("static_join", &["localhost", &port]);
    let expected = counts([("good", 6), ("rain", -1), ("sad", -4), ("storm", -2)]);
    let printed = program.stop_when(|printed| sums(printed) == expected);
    assert_eq!(sums(&printed), expected);
    for batch in batches(&printed) {
        let scores: Vec<i64> = batch.iter().map(|record| pair(record).1).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    }
}

#[test]
fn sessions_are_printed_when_their_users_have_gone() {
    let port = say("alice /\nbob /\nalice /tides\nno-page\nalice /basket\nbob /mills\n");
    let arguments = ["localhost", &port, "--gap-ms", "400"];
    let program = Program::stream("sessions", &arguments);
    let ended = |printed: &[String]| {
        let sessions = printed.iter().filter(|line| line.contains(" pages in "));
        let mut sessions: Vec<String> = sessions.cloned().collect();
        sessions.sort();
        sessions
    };
    let printed = program.stop_when(|printed| ended(printed).len() == 2);
    let ended = ended(&printed);
    assert_eq!(ended.len(), 2, "{printed:?}");
    assert!(ended[0].starts_with("alice: 3 pages in "), "{ended:?}");
    assert!(ended[1].starts_with("bob: 2 pages in "), "{ended:?}");
}
