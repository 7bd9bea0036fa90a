//! `StateAt`: all pairs of a state at a version.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::advance::Versioned;
use super::{Ensure, ReadState};
use crate::codec::{Built, Decoder, Encoder};
use crate::context::Context;
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::operator::Operator;
use crate::partition::PartitionedBy;
use crate::rdd::Rdd;
use crate::rdd::node::{AnyRdd, Dependency, Meta, RddNode, built, no_such_partition};
use crate::storage::BlockData;
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// The pairs of a state. No lineage: what came before is in the state.
struct StateAt<K, S> {
    meta: Meta,
    num_partitions: usize,
    source: Source<K, S>,
}

enum Source<K, S> {
    Here {
        state: Arc<dyn ReadState<K, S>>,
        ensure: Arc<dyn Ensure>,
        version_ms: i64,
    },
    /// The partitions that the task reads, brought along.
    Sent(BTreeMap<usize, Arc<Vec<(K, S)>>>),
}

impl<K: Key, S: Data> StateAt<K, S> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let (num_partitions, parts) = decoder.take()?;
        Ok(built(Self {
            meta: decoder.meta(),
            num_partitions,
            source: Source::Sent(parts),
        }))
    }
}

impl<K: Key, S: Data> AnyRdd for StateAt<K, S> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        Ok(self.num_partitions)
    }

    fn dependencies(&self) -> Vec<Dependency> {
        Vec::new()
    }

    fn partitioner(&self) -> Option<PartitionedBy> {
        match &self.source {
            Source::Here { state, .. } => Some(state.placement().partitioned_by()),
            Source::Sent(_) => None,
        }
    }

    fn prepare(&self) -> Result<()> {
        match &self.source {
            Source::Here {
                ensure, version_ms, ..
            } => ensure.ensure(*version_ms),
            Source::Sent(_) => Ok(()),
        }
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, splits: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        let mut parts: BTreeMap<usize, Vec<(K, S)>> = BTreeMap::new();
        if let Source::Here {
            state, version_ms, ..
        } = &self.source
        {
            for split in splits {
                let pairs = Arc::clone(state).read(*version_ms, *split)?;
                parts.insert(*split, pairs.collect());
            }
        }
        encoder.put(&(self.num_partitions, parts))
    }
}

impl<K: Key, S: Data> RddNode<(K, S)> for StateAt<K, S> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<(K, S)>> {
        let pairs = match &self.source {
            Source::Here {
                state, version_ms, ..
            } => Arc::clone(state).read(*version_ms, split)?,
            Source::Sent(parts) => {
                let part = parts.get(&split);
                let part = part.ok_or_else(|| no_such_partition(self.meta.operator(), split))?;
                Vec::iterate(Arc::clone(part))
            }
        };
        Ok(Box::new(task.interruptible(pairs)))
    }
}

#[doc(hidden)]
impl Context {
    /// The pairs of a state at a version.
    pub fn state_as<K: Key, S: Data>(
        &self,
        operator: Operator,
        state: Versioned<dyn ReadState<K, S>>,
        version_ms: i64,
    ) -> Rdd<(K, S)> {
        self.rdd(StateAt {
            meta: self.meta(operator, 0),
            num_partitions: state.state.placement().num_partitions(),
            source: Source::Here {
                state: state.state,
                ensure: state.ensure,
                version_ms,
            },
        })
    }
}
