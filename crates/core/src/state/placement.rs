//! Which partition a key's state is in, and that what enters it owns its memory.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::codec;
use crate::data::{Data, Key};
use crate::error::{Error, Result};
use crate::operator::Operator;
use crate::partition::{AnyPartitioner, HashPartitioner, PartitionedBy, Partitioner};
use crate::rdd::Rdd;
use crate::text::Text;

/// How the keys of a state are placed.
#[doc(hidden)]
pub struct Placement<K> {
    partitioner: Arc<dyn AnyPartitioner<K>>,
}

impl<K> Clone for Placement<K> {
    fn clone(&self) -> Self {
        Self {
            partitioner: Arc::clone(&self.partitioner),
        }
    }
}

impl<K> fmt::Debug for Placement<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Placement({})", self.partitioner.num_partitions())
    }
}

impl<K: Key> Placement<K> {
    #[must_use]
    pub fn hash(num_partitions: usize) -> Self {
        Self::by(HashPartitioner::new(num_partitions))
    }

    #[must_use]
    pub fn by(partitioner: impl Partitioner<K>) -> Self {
        Self::shared(Arc::new(partitioner))
    }

    #[must_use]
    pub fn shared(partitioner: Arc<impl Partitioner<K>>) -> Self {
        Self { partitioner }
    }

    #[must_use]
    pub fn num_partitions(&self) -> usize {
        self.partitioner.num_partitions()
    }

    pub(super) fn partitioned_by(&self) -> PartitionedBy {
        PartitionedBy::of(&self.partitioner)
    }

    /// The pairs where their keys' state is; nothing happens when they are there already.
    pub fn place<V: Data>(&self, operator: &Operator, rdd: &Rdd<(K, V)>) -> Rdd<(K, V)> {
        if rdd.partitioner() == Some(self.partitioned_by()) {
            return rdd.clone();
        }
        rdd.shuffle_by(operator.clone(), Arc::clone(&self.partitioner))
    }

    /// Items, each in the list of the partition that its key belongs to.
    ///
    /// # Errors
    /// `Invalid` when the partitioner names a partition that it does not have.
    pub(super) fn sort<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> &K,
    ) -> Result<Vec<Vec<T>>> {
        let mut lists: Vec<Vec<T>> = Vec::new();
        lists.resize_with(self.num_partitions(), Vec::new);
        for item in items {
            let at = self.partitioner.partition(key(&item));
            let list = lists.get_mut(at).ok_or_else(|| {
                Error::invalid("partitioner returned a partition it does not have")
                    .with("partition", at)
            })?;
            list.push(item);
        }
        Ok(lists)
    }
}

/// The value in memory of its own: what is kept for long must not keep the block it was cut from.
pub(super) fn detached<T: Data>(value: T) -> Result<T> {
    if !std::mem::needs_drop::<T>() {
        return Ok(value);
    }
    let any: &dyn Any = &value;
    if let Some(text) = any.downcast_ref::<Text>() {
        let own: Box<dyn Any> = Box::new(text.detach());
        return own
            .downcast::<T>()
            .map(|own| *own)
            .map_err(|_| Error::internal("a text is not a text"));
    }
    if any.is::<String>() {
        return Ok(value);
    }
    codec::decode(&codec::encode(&value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_enters_a_state_shares_nothing() {
        let line =
            Text::from("a line that is long enough to be shared by its words, which_are_long_too");
        let word = line.words().last().unwrap();
        let inside = line.as_bytes().as_ptr_range();
        let shares = |text: &Text| inside.contains(&text.as_str().as_ptr());
        assert!(shares(&word));
        assert!(!shares(&detached(word.clone()).unwrap()));
        let nested = detached((1, vec![word.clone()])).unwrap();
        assert_eq!(nested.1, [word]);
        assert!(!shares(&nested.1[0]));
        assert_eq!(detached(7_u64).unwrap(), 7);
    }
}
