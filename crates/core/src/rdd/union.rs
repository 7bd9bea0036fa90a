//! `union`: the partitions of several RDDs, one after the other, or pair by pair.

use std::sync::Arc;

use super::node::{AnyRdd, Dependency, Meta, Narrow, Parent, RddNode, built, no_such_partition};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::Result;
use crate::partition::PartitionedBy;
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// The partitions of all parents, in order. Parents that are placed alike stay placed: partition
/// `i` then holds partition `i` of each.
pub(crate) struct Union<T> {
    meta: Meta,
    parents: Vec<Parent<T>>,
    /// How many partitions each parent has.
    lens: Vec<usize>,
    is_placed: bool,
    /// What the parents are placed by. Not known in an executor, where nobody asks.
    partitioner: Option<PartitionedBy>,
}

impl<T: Data> Union<T> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    pub(crate) fn new(meta: Meta, parents: Vec<Parent<T>>) -> Result<Self> {
        let lens = parents
            .iter()
            .map(Parent::num_partitions)
            .collect::<Result<_>>()?;
        let mut placements = parents.iter().map(|parent| parent.node().partitioner());
        let first = placements.next().flatten();
        let is_placed = first.is_some() && placements.all(|placement| placement == first);
        Ok(Self {
            meta,
            parents,
            lens,
            is_placed,
            partitioner: first.filter(|_| is_placed),
        })
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let (lens, is_placed) = decoder.take()?;
        let parents = (0..decoder.num_parents())
            .map(|at| Parent::decode(decoder, at))
            .collect::<Result<_>>()?;
        Ok(built(Self {
            meta: decoder.meta(),
            parents,
            lens,
            is_placed,
            partitioner: None,
        }))
    }

    /// Each parent with the number of its first partition here.
    fn ranges(&self) -> impl Iterator<Item = (&Parent<T>, usize, usize)> {
        self.parents
            .iter()
            .zip(&self.lens)
            .scan(0, |start, (parent, len)| {
                let first = *start;
                *start += len;
                Some((parent, first, *len))
            })
    }
}

impl<T: Data> AnyRdd for Union<T> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        Ok(if self.is_placed {
            self.lens.first().copied().unwrap_or(0)
        } else {
            self.lens.iter().sum()
        })
    }

    fn dependencies(&self) -> Vec<Dependency> {
        if self.is_placed {
            return self.parents.iter().flat_map(Parent::one_to_one).collect();
        }
        self.ranges()
            .map(|(parent, start, len)| parent.dependency(Narrow::Range { start, len }))
            .collect()
    }

    fn partitioner(&self) -> Option<PartitionedBy> {
        self.partitioner.clone()
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&(&self.lens, self.is_placed))
    }
}

impl<T: Data> RddNode<T> for Union<T> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<T>> {
        if self.is_placed {
            let parts = self
                .parents
                .iter()
                .map(|parent| parent.iterate(split, task))
                .collect::<Result<Vec<_>>>()?;
            return Ok(Box::new(parts.into_iter().flatten()));
        }
        let found = self
            .ranges()
            .find(|(_, start, len)| (*start..start + len).contains(&split));
        match found {
            Some((parent, start, _)) => parent.iterate(split - start, task),
            None => Err(no_such_partition(self.meta.operator(), split)),
        }
    }
}
