//! Examples without a source outside of themselves.

use super::program::{Program, batches, output};

#[test]
fn queue_stream_prints_each_batch_of_its_queue() {
    let arguments = ["--batch-ms", "20", "--max-batches", "3"];
    let printed = Program::start("queue_stream", &arguments).end();
    let batches = batches(&printed);
    assert!(batches.len() >= 3, "{printed:?}");
    for mut batch in batches.into_iter().take(3) {
        batch.sort();
        let expected: Vec<String> = (0..10).map(|digit| format!("({digit},100)")).collect();
        assert_eq!(batch, expected);
    }
}

#[test]
fn broadcast_and_accumulator_adds_up_orders() {
    let output = output("broadcast_and_accumulator", &["--master", "local[1]"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    let expected = "Netherlands: 9\nPortugal: 2\nSweden: 3\norders from nowhere: 2\n";
    assert_eq!(printed, expected);
}
