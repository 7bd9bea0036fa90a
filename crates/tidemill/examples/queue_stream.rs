//! A stream without a source: batches that the program itself puts into a queue.
//!
//! For tests, and for data that another part of the program makes: a clone of the queue takes more
//! RDDs while the stream runs. `cargo run --release --example queue_stream`.

mod support;

use support::{NoArgs, Options};
use tidemill::prelude::*;

fn main() -> Result<()> {
    tidemill::init();
    let options = Options::<NoArgs>::from_args("Counts numbers by their last digit, from a queue");
    let ctx = Context::new(&options.master)?;
    let ssc = StreamingContext::new(&ctx, options.batch_duration())?;

    let queue = RddQueue::new();
    for _ in 0..30 {
        queue.push(ctx.range(1..1_001));
    }
    let numbers = ssc.queue_stream(&queue, QueueMode::OneAtATime);
    let digits = numbers.map(|number| (number % 10, 1_u64));
    digits.reduce_by_key(|a, b| a + b).print();

    options.run(ssc)
}
