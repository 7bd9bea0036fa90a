//! An RDD of blocks that are already stored: one partition for each block.

use std::sync::Arc;

use super::node::{AnyRdd, Dependency, Meta, RddNode, built, no_such_partition};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::PartitionIter;
use crate::error::{Error, Result};
use crate::storage::{BlockData, BlockId};
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// Stored blocks of type `B`, in order.
pub(crate) struct Blocks<B> {
    meta: Meta,
    ids: Vec<BlockId>,
    types: std::marker::PhantomData<fn() -> B>,
}

impl<B: BlockData> Blocks<B> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    pub(crate) fn new(meta: Meta, ids: Vec<BlockId>) -> Self {
        Self {
            meta,
            ids,
            types: std::marker::PhantomData,
        }
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let ids = decoder.take()?;
        Ok(built::<B::Item>(Self::new(decoder.meta(), ids)))
    }
}

impl<B: BlockData> AnyRdd for Blocks<B> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        Ok(self.ids.len())
    }

    fn dependencies(&self) -> Vec<Dependency> {
        Vec::new()
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&self.ids)
    }
}

impl<B: BlockData> RddNode<B::Item> for Blocks<B> {
    fn compute(
        self: Arc<Self>,
        split: usize,
        task: &TaskContext,
    ) -> Result<PartitionIter<B::Item>> {
        let id = *self
            .ids
            .get(split)
            .ok_or_else(|| no_such_partition(self.meta.operator(), split))?;
        let block = task.blocks().get(id)?.ok_or_else(|| {
            Error::data("block is gone: its batch has been forgotten")
                .with("block", id)
                .with("operator", self.meta.operator())
                .with(
                    "hint",
                    "remember batches for longer with StreamingContext::remember",
                )
        })?;
        Ok(Box::new(task.interruptible(B::iterate(block.read()?))))
    }
}
