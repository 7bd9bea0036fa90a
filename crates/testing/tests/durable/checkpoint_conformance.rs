//! What every store of checkpoints keeps, on every disk.

use std::sync::Arc;

use tidemill_core::{ErrorKind, Result};
use tidemill_streaming::Time;
use tidemill_streaming::checkpoint::{
    Checkpoint, CheckpointOptions, CheckpointStore, LocalCheckpoints, Section, StateFile,
    StateHeader, StateKind,
};

use crate::support::{Site, on_every_disk};

fn store(site: &Site) -> LocalCheckpoints {
    LocalCheckpoints::open(site.lease().unwrap(), CheckpointOptions::default()).unwrap()
}

fn state_of(number: i64, kind: StateKind) -> StateHeader {
    StateHeader {
        operator: String::from("counts"),
        kind,
        batch_time: Time::from_ms(number * 1_000),
        type_fingerprint: 42,
    }
}

/// Pieces that can be told from those of any other file.
fn pieces(number: i64) -> Vec<Vec<u8>> {
    let piece = |index: i64| format!("{number}/{index} ").repeat(20).into_bytes();
    (0..number % 4).map(piece).collect()
}

fn write_state(store: &dyn CheckpointStore, number: i64, kind: StateKind) -> Result<StateFile> {
    store.write_state(&state_of(number, kind), &mut pieces(number).into_iter())
}

fn read_state(store: &dyn CheckpointStore, file: &StateFile) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    store.read_state(file, &mut |piece| {
        found.push(piece.to_vec());
        Ok(())
    })?;
    Ok(found)
}

fn checkpoint(number: i64, chain: &[StateFile]) -> Checkpoint {
    let mut checkpoint = Checkpoint::at(Time::from_ms(number * 1_000));
    checkpoint.graph_fingerprint = 7;
    checkpoint.log_position = number as u64 * 10;
    checkpoint.log_known_to = number as u64 * 10 + 5;
    for operator in ["lines", "words"] {
        let section = Section::new(format!("{operator} {number}").as_bytes());
        checkpoint.sections.insert(operator.to_owned(), section);
    }
    if !chain.is_empty() {
        let chain = chain.to_vec();
        checkpoint.state.insert(String::from("counts"), chain);
    }
    checkpoint
}

fn files_with(site: &Site, suffix: &str) -> Vec<String> {
    let names = site.disk.list(&site.dir.join("checkpoint")).unwrap();
    names
        .into_iter()
        .filter(|name| name.ends_with(suffix))
        .collect()
}

#[test]
fn the_newest_is_found_again_by_every_later_driver() {
    on_every_disk(|site| {
        assert!(store(site).latest().unwrap().is_none());
        assert_eq!(store(site).log_needed_from(), None);
        for number in 1..8 {
            let store = store(site);
            let written = store.write(&checkpoint(number, &[])).unwrap();
            assert!(written.num_bytes > 100);
            let found = store.latest().unwrap().unwrap();
            assert_eq!(found.checkpoint, checkpoint(number, &[]));
            assert!(found.damaged.is_empty());
        }
        let store = store(site);
        let found = store.latest().unwrap().unwrap();
        assert_eq!(found.checkpoint, checkpoint(7, &[]));
        assert_eq!(found.epoch, 9, "the driver that wrote it");
        assert_eq!(files_with(site, ".checkpoint").len(), 3);
        assert_eq!(store.log_needed_from(), Some(50));
    });
}

#[test]
fn state_is_a_snapshot_and_the_changes_since() {
    on_every_disk(|site| {
        let mut chain: Vec<StateFile> = Vec::new();
        for number in 1..12 {
            let store = store(site);
            let kind = match number % 4 {
                1 => StateKind::Snapshot,
                _ => StateKind::Delta,
            };
            if kind == StateKind::Snapshot {
                chain.clear();
            }
            chain.push(write_state(&store, number, kind).unwrap());
            store.write(&checkpoint(number, &chain)).unwrap();
        }
        let store = store(site);
        let found = store.latest().unwrap().unwrap().checkpoint;
        assert_eq!(found, checkpoint(11, &chain));
        let files = &found.state["counts"];
        let numbers: Vec<i64> = (9..12).collect();
        for (file, number) in files.iter().zip(numbers) {
            assert_eq!(read_state(&store, file).unwrap(), pieces(number));
            assert_eq!(file.type_fingerprint(), 42);
        }
        // The newest three rest on one snapshot, so the newest of the snapshot before is kept.
        assert_eq!(files_with(site, ".checkpoint").len(), 4);
        assert_eq!(files_with(site, ".state").len(), 4 + 3);
        assert_eq!(store.log_needed_from(), Some(80));
    });
}

#[test]
fn state_that_no_checkpoint_came_to_name_is_removed_by_the_next_driver() {
    on_every_disk(|site| {
        let first = store(site);
        write_state(&first, 1, StateKind::Snapshot).unwrap();
        first.write(&checkpoint(1, &[])).unwrap();
        assert_eq!(files_with(site, ".state").len(), 1, "it may be named yet");
        drop(first);
        store(site).write(&checkpoint(2, &[])).unwrap();
        assert_eq!(files_with(site, ".state").len(), 0);
    });
}

#[test]
fn parts_that_do_not_fit_together_are_refused_before_they_are_written() {
    on_every_disk(|site| {
        let store = store(site);
        let snapshot = write_state(&store, 1, StateKind::Snapshot).unwrap();
        let delta = write_state(&store, 2, StateKind::Delta).unwrap();
        for chain in [vec![delta.clone()], vec![snapshot.clone(), snapshot, delta]] {
            let error = store.write(&checkpoint(3, &chain)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
        }
        let mut unknown = checkpoint(3, &[]);
        unknown.log_known_to = unknown.log_position - 1;
        assert!(store.write(&unknown).is_err());
        let mut nameless = checkpoint(3, &[]);
        nameless.sections.insert(String::new(), Section::new(b""));
        assert_eq!(
            store.write(&nameless).unwrap_err().kind(),
            ErrorKind::Invalid
        );
        let mut large = checkpoint(3, &[]);
        let section = Section::new(&vec![0; 25 << 20]);
        large.sections.insert(String::from("large"), section);
        assert_eq!(store.write(&large).unwrap_err().kind(), ErrorKind::Invalid);
        let mut too_long = std::iter::once(vec![0; (32 << 20) + 1]);
        let refused = store.write_state(&state_of(1, StateKind::Snapshot), &mut too_long);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
        assert!(files_with(site, ".checkpoint").is_empty());
        assert!(files_with(site, ".tmp").is_empty());
    });
}

#[test]
fn a_replaced_driver_writes_nothing_that_counts() {
    on_every_disk(|site| {
        let old = store(site);
        old.write(&checkpoint(1, &[])).unwrap();
        if site
            .disk
            .rename(&site.dir.join("lock"), &site.dir.join("lost"))
            .is_err()
        {
            // The simulated disk loses no locks.
            return;
        }
        let new = store(site);
        new.write(&checkpoint(2, &[])).unwrap();
        assert_eq!(
            old.write(&checkpoint(9, &[])).unwrap_err().kind(),
            ErrorKind::Closed
        );
        let state = write_state(&old, 9, StateKind::Snapshot);
        assert_eq!(state.unwrap_err().kind(), ErrorKind::Closed);
        drop((old, new));
        let found = store(site).latest().unwrap().unwrap();
        assert_eq!(found.checkpoint, checkpoint(2, &[]));
    });
}

#[test]
fn stores_are_used_from_many_threads() {
    on_every_disk(|site| {
        let store = Arc::new(store(site));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let store = Arc::clone(&store);
                scope.spawn(move || {
                    for number in 0..5 {
                        let number = thread * 100 + number;
                        let file = write_state(&*store, number, StateKind::Snapshot).unwrap();
                        store.write(&checkpoint(number, &[file])).unwrap();
                    }
                });
            }
        });
        let newest = store.latest().unwrap().unwrap().checkpoint;
        let number = newest.batch_time.as_ms() / 1_000;
        let state = read_state(&*store, &newest.state["counts"][0]).unwrap();
        assert_eq!(state, pieces(number));
        assert_eq!(files_with(site, ".state").len(), 3);
    });
}
