//! Counts the words that arrive on a TCP socket, batch by batch.
//!
//! `cargo run --release --example network_wordcount` counts sentences of its own;
//! `… -- localhost 9999` connects to a server. `-- --help` lists the options.

mod support;

use support::{Options, Save};
use tidemill::prelude::*;

fn main() -> Result<()> {
    tidemill::init();
    let options = Options::<Save>::from_args("Counts the words that arrive on a TCP socket");
    let ctx = Context::new(&options.master)?;
    let ssc = StreamingContext::new(&ctx, options.batch_duration())?;

    let (host, port) = options.server.address(&ssc)?;
    let lines = ssc.socket_text_stream(&host, port);
    let words = lines.flat_map(|line| line.split(' '));
    let counts = words.map(|word| (word, 1_u64)).reduce_by_key(|a, b| a + b);
    counts.print();

    options.save(&counts);
    options.run(ssc)
}
