//! `OffsetSource`: replayable inputs. The driver chooses offset ranges, tasks read them.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidemill_core::codec::{Decoder, Encoder};
use tidemill_core::function::Function;
use tidemill_core::travel::Portable;
use tidemill_core::{Context, Data, Error, Operator, PartitionIter, Rdd, Result};

use crate::dstream::node::{AnyStream, Batch, StreamNode};
use crate::dstream::{BoxError, user_error};
use crate::listener::InputInfo;
use crate::time::Time;

/// Records `[from, until)` of one partition of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OffsetRange {
    /// The source's partition.
    pub partition: u32,
    /// First offset.
    pub from: u64,
    /// Offset after the last.
    pub until: u64,
}

impl OffsetRange {
    /// How many offsets it spans.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.until.saturating_sub(self.from)
    }

    /// Whether it spans none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:[{},{})", self.partition, self.from, self.until)
    }
}

/// A source that can be read again from any offset it still has. Asked on the driver.
pub trait OffsetSource: Send + Sync + 'static {
    /// What reads the ranges; goes to where the tasks run.
    type Reader: OffsetReader;

    /// The reader.
    fn reader(&self) -> Self::Reader;

    /// Where a stream begins that has no earlier position: one offset a partition.
    ///
    /// # Errors
    /// Fails the batch; the next one asks again.
    fn start_offsets(&self) -> Result<Vec<u64>, BoxError>;

    /// Up to where the batch `time` may read, given where it begins: one offset a partition, more
    /// of them when the source has grown.
    ///
    /// # Errors
    /// Fails the batch; the next one covers its records.
    fn end_offsets(&self, time: Time, begin: &[u64]) -> Result<Vec<u64>, BoxError>;
}

/// Reads ranges of a source, in tasks. The same range must give the same records each time.
pub trait OffsetReader: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The record type.
    type Item: Data;

    /// The records of one range, in order.
    ///
    /// # Errors
    /// Fails the task, which is retried as configured.
    fn read(&self, range: OffsetRange) -> Result<PartitionIter<Self::Item>, BoxError>;
}

pub(crate) struct OffsetInput<S: OffsetSource> {
    id: usize,
    ctx: Context,
    source: S,
    /// Where the next batch begins.
    position: Mutex<Option<Vec<u64>>>,
}

impl<S: OffsetSource> OffsetInput<S> {
    pub(crate) fn new(id: usize, ctx: Context, source: S) -> Self {
        Self {
            id,
            ctx,
            source,
            position: Mutex::new(None),
        }
    }

    /// The ranges of the next batch; the position moves on.
    fn next_ranges(&self, time: Time) -> Result<Vec<OffsetRange>, BoxError> {
        let mut position = self.position.lock();
        let mut begin = match &*position {
            Some(begin) => begin.clone(),
            None => self.source.start_offsets()?,
        };
        let end = self.source.end_offsets(time, &begin)?;
        if end.len() < begin.len() {
            let error = Error::data("source has fewer partitions than before")
                .with("before", begin.len())
                .with("now", end.len());
            return Err(error.into());
        }
        begin.resize(end.len(), 0);
        let ranges: Vec<OffsetRange> = begin
            .iter()
            .zip(&end)
            .zip(0..)
            .map(|((from, until), partition)| OffsetRange {
                partition,
                from: *from,
                until: (*until).max(*from),
            })
            .collect();
        // Moved on only now: whatever fails above, the next batch covers the records.
        *position = Some(ranges.iter().map(|range| range.until).collect());
        Ok(ranges)
    }
}

impl<S: OffsetSource> StreamNode<<S::Reader as OffsetReader>::Item> for OffsetInput<S> {
    fn compute(
        &self,
        operator: &Operator,
        time: Time,
        batch: &Batch,
    ) -> Result<Option<Rdd<<S::Reader as OffsetReader>::Item>>> {
        let ranges = operator
            .call(|| self.next_ranges(time))
            .map_err(|error| user_error(operator, time, error))?;
        let num_records = ranges.iter().map(OffsetRange::len).sum();
        let description = ranges
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ");
        batch.report(InputInfo {
            stream_id: self.id,
            num_records,
            description,
        });
        let ranges: Vec<OffsetRange> = ranges
            .into_iter()
            .filter(|range| !range.is_empty())
            .collect();
        let num_partitions = ranges.len();
        let ranges = self
            .ctx
            .parallelize_as(operator.clone(), ranges, num_partitions);
        let read = ReadRange {
            reader: self.source.reader(),
            operator: operator.clone(),
        };
        Ok(Some(ranges.flat_map_with(operator.clone(), Arc::new(read))))
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        Vec::new()
    }

    fn input_id(&self) -> Option<usize> {
        Some(self.id)
    }
}

/// Reads a range where the task runs.
struct ReadRange<R> {
    reader: R,
    operator: Operator,
}

impl<R: OffsetReader> Portable for ReadRange<R> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&self.reader)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            reader: decoder.take()?,
            operator: decoder.operator().clone(),
        })
    }
}

impl<R: OffsetReader> Function<OffsetRange> for ReadRange<R> {
    type Output = PartitionIter<R::Item>;

    fn call(&self, range: OffsetRange) -> Self::Output {
        self.reader
            .read(range)
            .unwrap_or_else(|error| self.operator.fail(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededSource;

    /// Panics, fails and shrinks at the given times; else grows by one record a time.
    struct Moody;

    impl OffsetSource for Moody {
        type Reader = SeededSource;

        fn reader(&self) -> SeededSource {
            SeededSource {
                seed: 0,
                num_partitions: 2,
                records_per_batch: 1,
            }
        }

        fn start_offsets(&self) -> Result<Vec<u64>, BoxError> {
            Ok(vec![5, 5])
        }

        fn end_offsets(&self, time: Time, begin: &[u64]) -> Result<Vec<u64>, BoxError> {
            match time.as_ms() {
                2 => panic!("out of luck"),
                3 => Err("out of reach".into()),
                4 => Ok(vec![100]),
                _ => Ok(begin.iter().map(|offset| offset + 1).collect()),
            }
        }
    }

    #[test]
    fn a_batch_that_fails_neither_skips_nor_repeats_records() {
        let input = OffsetInput::new(0, Context::local(1).unwrap(), Moody);
        let mut read = Vec::new();
        for ms in 1..=6 {
            let time = Time::from_ms(ms);
            let ranges = tidemill_core::catch(|| {
                input
                    .next_ranges(time)
                    .map_err(|e| Error::data("no ranges").caused_by(e))
            });
            assert_eq!(ranges.is_ok(), !(2..=4).contains(&ms));
            read.extend(ranges.unwrap_or_default().iter().map(ToString::to_string));
        }
        assert_eq!(
            read,
            [
                "0:[5,6)", "1:[5,6)", "0:[6,7)", "1:[6,7)", "0:[7,8)", "1:[7,8)"
            ]
        );
    }
}
