//! `parallelize`: data of the driver as an RDD.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::node::{AnyRdd, Dependency, Meta, RddNode, built, no_such_partition};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::Result;
use crate::storage::Records;
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// Slices of a list. A task is sent only the slices it reads.
pub(crate) struct Parallelize<T> {
    meta: Meta,
    num_partitions: usize,
    slices: BTreeMap<usize, Arc<Vec<T>>>,
}

impl<T: Data> Parallelize<T> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    /// Slice `i` of `k` over `n` records holds `[i*n/k, (i+1)*n/k)`.
    pub(crate) fn new(meta: Meta, records: Vec<T>, num_partitions: usize) -> Self {
        let (n, k) = (records.len(), num_partitions);
        let mut records = records.into_iter();
        let slices = (0..k)
            .map(|i| {
                (
                    i,
                    Arc::new(records.by_ref().take((i + 1) * n / k - i * n / k).collect()),
                )
            })
            .collect();
        Self {
            meta,
            num_partitions,
            slices,
        }
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let (num_partitions, slices) = decoder.take()?;
        Ok(built(Self {
            meta: decoder.meta(),
            num_partitions,
            slices,
        }))
    }
}

impl<T: Data> AnyRdd for Parallelize<T> {
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

    fn encode(&self, splits: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        let slices: BTreeMap<_, _> = splits
            .iter()
            .filter_map(|at| self.slices.get_key_value(at))
            .collect();
        encoder.put(&(self.num_partitions, slices))
    }
}

impl<T: Data> RddNode<T> for Parallelize<T> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<T>> {
        let slice = self.slices.get(&split);
        let slice = slice.ok_or_else(|| no_such_partition(self.meta.operator(), split))?;
        Ok(Box::new(task.interruptible(Records::of(Arc::clone(slice)))))
    }
}
