//! Which map outputs exist, and which of their buckets hold records.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::storage::{BlockId, BlockStore};

/// Which map outputs of which shuffles exist, so that a later job skips the work, and a reduce
/// task knows what to expect.
#[derive(Debug, Default)]
pub struct ShuffleTracker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    done: HashMap<u64, HashMap<usize, Output>>,
    num_marks: u64,
}

/// One map output that exists.
#[derive(Clone, Debug)]
struct Output {
    filled: Filled,
    /// How many there were before it, of all shuffles.
    mark: u64,
}

/// The buckets of one map task that hold records: one bit for each reduce partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Filled(Vec<u64>);

impl Filled {
    pub(super) fn none_of(num_buckets: usize) -> Self {
        Self(vec![0; num_buckets.div_ceil(64)])
    }

    pub(super) fn add(&mut self, reduce: usize) {
        if let Some(word) = self.0.get_mut(reduce / 64) {
            *word |= 1 << (reduce % 64);
        }
    }

    fn contains(&self, reduce: usize) -> bool {
        let word = self.0.get(reduce / 64);
        word.is_some_and(|word| word & (1 << (reduce % 64)) != 0)
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.0.len() * 64).filter(|reduce| self.contains(*reduce))
    }
}

impl ShuffleTracker {
    pub(super) fn mark(&self, shuffle: u64, map: usize, filled: Filled) {
        let state = &mut *self.state.lock();
        let mark = state.num_marks;
        state.num_marks += 1;
        let outputs = state.done.entry(shuffle).or_default();
        outputs.insert(map, Output { filled, mark });
    }

    pub(super) fn forget(&self, shuffle: u64) {
        self.state.lock().done.remove(&shuffle);
    }

    /// How many outputs were marked so far.
    pub(crate) fn num_marks(&self) -> u64 {
        self.state.lock().num_marks
    }

    /// Takes note of what a job has found that was planned after `planned_at` marks: that the
    /// output of `map` is gone, and whatever else of the shuffle is missing. An output that another
    /// job has made again since is not forgotten: the two would undo each other's work.
    pub(crate) fn lose(
        &self,
        (shuffle, map): (u64, usize),
        planned_at: u64,
        blocks: &dyn BlockStore,
    ) -> Result<()> {
        let outputs = self.state.lock().done.get(&shuffle).cloned();
        let outputs = outputs.unwrap_or_default();
        let is_old = |output: &Output| output.mark < planned_at;
        let mut lost = Vec::new();
        lost.extend(outputs.get(&map).is_some_and(is_old).then_some(map));
        for (map, Output { filled, .. }) in outputs {
            for reduce in filled.iter() {
                let id = BlockId::Shuffle {
                    shuffle,
                    map,
                    reduce,
                };
                if !blocks.contains(id)? {
                    lost.push(map);
                    break;
                }
            }
        }
        if let Some(outputs) = self.state.lock().done.get_mut(&shuffle) {
            outputs.retain(|map, _| !lost.contains(map));
        }
        Ok(())
    }

    pub(crate) fn missing(&self, shuffle: u64, num_maps: usize) -> Vec<usize> {
        let state = self.state.lock();
        let done = state.done.get(&shuffle);
        (0..num_maps)
            .filter(|map| !done.is_some_and(|done| done.contains_key(map)))
            .collect()
    }

    /// The map tasks that have something for partition `reduce`, in order.
    pub(super) fn sources(
        &self,
        shuffle: u64,
        num_maps: usize,
        reduce: usize,
    ) -> Result<Vec<usize>> {
        let state = self.state.lock();
        let outputs = state.done.get(&shuffle);
        let mut sources = Vec::with_capacity(num_maps);
        for map in 0..num_maps {
            let output = outputs.and_then(|outputs| outputs.get(&map));
            let output = output.ok_or_else(|| lost_output(shuffle, map, reduce))?;
            if output.filled.contains(reduce) {
                sources.push(map);
            }
        }
        Ok(sources)
    }
}

const LOST: &str = "map output is lost";

/// The error of a reduce task that misses a bucket.
pub(super) fn lost_output(shuffle: u64, map: usize, reduce: usize) -> Error {
    Error::unavailable(LOST)
        .with("shuffle", shuffle)
        .with("map", map)
        .with("reduce", reduce)
}

/// The shuffle and the map task that `error` is about, if it is about a lost map output.
pub(crate) fn lost_outputs(error: &Error) -> Option<(u64, usize)> {
    if error.kind() != ErrorKind::Unavailable || error.message() != LOST {
        return None;
    }
    let shuffle = error.fact("shuffle")?.parse().ok()?;
    Some((shuffle, error.fact("map")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Block, MemoryStore};

    #[test]
    fn a_reduce_task_learns_which_maps_have_something_for_it() {
        let tracker = ShuffleTracker::default();
        assert_eq!(tracker.missing(7, 2), [0, 1]);
        let mut filled = Filled::none_of(130);
        assert_eq!(filled.iter().count(), 0);
        filled.add(3);
        filled.add(129);
        assert_eq!(filled.iter().collect::<Vec<_>>(), [3, 129]);
        tracker.mark(7, 0, filled);
        let error = tracker.sources(7, 2, 3).unwrap_err();
        assert_eq!(lost_outputs(&error), Some((7, 1)));
        tracker.mark(7, 1, Filled::none_of(130));
        assert_eq!(tracker.sources(7, 2, 3).unwrap(), [0]);
        assert_eq!(tracker.sources(7, 2, 4).unwrap(), [0; 0]);
        tracker.forget(7);
        assert_eq!(tracker.missing(7, 2), [0, 1]);
    }

    #[test]
    fn all_that_is_gone_is_noticed_at_the_first_loss() {
        let (tracker, blocks) = (ShuffleTracker::default(), MemoryStore::new(100));
        for map in 0..4 {
            let mut filled = Filled::none_of(1);
            filled.add(0);
            tracker.mark(0, map, filled);
            let (shuffle, reduce) = (0, 0);
            let id = BlockId::Shuffle {
                shuffle,
                map,
                reduce,
            };
            if map % 2 == 1 {
                blocks.put(id, Block::of(vec![1_u8])).unwrap();
            }
        }
        // Two jobs miss the same output; the first has it made again before the second says so.
        let planned_at = tracker.num_marks();
        for _ in 0..2 {
            tracker.lose((0, 1), planned_at, &blocks).unwrap();
            assert_eq!(tracker.missing(0, 4), [0, 1, 2]);
        }
        let mut filled = Filled::none_of(1);
        filled.add(0);
        tracker.mark(0, 1, filled);
        tracker.lose((0, 1), planned_at, &blocks).unwrap();
        assert_eq!(tracker.missing(0, 4), [0, 2]);
        tracker.lose((0, 1), tracker.num_marks(), &blocks).unwrap();
        assert_eq!(tracker.missing(0, 4), [0, 1, 2]);
    }
}
