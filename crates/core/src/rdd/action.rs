//! The last step of an action: a function of a whole partition.

use std::any::Any;
use std::sync::Arc;

use super::node::{AnyParent, Meta, Parent};
use crate::codec::{self, Built, Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::function::Function;
use crate::scheduler::{StageRoot, TaskValue};
use crate::task::TaskContext;
use crate::travel::Descriptor;

/// Applies `function` to the records of a partition and gives its result to the driver.
pub(crate) struct ActionRoot<T, R, M> {
    meta: Meta,
    parent: Parent<T>,
    function: Arc<M>,
    result: std::marker::PhantomData<fn() -> R>,
}

impl<T: Data, R: Data, M: Function<PartitionIter<T>, Output = R>> ActionRoot<T, R, M> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    pub(crate) fn new(meta: Meta, parent: Parent<T>, function: Arc<M>) -> Self {
        Self {
            meta,
            parent,
            function,
            result: std::marker::PhantomData,
        }
    }

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let function = Arc::new(M::decode(decoder)?);
        let parent = Parent::decode(decoder, 0)?;
        let root: Arc<dyn StageRoot> = Arc::new(Self::new(decoder.meta(), parent, function));
        Ok(Box::new(root))
    }
}

impl<T: Data, R: Data, M: Function<PartitionIter<T>, Output = R>> StageRoot
    for ActionRoot<T, R, M>
{
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn input(&self) -> Arc<dyn AnyParent> {
        Arc::new(self.parent.clone())
    }

    fn run(&self, split: usize, task: &TaskContext) -> Result<TaskValue> {
        let records = self.parent.iterate(split, task)?;
        Ok(Box::new(
            self.meta.operator().call(|| self.function.call(records)),
        ))
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.function.encode(encoder)
    }

    fn encode_output(&self, output: &(dyn Any + Send)) -> Result<Vec<u8>> {
        let output = output.downcast_ref::<R>();
        codec::encode(output.ok_or_else(|| Error::internal("task output of another type"))?)
    }

    fn decode_output(&self, bytes: &[u8]) -> Result<TaskValue> {
        Ok(Box::new(codec::decode::<R>(bytes)?))
    }
}
