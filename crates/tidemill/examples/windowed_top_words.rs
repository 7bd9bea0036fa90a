//! The most frequent words of the last ten batches, every second batch.
//!
//! `cargo run --release --example windowed_top_words` counts sentences of its own;
//! `… -- localhost 9999` connects to a server.

mod support;

use std::cmp::Reverse;

use support::{Options, Server};
use tidemill::prelude::*;

fn main() -> Result<()> {
    tidemill::init();
    let options = Options::<Server>::from_args("The most frequent words of a sliding window");
    let ctx = Context::new(&options.master)?;
    let batch = options.batch_duration();
    let ssc = StreamingContext::new(&ctx, batch)?;

    let (host, port) = options.address(&ssc)?;
    let words = ssc
        .socket_text_stream(&host, port)
        .flat_map(|line| line.words());
    let window = Window::of(10 * batch).every(2 * batch);
    let counts = words.count_by_value_and_window(window);

    // Whatever an RDD can do, a batch can: here, sort.
    let top = counts.transform(|counts, _time| {
        Ok(counts.sort_by(|(word, count)| (Reverse(*count), word.clone()), true)?)
    });
    top.print_first(5);

    options.run(ssc)
}
