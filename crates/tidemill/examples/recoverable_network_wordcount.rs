//! Counts words without those on a list, appends each batch's counts to a file, and keeps track of
//! how many words were left out.
//!
//! Shows the two kinds of variables that tasks share: a broadcast that they read (the list) and an
//! accumulator that they add to. Functions that use them say so: data goes along by `.with(…)`.
//!
//! Apache Spark's example of this name also goes on where it was killed. That is what checkpoints
//! are for; this one counts from the start again.
//!
//! `cargo run --release --example recoverable_network_wordcount` counts sentences of its own;
//! `… -- localhost 9999 --output counts.txt` connects to a server.
#![expect(clippy::print_stdout, reason = "it is what the program is for")]

mod support;

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write;

use support::{Options, Output};
use tidemill::core::render;
use tidemill::prelude::*;

fn main() -> Result<()> {
    tidemill::init();
    let options = Options::<Output>::from_args("Counts words and appends the counts to a file");
    let ctx = Context::new(&options.master)?;
    let ssc = StreamingContext::new(&ctx, options.batch_duration())?;

    let (host, port) = options.server.address(&ssc)?;
    let words = ssc
        .socket_text_stream(&host, port)
        .flat_map(|line| line.words());
    let counts = words.map(|word| (word, 1_i64)).reduce_by_key(|a, b| a + b);

    let excluded = ctx.broadcast(HashSet::from(["a", "b", "the"].map(Text::from)))?;
    let dropped = ctx.long_accumulator("dropped words");
    let shared = (excluded, dropped.clone());
    let kept = counts
        .with(shared)
        .filter(|(excluded, dropped), (word, count)| {
            let is_excluded = excluded.read().contains(word);
            if is_excluded {
                dropped.add(*count);
            }
            !is_excluded
        });

    let path = options.output.clone();
    kept.for_each_rdd(move |kept, time| {
        let mut kept = kept.collect()?;
        kept.sort();
        let line = format!("Counts at time {time} {}", render(&kept));
        println!("{line}\nDropped {} words in total", dropped.value()?.sum);
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(writeln!(file, "{line}")?)
    });

    options.run(ssc)
}
