//! The word count on stored blocks: tasks, shuffle and result, without the streaming engine.

use std::panic::Location;

use tidemill::core::{Operator, PairRdd, Text, TextBlock};

use super::{Outcome, Stored, interleave};
use crate::Size;
use crate::limit::{Checksum, count_words, on_two_threads};
use crate::report::Report;

pub(crate) fn measure(size: Size) -> Outcome<Report> {
    let stored = Stored::new(size, false)?;
    let bytes = stored.bytes();
    let mut num_words = 0;
    let limit = || {
        let (a, b) = on_two_threads(&bytes, count_words);
        let sum = Checksum::of_counts(a.into_iter().chain(b));
        num_words = sum.num_words;
        sum
    };
    let rounds = interleave(size.rounds, limit, || count_batches(&stored))?;
    Ok(Report::per_second(
        "core-wordcount",
        "million words/s",
        num_words as f64 / 1e6,
        &rounds,
    ))
}

/// One job for each batch.
fn count_batches(stored: &Stored) -> Outcome<Checksum> {
    let mut sum = Checksum::default();
    for ids in &stored.batches {
        let operator = Operator::new("blocks", Location::caller());
        let lines = stored.ctx.blocks_as::<TextBlock>(operator, ids.clone());
        let counts: Vec<(Text, u64)> = lines
            .flat_map(|line| line.split(' '))
            .map(|word| (word, 1_u64))
            .reduce_by_key(|a, b| a + b)
            .collect()?;
        for (word, count) in counts {
            sum.add(word.as_bytes(), count);
        }
    }
    Ok(sum)
}
