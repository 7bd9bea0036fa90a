//! `named`: the same records under a name of the user's.

use std::sync::Arc;

use super::Rdd;
use super::node::{AnyRdd, Dependency, Meta, Parent, RddNode, built};
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::Result;
use crate::partition::PartitionedBy;
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// Hands the parent's records on as they are.
struct Named<T> {
    meta: Meta,
    parent: Parent<T>,
    partitioner: Option<PartitionedBy>,
}

impl<T: Data> Named<T> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        Ok(built(Self {
            meta: decoder.meta(),
            parent: Parent::decode(decoder, 0)?,
            partitioner: None,
        }))
    }
}

impl<T: Data> AnyRdd for Named<T> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        self.parent.num_partitions()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        self.parent.one_to_one()
    }

    fn partitioner(&self) -> Option<PartitionedBy> {
        self.partitioner.clone()
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], _: &mut Encoder<'_>) -> Result<()> {
        Ok(())
    }
}

impl<T: Data> RddNode<T> for Named<T> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<T>> {
        self.parent.iterate(split, task)
    }
}

impl<T: Data> Rdd<T> {
    /// The same records under a name, which errors, logs and
    /// [`to_debug_string`](Self::to_debug_string) then say.
    ///
    /// *Shape* `T`, order and partitioner kept. *Cost* none for a record. *State* none.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let doubled = ctx.range(0..3).map(|x| x * 2).named("doubled");
    /// assert_eq!(doubled.name(), Some("doubled"));
    /// assert!(doubled.operator().to_string().starts_with("map \"doubled\" at "));
    /// assert_eq!(doubled.collect()?, [0, 2, 4]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    pub fn named(&self, name: &str) -> Self {
        self.ctx.rdd(Named {
            meta: self.child(self.operator().named(name)),
            parent: self.node.clone(),
            partitioner: self.partitioner(),
        })
    }

    /// What [`named`](Self::named) said.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.operator().name()
    }
}
