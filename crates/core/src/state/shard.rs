//! One partition of a keyed state: entries, an index over them, and the way back to versions that
//! are still remembered.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::delta::{Change, Keyed};
use super::slab::{Entry, Link, NONE, Slab};
use super::undo::{Old, Undo};
use crate::data::Key;
use crate::error::{Error, Result};

/// What an entry looks like at some version.
pub(super) type View<'a, K, S> = (&'a K, &'a S, i64);

/// Where an entry is, and part of its key's hash: the table grows, and looks for most keys, without
/// a look at the entries.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u32,
    tag: u32,
}

/// The hash of a tag, as the table wants it.
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn spread_of(place: &Place) -> u64 {
    spread(place.tag)
}

/// The entries of one partition.
#[derive(Debug)]
pub(super) struct Shard<K, S> {
    slab: Slab<K, S>,
    index: HashTable<Place>,
    hasher: FixedState,
    /// Whether the order of touching is kept: only a time-out asks for it.
    keeps_order: bool,
    oldest: u32,
    newest: u32,
    version_ms: i64,
    /// The way back, oldest first.
    history: VecDeque<Undo<K, S>>,
}

/// Changes with all that users' code has to say about them: applying them cannot fail.
pub(super) struct Planned<K, S> {
    /// The slot, `NONE` for a new key; the key's tag, where it is needed.
    changes: Vec<(u32, u32, Keyed<K, S>)>,
}

impl<K: Key, S> Shard<K, S> {
    pub(super) fn new(seed: u64, version_ms: i64, keeps_order: bool) -> Self {
        Self {
            slab: Slab::new(),
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            keeps_order,
            oldest: NONE,
            newest: NONE,
            version_ms,
            history: VecDeque::new(),
        }
    }

    /// Live keys.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The version that was committed last.
    pub(super) fn version_ms(&self) -> i64 {
        self.version_ms
    }

    pub(super) fn num_slots(&self) -> u32 {
        self.slab.num_slots()
    }

    /// Whether a version can be read.
    pub(super) fn remembers(&self, version_ms: i64) -> bool {
        version_ms == self.version_ms || self.history.iter().any(|undo| undo.from_ms == version_ms)
    }

    fn tag_of(&self, key: &K) -> u32 {
        (self.hasher.hash_one(key) >> 32) as u32
    }

    fn find(&self, tag: u32, key: &K) -> Option<u32> {
        let has_key = |at| self.slab.get(at).is_some_and(|entry| entry.key == *key);
        let is_it = |place: &Place| place.tag == tag && has_key(place.at);
        self.index.find(spread(tag), is_it).map(|place| place.at)
    }

    /// The slots of many keys at a version, `NONE` for those that are not there. In passes that
    /// each wait for one place in memory a key: the waits overlap.
    pub(super) fn find_all<'k>(
        &self,
        keys: impl Iterator<Item = &'k K> + Clone,
        version_ms: i64,
    ) -> Vec<u32> {
        if version_ms != self.version_ms {
            let found = |key| self.lookup(key, version_ms).map_or(NONE, |found| found.0);
            return keys.map(found).collect();
        }
        let tags: Vec<u32> = keys.clone().map(|key| self.tag_of(key)).collect();
        let by_tag = |tag: &u32| {
            let found = self.index.find(spread(*tag), |place| place.tag == *tag);
            found.map_or(NONE, |place| place.at)
        };
        let likely: Vec<u32> = tags.iter().map(by_tag).collect();
        let checked = likely.into_iter().zip(tags).zip(keys);
        let checked = checked.map(|((at, tag), key)| match self.slab.get(at) {
            None => NONE,
            Some(entry) if entry.key == *key => at,
            // Another key with the same tag.
            Some(_) => self.find(tag, key).unwrap_or(NONE),
        });
        checked.collect()
    }

    /// The slot and what is in it of a key at a version.
    #[inline]
    pub(super) fn lookup(&self, key: &K, version_ms: i64) -> Option<(u32, &S, i64)> {
        let tag = self.tag_of(key);
        if version_ms == self.version_ms {
            let at = self.find(tag, key)?;
            let entry = self.slab.get(at)?;
            return Some((at, &entry.state, entry.touched_ms));
        }
        let since = self.history.iter().filter(|undo| undo.to_ms > version_ms);
        let mut removed = since.filter_map(|undo| undo.removed(key));
        let at = removed.next().or_else(|| self.find(tag, key))?;
        let (found, state, touched_ms) = self.read(at, version_ms)?;
        (found == key).then_some((at, state, touched_ms))
    }

    /// What a slot holds at a version.
    pub(super) fn read(&self, at: u32, version_ms: i64) -> Option<View<'_, K, S>> {
        let now = self.slab.get(at);
        let mut seen = now.map(|entry| (&entry.key, &entry.state, entry.touched_ms));
        let since = self.history.iter().rev();
        for undo in since.take_while(|undo| undo.to_ms > version_ms) {
            match undo.old(at) {
                None => {}
                Some(Old::Vacant) => seen = None,
                Some(Old::Touched(ms)) => seen = seen.map(|(key, state, _)| (key, state, *ms)),
                Some(Old::State(state, ms)) => seen = seen.map(|(key, ..)| (key, state, *ms)),
                Some(Old::Entry(key, state, ms)) => seen = Some((key, state, *ms)),
            }
        }
        seen
    }

    /// Slots whose entries nobody has touched since `before_ms`, at a version; longest first.
    pub(super) fn untouched(&self, version_ms: i64, before_ms: i64) -> Vec<u32> {
        let mut found: Vec<(i64, u32)> = Vec::new();
        if version_ms == self.version_ms && self.keeps_order {
            let mut at = self.oldest;
            while let Some(entry) = self.slab.get(at)
                && entry.touched_ms < before_ms
            {
                found.push((entry.touched_ms, at));
                at = entry.newer.at();
            }
        } else {
            found.extend((0..self.num_slots()).filter_map(|at| {
                let (.., touched_ms) = self.read(at, version_ms)?;
                (touched_ms < before_ms).then_some((touched_ms, at))
            }));
        }
        // The links of a version that is over are gone: both ways must give the same order.
        found.sort_unstable();
        found.into_iter().map(|(_, at)| at).collect()
    }

    /// Asks the users' code all it is asked for a commit, and changes nothing that can be seen.
    ///
    /// # Errors
    /// `Invalid` when there would be more keys than slots have numbers.
    pub(super) fn plan(&mut self, changes: Vec<Keyed<K, S>>) -> Result<Planned<K, S>> {
        if self.num_slots() as usize + changes.len() >= NONE as usize {
            return Err(Error::invalid("too many keys in one partition of a state")
                .with("num_slots", self.num_slots())
                .with("hint", "use more partitions"));
        }
        let mut planned = Vec::with_capacity(changes.len());
        let mut num_new = 0;
        for change in changes {
            // A hint is where this version had the key: its entry, far away, is not looked at
            // before it is changed.
            if change.hint != NONE && !matches!(change.change, Change::Remove) {
                planned.push((change.hint, 0, change));
                continue;
            }
            let tag = self.tag_of(&change.key);
            let at = match change.hint {
                NONE => self.find(tag, &change.key),
                hint => Some(hint),
            };
            num_new += usize::from(at.is_none());
            planned.push((at.unwrap_or(NONE), tag, change));
        }
        self.index.reserve(num_new, spread_of);
        Ok(Planned { changes: planned })
    }

    /// Makes the planned changes: from now on the version is `to_ms`.
    pub(super) fn apply(&mut self, planned: Planned<K, S>, to_ms: i64) {
        let mut slots = Vec::with_capacity(planned.changes.len());
        let mut removed = Vec::new();
        for (at, tag, Keyed { key, change, .. }) in planned.changes {
            match change {
                Change::Remove => removed.push((at, tag)),
                Change::Set(state) if at == NONE => {
                    let at = self.insert(tag, key, state, to_ms);
                    slots.push((at, Old::Vacant));
                }
                // Everything about an entry at one visit: it is far away.
                Change::Set(state) => {
                    if let Some(entry) = self.slab.get_mut(at) {
                        let old = std::mem::replace(&mut entry.state, state);
                        let old_ms = std::mem::replace(&mut entry.touched_ms, to_ms);
                        slots.push((at, Old::State(old, old_ms)));
                    }
                    self.relink(at);
                }
                Change::Touch => {
                    if let Some(entry) = self.slab.get_mut(at) {
                        let old_ms = std::mem::replace(&mut entry.touched_ms, to_ms);
                        slots.push((at, Old::Touched(old_ms)));
                    }
                    self.relink(at);
                }
            }
        }
        // After the inserts: a slot has one past in a commit.
        for (at, tag) in removed {
            self.unlink(at);
            let is_it = |place: &Place| place.at == at;
            if let Ok(found) = self.index.find_entry(spread(tag), is_it) {
                found.remove();
            }
            if let Some(entry) = self.slab.remove(at) {
                slots.push((at, Old::Entry(entry.key, entry.state, entry.touched_ms)));
            }
        }
        let undo = Undo::new(self.version_ms, to_ms, slots, self.hasher.clone());
        self.history.push_back(undo);
        self.version_ms = to_ms;
    }

    /// Puts a key in that is not there. Only for states that are filled before their first batch.
    pub(super) fn fill(&mut self, key: K, state: S, touched_ms: i64) {
        let tag = self.tag_of(&key);
        match self.find(tag, &key) {
            Some(at) => {
                if let Some(entry) = self.slab.get_mut(at) {
                    entry.state = state;
                }
            }
            None => {
                self.index.reserve(1, spread_of);
                self.insert(tag, key, state, touched_ms);
            }
        }
    }

    /// There is room in the index.
    fn insert(&mut self, tag: u32, key: K, state: S, touched_ms: i64) -> u32 {
        let at = self.slab.insert(Entry {
            key,
            state,
            touched_ms,
            older: Link::to(NONE),
            newer: Link::to(NONE),
        });
        let place = Place { at, tag };
        self.index.insert_unique(spread(tag), place, spread_of);
        self.link(at);
        at
    }

    fn relink(&mut self, at: u32) {
        if self.keeps_order {
            self.unlink(at);
            self.link(at);
        }
    }

    /// Puts the entry at the end of the order.
    fn link(&mut self, at: u32) {
        if !self.keeps_order {
            return;
        }
        let newest = std::mem::replace(&mut self.newest, at);
        if let Some(entry) = self.slab.get_mut(at) {
            (entry.older, entry.newer) = (Link::to(newest), Link::to(NONE));
        }
        match self.slab.get_mut(newest) {
            Some(before) => before.newer = Link::to(at),
            None => self.oldest = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        if !self.keeps_order {
            return;
        }
        let Some(&Entry { older, newer, .. }) = self.slab.get(at) else {
            return;
        };
        match self.slab.get_mut(older.at()) {
            Some(before) => before.newer = newer,
            None => self.oldest = newer.at(),
        }
        match self.slab.get_mut(newer.at()) {
            Some(after) => after.older = older,
            None => self.newest = older.at(),
        }
    }

    /// Forgets the way back to before version `until_ms`.
    pub(super) fn forget(&mut self, until_ms: i64) {
        while self
            .history
            .front()
            .is_some_and(|undo| undo.to_ms <= until_ms)
        {
            self.history.pop_front();
        }
    }

    /// Memory of entries and index, without what keys and states have elsewhere, and without the
    /// way back.
    pub(super) fn size_bytes(&self) -> usize {
        self.slab.size_bytes() + self.index.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Model = BTreeMap<u8, (String, i64)>;

    fn keyed(key: u8, change: Change<String>, hint: u32) -> Keyed<u8, String> {
        Keyed { key, change, hint }
    }

    /// One commit of random changes, made on the model too.
    fn commit(shard: &mut Shard<u8, String>, model: &mut Model, to_ms: i64, ops: &[(u8, u8)]) {
        let mut changes = BTreeMap::new();
        for (key, op) in ops {
            let found = shard.lookup(key, shard.version_ms()).map(|found| found.0);
            // What comes from another process has no hint.
            let hint = [found.unwrap_or(NONE), NONE][usize::from(op / 4 % 2)];
            let change = match (op % 4, found) {
                (0, Some(_)) => Change::Remove,
                (1, Some(_)) => Change::Touch,
                _ => Change::Set(format!("{key} at {to_ms}")),
            };
            changes.insert(*key, keyed(*key, change, hint));
        }
        for (key, Keyed { change, .. }) in &changes {
            match change {
                Change::Set(state) => drop(model.insert(*key, (state.clone(), to_ms))),
                Change::Remove => drop(model.remove(key)),
                Change::Touch => {
                    if let Some(entry) = model.get_mut(key) {
                        entry.1 = to_ms;
                    }
                }
            }
        }
        let planned = shard.plan(changes.into_values().collect()).unwrap();
        shard.apply(planned, to_ms);
    }

    fn read_all(shard: &Shard<u8, String>, version_ms: i64) -> Model {
        let live = (0..shard.num_slots()).filter_map(|at| shard.read(at, version_ms));
        live.map(|(key, state, ms)| (*key, (state.clone(), ms)))
            .collect()
    }

    proptest! {
        // S-121
        #[test]
        fn each_remembered_version_reads_as_it_was(
            commits in proptest::collection::vec(
                proptest::collection::vec((0_u8..24, any::<u8>()), 0..12), 1..12),
            remembered in 1_usize..5,
        ) {
            let mut shard = Shard::new(7, 0, true);
            let mut model = Model::new();
            let mut versions: Vec<Model> = vec![model.clone()];
            for (ops, to_ms) in commits.iter().zip(1..) {
                commit(&mut shard, &mut model, to_ms, ops);
                versions.push(model.clone());
                shard.forget(to_ms - remembered as i64);
                let oldest = (to_ms as usize).saturating_sub(remembered);
                for (version_ms, expected) in (0..).zip(&versions).skip(oldest) {
                    prop_assert!(shard.remembers(version_ms));
                    prop_assert_eq!(&read_all(&shard, version_ms), expected);
                    let keys: Vec<u8> = (0..24).collect();
                    let slots = shard.find_all(keys.iter(), version_ms);
                    for (key, at) in keys.into_iter().zip(slots) {
                        prop_assert_eq!(
                            shard.lookup(&key, version_ms).map_or(NONE, |found| found.0),
                            at
                        );
                        let found = shard.lookup(&key, version_ms);
                        let found = found.map(|(_, state, ms)| (state.clone(), ms));
                        prop_assert_eq!(&found, &expected.get(&key).cloned());
                    }
                    let before_ms = version_ms - 1;
                    let untouched: Vec<u8> = shard
                        .untouched(version_ms, before_ms)
                        .into_iter()
                        .filter_map(|at| shard.read(at, version_ms).map(|view| *view.0))
                        .collect();
                    let mut sorted = untouched.clone();
                    sorted.sort_unstable();
                    let all = expected.iter().filter(|(_, entry)| entry.1 < before_ms);
                    let all: Vec<u8> = all.map(|(key, _)| *key).collect();
                    prop_assert_eq!(sorted, all);
                }
                prop_assert!(!shard.remembers(oldest as i64 - 1));
                prop_assert_eq!(shard.len(), model.len());
            }
        }
    }

    /// All keys have one hash.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
    struct Alike(u8);

    impl std::hash::Hash for Alike {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            state.write_u8(0);
        }
    }

    #[test]
    fn keys_of_one_hash_are_told_apart() {
        let mut shard = Shard::new(7, 0, false);
        let keys: Vec<Alike> = (0..40).map(Alike).collect();
        for key in keys.iter().take(30) {
            shard.fill(*key, key.0, 0);
        }
        let slots = shard.find_all(keys.iter(), 0);
        let expected: Vec<u32> = (0..30).chain([NONE; 10]).collect();
        assert_eq!(slots, expected);
        let removed = Keyed {
            key: Alike(7),
            change: Change::Remove,
            hint: NONE,
        };
        let planned = shard.plan(vec![removed]).unwrap();
        shard.apply(planned, 1);
        assert_eq!(shard.lookup(&Alike(7), 1), None);
        assert_eq!(shard.lookup(&Alike(7), 0), Some((7, &7, 0)));
        assert_eq!(shard.lookup(&Alike(8), 1), Some((8, &8, 0)));
    }

    #[test]
    fn a_version_lists_the_untouched_in_the_same_order_then_and_later() {
        let mut shard = Shard::new(7, 0, true);
        let mut model = Model::new();
        for (keys, to_ms) in [[5, 3, 9], [1, 3, 7], [2, 9, 4]].iter().zip(1..) {
            let ops: Vec<(u8, u8)> = keys.iter().map(|key| (*key, 2)).collect();
            commit(&mut shard, &mut model, to_ms, &ops);
        }
        let then = shard.untouched(3, 3);
        assert_eq!(then.len(), 4);
        commit(&mut shard, &mut model, 4, &[(5, 2), (1, 0)]);
        assert_eq!(shard.untouched(3, 3), then);
    }

    /// As `u64` keys and states are counted by the benchmark.
    #[test]
    fn a_key_costs_at_most_64_bytes_beyond_key_and_state() {
        for num_keys in [5_000_u64, 57_344, 60_000, 200_000] {
            let mut shard = Shard::new(7, 0, true);
            for key in 0..num_keys {
                shard.fill(key, key, 0);
            }
            let each = shard.size_bytes() as u64 / num_keys - 16;
            assert!(each <= 64, "{each} bytes a key of {num_keys}");
        }
    }
}
