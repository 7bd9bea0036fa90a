//! `Advance`: the RDD of what a batch does to a state, one delta a partition.

use std::sync::Arc;

use super::Ensure;
use super::delta::Delta;
use super::keyed::{Kept, KeyedState};
use super::step::{Base, Batch, Overlay, Step};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::operator::Operator;
use crate::rdd::Rdd;
use crate::rdd::node::{AnyRdd, Dependency, Meta, Parent, RddNode, built};
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// The deltas of one batch. Computing them changes nothing.
struct Advance<K, V, S, M> {
    meta: Meta,
    parent: Parent<(K, V)>,
    base: Base<K, S>,
    /// Makes sure of the version before; none in an executor.
    before: Option<(Arc<dyn Ensure>, i64)>,
    time_ms: i64,
    step: Arc<M>,
}

impl<K: Key, V: Data, S: Data, M: Step<K, V, S>> Advance<K, V, S, M> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let (time_ms, parts): (i64, Vec<(usize, Vec<Kept<K, S>>)>) = decoder.take()?;
        Ok(built::<Delta<K, S, M::Output>>(Self {
            meta: decoder.meta(),
            parent: Parent::decode(decoder, 0)?,
            base: Base::receive(parts),
            before: None,
            time_ms,
            step: Arc::new(M::decode(decoder)?),
        }))
    }
}

impl<K: Key, V: Data, S: Data, M: Step<K, V, S>> AnyRdd for Advance<K, V, S, M> {
    /// Twins would be harmless, since an attempt only says what it would change; but the state is in
    /// one place, where a second attempt is as slow as the first.
    fn may_be_twinned(&self) -> bool {
        false
    }

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
        match &self.before {
            Some((ensure, before_ms)) => ensure.ensure(*before_ms),
            None => Ok(()),
        }
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, splits: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&(self.time_ms, self.base.send(splits)?))?;
        self.step.encode(encoder)
    }
}

impl<K: Key, V: Data, S: Data, M: Step<K, V, S>> RddNode<Delta<K, S, M::Output>>
    for Advance<K, V, S, M>
{
    fn compute(
        self: Arc<Self>,
        split: usize,
        task: &TaskContext,
    ) -> Result<PartitionIter<Delta<K, S, M::Output>>> {
        let records = self.parent.iterate(split, task)?;
        let batch = Batch {
            operator: self.meta.operator(),
            time_ms: self.time_ms,
            seed: task.seed(),
        };
        let mut overlay = Overlay::new(&self.base, split, task.seed());
        let mapped = self.step.run(&batch, records, &mut overlay)?;
        let changes = overlay.finish()?;
        Ok(Box::new(std::iter::once(Delta { changes, mapped })))
    }
}

/// A state and what makes sure of its versions.
#[doc(hidden)]
pub struct Versioned<C: ?Sized> {
    pub state: Arc<C>,
    pub ensure: Arc<dyn Ensure>,
}

impl<C: ?Sized> std::fmt::Debug for Versioned<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Versioned").finish_non_exhaustive()
    }
}

#[doc(hidden)]
impl<K: Key, V: Data> Rdd<(K, V)> {
    /// What these records, placed as the state is, do to it on the way from one version to
    /// another.
    pub fn advance_as<S: Data, M: Step<K, V, S>>(
        &self,
        operator: Operator,
        state: Versioned<KeyedState<K, S>>,
        step: &Arc<M>,
        (from_ms, to_ms): (i64, i64),
    ) -> Rdd<Delta<K, S, M::Output>> {
        let ctx = self.context();
        let node = Advance {
            meta: ctx.meta(operator, self.parent().depth()),
            parent: self.parent().clone(),
            base: Base::Here(state.state, from_ms),
            before: Some((state.ensure, from_ms)),
            time_ms: to_ms,
            step: Arc::clone(step),
        };
        ctx.rdd(node)
    }
}
