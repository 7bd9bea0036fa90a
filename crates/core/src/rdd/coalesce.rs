//! `coalesce`: fewer partitions without a shuffle.

use std::sync::Arc;

use super::node::{AnyRdd, Dependency, Meta, Narrow, Parent, RddNode, built, no_such_partition};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::Result;
use crate::operator::abort_task;
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// Runs of consecutive parent partitions, each read as one.
pub(crate) struct Coalesce<T> {
    meta: Meta,
    parent: Parent<T>,
    groups: Arc<[Vec<usize>]>,
}

impl<T: Data> Coalesce<T> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    /// Partition `i` of `k` reads parents `[i*n/k, (i+1)*n/k)`; never more partitions than before.
    pub(crate) fn new(meta: Meta, parent: Parent<T>, num_partitions: usize) -> Result<Self> {
        let n = parent.num_partitions()?;
        let k = num_partitions.min(n);
        let groups = (0..k)
            .map(|i| (i * n / k..(i + 1) * n / k).collect())
            .collect();
        Ok(Self {
            meta,
            parent,
            groups,
        })
    }

    /// Only the partitions `splits` of the parent, in that order.
    pub(crate) fn only(meta: Meta, parent: Parent<T>, splits: impl Iterator<Item = usize>) -> Self {
        let groups = splits.map(|split| vec![split]).collect();
        Self {
            meta,
            parent,
            groups,
        }
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let groups: Vec<Vec<usize>> = decoder.take()?;
        let parent = Parent::decode(decoder, 0)?;
        Ok(built(Self {
            meta: decoder.meta(),
            parent,
            groups: groups.into(),
        }))
    }
}

impl<T: Data> AnyRdd for Coalesce<T> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        Ok(self.groups.len())
    }

    fn dependencies(&self) -> Vec<Dependency> {
        vec![
            self.parent
                .dependency(Narrow::Groups(Arc::clone(&self.groups))),
        ]
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&*self.groups)
    }
}

impl<T: Data> RddNode<T> for Coalesce<T> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<T>> {
        let group = self.groups.get(split);
        let group = group.ok_or_else(|| no_such_partition(self.meta.operator(), split))?;
        // One at a time: a partition may hold an open file, or all of a shuffle's records.
        let (parent, task) = (self.parent.clone(), task.clone());
        Ok(Box::new(group.clone().into_iter().flat_map(move |at| {
            parent
                .iterate(at, &task)
                .unwrap_or_else(|error| abort_task(error))
        })))
    }
}
