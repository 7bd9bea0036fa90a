//! Files that are missing, swapped, foreign, too new, or of a driver that should have stopped.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_core::{Error, ErrorKind};
use tidemill_streaming::checkpoint::Lease;
use tidemill_streaming::wal::{OnDamage, Recovered, WalOptions, inspect};
use tidemill_testing::{DiskFaults, SimDisk};

use crate::support::{APPLICATION, DIR, lease, open, wal_files};

fn options() -> WalOptions {
    WalOptions {
        segment_bytes: 200,
        ..WalOptions::default()
    }
}

fn skipping() -> WalOptions {
    WalOptions {
        on_damage: OnDamage::Skip,
        ..options()
    }
}

/// A log of several files with records 0 to 19, each its own group.
fn filled() -> (SimDisk, Vec<PathBuf>) {
    let disk = SimDisk::new(5);
    let (wal, _, _) = open(lease(&disk).unwrap(), &options()).unwrap();
    for number in 0..20_u8 {
        wal.append(&[number; 20]).unwrap();
        wal.commit().unwrap();
    }
    drop(wal);
    let files = wal_files(&disk);
    assert!(files.len() > 4);
    (disk, files)
}

/// Opening is refused, and changes nothing but the epoch.
fn refused(disk: &SimDisk, options: &WalOptions) -> Error {
    let contents = |disk: &SimDisk| {
        let files = wal_files(disk).into_iter();
        files
            .map(|path| (disk.contents(&path), path))
            .collect::<Vec<_>>()
    };
    let before = contents(disk);
    let error = open(lease(disk).unwrap(), options).unwrap_err();
    assert_eq!(contents(disk), before, "{error}");
    error
}

fn skipped(disk: &SimDisk) -> (Recovered, Vec<u8>) {
    let mut seen = Vec::new();
    let take = &mut |record: tidemill_streaming::wal::Record<'_>| {
        assert_eq!(record.body, [record.lsn as u8; 20]);
        seen.push(record.lsn as u8);
        Ok(())
    };
    let found = inspect(disk, DIR.as_ref(), &skipping(), take).unwrap();
    (found, seen)
}

#[test]
fn a_missing_file_is_refused_wherever_it_was() {
    let (_, files) = filled();
    let last = files.len() - 1;
    for (index, file) in files.iter().enumerate() {
        let (disk, _) = filled();
        disk.take(file).unwrap();
        let knowing = WalOptions {
            known_to: 20,
            ..options()
        };
        let error = refused(&disk, &knowing);
        assert_eq!(error.kind(), ErrorKind::Data);
        let (found, seen) = skipped(&disk);
        let num_lost: u64 = found
            .skipped
            .iter()
            .map(|skipped| skipped.num_records)
            .sum();
        if index < last {
            assert_eq!(num_lost as usize + seen.len(), 20, "{found:?}");
        } else {
            assert!(seen.len() < 20 && num_lost == 0, "only a checkpoint knows");
        }
    }
}

#[test]
fn an_empty_swapped_or_copied_file_is_refused() {
    let (_, files) = filled();
    let check = |change: &dyn Fn(&SimDisk)| {
        let (disk, _) = filled();
        change(&disk);
        let error = refused(&disk, &options());
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(error.fact("file").is_some() && error.fact("offset").is_some());
        skipped(&disk)
    };
    for file in &files {
        check(&|disk| disk.put(file, Vec::new()));
    }
    check(&|disk| {
        let (one, other) = (disk.take(&files[1]).unwrap(), disk.take(&files[2]).unwrap());
        disk.put(&files[1], other);
        disk.put(&files[2], one);
    });
    let copy = files[0].with_file_name("00000000000000000099-0000000001.wal");
    check(&|disk| disk.put(&copy, disk.contents(&files[1]).unwrap()));
    check(&|disk| {
        let mut twice = disk.contents(&files[1]).unwrap();
        let header_bytes = 16 + 2 + APPLICATION.len() + 24;
        twice.extend(twice.clone().drain(header_bytes..));
        disk.put(&files[1], twice);
    });
}

#[test]
fn a_tail_of_zeros_is_the_end() {
    let (disk, files) = filled();
    let newest = &files[files.len() - 1];
    let mut bytes = disk.contents(newest).unwrap();
    bytes.resize(bytes.len() + 4_096, 0);
    disk.put(newest, bytes);
    let (wal, recovered, records) = open(lease(&disk).unwrap(), &options()).unwrap();
    assert_eq!((records.len(), wal.next()), (20, 20));
    let cut = recovered.cut.unwrap();
    assert_eq!((cut.num_bytes, cut.num_records), (4_096, 0));
    drop(wal);
    let (_, recovered, records) = open(lease(&disk).unwrap(), &options()).unwrap();
    assert_eq!((records.len(), recovered.cut), (20, None), "cut once");
}

#[test]
fn a_repeated_record_is_refused() {
    let disk = SimDisk::new(1);
    let (wal, _, _) = open(lease(&disk).unwrap(), &WalOptions::default()).unwrap();
    for number in 0..3_u8 {
        wal.append(&[number; 20]).unwrap();
        wal.commit().unwrap();
    }
    drop(wal);
    let path = wal_files(&disk)[0].clone();
    let mut bytes = disk.contents(&path).unwrap();
    let last = bytes[bytes.len() - 56..].to_vec();
    bytes.extend(last);
    disk.put(&path, bytes);
    let error = refused(&disk, &WalOptions::default());
    assert_eq!(error.fact("reason"), Some("record has a wrong number"));
}

#[test]
fn another_application_or_a_newer_version_is_refused_even_when_damage_is_skipped() {
    let (disk, files) = filled();
    let foreign = SimDisk::new(9);
    let claim = Lease::claim(Arc::new(foreign.clone()), DIR, "another").unwrap();
    let (wal, _, _) = open(Arc::new(claim), &options()).unwrap();
    drop(wal);
    let file = wal_files(&foreign)[0].clone();
    assert_eq!(file.file_name(), files[0].file_name());
    disk.put(&files[0], foreign.contents(&file).unwrap());
    assert_eq!(refused(&disk, &skipping()).kind(), ErrorKind::Invalid);
    let claim = Lease::claim(Arc::new(disk), DIR, "another").unwrap_err();
    assert_eq!(claim.fact("owner"), Some(APPLICATION));

    let (disk, files) = filled();
    let mut newer = disk.contents(&files[2]).unwrap();
    newer[4] = 2;
    let length = u32::from_le_bytes([newer[8], newer[9], newer[10], newer[11]]) as usize;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&newer[..12]), &newer[16..16 + length]);
    newer[12..16].copy_from_slice(&checksum.to_le_bytes());
    disk.put(&files[2], newer);
    let error = refused(&disk, &skipping());
    assert_eq!(
        (error.kind(), error.fact("version")),
        (ErrorKind::Unsupported, Some("2"))
    );
}

#[test]
fn the_file_of_a_replaced_driver_is_not_part_of_the_log() {
    let (disk, files) = filled();
    // The old driver wakes up and begins another file where the new one already has.
    let old = disk.kill(1);
    let (wal, _, _) = open(lease(&disk).unwrap(), &options()).unwrap();
    wal.append(&[20; 20]).unwrap();
    wal.commit().unwrap();
    drop(wal);
    let late = files[0].with_file_name(format!("{:020}-{:010}.wal", files.len(), 1));
    old.put(&late, old.contents(&files[1]).unwrap());
    disk.put(&late, old.contents(&late).unwrap());
    let (wal, recovered, records) = open(lease(&disk).unwrap(), &options()).unwrap();
    assert_eq!(
        (records.len(), &recovered.strays),
        (21, &vec![late.clone()])
    );
    for number in 21..40_u8 {
        wal.append(&[number; 20]).unwrap();
        wal.commit().unwrap();
    }
    assert!(wal.remove_before(38).unwrap() > 4);
    assert!(!disk.paths().contains(&late));
    drop(wal);
    let from = WalOptions {
        replay_from: 38,
        ..options()
    };
    assert_eq!(open(lease(&disk).unwrap(), &from).unwrap().2.len(), 2);
}

#[test]
fn a_log_written_under_a_later_epoch_is_refused() {
    let (disk, _) = filled();
    disk.take(&Path::new(DIR).join("epoch")).unwrap();
    assert_eq!(refused(&disk, &skipping()).kind(), ErrorKind::Closed);
}

#[test]
fn a_damaged_or_newer_epoch_file_keeps_everybody_out() {
    let (disk, _) = filled();
    let path = Path::new(DIR).join("epoch");
    let whole = disk.contents(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        disk.put(&path, damaged);
        assert_eq!(lease(&disk).unwrap_err().kind(), ErrorKind::Data);
        disk.put(&path, whole[..at].to_vec());
        assert_eq!(lease(&disk).unwrap_err().kind(), ErrorKind::Data);
    }
}

#[test]
fn after_a_failed_sync_nothing_is_written_any_more() {
    let disk = SimDisk::new(3);
    let (wal, _, _) = open(lease(&disk).unwrap(), &WalOptions::default()).unwrap();
    wal.append(b"confirmed").unwrap();
    wal.commit().unwrap();
    wal.append(b"not confirmed").unwrap();
    // Four calls: two for the epoch's check, wait for the append behind it, then the sync.
    let before = disk.contents(&wal_files(&disk)[0]).unwrap().len();
    let sync = (1..20)
        .find(|call| {
            let probe = disk.kill(1);
            probe.set_faults(DiskFaults::default());
            disk.set_faults(DiskFaults {
                fail_at: Some(*call),
                ..DiskFaults::default()
            });
            let failed = wal.commit().is_err();
            assert!(failed || *call > 1);
            failed
        })
        .unwrap();
    assert_eq!(sync, 1, "the first error ends it");
    disk.set_faults(DiskFaults::default());
    for _ in 0..3 {
        assert_eq!(
            wal.append(b"more").unwrap_err().message(),
            wal.commit().unwrap_err().message()
        );
    }
    assert!(wal.close().is_err());
    assert_eq!(disk.contents(&wal_files(&disk)[0]).unwrap().len(), before);
    drop(wal);
    let (_, _, records) = open(lease(&disk).unwrap(), &WalOptions::default()).unwrap();
    assert_eq!(records, [b"confirmed".to_vec()]);
}

#[test]
fn a_full_disk_confirms_nothing_and_recovers_when_there_is_room() {
    for capacity_bytes in (100..2_000).step_by(7) {
        let disk = SimDisk::new(capacity_bytes);
        disk.set_faults(DiskFaults {
            capacity_bytes: Some(capacity_bytes),
            has_short_writes: true,
            ..DiskFaults::default()
        });
        let mut num_confirmed = 0;
        if let Ok((wal, _, _)) = lease(&disk).and_then(|lease| open(lease, &options())) {
            for number in 0..40_u8 {
                if wal.append(&[number; 20]).is_ok() && wal.commit().is_ok() {
                    num_confirmed += 1;
                }
            }
        }
        assert!(num_confirmed < 40);
        disk.set_faults(DiskFaults::default());
        let (wal, _, records) = open(lease(&disk).unwrap(), &options()).unwrap();
        assert!(records.len() >= num_confirmed, "{capacity_bytes} bytes");
        assert!(
            records
                .iter()
                .zip(0_u8..)
                .all(|(record, number)| record == &[number; 20])
        );
        wal.append(b"there is room again").unwrap();
        wal.commit().unwrap();
    }
}
