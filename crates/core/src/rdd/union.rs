//! `union`: the partitions of several RDDs, one after the other.

use std::sync::Arc;

use super::node::{AnyRdd, Dependency, Meta, Narrow, Parent, RddNode, built, no_such_partition};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::Result;
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// The partitions of all parents, in order.
pub(crate) struct Union<T> {
    meta: Meta,
    parents: Vec<Parent<T>>,
    /// How many partitions each parent has.
    lens: Vec<usize>,
}

impl<T: Data> Union<T> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    pub(crate) fn new(meta: Meta, parents: Vec<Parent<T>>) -> Result<Self> {
        let lens = parents
            .iter()
            .map(Parent::num_partitions)
            .collect::<Result<_>>()?;
        Ok(Self {
            meta,
            parents,
            lens,
        })
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let lens = decoder.take()?;
        let parents = (0..decoder.num_parents())
            .map(|at| Parent::decode(decoder, at))
            .collect::<Result<_>>()?;
        Ok(built(Self {
            meta: decoder.meta(),
            parents,
            lens,
        }))
    }

    /// Each parent with the number of its first partition here.
    fn placed(&self) -> impl Iterator<Item = (&Parent<T>, usize, usize)> {
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
        Ok(self.lens.iter().sum())
    }

    fn dependencies(&self) -> Vec<Dependency> {
        self.placed()
            .map(|(parent, start, len)| parent.dependency(Narrow::Range { start, len }))
            .collect()
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&self.lens)
    }
}

impl<T: Data> RddNode<T> for Union<T> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<T>> {
        let found = self
            .placed()
            .find(|(_, start, len)| (*start..start + len).contains(&split));
        match found {
            Some((parent, start, _)) => parent.iterate(split - start, task),
            None => Err(no_such_partition(self.meta.operator(), split)),
        }
    }
}
