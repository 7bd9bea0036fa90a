//! A program with windows, both kinds of state and a join, for as many batches as one likes:
//! nothing may grow.
//!
//! What a batch takes, and what is kept after it, at the end of the run is compared with the
//! beginning, once the program is warm. A bound that does not hold is a failure.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tidemill_testing::{Footprint, Soak};

use super::Outcome;
use crate::report::rss_bytes;
use crate::stopwatch::timed;

/// The last tenth may take so many times what the first one takes, by the median of its batches.
const MAX_TIME_RATIO: f64 = 1.2;
/// Memory at the end may be so many times what it was when the program was warm.
const MAX_RSS_RATIO: f64 = 1.05;
/// Batches until windows are full, states have lost keys, and no more ended jobs are remembered.
const WARM_UP: u64 = 5 * Soak::PERIOD;

/// The beginning and the end of a long run.
#[derive(Debug, Serialize)]
pub(crate) struct SoakReport {
    workload: &'static str,
    num_batches: u64,
    /// Medians over the first and the last tenth after the warm-up.
    first_us: f64,
    last_us: f64,
    time_ratio: f64,
    rss_warm_bytes: u64,
    rss_end_bytes: u64,
    rss_ratio: f64,
    blocks_warm: usize,
    blocks_end: usize,
    block_bytes_warm: usize,
    block_bytes_end: usize,
    lineage_warm: usize,
    lineage_end: usize,
    /// Whether all bounds hold.
    pub(crate) verdict: bool,
}

impl fmt::Display for SoakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        writeln!(
            f,
            "{}, {} batches, {}",
            self.workload,
            self.num_batches,
            if self.verdict { "flat" } else { "NOT FLAT" }
        )?;
        writeln!(
            f,
            "  us/batch  {:.0} … {:.0} ({:.3}, at most {MAX_TIME_RATIO})",
            self.first_us, self.last_us, self.time_ratio
        )?;
        writeln!(
            f,
            "  rss       {:.2} … {:.2} MB ({:.3}, at most {MAX_RSS_RATIO})",
            megabytes(self.rss_warm_bytes),
            megabytes(self.rss_end_bytes),
            self.rss_ratio
        )?;
        writeln!(
            f,
            "  blocks    {} … {}, {} … {} bytes",
            self.blocks_warm, self.blocks_end, self.block_bytes_warm, self.block_bytes_end
        )?;
        write!(
            f,
            "  lineage   {} … {} RDDs",
            self.lineage_warm, self.lineage_end
        )
    }
}

pub(crate) fn measure(num_batches: u64) -> Outcome<SoakReport> {
    let least = WARM_UP + 10 * Soak::PERIOD;
    if num_batches < least {
        return Err(format!("{num_batches} batches say nothing: at least {least}").into());
    }
    let mut soak = Soak::start()?;
    for _ in 0..WARM_UP - Soak::PERIOD {
        soak.tick()?;
    }
    let warm = kept_over_a_period(&mut soak)?;
    let mut times = Vec::with_capacity((num_batches - WARM_UP) as usize);
    for _ in WARM_UP..num_batches - Soak::PERIOD {
        let (done, time) = timed(|| soak.tick());
        done?;
        times.push(time);
    }
    let end = kept_over_a_period(&mut soak)?;
    Ok(report(num_batches, &times, warm, end))
}

/// The most that is kept after a batch, and the least memory: an allocator gives back late.
fn kept_over_a_period(soak: &mut Soak) -> Outcome<(Footprint, u64)> {
    let (mut footprint, mut rss) = (Footprint::default(), u64::MAX);
    for _ in 0..Soak::PERIOD {
        soak.tick()?;
        footprint = footprint.max(soak.footprint());
        rss = rss.min(rss_bytes().unwrap_or(0));
    }
    Ok((footprint, rss))
}

fn report(
    num_batches: u64,
    times: &[Duration],
    (warm, rss_warm): (Footprint, u64),
    (end, rss_end): (Footprint, u64),
) -> SoakReport {
    let tenth = times.len() / 10;
    let first_us = median_us(times.get(..tenth).unwrap_or_default());
    let last_us = median_us(times.get(times.len() - tenth..).unwrap_or_default());
    let time_ratio = last_us / first_us;
    // Where the system does not say, there is nothing to compare.
    let rss_ratio = if rss_warm == 0 {
        1.0
    } else {
        rss_end as f64 / rss_warm as f64
    };
    SoakReport {
        workload: "soak",
        num_batches,
        first_us,
        last_us,
        time_ratio,
        rss_warm_bytes: rss_warm,
        rss_end_bytes: rss_end,
        rss_ratio,
        blocks_warm: warm.num_blocks,
        blocks_end: end.num_blocks,
        block_bytes_warm: warm.block_bytes,
        block_bytes_end: end.block_bytes,
        lineage_warm: warm.num_rdds,
        lineage_end: end.num_rdds,
        verdict: time_ratio <= MAX_TIME_RATIO && rss_ratio <= MAX_RSS_RATIO && warm == end,
    }
}

fn median_us(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let middle = sorted.get(sorted.len() / 2).copied();
    middle.unwrap_or_default().as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_grows_makes_the_verdict_false() {
        let flat = vec![Duration::from_micros(100); 100];
        let mut slower = flat.clone();
        slower[90..].fill(Duration::from_micros(121));
        let kept = Footprint {
            num_blocks: 3,
            block_bytes: 30,
            num_rdds: 7,
        };
        let more = [
            Footprint {
                num_blocks: 4,
                ..kept
            },
            Footprint {
                block_bytes: 31,
                ..kept
            },
            Footprint {
                num_rdds: 8,
                ..kept
            },
        ];
        let verdict = |times: &[Duration], end| report(100, times, (kept, 1_000), end).verdict;
        assert!(verdict(&flat, (kept, 1_050)));
        assert!(!verdict(&slower, (kept, 1_000)));
        assert!(!verdict(&flat, (kept, 1_051)));
        assert!(more.iter().all(|end| !verdict(&flat, (*end, 1_000))));
    }
}
