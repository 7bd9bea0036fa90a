//! `Outputs`: the RDD of the records that a batch maps to.

use std::sync::Arc;

use super::Ensure;
use super::delta::Delta;
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::operator::Operator;
use crate::rdd::Rdd;
use crate::rdd::node::{AnyRdd, Dependency, Meta, Parent, RddNode, built};
use crate::storage::{Block, BlockId, StorageLevel};
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// The mapped records of the deltas.
struct Outputs<K, S, U> {
    meta: Meta,
    parent: Parent<Delta<K, S, U>>,
    /// Makes sure of the batch itself, whose commit keeps the records; none in an executor.
    batch: Option<(Arc<dyn Ensure>, i64)>,
}

impl<K: Key, S: Data, U: Data> Outputs<K, S, U> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        Ok(built::<U>(Self {
            meta: decoder.meta(),
            parent: Parent::decode(decoder, 0)?,
            batch: None,
        }))
    }
}

impl<K: Key, S: Data, U: Data> AnyRdd for Outputs<K, S, U> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        self.parent.num_partitions()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        self.parent.one_to_one()
    }

    fn prepare(&self) -> Result<()> {
        match &self.batch {
            Some((ensure, time_ms)) => ensure.ensure(*time_ms),
            None => Ok(()),
        }
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], _: &mut Encoder<'_>) -> Result<()> {
        Ok(())
    }
}

impl<K: Key, S: Data, U: Data> RddNode<U> for Outputs<K, S, U> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<U>> {
        let deltas = self.parent.iterate(split, task)?;
        Ok(Box::new(deltas.flat_map(|delta| delta.mapped)))
    }
}

#[doc(hidden)]
impl<K: Key, S: Data, U: Data> Rdd<Delta<K, S, U>> {
    /// The records that the batch maps to. Kept in memory: mapping them again is a step anew.
    pub fn outputs_as(&self, operator: Operator, ensure: &Arc<dyn Ensure>, time_ms: i64) -> Rdd<U> {
        let ctx = self.context();
        let node = Outputs {
            meta: ctx.meta(operator, self.parent().depth()),
            parent: self.parent().clone(),
            batch: Some((Arc::clone(ensure), time_ms)),
        };
        ctx.rdd(node).persist(StorageLevel::MemoryOnly)
    }
}

#[doc(hidden)]
impl<T: Data> Rdd<T> {
    /// The records of each partition, in one job of `operator`.
    ///
    /// # Errors
    /// The job's failure.
    pub fn partitions_as(&self, operator: &Operator) -> Result<Vec<Vec<T>>> {
        let splits: Vec<usize> = (0..self.num_partitions()?).collect();
        let collect =
            crate::function::Plain(|records: PartitionIter<T>| records.collect::<Vec<T>>());
        let (ctx, collect) = (self.context(), Arc::new(collect));
        ctx.run_action(operator.clone(), self, &collect, &splits)
    }

    /// Keeps records that were computed elsewhere as the cached partitions of this RDD.
    ///
    /// # Errors
    /// `Unavailable` when the place they are to be kept at does not answer.
    pub fn keep_as(&self, partitions: Vec<Vec<T>>) -> Result<()> {
        for (records, split) in partitions.into_iter().zip(0..) {
            let id = BlockId::Rdd {
                rdd: self.id(),
                split,
            };
            self.context().blocks().put(id, Block::of(records))?;
        }
        Ok(())
    }
}
