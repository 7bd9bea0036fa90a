//! What one commit replaced.

use std::hash::BuildHasher;
use std::sync::OnceLock;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

use crate::data::Key;

/// What a slot held before.
#[derive(Debug)]
pub(super) enum Old<K, S> {
    Vacant,
    /// The same, touched last at this time.
    Touched(i64),
    State(S, i64),
    Entry(K, S, i64),
}

/// The way from one version back to the one before.
#[derive(Debug)]
pub(super) struct Undo<K, S> {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    /// Each slot that changed, once.
    slots: Vec<(u32, Old<K, S>)>,
    hasher: FixedState,
    /// Positions in `slots`, made when somebody looks back; few ever do.
    by_slot: OnceLock<HashMap<u32, usize, FixedState>>,
    removed: OnceLock<HashTable<usize>>,
}

impl<K: Key, S> Undo<K, S> {
    pub(super) fn new(
        from_ms: i64,
        to_ms: i64,
        slots: Vec<(u32, Old<K, S>)>,
        hasher: FixedState,
    ) -> Self {
        Self {
            from_ms,
            to_ms,
            slots,
            hasher,
            by_slot: OnceLock::new(),
            removed: OnceLock::new(),
        }
    }

    /// What the slot held before; `None` when it has not changed.
    pub(super) fn old(&self, at: u32) -> Option<&Old<K, S>> {
        let by_slot = self.by_slot.get_or_init(|| {
            let slots = self.slots.iter().map(|(at, _)| *at);
            slots.zip(0..).collect()
        });
        self.slots.get(*by_slot.get(&at)?).map(|(_, old)| old)
    }

    fn removed_key(&self, position: usize) -> Option<&K> {
        match self.slots.get(position)? {
            (_, Old::Entry(key, ..)) => Some(key),
            _ => None,
        }
    }

    /// The slot that the key had when it was removed here.
    pub(super) fn removed(&self, key: &K) -> Option<u32> {
        let hash_at = |position: usize| {
            self.removed_key(position)
                .map_or(0, |key| self.hasher.hash_one(key))
        };
        let removed = self.removed.get_or_init(|| {
            let mut table = HashTable::new();
            for position in 0..self.slots.len() {
                if self.removed_key(position).is_some() {
                    table.insert_unique(hash_at(position), position, |at| hash_at(*at));
                }
            }
            table
        });
        let is_it = |at: &usize| self.removed_key(*at) == Some(key);
        let position = removed.find(self.hasher.hash_one(key), is_it)?;
        self.slots.get(*position).map(|(at, _)| *at)
    }
}
