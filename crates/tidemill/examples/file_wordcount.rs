//! Counts the words of the files that appear in a folder, batch by batch, and keeps the counts.
//!
//! `cargo run --release --example file_wordcount -- INBOX OUTBOX`; then rename files into `INBOX`.

use std::time::Duration;

use tidemill::prelude::*;

fn main() -> Result<()> {
    tidemill::init();
    let mut folders = std::env::args().skip(1);
    let (Some(inbox), Some(outbox)) = (folders.next(), folders.next()) else {
        return Err(Error::invalid("two folders are needed").with("usage", "INBOX OUTBOX"));
    };
    let ctx = Context::new("local[2]")?;
    let ssc = StreamingContext::new(&ctx, Duration::from_secs(1))?;

    let words = ssc.text_file_stream(&inbox).flat_map(|line| line.words());
    let counts = words.map(|word| (word, 1_u64)).reduce_by_key(|a, b| a + b);
    counts.print();
    counts.save_as_text_files(&format!("{outbox}/counts"), "txt");

    ssc.start()?.await_termination()
}
