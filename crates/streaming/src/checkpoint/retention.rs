//! Which checkpoints are kept: a pure function of those that there are.

use std::collections::BTreeMap;

/// What a checkpoint is known to rest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) log_position: u64,
    /// The state files of each operator, the snapshot first.
    pub(super) state: BTreeMap<String, Vec<String>>,
}

impl Facts {
    fn snapshot(&self, operator: &str) -> Option<&String> {
        self.state.get(operator)?.first()
    }
}

/// A checkpoint on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Written durably, as far as is known.
    Sound(Facts),
    /// Found damaged, or its write failed half-way: kept as long as its neighbours, counted never.
    Doubtful(Option<Facts>),
}

impl Entry {
    pub(super) fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Sound(facts) => Some(facts),
            Self::Doubtful(facts) => facts.as_ref(),
        }
    }

    fn sound(&self) -> Option<&Facts> {
        match self {
            Self::Sound(facts) => Some(facts),
            Self::Doubtful(_) => None,
        }
    }
}

/// Those that are no longer needed, given all from old to new.
///
/// Kept are the newest `num_kept` sound ones with whatever lies between, and for each operator
/// whose snapshot all of them share the newest that rests on another.
pub(super) fn dropped<K: Ord + Clone>(entries: &BTreeMap<K, Entry>, num_kept: usize) -> Vec<K> {
    let sound: Vec<(&K, &Facts)> = entries
        .iter()
        .rev()
        .filter_map(|(key, entry)| Some((key, entry.sound()?)))
        .collect();
    let num_kept = num_kept.max(1);
    let (kept, older) = sound.split_at(sound.len().min(num_kept));
    let (Some((oldest, _)), Some((_, newest))) = (kept.last(), kept.first()) else {
        return Vec::new();
    };
    let mut second: Vec<&K> = Vec::new();
    for operator in newest.state.keys() {
        let snapshot = newest.snapshot(operator);
        let is_other = |(_, facts): &&(&K, &Facts)| {
            facts.snapshot(operator).is_some() && facts.snapshot(operator) != snapshot
        };
        if kept.iter().find(is_other).is_none() {
            second.extend(older.iter().find(is_other).map(|(key, _)| *key));
        }
    }
    entries
        .keys()
        .filter(|key| key < oldest && !second.contains(key))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each checkpoint by the snapshot that `counts` rests on; `!` marks a doubtful one.
    fn entries(snapshots: &[&str]) -> BTreeMap<usize, Entry> {
        let entry = |name: &&str| {
            let state = match name.trim_end_matches('!') {
                "" => BTreeMap::new(),
                snapshot => BTreeMap::from([(
                    String::from("counts"),
                    vec![snapshot.to_owned(), format!("{snapshot}+")],
                )]),
            };
            let facts = Facts {
                log_position: 0,
                state,
            };
            match name.ends_with('!') {
                true => Entry::Doubtful(Some(facts)),
                false => Entry::Sound(facts),
            }
        };
        snapshots.iter().map(entry).enumerate().collect()
    }

    #[test]
    fn the_newest_are_kept() {
        assert_eq!(dropped(&entries(&["", "", "", ""]), 3), [0]);
        assert_eq!(dropped(&entries(&["", ""]), 3), [0_usize; 0]);
        assert_eq!(dropped(&entries(&["", ""]), 0), [0]);
        assert_eq!(dropped(&entries(&[]), 3), [0_usize; 0]);
    }

    #[test]
    fn a_doubtful_one_does_not_count() {
        assert_eq!(dropped(&entries(&["", "", "!", "", ""]), 3), [0]);
        assert_eq!(dropped(&entries(&["!", "", "!"]), 1), [0]);
        assert_eq!(dropped(&entries(&["!", "!", "!"]), 1), [0_usize; 0]);
    }

    #[test]
    fn two_snapshots_are_kept_of_every_operator_that_has_two() {
        assert_eq!(dropped(&entries(&["a", "a", "b", "b", "b"]), 3), [0]);
        assert_eq!(dropped(&entries(&["a", "b", "b", "c", "c"]), 3), [0, 1]);
        assert_eq!(dropped(&entries(&["a", "b", "b"]), 1), [1]);
        assert_eq!(dropped(&entries(&["", "b", "b"]), 1), [0, 1]);
        assert_eq!(dropped(&entries(&["a", "a!", "b", "b"]), 1), [1, 2]);
    }
}
