//! A program without a stream: RDDs alone, with a broadcast and an accumulator.
//!
//! Tasks read the broadcast (here, names of countries); it goes to each process once, not with
//! every task. They add to the accumulator, which only the program itself can read. What a failed
//! task has added does not count; what is computed twice on purpose counts twice.
//!
//! `cargo run --release --example broadcast_and_accumulator`.
#![expect(clippy::print_stdout, reason = "it is what the program is for")]

mod support;

use std::collections::HashMap;

use support::BatchOptions;
use tidemill::prelude::*;

const COUNTRIES: [(&str, &str); 3] = [("nl", "Netherlands"), ("pt", "Portugal"), ("se", "Sweden")];
const ORDERS: [(&str, u64); 6] = [
    ("se", 3),
    ("nl", 5),
    ("xx", 1),
    ("pt", 2),
    ("nl", 4),
    ("?", 7),
];

fn main() -> Result<()> {
    tidemill::init();
    let options = BatchOptions::from_args("Adds up orders by country; a program without a stream");
    let ctx = Context::new(&options.master)?;

    let names = COUNTRIES.map(|(code, name)| (Text::from(code), Text::from(name)));
    let names = ctx.broadcast(HashMap::from(names))?;
    let unknown = ctx.long_accumulator("orders from nowhere");

    let orders = ctx.parallelize(ORDERS.map(|(code, amount)| (Text::from(code), amount)));
    let by_country = orders
        .with((names, unknown.clone()))
        .flat_map(|(names, unknown), (code, amount)| {
            let name = names.read().get(&code).cloned();
            if name.is_none() {
                unknown.add(1);
            }
            name.map(|name| (name, amount))
        })
        .reduce_by_key(|a, b| a + b);

    let mut totals = by_country.collect()?;
    totals.sort();
    for (country, amount) in totals {
        println!("{country}: {amount}");
    }
    println!("orders from nowhere: {}", unknown.value()?.sum);
    Ok(())
}
