//! What every log keeps, on every disk.

use std::sync::Arc;

use tidemill_core::ErrorKind;
use tidemill_streaming::wal::{WalOptions, inspect};

use crate::support::{on_every_disk, open};

fn body(number: u64) -> Vec<u8> {
    format!("record {number}")
        .repeat(number as usize % 5)
        .into_bytes()
}

fn small_files() -> WalOptions {
    WalOptions {
        segment_bytes: 500,
        ..WalOptions::default()
    }
}

#[test]
fn what_was_committed_is_handed_out_again_in_order() {
    on_every_disk(|site| {
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for life in 0..5 {
            let (wal, recovered, records) = open(site.lease().unwrap(), &small_files()).unwrap();
            assert_eq!((records, recovered.next), (expected.clone(), life * 20));
            assert_eq!((recovered.cut, recovered.skipped.len()), (None, 0));
            for number in life * 20..(life + 1) * 20 {
                assert_eq!(wal.append(&body(number)).unwrap(), number);
                expected.push(body(number));
                if number % 3 == 0 {
                    assert_eq!(wal.commit().unwrap(), number + 1);
                }
            }
            assert_eq!(wal.commit().unwrap(), wal.next());
            assert_eq!(wal.durable(), wal.next());
            if life % 2 == 0 {
                wal.close().unwrap();
            }
        }
        let mut num_seen = 0;
        let found = inspect(&*site.disk, &site.dir, &small_files(), &mut |record| {
            assert_eq!(record.body, body(record.lsn));
            num_seen += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!((found.next, num_seen), (100, 100));
        assert!(found.segments().count() > 5);
    });
}

#[test]
fn an_append_commits_when_the_group_is_large() {
    on_every_disk(|site| {
        let options = WalOptions {
            group_bytes: 1_000,
            ..WalOptions::default()
        };
        let (wal, _, _) = open(site.lease().unwrap(), &options).unwrap();
        wal.append(&[0; 500]).unwrap();
        assert_eq!(wal.durable(), 0);
        wal.append(&[0; 500]).unwrap();
        assert_eq!(wal.durable(), 2);
        let too_long = wal.append(&vec![0; (32 << 20) + 1]).unwrap_err();
        assert_eq!(too_long.kind(), ErrorKind::Invalid);
        assert_eq!(wal.append(&vec![7; 32 << 20]).unwrap(), 2);
        assert_eq!(wal.durable(), 3);
        drop(wal);
        let (_, _, records) = open(site.lease().unwrap(), &options).unwrap();
        assert_eq!(records[2], vec![7; 32 << 20]);
    });
}

#[test]
fn files_go_when_no_checkpoint_needs_them_and_not_before() {
    on_every_disk(|site| {
        let (wal, _, _) = open(site.lease().unwrap(), &small_files()).unwrap();
        for number in 0..60 {
            wal.append(&body(number)).unwrap();
            wal.commit().unwrap();
        }
        let num_files = wal.num_segments();
        assert_eq!(
            wal.remove_before(1).unwrap(),
            0,
            "record 1 lies in the first file"
        );
        let num_removed = wal.remove_before(40).unwrap();
        assert!(num_removed > 2);
        assert_eq!(wal.num_segments(), num_files - num_removed);
        wal.close().unwrap();
        assert_eq!(wal.append(b"late").unwrap_err().kind(), ErrorKind::Closed);
        drop(wal);

        let refused = open(site.lease().unwrap(), &small_files()).unwrap_err();
        assert_eq!(
            refused.kind(),
            ErrorKind::Data,
            "without a checkpoint all are needed"
        );
        assert!(refused.fact("file").is_some() && refused.fact("offset").is_some());
        let options = WalOptions {
            replay_from: 40,
            ..small_files()
        };
        let (_, recovered, records) = open(site.lease().unwrap(), &options).unwrap();
        assert_eq!(records, (40..60).map(body).collect::<Vec<_>>());
        assert_eq!((recovered.next, recovered.num_replayed), (60, 20));
    });
}

#[test]
fn a_log_that_ends_before_the_checkpoint_is_refused() {
    on_every_disk(|site| {
        let (wal, _, _) = open(site.lease().unwrap(), &small_files()).unwrap();
        wal.append(b"only").unwrap();
        wal.commit().unwrap();
        drop(wal);
        let knowing = |known_to| WalOptions {
            known_to,
            ..small_files()
        };
        let refused = open(site.lease().unwrap(), &knowing(2)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Data);
        assert!(open(site.lease().unwrap(), &knowing(1)).is_ok());
    });
}

#[test]
fn a_replaced_driver_cannot_write_any_more() {
    on_every_disk(|site| {
        let old = site.lease().unwrap();
        let (wal, _, _) = open(Arc::clone(&old), &small_files()).unwrap();
        wal.append(b"before").unwrap();
        wal.commit().unwrap();
        // As if the lock had been lost: the epoch goes on without the old driver's leave.
        let path = site.dir.join("lock");
        if site.disk.rename(&path, &site.dir.join("lost")).is_err() {
            // The simulated disk loses no locks.
            assert_eq!(site.lease().unwrap_err().kind(), ErrorKind::Unavailable);
            return;
        }
        let new = site.lease().unwrap();
        let (new_wal, _, records) = open(new, &small_files()).unwrap();
        assert_eq!(records.len(), 1);
        wal.append(b"too late").unwrap();
        assert_eq!(wal.commit().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(wal.append(b"x").unwrap_err().kind(), ErrorKind::Closed);
        new_wal.append(b"goes on").unwrap();
        new_wal.commit().unwrap();
        drop((wal, new_wal, old));
        let (_, _, records) = open(site.lease().unwrap(), &small_files()).unwrap();
        assert_eq!(records, [b"before".to_vec(), b"goes on".to_vec()]);
    });
}

#[test]
fn threads_share_their_syncs() {
    on_every_disk(|site| {
        let (wal, _, _) = open(site.lease().unwrap(), &small_files()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let wal = &wal;
                scope.spawn(move || {
                    for number in 0..50_u8 {
                        let lsn = wal.append(&[thread, number]).unwrap();
                        assert!(wal.commit().unwrap() > lsn);
                    }
                });
            }
        });
        drop(wal);
        let (_, _, records) = open(site.lease().unwrap(), &small_files()).unwrap();
        assert_eq!(records.len(), 200);
        for thread in 0..4 {
            let of_thread = records.iter().filter(|record| record[0] == thread);
            let numbers: Vec<u8> = of_thread.map(|record| record[1]).collect();
            assert_eq!(numbers, (0..50).collect::<Vec<u8>>());
        }
    });
}
