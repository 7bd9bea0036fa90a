//! Lines with a pattern, counted on stored blocks.

use std::panic::Location;

use memchr::memmem;
use tidemill::core::{Operator, TextBlock};

use super::{Outcome, Stored, interleave};
use crate::Size;
use crate::generator::PATTERN;
use crate::limit::{count_hits, on_two_threads};
use crate::report::Report;

pub(crate) fn measure(size: Size) -> Outcome<Report> {
    let stored = Stored::new(size, true)?;
    let bytes = stored.bytes();
    let num_bytes: usize = bytes.iter().map(|block| block.len() + 1).sum();
    let limit = || {
        let (a, b) = on_two_threads(&bytes, |blocks| count_hits(blocks, PATTERN.as_bytes()));
        a + b
    };
    let rounds = interleave(size.rounds, limit, || count_batches(&stored))?;
    Ok(Report::per_second(
        "grep",
        "MB/s",
        num_bytes as f64 / 1e6,
        &rounds,
    ))
}

/// One job for each batch.
fn count_batches(stored: &Stored) -> Outcome<u64> {
    let mut hits = 0;
    for ids in &stored.batches {
        let operator = Operator::new("blocks", Location::caller());
        let lines = stored.ctx.blocks_as::<TextBlock>(operator, ids.clone());
        hits += lines
            .filter(|line| memmem::find(line.as_bytes(), PATTERN.as_bytes()).is_some())
            .count()?;
    }
    Ok(hits)
}
