//! A generator of numbers as a replayable source: the first `OffsetSource`.

use serde::{Deserialize, Serialize};
use tidemill_core::PartitionIter;

use super::offsets::{OffsetRange, OffsetReader, OffsetSource};
use crate::dstream::BoxError;
use crate::time::Time;

/// Numbers drawn from a seed: record `offset` of a partition is the same each time it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeededSource {
    /// Which numbers.
    pub seed: u64,
    /// How many partitions.
    pub num_partitions: u32,
    /// How many records each partition has more with each batch.
    pub records_per_batch: u64,
}

impl OffsetSource for SeededSource {
    type Reader = Self;

    fn reader(&self) -> Self {
        *self
    }

    fn start_offsets(&self) -> Result<Vec<u64>, BoxError> {
        Ok(vec![0; self.num_partitions as usize])
    }

    fn end_offsets(&self, _: Time, begin: &[u64]) -> Result<Vec<u64>, BoxError> {
        Ok(begin
            .iter()
            .map(|offset| offset.saturating_add(self.records_per_batch))
            .collect())
    }
}

impl OffsetReader for SeededSource {
    type Item = u64;

    fn read(&self, range: OffsetRange) -> Result<PartitionIter<u64>, BoxError> {
        let seed = self.seed.wrapping_add(u64::from(range.partition));
        Ok(Box::new(
            (range.from..range.until).map(move |offset| split_mix(seed, offset)),
        ))
    }
}

/// Number `n` of the SplitMix64 sequence of `seed` (Steele, Lea and Flood, OOPSLA 2014).
fn split_mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_reads_the_same_each_time_and_in_parts() {
        let source = SeededSource {
            seed: 7,
            num_partitions: 2,
            records_per_batch: 10,
        };
        let read = |from, until| {
            source
                .read(OffsetRange {
                    partition: 1,
                    from,
                    until,
                })
                .unwrap()
                .collect::<Vec<_>>()
        };
        assert_eq!(read(0, 10), read(0, 10));
        assert_eq!(read(0, 10), [read(0, 4), read(4, 10)].concat());
    }

    #[test]
    fn the_sequence_is_split_mix() {
        assert_eq!(split_mix(1_234_567, 0), 6_457_827_717_110_365_317);
        assert_eq!(split_mix(1_234_567, 1), 3_203_168_211_198_807_973);
    }
}
