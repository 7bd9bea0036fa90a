//! Joins each batch of a stream with data that does not change: which words make people happiest?
//!
//! The sentiments are one RDD, made once and kept; `transform` gives each batch as an RDD, and RDDs
//! join. Both sides are placed by the hash of the word, so that no batch moves the sentiments. (A
//! table that fits into every task may as well be a broadcast: see `broadcast_and_accumulator`.)
//!
//! `cargo run --release --example static_join` counts sentences of its own;
//! `… -- localhost 9999` connects to a server.

mod support;

use std::cmp::Reverse;

use support::{Options, Server};
use tidemill::core::HashPartitioner;
use tidemill::prelude::*;

/// A word, a tab, how happy it makes: from -5 to 5.
const SENTIMENTS: &str = include_str!("data/sentiments.txt");

fn main() -> Result<()> {
    tidemill::init();
    let options = Options::<Server>::from_args("The happiest words that arrive on a TCP socket");
    let ctx = Context::new(&options.master)?;
    let ssc = StreamingContext::new(&ctx, options.batch_duration())?;

    let scores = ctx
        .parallelize(SENTIMENTS.lines().map(Text::from))
        .flat_map(|line| Some((line.words().next()?, line.words().nth(1)?)))
        .try_map(|(word, score)| score.parse::<i64>().map(|score| (word, score)))
        .partition_by(HashPartitioner::new(ctx.default_parallelism()))
        .cache();

    let (host, port) = options.address(&ssc)?;
    let words = ssc
        .socket_text_stream(&host, port)
        .flat_map(|line| line.words());
    let counts = words.map(|word| (word, 1_i64)).reduce_by_key(|a, b| a + b);
    let happiest = counts.transform(move |counts, _time| {
        let joined = counts.join(&scores);
        let happiness = joined.map(|(word, (count, score))| (word, count * score));
        Ok(happiness.sort_by(|(word, sum)| (Reverse(*sum), word.clone()), true)?)
    });
    happiest.print();

    options.run(ssc)
}
