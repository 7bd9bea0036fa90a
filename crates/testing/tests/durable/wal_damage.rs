//! Every truncation and every flipped bit of a 64 KiB file: exact records, or a loud refusal; in
//! the last group a counted cut; never wrong records.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidemill_core::{ErrorKind, Result};
use tidemill_streaming::wal::{OnDamage, Recovered, WalOptions, inspect};
use tidemill_testing::{Random, SimDisk};

use crate::support::{DIR, lease, open, wal_files};

/// A log of one file, and where its records are.
struct Sample {
    path: PathBuf,
    bytes: Vec<u8>,
    records: Vec<Vec<u8>>,
    /// Where each record ends, the file's header before them.
    ends: Vec<usize>,
    /// The first record of the last group.
    last_group: usize,
}

impl Sample {
    fn new(is_closed: bool) -> Self {
        let mut random = Random::new(64);
        let disk = SimDisk::new(64);
        let (wal, _, _) = open(lease(&disk).unwrap(), &WalOptions::default()).unwrap();
        let path = wal_files(&disk)[0].clone();
        let mut records = Vec::new();
        let mut ends = vec![disk.contents(&path).unwrap().len()];
        let mut last_group = 0;
        while ends.last().is_some_and(|end| *end < 60 << 10) {
            last_group = records.len();
            for _ in 0..2 + random.below(3) {
                let length = random.below(4_000);
                let record = random.bytes(length);
                ends.push(ends[ends.len() - 1] + 36 + record.len());
                wal.append(&record).unwrap();
                records.push(record);
            }
            wal.commit().unwrap();
        }
        if is_closed {
            wal.close().unwrap();
        }
        let bytes = disk.contents(&path).unwrap();
        let footer = if is_closed { 36 } else { 0 };
        assert_eq!(bytes.len(), ends[ends.len() - 1] + footer);
        assert!((60 << 10..80 << 10).contains(&bytes.len()));
        Self {
            path,
            bytes,
            records,
            ends,
            last_group,
        }
    }

    /// Reads the file with other bytes; checks that whatever comes is right and in order.
    fn read(
        &self,
        disk: &SimDisk,
        bytes: Vec<u8>,
        options: &WalOptions,
    ) -> Result<(Recovered, usize)> {
        disk.put(&self.path, bytes);
        let mut num_seen = 0;
        let found = inspect(disk, DIR.as_ref(), options, &mut |record| {
            assert_eq!(record.body, self.records[record.lsn as usize]);
            num_seen += 1;
            Ok(())
        })?;
        Ok((found, num_seen))
    }

    fn disk(&self) -> SimDisk {
        let disk = SimDisk::new(1);
        drop(open(lease(&disk).unwrap(), &WalOptions::default()).unwrap());
        disk.take(&wal_files(&disk)[0]).unwrap();
        disk
    }
}

/// Does `work` for all numbers below `end`, on both cores.
fn for_all(end: usize, sample: &Sample, work: impl Fn(&SimDisk, usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let disk = sample.disk();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        break;
                    }
                    work(&disk, number);
                }
                assert!(disk.largest_read_bytes() <= 1 << 20);
            });
        }
    });
}

fn assert_refused(outcome: Result<(Recovered, usize)>, sample: &Sample, what: &str) {
    let error = outcome.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::Data, "{what}: {error}");
    assert_eq!(
        error.fact("file"),
        Some(&*sample.path.display().to_string()),
        "{what}"
    );
    assert!(error.fact("offset").is_some(), "{what}: {error}");
}

#[test]
fn every_truncation_gives_the_records_before_it_or_is_refused() {
    for is_closed in [false, true] {
        let sample = Sample::new(is_closed);
        let knowing = WalOptions {
            known_to: sample.records.len() as u64,
            ..WalOptions::default()
        };
        for_all(sample.bytes.len(), &sample, |disk, length| {
            let bytes = sample.bytes[..length].to_vec();
            let outcome = sample.read(disk, bytes.clone(), &WalOptions::default());
            let what = format!("cut to {length} bytes");
            if length < sample.ends[0] {
                return assert_refused(outcome, &sample, &what);
            }
            let num_whole = sample.ends.iter().filter(|end| **end <= length).count() - 1;
            let (found, num_seen) = outcome.expect(&what);
            assert_eq!(
                (found.next, num_seen),
                (num_whole as u64, num_whole),
                "{what}"
            );
            let rest = length - sample.ends[num_whole];
            assert_eq!(
                found.cut.map_or(0, |cut| cut.num_bytes),
                rest as u64,
                "{what}"
            );
            if num_whole < sample.records.len() && length % 64 == 0 {
                assert_refused(sample.read(disk, bytes, &knowing), &sample, &what);
            }
        });
    }
}

#[test]
fn every_flipped_bit_is_refused_or_cut_from_the_last_group() {
    let started = AtomicUsize::new(0);
    for is_closed in [false, true] {
        let sample = Sample::new(is_closed);
        // The end of a closed file proves its last group, too: there only the footer can be torn.
        let first_torn = if is_closed {
            sample.ends[sample.records.len()]
        } else {
            sample.ends[sample.last_group]
        };
        for_all(sample.bytes.len() * 8, &sample, |disk, bit| {
            started.fetch_add(1, Ordering::Relaxed);
            let mut bytes = sample.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let outcome = sample.read(disk, bytes, &WalOptions::default());
            let what = format!("bit {bit}");
            if bit / 8 < first_torn {
                return assert_refused(outcome, &sample, &what);
            }
            let num_whole = sample.ends.iter().filter(|end| **end <= bit / 8).count() - 1;
            let (found, num_seen) = outcome.expect(&what);
            assert_eq!(
                (found.next, num_seen),
                (num_whole as u64, num_whole),
                "{what}"
            );
            let cut = found.cut.expect(&what);
            assert_eq!(cut.offset, sample.ends[num_whole] as u64, "{what}");
            let behind = sample.records.len() - num_whole;
            assert_eq!(cut.num_records, behind.saturating_sub(1) as u64, "{what}");
        });
    }
    println!("{} flipped bits", started.into_inner());
}

#[test]
fn damage_is_skipped_and_counted_only_on_demand() {
    let sample = Sample::new(false);
    let skip = WalOptions {
        on_damage: OnDamage::Skip,
        ..WalOptions::default()
    };
    let first_torn = sample.ends[sample.last_group];
    let num_records = sample.records.len();
    for_all(first_torn / 13, &sample, |disk, step| {
        let at = step * 13;
        let mut bytes = sample.bytes.clone();
        bytes[at] ^= 0x10;
        let (found, num_seen) = sample.read(disk, bytes, &skip).unwrap();
        let what = format!("byte {at}: {found:?}");
        assert_eq!(found.skipped.len(), 1, "{what}");
        let skipped = &found.skipped[0];
        if at < sample.ends[0] {
            assert_eq!(
                (num_seen, skipped.num_bytes),
                (0, sample.bytes.len() as u64),
                "{what}"
            );
            return;
        }
        assert_eq!(
            (num_seen, found.next),
            (num_records - 1, num_records as u64),
            "{what}"
        );
        assert_eq!(skipped.num_records, 1, "{what}");
        assert!((skipped.offset..skipped.offset + skipped.num_bytes).contains(&(at as u64)));
    });
}

#[test]
fn many_damages_never_give_a_wrong_record() {
    let sample = Sample::new(false);
    let num_refused = AtomicUsize::new(0);
    for_all(20_000, &sample, |disk, seed| {
        let mut random = Random::new(seed as u64);
        let mut bytes = sample.bytes.clone();
        for _ in 0..1 + random.below(6) {
            let at = random.below(bytes.len());
            let end = bytes.len().min(at + random.below(3_000));
            match random.below(5) {
                0 => bytes[at] = random.byte(),
                1 => bytes[at..end].fill(0),
                2 => drop(bytes.drain(at..end)),
                3 => bytes.truncate(at + 1),
                _ => {
                    let from = random.below(bytes.len() - (end - at));
                    bytes.copy_within(from..from + (end - at), at);
                }
            }
        }
        let on_damage = [OnDamage::Refuse, OnDamage::Skip][seed % 2];
        let options = WalOptions {
            on_damage,
            ..WalOptions::default()
        };
        match sample.read(disk, bytes, &options) {
            Err(error) => {
                assert_eq!(
                    (error.kind(), on_damage),
                    (ErrorKind::Data, OnDamage::Refuse)
                );
                num_refused.fetch_add(1, Ordering::Relaxed);
            }
            Ok((found, num_seen)) if on_damage == OnDamage::Refuse => {
                assert_eq!(found.next, num_seen as u64, "seed {seed}: no silent gap");
            }
            Ok(_) => {}
        }
    });
    assert!(num_refused.into_inner() > 1_000);
}
