//! Every byte of a checkpoint and of its state, changed or missing: the exact one before it, and
//! that is said; when there is none, a refusal.

use std::path::{Path, PathBuf};

use tidemill_core::ErrorKind;
use tidemill_streaming::Time;
use tidemill_streaming::checkpoint::{
    Checkpoint, CheckpointOptions, CheckpointStore, LocalCheckpoints, Section, StateHeader,
    StateKind,
};
use tidemill_testing::SimDisk;

use crate::support::{DIR, lease};

fn store(disk: &SimDisk) -> LocalCheckpoints {
    LocalCheckpoints::open(lease(disk).unwrap(), CheckpointOptions::default()).unwrap()
}

fn with_suffix(disk: &SimDisk, suffix: &str) -> Vec<PathBuf> {
    let is_one = |path: &PathBuf| path.to_string_lossy().ends_with(suffix);
    disk.paths().into_iter().filter(is_one).collect()
}

/// A disk with `num` checkpoints, each on a snapshot of its own.
fn filled(num: i64) -> (SimDisk, Vec<Checkpoint>) {
    let disk = SimDisk::new(2);
    let store = store(&disk);
    let mut all = Vec::new();
    for number in 0..num {
        let header = StateHeader {
            operator: String::from("counts"),
            kind: StateKind::Snapshot,
            batch_time: Time::from_ms(number),
            type_fingerprint: 1,
        };
        let mut pieces = (0..3).map(|piece| vec![number as u8; 30 * piece]);
        let file = store.write_state(&header, &mut pieces).unwrap();
        let mut checkpoint = Checkpoint::at(Time::from_ms(number));
        let section = Section::new(&[number as u8; 100]);
        checkpoint.sections.insert(String::from("lines"), section);
        checkpoint.state.insert(String::from("counts"), vec![file]);
        store.write(&checkpoint).unwrap();
        all.push(checkpoint);
    }
    (disk, all)
}

/// Every damage to `file`: each byte in three ways, each length.
fn damages(whole: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for at in 0..whole.len() {
        for flip in [1, 0x80, 0xff] {
            let mut changed = whole.to_vec();
            changed[at] ^= flip;
            all.push(changed);
        }
        all.push(whole[..at].to_vec());
    }
    all.push([whole, b"x"].concat());
    all
}

#[test]
fn a_damaged_newest_falls_back_to_the_one_before_and_says_so() {
    let (disk, all) = filled(2);
    let mut num_damages = 0;
    for newest in [
        with_suffix(&disk, ".checkpoint").pop().unwrap(),
        with_suffix(&disk, ".state").pop().unwrap(),
    ] {
        let whole = disk.contents(&newest).unwrap();
        for damaged in damages(&whole) {
            disk.put(&newest, damaged);
            let found = store(&disk).latest().unwrap().unwrap();
            assert_eq!(found.checkpoint, all[0]);
            assert_eq!(found.damaged.len(), 1);
            assert_eq!(found.damaged[0].file, newest);
            num_damages += 1;
        }
        disk.take(&newest).unwrap();
        let found = store(&disk).latest().unwrap().unwrap();
        assert_eq!(found.checkpoint, all[0]);
        disk.put(&newest, whole);
        assert_eq!(store(&disk).latest().unwrap().unwrap().checkpoint, all[1]);
    }
    println!("{num_damages} damages");
    assert!(num_damages > 1_000);
    assert!(disk.largest_read_bytes() < 1 << 20);
}

#[test]
fn when_all_are_damaged_nothing_starts_and_nothing_is_touched() {
    let (disk, _) = filled(3);
    for path in with_suffix(&disk, ".checkpoint") {
        let mut bytes = disk.contents(&path).unwrap();
        bytes[50] ^= 1;
        disk.put(&path, bytes);
    }
    let before = disk.paths();
    let error = store(&disk).latest().unwrap_err();
    assert_eq!(
        (error.kind(), error.fact("checkpoints")),
        (ErrorKind::Data, Some("3"))
    );
    assert_eq!(disk.paths(), before);
}

#[test]
fn a_damaged_one_is_kept_until_enough_newer_ones_are_whole() {
    let (disk, all) = filled(3);
    let newest = with_suffix(&disk, ".checkpoint").pop().unwrap();
    disk.put(&newest, Vec::new());
    let store = store(&disk);
    assert_eq!(store.latest().unwrap().unwrap().checkpoint, all[1]);
    for number in 10..13 {
        assert!(disk.paths().contains(&newest));
        let checkpoint = Checkpoint::at(Time::from_ms(number));
        store.write(&checkpoint).unwrap();
    }
    assert!(!disk.paths().contains(&newest));
    assert_eq!(with_suffix(&disk, ".checkpoint").len(), 3);
}

#[test]
fn a_newer_format_and_another_application_are_refused_untouched() {
    let (disk, _) = filled(3);
    let newest = with_suffix(&disk, ".checkpoint").pop().unwrap();
    let mut newer = disk.contents(&newest).unwrap();
    newer[4] = 9;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&newer[..12]), &newer[16..]);
    newer[12..16].copy_from_slice(&checksum.to_le_bytes());
    disk.put(&newest, newer);
    let before = disk.paths();
    let open = |disk| LocalCheckpoints::open(lease(disk).unwrap(), CheckpointOptions::default());
    let error = open(&disk).unwrap_err();
    assert_eq!(
        (error.kind(), error.fact("version")),
        (ErrorKind::Unsupported, Some("9"))
    );
    assert_eq!(disk.paths(), before);

    let (disk, _) = filled(1);
    let foreign = disk
        .contents(&with_suffix(&disk, ".checkpoint")[0])
        .unwrap();
    let other = SimDisk::new(1);
    let claim = tidemill_streaming::checkpoint::Lease::claim(
        std::sync::Arc::new(other.clone()),
        DIR,
        "another",
    );
    drop(claim.unwrap());
    let path = Path::new(DIR).join("checkpoint");
    disk.take(&Path::new(DIR).join("epoch")).unwrap();
    let epoch = other.contents(&Path::new(DIR).join("epoch")).unwrap();
    disk.put(&Path::new(DIR).join("epoch"), epoch);
    let claim = tidemill_streaming::checkpoint::Lease::claim(
        std::sync::Arc::new(disk.clone()),
        DIR,
        "another",
    );
    let opened = LocalCheckpoints::open(claim.unwrap().into(), CheckpointOptions::default());
    assert_eq!(opened.unwrap_err().fact("owner"), Some("wordcount"));
    assert!(
        disk.paths().iter().any(|file| {
            file.starts_with(&path) && disk.contents(file).as_ref() == Some(&foreign)
        })
    );
}
