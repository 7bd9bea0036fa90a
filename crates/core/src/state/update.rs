//! `Update`: a state made anew of the state before and the records of a batch.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::placement::detached;
use crate::codec::{Built, Decoder, Encoder};
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::operator::{Operator, abort_task};
use crate::rdd::Rdd;
use crate::rdd::node::{AnyRdd, Dependency, Meta, Narrow, Parent, RddNode, built};
use crate::task::TaskContext;
use crate::travel::{Descriptor, Portable};

/// A key, its new values, and its state, if it has one.
pub type Group<K, V, S> = (K, Vec<V>, Option<S>);

/// Makes the state of a partition.
#[doc(hidden)]
pub trait UpdateAll<K, V, S>: Portable {
    /// The new state of the keys that have new values or a state.
    fn update(
        self: Arc<Self>,
        time_ms: i64,
        groups: PartitionIter<Group<K, V, S>>,
    ) -> PartitionIter<(K, S)>;

    /// Whether what it gives may have a key twice.
    fn may_repeat(&self) -> bool;
}

/// Makes the state of one key.
#[doc(hidden)]
pub trait UpdateKey<K, V, S>: Portable {
    /// `None` removes the key.
    fn update_key(&self, time_ms: i64, key: &K, values: Vec<V>, state: Option<S>) -> Option<S>;
}

/// Each key by itself.
#[derive(Debug)]
#[doc(hidden)]
pub struct EachKey<M>(pub M);

impl<M: Portable> Portable for EachKey<M> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        M::decode(decoder).map(Self)
    }
}

impl<K: Key, V: Data, S: Data, M: UpdateKey<K, V, S>> UpdateAll<K, V, S> for EachKey<M> {
    fn update(
        self: Arc<Self>,
        time_ms: i64,
        groups: PartitionIter<Group<K, V, S>>,
    ) -> PartitionIter<(K, S)> {
        Box::new(groups.filter_map(move |(key, values, state)| {
            let (is_new, has_values) = (state.is_none(), !values.is_empty());
            let mut state = self.0.update_key(time_ms, &key, values, state)?;
            if has_values {
                state = owned(state);
            }
            Some((if is_new { owned(key) } else { key }, state))
        }))
    }

    fn may_repeat(&self) -> bool {
        false
    }
}

/// Detached; a value that cannot be encoded fails the task.
fn owned<T: Data>(value: T) -> T {
    detached(value).unwrap_or_else(|error| abort_task(error))
}

/// The state of one batch.
struct Update<K, V, S, M> {
    meta: Meta,
    input: Parent<(K, V)>,
    before: Parent<(K, S)>,
    time_ms: i64,
    function: Arc<M>,
}

impl<K: Key, V: Data, S: Data, M: UpdateAll<K, V, S>> Update<K, V, S, M> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(Self::build);

    fn build(decoder: &mut Decoder<'_>) -> Result<Built> {
        Ok(built(Self {
            meta: decoder.meta(),
            input: Parent::decode(decoder, 0)?,
            before: Parent::decode(decoder, 1)?,
            time_ms: decoder.take()?,
            function: Arc::new(M::decode(decoder)?),
        }))
    }

    /// Keys in the order of the state, then new ones.
    fn groups(&self, split: usize, task: &TaskContext) -> Result<PartitionIter<Group<K, V, S>>> {
        let hasher = FixedState::with_seed(task.seed());
        let mut arrived: HashMap<K, Vec<V>, FixedState> = HashMap::with_hasher(hasher.clone());
        for (key, value) in self.input.iterate(split, task)? {
            arrived.entry(key).or_default().push(value);
        }
        let mut before = self.before.iterate(split, task)?;
        // Of equal keys in the state only the first counts.
        let mut seen: Option<HashSet<K, FixedState>> = self
            .function
            .may_repeat()
            .then(|| HashSet::with_hasher(hasher));
        let mut rest = None;
        Ok(Box::new(std::iter::from_fn(move || {
            for (key, state) in before.by_ref() {
                if seen.as_mut().is_none_or(|seen| seen.insert(key.clone())) {
                    let values = arrived.remove(&key).unwrap_or_default();
                    return Some((key, values, Some(state)));
                }
            }
            let rest = rest.get_or_insert_with(|| std::mem::take(&mut arrived).into_iter());
            rest.next().map(|(key, values)| (key, values, None))
        })))
    }
}

impl<K: Key, V: Data, S: Data, M: UpdateAll<K, V, S>> AnyRdd for Update<K, V, S, M> {
    /// Twins would be harmless, since an attempt only says what it would change; but the state is in
    /// one place, where a second attempt is as slow as the first.
    fn may_be_twinned(&self) -> bool {
        false
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn num_partitions(&self) -> Result<usize> {
        self.before.num_partitions()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        vec![
            self.input.dependency(Narrow::OneToOne),
            self.before.dependency(Narrow::OneToOne),
        ]
    }

    fn descriptor(&self) -> &'static Descriptor {
        Self::DESCRIPTOR
    }

    fn encode(&self, _: &[usize], encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&self.time_ms)?;
        self.function.encode(encoder)
    }
}

impl<K: Key, V: Data, S: Data, M: UpdateAll<K, V, S>> RddNode<(K, S)> for Update<K, V, S, M> {
    fn compute(self: Arc<Self>, split: usize, task: &TaskContext) -> Result<PartitionIter<(K, S)>> {
        let groups = self.groups(split, task)?;
        let operator = self.meta.operator().clone();
        let function = Arc::clone(&self.function);
        let mut updated = operator.call(|| function.update(self.time_ms, groups));
        Ok(Box::new(std::iter::from_fn(move || {
            operator.call(|| updated.next())
        })))
    }
}

#[doc(hidden)]
impl<K: Key, V: Data> Rdd<(K, V)> {
    /// The state that `function` makes of these records and the state before, placed alike.
    pub fn update_as<S: Data, M: UpdateAll<K, V, S>>(
        &self,
        operator: Operator,
        before: &Rdd<(K, S)>,
        function: &Arc<M>,
        time_ms: i64,
    ) -> Rdd<(K, S)> {
        let ctx = self.context();
        let depth = self.parent().depth().max(before.parent().depth());
        let node = Update {
            meta: ctx.meta(operator, depth),
            input: self.parent().clone(),
            before: before.parent().clone(),
            time_ms,
            function: Arc::clone(function),
        };
        ctx.rdd(node)
    }
}
