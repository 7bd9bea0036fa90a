//! `range`: numbers, made where they are needed.

use std::sync::Arc;

use super::node::{AnyRdd, Dependency, Meta, RddNode, built};
use serde::{Deserialize, Serialize};

use crate::codec::{Built, Decoder, Encoder};
use crate::data::PartitionIter;
use crate::error::{Error, Result};
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// Every `step`-th number from `start` on.
pub(crate) struct Range {
    meta: Meta,
    steps: Steps,
    num_partitions: usize,
}

/// `len` numbers from `start` on, `step` apart.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Steps {
    start: i64,
    step: i64,
    len: u64,
}

impl Steps {
    pub(crate) fn ones(numbers: &std::ops::Range<i64>) -> Self {
        let len = i128::from(numbers.end) - i128::from(numbers.start);
        Self {
            start: numbers.start,
            step: 1,
            len: u64::try_from(len).unwrap_or(0),
        }
    }

    pub(crate) fn new(start: i64, end: i64, step: i64) -> Result<Self> {
        if step == 0 {
            return Err(Error::invalid("step of a range must not be 0"));
        }
        let (distance, wide) = (i128::from(end) - i128::from(start), i128::from(step));
        let toward_end = distance.signum() == wide.signum();
        let len = if toward_end {
            (distance.abs() + wide.abs() - 1) / wide.abs()
        } else {
            0
        };
        Ok(Self {
            start,
            step,
            len: u64::try_from(len).unwrap_or(u64::MAX),
        })
    }
}

impl Range {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    pub(crate) fn new(meta: Meta, steps: Steps, num_partitions: usize) -> Self {
        Self {
            meta,
            steps,
            num_partitions,
        }
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let (steps, num_partitions) = decoder.take()?;
        Ok(built(Self::new(decoder.meta(), steps, num_partitions)))
    }

    /// First record of partition `split`.
    fn bound(&self, split: usize) -> u64 {
        let (split, k) = (split as u128, (self.num_partitions as u128).max(1));
        u64::try_from(split * u128::from(self.steps.len) / k).unwrap_or(u64::MAX)
    }
}

impl AnyRdd for Range {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        Ok(self.num_partitions)
    }

    fn dependencies(&self) -> Vec<Dependency> {
        Vec::new()
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&(self.steps, self.num_partitions))
    }
}

impl RddNode<i64> for Range {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<i64>> {
        let records = self.bound(split)..self.bound(split + 1);
        let (start, step) = (i128::from(self.steps.start), i128::from(self.steps.step));
        Ok(Box::new(task.interruptible(records.filter_map(
            move |at| i64::try_from(start + i128::from(at) * step).ok(),
        ))))
    }
}
