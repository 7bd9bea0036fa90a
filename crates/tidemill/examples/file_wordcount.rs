//! Counts the words of the files that appear in a folder, batch by batch, and keeps the counts.
//!
//! `cargo run --release --example file_wordcount -- INBOX OUTBOX`; then write a file elsewhere on
//! the same disk and rename it into `INBOX`: a file must appear whole.

mod support;

use support::{Folders, Options};
use tidemill::prelude::*;

fn main() -> Result<()> {
    tidemill::init();
    let options = Options::<Folders>::from_args("Counts the words of files that appear");
    let ctx = Context::new(&options.master)?;
    let ssc = StreamingContext::new(&ctx, options.batch_duration())?;

    let lines = ssc.text_file_stream(&options.inbox);
    let words = lines.flat_map(|line| line.words());
    let counts = words.map(|word| (word, 1_u64)).reduce_by_key(|a, b| a + b);
    counts.print();
    counts.save_as_text_files(&format!("{}/counts", options.outbox), "txt");

    options.run(ssc)
}
