//! `Snapshots`: a state that is made anew by every batch, as lists of pairs.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::keyed::{StateSize, decode_entries, encode_entries};
use super::placement::Placement;
use super::{ReadState, forgotten};
use crate::data::{Data, Key, PartitionIter};
use crate::error::{Error, Result};
use crate::storage::BlockData;

/// The pairs of a version, partition by partition.
type Version<K, S> = Vec<Arc<Vec<(K, S)>>>;

/// The versions of a state that are still remembered.
#[derive(Debug)]
#[doc(hidden)]
pub struct Snapshots<K, S> {
    placement: Placement<K>,
    versions: RwLock<BTreeMap<i64, Version<K, S>>>,
}

impl<K: Key, S: Data> Snapshots<K, S> {
    /// An empty state.
    #[must_use]
    pub fn new(placement: Placement<K>, version_ms: i64) -> Self {
        let empty = vec![Arc::default(); placement.num_partitions()];
        Self {
            placement,
            versions: RwLock::new(BTreeMap::from([(version_ms, empty)])),
        }
    }

    #[must_use]
    pub fn placement(&self) -> &Placement<K> {
        &self.placement
    }

    /// The state of a batch: the pairs of all its partitions, wherever they belong.
    ///
    /// # Errors
    /// Those of the partitioner; nothing has changed then.
    pub fn commit(&self, version_ms: i64, pairs: Vec<Vec<(K, S)>>) -> Result<()> {
        let placed = self
            .placement
            .sort(pairs.into_iter().flatten(), |(key, _)| key)?;
        let version = placed.into_iter().map(Arc::new).collect();
        self.versions.write().insert(version_ms, version);
        Ok(())
    }

    /// A batch that changes nothing.
    pub fn repeat(&self, from_ms: i64, to_ms: i64) {
        let mut versions = self.versions.write();
        if let Some(version) = versions.get(&from_ms).cloned() {
            versions.insert(to_ms, version);
        }
    }

    /// Forgets versions up to and with `until_ms`, but never the last.
    pub fn forget(&self, until_ms: i64) {
        let forgotten: Vec<Version<K, S>> = {
            let mut versions = self.versions.write();
            let last = versions.last_key_value().map(|(version_ms, _)| *version_ms);
            let old = versions.keys().copied();
            let old: Vec<i64> = old
                .filter(|version_ms| *version_ms <= until_ms && Some(*version_ms) != last)
                .collect();
            old.iter().filter_map(|old| versions.remove(old)).collect()
        };
        // Freeing them is code of the user: not under the lock.
        drop(forgotten);
    }

    /// How large the last version is.
    #[must_use]
    pub fn size(&self) -> StateSize {
        let versions = self.versions.read();
        let last = versions.last_key_value().into_iter();
        let parts = last.flat_map(|(_, version)| version);
        parts.fold(StateSize::default(), |size, part| StateSize {
            num_keys: size.num_keys + part.len() as u64,
            size_bytes: size.size_bytes + (part.capacity() * size_of::<(K, S)>()) as u64,
        })
    }

    fn version(&self, version_ms: i64) -> Result<Version<K, S>> {
        let versions = self.versions.read();
        versions
            .get(&version_ms)
            .cloned()
            .ok_or_else(|| forgotten(version_ms))
    }

    /// The state of a version as bytes.
    ///
    /// # Errors
    /// `Data` when the version is forgotten, `Invalid` when a value cannot be encoded.
    pub fn encode(&self, version_ms: i64) -> Result<Vec<u8>> {
        let version = self.version(version_ms)?;
        let pairs: Vec<&(K, S)> = version.iter().flat_map(|part| part.iter()).collect();
        encode_entries(&pairs)
    }

    /// The pairs in what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// `Data` when the bytes are damaged or of another format.
    pub fn decode(bytes: &[u8]) -> Result<Vec<(K, S)>> {
        decode_entries(bytes)
    }
}

impl<K: Key, S: Data> ReadState<K, S> for Snapshots<K, S> {
    fn placement(&self) -> &Placement<K> {
        &self.placement
    }

    fn read(self: Arc<Self>, version_ms: i64, split: usize) -> Result<PartitionIter<(K, S)>> {
        let version = self.version(version_ms)?;
        let part = version.get(split).ok_or_else(|| {
            Error::invalid("no such partition of a state").with("partition", split)
        })?;
        Ok(Vec::iterate(Arc::clone(part)))
    }
}
