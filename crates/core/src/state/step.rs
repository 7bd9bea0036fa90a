//! One step: what a batch does to one partition, seen by the code that computes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::delta::{Change, Keyed};
use super::forgotten;
use super::handle::{Left, State};
use super::keyed::{Kept, KeyedState};
use super::placement::detached;
use super::shard::Shard;
use super::slab::NONE;
use crate::data::{Data, Key, PartitionIter};
use crate::error::Result;
use crate::operator::Operator;
use crate::travel::Portable;

/// Keys that are looked up under one lock.
const CHUNK: usize = 256;

/// What a stateful operator does with the records of a batch in one partition.
#[doc(hidden)]
pub trait Step<K, V, S>: Portable {
    /// What records map to.
    type Output: Data;

    /// Reads and changes the state through `overlay` alone.
    ///
    /// # Errors
    /// Those of reading the state.
    fn run(
        &self,
        batch: &Batch<'_>,
        records: PartitionIter<(K, V)>,
        overlay: &mut Overlay<'_, K, S>,
    ) -> Result<Vec<Self::Output>>;
}

/// The batch a step is for.
#[derive(Debug)]
#[doc(hidden)]
pub struct Batch<'a> {
    pub operator: &'a Operator,
    pub time_ms: i64,
    /// The run's seed.
    pub seed: u64,
}

/// The state that a step begins with.
pub(super) enum Base<K, S> {
    /// In this process, at a version.
    Here(Arc<KeyedState<K, S>>, i64),
    /// The partitions that the task reads, brought along.
    Sent(BTreeMap<usize, Shard<K, S>>),
}

impl<K: Key, S: Data> Base<K, S> {
    /// What a task brings along.
    pub(super) fn send(&self, splits: &[usize]) -> Result<Vec<(usize, Vec<Kept<K, S>>)>> {
        let Self::Here(state, version_ms) = self else {
            return Ok(Vec::new());
        };
        let parts = splits
            .iter()
            .map(|split| Ok((*split, state.partition(*split, *version_ms)?)));
        parts.collect()
    }

    pub(super) fn receive(parts: Vec<(usize, Vec<Kept<K, S>>)>) -> Self {
        let shards = parts.into_iter().map(|(split, entries)| {
            let mut shard = Shard::new(0, 0, false);
            for (key, state, touched_ms) in entries {
                shard.fill(key, state, touched_ms);
            }
            (split, shard)
        });
        Self::Sent(shards.collect())
    }

    /// Looks at the shard. No code of the user's function runs meanwhile: commits wait for it.
    fn look<R>(&self, split: usize, f: impl FnOnce(&Shard<K, S>, i64) -> R) -> Result<R> {
        match self {
            Self::Here(state, version_ms) => Ok(f(&*state.shard(split, *version_ms)?, *version_ms)),
            Self::Sent(shards) => {
                let shard = shards.get(&split).ok_or_else(|| forgotten(0))?;
                Ok(f(shard, shard.version_ms()))
            }
        }
    }
}

/// A partition's state with the changes of one attempt laid over it.
#[doc(hidden)]
pub struct Overlay<'a, K, S> {
    base: &'a Base<K, S>,
    split: usize,
    touched: HashMap<K, Touched<S>, FixedState>,
}

struct Touched<S> {
    hint: u32,
    state: Option<S>,
    is_set: bool,
    is_refreshed: bool,
}

impl<K, S> std::fmt::Debug for Overlay<'_, K, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay")
            .field("split", &self.split)
            .field("num_touched", &self.touched.len())
            .finish_non_exhaustive()
    }
}

impl<'a, K: Key, S: Data> Overlay<'a, K, S> {
    pub(super) fn new(base: &'a Base<K, S>, split: usize, seed: u64) -> Self {
        Self {
            base,
            split,
            touched: HashMap::with_hasher(FixedState::with_seed(seed)),
        }
    }

    /// Records, some at a time, each with where its key was found. Looked up together: the memory
    /// of a large state is far away, and the waits for many keys overlap.
    pub(super) fn find<R>(
        &self,
        records: &mut dyn Iterator<Item = R>,
        key: impl Fn(&R) -> &K,
    ) -> Result<Vec<(R, u32)>> {
        let records: Vec<R> = records.take(CHUNK).collect();
        let slots = self.base.look(self.split, |shard, version_ms| {
            shard.find_all(records.iter().map(&key), version_ms)
        })?;
        Ok(records.into_iter().zip(slots).collect())
    }

    /// Lets `f` have the state of a key that was found at `hint`. With `refreshes`, a state that is
    /// left as it is counts as touched.
    pub(super) fn with_state<R>(
        &mut self,
        (key, hint): (K, u32),
        refreshes: bool,
        f: impl FnOnce(&K, &mut State<S>) -> R,
    ) -> Result<R> {
        let mut entry = match self.touched.entry(key) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => {
                let state = if hint == NONE {
                    None
                } else {
                    self.base.look(self.split, |shard, version_ms| {
                        shard
                            .read(hint, version_ms)
                            .map(|(_, state, _)| state.clone())
                    })?
                };
                entry.insert_entry(Touched {
                    hint,
                    state,
                    is_set: false,
                    is_refreshed: false,
                })
            }
        };
        let mut state = State::of(entry.get_mut().state.take());
        let result = f(entry.key(), &mut state);
        entry.get_mut().leave(state.leave(), refreshes);
        Ok(result)
    }

    /// Takes out, for good, the states that nobody has touched since `before_ms`.
    pub(super) fn expire(&mut self, before_ms: i64) -> Result<Vec<(K, S)>> {
        let touched = &mut self.touched;
        self.base.look(self.split, |shard, version_ms| {
            let mut expired = Vec::new();
            for hint in shard.untouched(version_ms, before_ms) {
                let Some((key, state, _)) = shard.read(hint, version_ms) else {
                    continue;
                };
                if let Entry::Vacant(entry) = touched.entry(key.clone()) {
                    entry.insert(Touched {
                        hint,
                        state: None,
                        is_set: false,
                        is_refreshed: false,
                    });
                    expired.push((key.clone(), state.clone()));
                }
            }
            expired
        })
    }

    /// The changes, keys and states in memory of their own.
    pub(super) fn finish(self) -> Result<Vec<Keyed<K, S>>> {
        let mut changes = Vec::with_capacity(self.touched.len());
        for (key, touched) in self.touched {
            let (hint, is_new) = (touched.hint, touched.hint == NONE);
            let change = match touched.state {
                None if is_new => continue,
                None => Change::Remove,
                Some(state) if touched.is_set => Change::Set(detached(state)?),
                Some(_) if touched.is_refreshed => Change::Touch,
                Some(_) => continue,
            };
            let key = if is_new { detached(key)? } else { key };
            changes.push(Keyed { key, change, hint });
        }
        Ok(changes)
    }
}

impl<S> Touched<S> {
    fn leave(&mut self, left: Left<S>, refreshes: bool) {
        match left {
            Left::AsFound(state) => {
                self.is_refreshed |= refreshes && state.is_some();
                self.state = state;
            }
            Left::Updated(state) => {
                self.is_set = true;
                self.state = state;
            }
            Left::Removed => self.state = None,
        }
    }
}
