//! Files of format version 1 as they were written once: they can be read for ever, and this
//! version still writes them byte by byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_streaming::Time;
use tidemill_streaming::checkpoint::{
    Checkpoint, CheckpointOptions, CheckpointStore, Lease, LocalCheckpoints, Section, StateHeader,
    StateKind,
};
use tidemill_streaming::disk::LocalDisk;
use tidemill_streaming::wal::{Wal, WalOptions};

use crate::support::{APPLICATION, open};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/format-1")
}

fn options() -> WalOptions {
    WalOptions {
        segment_bytes: 250,
        ..WalOptions::default()
    }
}

/// A driver's directory with a bit of everything.
fn write(dir: &Path) {
    let lease = Lease::claim(Arc::new(LocalDisk::new()), dir, APPLICATION).unwrap();
    let lease = Arc::new(lease);
    let (wal, _) = Wal::open(Arc::clone(&lease), options(), &mut |_| Ok(())).unwrap();
    for number in 0..6_u8 {
        wal.append(&[number; 40]).unwrap();
        wal.append(b"").unwrap();
        wal.commit().unwrap();
    }
    let store = LocalCheckpoints::open(lease, CheckpointOptions::default()).unwrap();
    let header = |kind| StateHeader {
        operator: String::from("counts"),
        kind,
        batch_time: Time::from_ms(2_000),
        type_fingerprint: 0x0102_0304_0506_0708,
    };
    let mut pieces = [b"to 2".to_vec(), b"be 2".to_vec()].into_iter();
    let snapshot = store.write_state(&header(StateKind::Snapshot), &mut pieces);
    let mut pieces = [b"or 1".to_vec()].into_iter();
    let delta = store.write_state(&header(StateKind::Delta), &mut pieces);
    let mut checkpoint = golden();
    let chain = vec![snapshot.unwrap(), delta.unwrap()];
    checkpoint.state.insert(String::from("counts"), chain);
    store.write(&checkpoint).unwrap();
}

/// The checkpoint without its state.
fn golden() -> Checkpoint {
    let mut checkpoint = Checkpoint::at(Time::from_ms(2_000));
    checkpoint.graph_fingerprint = 0xfeed;
    checkpoint.log_position = 5;
    checkpoint.log_known_to = 12;
    let section = Section {
        type_fingerprint: 9,
        bytes: b"offset 4711".to_vec(),
    };
    checkpoint.sections.insert(String::from("lines"), section);
    checkpoint
}

/// All files with their bytes, by their path below `dir`.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for folder in ["", "wal", "checkpoint"] {
        for entry in fs::read_dir(dir.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            // The lock is empty, whatever the format.
            if path.is_file() && !path.ends_with("lock") {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                all.insert(name, fs::read(path).unwrap());
            }
        }
    }
    all
}

#[test]
fn files_are_written_byte_by_byte_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let (written, golden) = (contents(dir.path()), contents(&fixtures()));
    if written != golden {
        // To be looked at, and compared.
        panic!("the format has changed: see {}", dir.keep().display());
    }
    assert_eq!(golden.len(), 1 + 3 + 3);
}

#[test]
fn files_of_format_1_are_read_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in contents(&fixtures()) {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let lease = Lease::claim(Arc::new(LocalDisk::new()), dir.path(), APPLICATION).unwrap();
    let lease = Arc::new(lease);
    assert_eq!(lease.epoch(), 2);
    let store = LocalCheckpoints::open(Arc::clone(&lease), CheckpointOptions::default()).unwrap();
    let mut found = store.latest().unwrap().unwrap().checkpoint;
    let mut state = Vec::new();
    for file in found.state.remove("counts").unwrap() {
        assert_eq!(file.type_fingerprint(), 0x0102_0304_0506_0708);
        store
            .read_state(&file, &mut |piece| {
                state.push((file.kind(), piece.to_vec()));
                Ok(())
            })
            .unwrap();
    }
    assert_eq!(found, golden());
    let expected = [
        (StateKind::Snapshot, b"to 2".to_vec()),
        (StateKind::Snapshot, b"be 2".to_vec()),
        (StateKind::Delta, b"or 1".to_vec()),
    ];
    assert_eq!(state, expected);
    let options = WalOptions {
        replay_from: found.log_position,
        known_to: found.log_known_to,
        ..options()
    };
    let (_, recovered, records) = open(lease, &options).unwrap();
    let all = (0..6_u8).flat_map(|number| [vec![number; 40], Vec::new()]);
    assert_eq!(records, all.skip(5).collect::<Vec<_>>());
    assert_eq!((recovered.next, recovered.cut), (12, None));
}
