//! Actions of pairs: `reduce_by_key_locally`, `lookup`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::Rdd;
use crate::codec::{Decoder, Encoder};
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::function::{Captured, Function, Function2, Plain};
use crate::operator::Operator;
use crate::travel::Portable;

impl<K: Key, V: Data> Rdd<(K, V)> {
    pub(crate) fn reduce_locally_as(
        &self,
        operator: Operator,
        f: impl Fn(V, V) -> V + Clone + Send + Sync + 'static,
    ) -> Result<HashMap<K, V>> {
        let function = Arc::new(ReduceKeys(Plain(f.clone())));
        let parts: Vec<Vec<(K, V)>> =
            self.ctx
                .run_action(operator, self, &function, &self.all_splits()?)?;
        Ok(reduce_keys(parts.into_iter().flatten(), f))
    }

    pub(crate) fn lookup_as(&self, operator: Operator, key: K) -> Result<Vec<V>> {
        let placed = self.partitioner().and_then(|by| by.typed::<K>());
        let splits = match placed {
            Some(partitioner) => vec![partitioner.partition(&key)],
            None => self.all_splits()?,
        };
        let values = |wanted: &K, records: PartitionIter<(K, V)>| -> Vec<V> {
            let found = records.filter(|(key, _)| key == wanted);
            found.map(|(_, value)| value).collect()
        };
        let function = Arc::new(Captured {
            captures: Arc::new(key),
            function: values,
        });
        let parts = self.ctx.run_action(operator, self, &function, &splits)?;
        Ok(parts.into_iter().flatten().collect())
    }
}

/// The values of each key, reduced.
fn reduce_keys<K: Key, V>(
    records: impl Iterator<Item = (K, V)>,
    f: impl Fn(V, V) -> V,
) -> HashMap<K, V> {
    // `None` only while the function has the value in hand.
    let mut reduced: HashMap<K, Option<V>> = HashMap::new();
    for (key, value) in records {
        match reduced.entry(key) {
            Entry::Occupied(mut slot) => {
                let have = slot.get_mut().take();
                *slot.get_mut() = have.map(|have| f(have, value));
            }
            Entry::Vacant(slot) => drop(slot.insert(Some(value))),
        }
    }
    let whole = |(key, value): (K, Option<V>)| Some((key, value?));
    reduced.into_iter().filter_map(whole).collect()
}

/// Reduces the values of each key of a partition.
struct ReduceKeys<M>(M);

impl<M: Portable> Portable for ReduceKeys<M> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        M::decode(decoder).map(Self)
    }
}

impl<K: Key, V, M: Function2<V, V, Output = V>> Function<PartitionIter<(K, V)>> for ReduceKeys<M> {
    type Output = Vec<(K, V)>;

    fn call(&self, records: PartitionIter<(K, V)>) -> Vec<(K, V)> {
        reduce_keys(records, |a, b| self.0.call(a, b))
            .into_iter()
            .collect()
    }
}
