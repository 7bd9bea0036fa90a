//! `OffsetSource`: replayable inputs. The driver chooses offset ranges, tasks read them.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidemill_core::codec::{Decoder, Encoder};
use tidemill_core::function::Function;
use tidemill_core::travel::Portable;
use tidemill_core::{Context, Data, Operator, PartitionIter, Rdd, Result};

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
        let mut begin = match position.take() {
            Some(begin) => begin,
            None => self.source.start_offsets()?,
        };
        let end = match self.source.end_offsets(time, &begin) {
            Ok(end) => end,
            Err(error) => {
                *position = Some(begin);
                return Err(error);
            }
        };
        begin.resize(end.len(), 0);
        let ranges = begin
            .iter()
            .zip(&end)
            .zip(0..)
            .map(|((from, until), partition)| OffsetRange {
                partition,
                from: *from,
                until: (*until).max(*from),
            })
            .collect::<Vec<_>>();
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
