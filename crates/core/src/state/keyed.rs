//! `KeyedState`: the shards of one state operator, shared by all its batches.

use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard};
use serde::{Deserialize, Serialize};

use super::delta::Delta;
use super::placement::Placement;
use super::shard::Shard;
use super::{ReadState, forgotten};
use crate::codec;
use crate::data::{Data, Key, PartitionIter};
use crate::error::{Error, Result};
use crate::operator::abort_task;

/// Slots that are read under one lock.
const CHUNK: u32 = 512;

/// The first byte of an encoded state.
const FORMAT: u8 = 1;

/// A key, its state, and when it was touched last.
pub(super) type Kept<K, S> = (K, S, i64);

/// State by key, in shards, with the versions that are still remembered.
#[derive(Debug)]
#[doc(hidden)]
pub struct KeyedState<K, S> {
    placement: Placement<K>,
    seed: u64,
    keeps_order: bool,
    shards: Vec<RwLock<Shard<K, S>>>,
}

/// How large a state is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[doc(hidden)]
pub struct StateSize {
    pub num_keys: u64,
    /// Memory of entries and index, with what keys and states have inline.
    pub size_bytes: u64,
}

impl<K: Key, S: Data> KeyedState<K, S> {
    /// An empty state. The order of touching is kept only for a time-out.
    #[must_use]
    pub fn new(placement: Placement<K>, seed: u64, version_ms: i64, keeps_order: bool) -> Self {
        let shard = |_| RwLock::new(Shard::new(seed, version_ms, keeps_order));
        let shards = (0..placement.num_partitions()).map(shard).collect();
        Self {
            placement,
            seed,
            keeps_order,
            shards,
        }
    }

    #[must_use]
    pub fn placement(&self) -> &Placement<K> {
        &self.placement
    }

    /// The shard, at a version that it remembers.
    pub(super) fn shard(
        &self,
        split: usize,
        version_ms: i64,
    ) -> Result<RwLockReadGuard<'_, Shard<K, S>>> {
        let shard = self.shards.get(split).ok_or_else(|| {
            Error::invalid("no such partition of a state").with("partition", split)
        })?;
        let shard = shard.read();
        if shard.remembers(version_ms) {
            Ok(shard)
        } else {
            Err(forgotten(version_ms).with("state_is_of_ms", shard.version_ms()))
        }
    }

    /// Makes the changes of a batch, all or none.
    ///
    /// # Errors
    /// `Internal` when they were made for another version; `Invalid` for too many keys.
    pub fn commit<U>(
        &self,
        from_ms: i64,
        to_ms: i64,
        deltas: Vec<Delta<K, S, U>>,
    ) -> Result<Vec<Vec<U>>> {
        if deltas.len() != self.shards.len() {
            return Err(Error::internal("a state has another number of partitions")
                .with("deltas", deltas.len()));
        }
        let mut mapped = Vec::with_capacity(deltas.len());
        let mut planned = Vec::with_capacity(deltas.len());
        for (shard, delta) in self.shards.iter().zip(deltas) {
            let mut shard = shard.write();
            if shard.version_ms() != from_ms {
                return Err(
                    Error::internal("changes are for another version of the state")
                        .with("from_ms", from_ms)
                        .with("state_is_of_ms", shard.version_ms()),
                );
            }
            planned.push(shard.plan(delta.changes)?);
            mapped.push(delta.mapped);
        }
        // Nothing from here on calls code of the user.
        for (shard, planned) in self.shards.iter().zip(planned) {
            shard.write().apply(planned, to_ms);
        }
        Ok(mapped)
    }

    /// A batch that changes nothing.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn repeat(&self, from_ms: i64, to_ms: i64) -> Result<()> {
        let nothing = |_: &_| Delta::<K, S, ()> {
            changes: Vec::new(),
            mapped: Vec::new(),
        };
        let nothing = self.shards.iter().map(nothing).collect();
        self.commit(from_ms, to_ms, nothing).map(drop)
    }

    /// Fills the state before its first batch; of equal keys the last counts.
    ///
    /// # Errors
    /// Those of the partitioner.
    pub fn fill(&self, entries: Vec<Kept<K, S>>) -> Result<()> {
        let sorted = self.placement.sort(entries, |(key, ..)| key)?;
        for (shard, mut entries) in self.shards.iter().zip(sorted) {
            entries.sort_by_key(|(.., touched_ms)| *touched_ms);
            let version_ms = shard.read().version_ms();
            let mut filled = Shard::new(self.seed, version_ms, self.keeps_order);
            for (key, state, touched_ms) in entries {
                filled.fill(key, state, touched_ms);
            }
            *shard.write() = filled;
        }
        Ok(())
    }

    /// Forgets versions before `until_ms`.
    pub fn forget(&self, until_ms: i64) {
        for shard in &self.shards {
            shard.write().forget(until_ms);
        }
    }

    #[must_use]
    pub fn size(&self) -> StateSize {
        let mut size = StateSize::default();
        for shard in &self.shards {
            let shard = shard.read();
            size.num_keys += shard.len() as u64;
            size.size_bytes += shard.size_bytes() as u64;
        }
        size
    }

    /// All entries of a version.
    fn entries(&self, version_ms: i64) -> Result<Vec<Kept<K, S>>> {
        let mut entries = Vec::new();
        for split in 0..self.shards.len() {
            entries.extend(self.partition(split, version_ms)?);
        }
        Ok(entries)
    }

    /// The entries of one partition, in the order of their slots.
    pub(super) fn partition(&self, split: usize, version_ms: i64) -> Result<Vec<Kept<K, S>>> {
        let shard = self.shard(split, version_ms)?;
        let slots = (0..shard.num_slots()).filter_map(|at| shard.read(at, version_ms));
        Ok(slots
            .map(|(key, state, ms)| (key.clone(), state.clone(), ms))
            .collect())
    }

    /// The state of a version as bytes.
    ///
    /// # Errors
    /// `Data` when the version is forgotten, `Invalid` when a value cannot be encoded.
    pub fn encode(&self, version_ms: i64) -> Result<Vec<u8>> {
        codec::encode(&(FORMAT, self.entries(version_ms)?))
    }

    /// The entries in what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// `Data` when the bytes are damaged or of another format.
    pub fn decode(bytes: &[u8]) -> Result<Vec<Kept<K, S>>> {
        decode_entries(bytes)
    }
}

/// Entries behind the format's number.
pub(super) fn decode_entries<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>> {
    match bytes.first() {
        Some(&FORMAT) => codec::decode::<(u8, Vec<T>)>(bytes).map(|(_, entries)| entries),
        other => Err(
            Error::data("state is of a format that this version does not know")
                .with("format", format!("{other:?}")),
        ),
    }
}

pub(super) fn encode_entries<T: Serialize>(entries: &[T]) -> Result<Vec<u8>> {
    codec::encode(&(FORMAT, entries))
}

impl<K: Key, S: Data> ReadState<K, S> for KeyedState<K, S> {
    fn placement(&self) -> &Placement<K> {
        &self.placement
    }

    fn read(self: Arc<Self>, version_ms: i64, split: usize) -> Result<PartitionIter<(K, S)>> {
        drop(self.shard(split, version_ms)?);
        let chunks = Chunks {
            state: self,
            version_ms,
            split,
            next: 0,
        };
        Ok(Box::new(chunks.flatten()))
    }
}

/// The pairs of a partition, some slots at a time: no lock is held while the user looks at them,
/// and commits that come meanwhile are seen through.
struct Chunks<K, S> {
    state: Arc<KeyedState<K, S>>,
    version_ms: i64,
    split: usize,
    next: u32,
}

impl<K: Key, S: Data> Iterator for Chunks<K, S> {
    type Item = Vec<(K, S)>;

    fn next(&mut self) -> Option<Vec<(K, S)>> {
        let shard = match self.state.shard(self.split, self.version_ms) {
            Ok(shard) => shard,
            Err(error) => abort_task(error),
        };
        let end = shard.num_slots().min(self.next.saturating_add(CHUNK));
        if self.next >= end {
            return None;
        }
        let slots = self.next..end;
        self.next = end;
        let live = slots.filter_map(|at| shard.read(at, self.version_ms));
        Some(
            live.map(|(key, state, _)| (key.clone(), state.clone()))
                .collect(),
        )
    }
}
