//! Counts the words that arrive on a TCP socket, from the start on.
//!
//! `map_with_state` and not `update_state_by_key`: it looks at the words of the batch only, so a
//! batch costs the same however many words were ever seen. `update_state_by_key` makes the whole
//! state anew: the choice where every batch's output is to list all words.
//!
//! `cargo run --release --example stateful_network_wordcount` counts sentences of its own;
//! `… -- localhost 9999` connects to a server.

mod support;

use support::{Options, Server};
use tidemill::prelude::*;

fn main() -> Result<()> {
    tidemill::init();
    let options = Options::<Server>::from_args("Counts words, from the start on");
    let ctx = Context::new(&options.master)?;
    let ssc = StreamingContext::new(&ctx, options.batch_duration())?;

    let (host, port) = options.address(&ssc)?;
    let words = ssc
        .socket_text_stream(&host, port)
        .flat_map(|line| line.words());
    let counts = words.map(|word| (word, 1_u64)).reduce_by_key(|a, b| a + b);

    // Whoever counted before us has seen each of these once.
    let seen = ctx.parallelize(["hello", "world"].map(|word| (Text::from(word), 1_u64)));
    let spec = StateSpec::new().initial_state(seen);
    let totals = counts.map_with_state(spec, |word, count, total| {
        let sum = total.get().unwrap_or(&0) + count.unwrap_or(0);
        total.update(sum);
        (word.clone(), sum)
    });
    totals.print();

    options.run(ssc)
}
