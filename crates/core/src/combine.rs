//! Combining the values of a key: what `reduce_by_key`, `fold_by_key`, `aggregate_by_key`,
//! `combine_by_key` and `group_by_key` share.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::codec::{Decoder, Encoder};
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::function::{Function, Function2};
use crate::operator::Operator;
use crate::shuffle::ShuffleRead;
use crate::task::TaskContext;
use crate::travel::Portable;

/// How values `V` of one key become one combiner `C`.
pub trait Combine<V, C>: Portable {
    /// The combiner of a first value.
    fn create(&self, value: V) -> C;
    /// One more value.
    fn merge_value(&self, combiner: C, value: V) -> C;
    /// Two combiners of one key, from different partitions.
    fn merge_combiners(&self, a: C, b: C) -> C;
}

/// `reduce_by_key`: the value is the combiner.
#[derive(Debug)]
pub struct Reduce<F>(pub F);

impl<F: Portable> Portable for Reduce<F> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        F::decode(decoder).map(Self)
    }
}

impl<V, F: Function2<V, V, Output = V>> Combine<V, V> for Reduce<F> {
    #[inline]
    fn create(&self, value: V) -> V {
        value
    }

    #[inline]
    fn merge_value(&self, combiner: V, value: V) -> V {
        self.0.call(combiner, value)
    }

    #[inline]
    fn merge_combiners(&self, a: V, b: V) -> V {
        self.0.call(a, b)
    }
}

/// `fold_by_key` and `aggregate_by_key`: a zero for each key and map partition.
#[derive(Debug)]
pub struct Aggregate<Z, F, G> {
    /// The start of each key.
    pub zero: Z,
    /// Takes in one value.
    pub merge_value: F,
    /// Joins two results.
    pub merge_combiners: G,
}

impl<Z: Data, F: Portable, G: Portable> Portable for Aggregate<Z, F, G> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&self.zero)?;
        self.merge_value.encode(encoder)?;
        self.merge_combiners.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            zero: decoder.take()?,
            merge_value: F::decode(decoder)?,
            merge_combiners: G::decode(decoder)?,
        })
    }
}

impl<V, C, F, G> Combine<V, C> for Aggregate<C, F, G>
where
    C: Data,
    F: Function2<C, V, Output = C>,
    G: Function2<C, C, Output = C>,
{
    fn create(&self, value: V) -> C {
        self.merge_value.call(self.zero.clone(), value)
    }

    fn merge_value(&self, combiner: C, value: V) -> C {
        self.merge_value.call(combiner, value)
    }

    fn merge_combiners(&self, a: C, b: C) -> C {
        self.merge_combiners.call(a, b)
    }
}

/// `combine_by_key`: three functions.
#[derive(Debug)]
pub struct Functions<A, F, G> {
    /// Makes a combiner of a first value.
    pub create: A,
    /// Takes in one value.
    pub merge_value: F,
    /// Joins two combiners.
    pub merge_combiners: G,
}

impl<A: Portable, F: Portable, G: Portable> Portable for Functions<A, F, G> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.create.encode(encoder)?;
        self.merge_value.encode(encoder)?;
        self.merge_combiners.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            create: A::decode(decoder)?,
            merge_value: F::decode(decoder)?,
            merge_combiners: G::decode(decoder)?,
        })
    }
}

impl<V, C, A, F, G> Combine<V, C> for Functions<A, F, G>
where
    A: Function<V, Output = C>,
    F: Function2<C, V, Output = C>,
    G: Function2<C, C, Output = C>,
{
    fn create(&self, value: V) -> C {
        self.create.call(value)
    }

    fn merge_value(&self, combiner: C, value: V) -> C {
        self.merge_value.call(combiner, value)
    }

    fn merge_combiners(&self, a: C, b: C) -> C {
        self.merge_combiners.call(a, b)
    }
}

/// Values under construction. `None` only while the user's function has the combiner in hand.
type Combiners<K, C> = HashMap<K, Option<C>, FixedState>;

/// Combines all values of each key of one partition.
pub(crate) fn combine_values<K: Key, V, C, A: Combine<V, C>>(
    records: PartitionIter<(K, V)>,
    combine: &A,
    task: &TaskContext,
    operator: &Operator,
) -> Combiners<K, C> {
    let mut combiners: Combiners<K, C> = HashMap::with_hasher(FixedState::with_seed(task.seed()));
    // A record stays where the iterator wrote it until its value is needed: moving it first costs
    // more than looking its key up (docs/design/0002-what-text-is.md).
    for record in records {
        operator.call(|| match combiners.get_mut(&record.0) {
            Some(slot) => {
                let (_key, value) = record;
                *slot = slot
                    .take()
                    .map(|combiner| combine.merge_value(combiner, value));
            }
            None => {
                let (key, value) = record;
                combiners.insert(key, Some(combine.create(value)));
            }
        });
    }
    combiners
}

/// Joins the combiners that a shuffle brought to one partition.
pub(crate) fn merge_combiners<K: Key, V, C: Data, A: Combine<V, C>>(
    read: &ShuffleRead<K, C>,
    split: usize,
    combine: &A,
    task: &TaskContext,
    operator: &Operator,
) -> Result<Combiners<K, C>> {
    let buckets = read.buckets(split, task)?;
    let largest = buckets.iter().map(|bucket| bucket.len()).max().unwrap_or(0);
    let mut combiners: Combiners<K, C> =
        HashMap::with_capacity_and_hasher(largest, FixedState::with_seed(task.seed()));
    for bucket in buckets {
        task.check()?;
        for (key, combiner) in bucket.iter() {
            operator.call(|| match combiners.get_mut(key) {
                Some(slot) => {
                    *slot = slot
                        .take()
                        .map(|have| combine.merge_combiners(have, combiner.clone()));
                }
                None => {
                    combiners.insert(key.clone(), Some(combiner.clone()));
                }
            });
        }
    }
    Ok(combiners)
}

/// The finished pairs.
pub(crate) fn drain<K: Key, C>(combiners: Combiners<K, C>) -> impl Iterator<Item = (K, C)> {
    combiners
        .into_iter()
        .filter_map(|(key, combiner)| Some((key, combiner?)))
}
