//! Partitioners: which partition a key belongs to.

use std::any::{Any, TypeId};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{self, Built, Decoder};
use crate::data::{Data, Key};
use crate::error::{Error, Result};
use crate::travel::{Descriptor, stable_hash};

/// Decides which partition a key belongs to.
///
/// Plain data, because it travels with the tasks. Two partitioners of one type that encode to the
/// same bytes are equal: keyed operators between them need no shuffle.
pub trait Partitioner<K>: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// How many partitions there are, at least 1.
    fn num_partitions(&self) -> usize;

    /// The partition of `key`, below [`num_partitions`](Self::num_partitions). Equal keys must get
    /// equal answers, in every process.
    fn partition(&self, key: &K) -> usize;

    /// The partitions that keys from `lower` to `upper`, both included, can lie in. Only a
    /// partitioner that keeps keys in order can say; others keep this answer, `None`.
    fn partitions_between(&self, _lower: &K, _upper: &K) -> Option<RangeInclusive<usize>> {
        None
    }
}

/// Places keys by hash, evenly. The hash is the same in all processes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashPartitioner {
    num_partitions: usize,
}

impl HashPartitioner {
    /// Over `num_partitions` partitions; 0 counts as 1.
    #[must_use]
    pub fn new(num_partitions: usize) -> Self {
        Self {
            num_partitions: num_partitions.max(1),
        }
    }
}

impl<K: Key> Partitioner<K> for HashPartitioner {
    fn num_partitions(&self) -> usize {
        self.num_partitions
    }

    #[inline]
    fn partition(&self, key: &K) -> usize {
        // Multiply and shift: even, and without a division.
        let scaled = u128::from(stable_hash(key)) * self.num_partitions as u128;
        (scaled >> 64) as usize
    }
}

/// Places keys by order: partition 0 holds the smallest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RangePartitioner<K> {
    /// The largest key of each partition but the last, ascending.
    bounds: Vec<K>,
    ascending: bool,
}

impl<K: Data + Ord> RangePartitioner<K> {
    /// Cuts the sampled keys into `num_partitions` runs of about equal length. Fewer partitions
    /// come out when the sample has fewer distinct keys.
    #[must_use]
    pub fn from_sample(mut sample: Vec<K>, num_partitions: usize, ascending: bool) -> Self {
        sample.sort_unstable();
        let num_partitions = num_partitions.max(1);
        let mut bounds: Vec<K> = (1..num_partitions)
            .filter_map(|i| sample.get((i * sample.len() / num_partitions).checked_sub(1)?))
            .cloned()
            .collect();
        bounds.dedup();
        Self { bounds, ascending }
    }
}

impl<K: Data + Ord> Partitioner<K> for RangePartitioner<K> {
    fn num_partitions(&self) -> usize {
        self.bounds.len() + 1
    }

    fn partition(&self, key: &K) -> usize {
        let at = self.bounds.partition_point(|bound| bound < key);
        if self.ascending {
            at
        } else {
            self.bounds.len() - at
        }
    }

    fn partitions_between(&self, lower: &K, upper: &K) -> Option<RangeInclusive<usize>> {
        let at = |key| Partitioner::partition(self, key);
        let (a, b) = (at(lower), at(upper));
        Some(if self.ascending { a..=b } else { b..=a })
    }
}

/// Places a number at the partition of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexPartitioner(pub(crate) usize);

impl Partitioner<usize> for IndexPartitioner {
    fn num_partitions(&self) -> usize {
        self.0
    }

    fn partition(&self, key: &usize) -> usize {
        key % self.0.max(1)
    }
}

/// A partitioner of any type.
pub(crate) trait AnyPartitioner<K>: Send + Sync {
    fn num_partitions(&self) -> usize;
    fn partition(&self, key: &K) -> usize;
    fn partitions_between(&self, lower: &K, upper: &K) -> Option<RangeInclusive<usize>>;
    fn descriptor(&self) -> &'static Descriptor;
    fn to_bytes(&self) -> Result<Vec<u8>>;
    fn partitioner_type(&self) -> TypeId;
}

impl<K: 'static, P: Partitioner<K>> AnyPartitioner<K> for P {
    fn num_partitions(&self) -> usize {
        Partitioner::num_partitions(self).max(1)
    }

    #[inline]
    fn partition(&self, key: &K) -> usize {
        Partitioner::partition(self, key)
    }

    fn partitions_between(&self, lower: &K, upper: &K) -> Option<RangeInclusive<usize>> {
        Partitioner::partitions_between(self, lower, upper)
    }

    fn descriptor(&self) -> &'static Descriptor {
        Builder::<K, P>::DESCRIPTOR
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        codec::encode(self)
    }

    fn partitioner_type(&self) -> TypeId {
        TypeId::of::<P>()
    }
}

struct Builder<K, P>(std::marker::PhantomData<(K, P)>);

impl<K: 'static, P: Partitioner<K>> Builder<K, P> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<(K, P)>(Self::build);

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        let partitioner: Arc<dyn AnyPartitioner<K>> = Arc::new(decoder.take::<P>()?);
        Ok(Box::new(partitioner))
    }
}

/// How the records of an RDD are placed: a partitioner, its element type forgotten.
#[derive(Clone)]
pub struct PartitionedBy {
    /// An `Arc<dyn AnyPartitioner<K>>`.
    partitioner: Arc<dyn Any + Send + Sync>,
    num_partitions: usize,
    type_id: TypeId,
    bytes: Arc<[u8]>,
}

impl PartitionedBy {
    pub(crate) fn of<K: 'static>(partitioner: &Arc<dyn AnyPartitioner<K>>) -> Self {
        Self {
            num_partitions: partitioner.num_partitions(),
            type_id: partitioner.partitioner_type(),
            // A partitioner that cannot be encoded equals none, itself included: a needless
            // shuffle at the worst.
            bytes: partitioner.to_bytes().unwrap_or_default().into(),
            partitioner: Arc::new(Arc::clone(partitioner)),
        }
    }

    /// The partitioner for keys of type `K`, when it is one.
    pub(crate) fn typed<K: 'static>(&self) -> Option<Arc<dyn AnyPartitioner<K>>> {
        self.partitioner
            .downcast_ref::<Arc<dyn AnyPartitioner<K>>>()
            .cloned()
    }

    /// How many partitions there are.
    #[must_use]
    pub fn num_partitions(&self) -> usize {
        self.num_partitions
    }
}

impl PartialEq for PartitionedBy {
    fn eq(&self, other: &Self) -> bool {
        self.type_id == other.type_id && self.bytes == other.bytes && !self.bytes.is_empty()
    }
}

impl fmt::Debug for PartitionedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionedBy")
            .field("num_partitions", &self.num_partitions)
            .finish_non_exhaustive()
    }
}

/// Refuses a partition count of zero.
pub(crate) fn positive(num_partitions: usize) -> Result<usize> {
    if num_partitions == 0 {
        return Err(Error::invalid("positive number of partitions required").with("got", 0));
    }
    Ok(num_partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_places_every_key_below_the_count_and_evenly() {
        let partitioner = HashPartitioner::new(7);
        let mut counts = [0_u32; 7];
        for key in 0..7_000_u64 {
            counts[Partitioner::partition(&partitioner, &key)] += 1;
        }
        assert!(
            counts.iter().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
    }

    // C-137
    #[test]
    fn few_distinct_keys_give_few_ranges() {
        let partitioner = RangePartitioner::from_sample(vec![1, 1, 1, 2], 8, true);
        assert!(Partitioner::<i32>::num_partitions(&partitioner) <= 3);
        let parts: Vec<usize> = [0, 1, 2, 3]
            .iter()
            .map(|k| Partitioner::partition(&partitioner, k))
            .collect();
        assert!(parts.is_sorted());
    }

    #[test]
    fn equality_is_by_type_and_value() {
        let of = |n| {
            let arc: Arc<dyn AnyPartitioner<u64>> = Arc::new(HashPartitioner::new(n));
            PartitionedBy::of(&arc)
        };
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }
}
