//! Drivers that die at every call, on a disk that forgets: what was confirmed is there, in order,
//! and nothing is there that was not appended.

use std::sync::atomic::{AtomicU64, Ordering};

use tidemill_core::Result;
use tidemill_streaming::wal::{Wal, WalOptions};
use tidemill_testing::{DiskFaults, Random, SimDisk, fail_every_call};

use crate::support::{lease, open};

/// What the log should hold.
#[derive(Clone, Debug, Default)]
struct Model {
    appended: Vec<Vec<u8>>,
    /// So many of them were confirmed.
    num_confirmed: usize,
    /// No checkpoint needs those before.
    needed_from: usize,
}

impl Model {
    fn options(&self) -> WalOptions {
        WalOptions {
            replay_from: self.needed_from as u64,
            known_to: self.num_confirmed as u64,
            segment_bytes: 300,
            group_bytes: 400,
            ..WalOptions::default()
        }
    }

    /// Opens the log, and compares. What has been found is confirmed from then on.
    fn recover(&mut self, disk: &SimDisk) -> Result<Wal> {
        let (wal, recovered, records) = open(lease(disk)?, &self.options())?;
        let next = recovered.next as usize;
        assert!(
            (self.num_confirmed..=self.appended.len()).contains(&next),
            "{next}: {self:?}"
        );
        assert_eq!(records, self.appended[self.needed_from..next]);
        assert!(recovered.skipped.is_empty());
        self.appended.truncate(next);
        self.num_confirmed = next;
        Ok(wal)
    }

    /// A driver's life, until it ends by itself or something fails.
    fn live(&mut self, disk: &SimDisk, random: &mut Random) -> Result<()> {
        let wal = self.recover(disk)?;
        for _ in 0..random.below(20) {
            self.act(&wal, random)?;
        }
        if random.below(4) == 0 {
            wal.close()?;
            self.num_confirmed = self.appended.len();
        }
        Ok(())
    }

    fn act(&mut self, wal: &Wal, random: &mut Random) -> Result<()> {
        match random.below(10) {
            0..6 => {
                let length = random.below(120);
                self.appended.push(random.bytes(length));
                let body = &self.appended[self.appended.len() - 1];
                // It may have been appended and then the commit failed.
                let lsn = wal.append(body)?;
                assert_eq!(lsn as usize, self.appended.len() - 1);
                self.num_confirmed = self.num_confirmed.max(wal.durable() as usize);
            }
            6..9 => {
                assert_eq!(wal.commit()? as usize, self.appended.len());
                self.num_confirmed = self.appended.len();
            }
            _ => {
                self.needed_from += random.below(self.num_confirmed - self.needed_from + 1);
                wal.remove_before(self.needed_from as u64)?;
            }
        }
        Ok(())
    }
}

/// One schedule: several lives on one disk, each ended by a death at some call; after each, many
/// images of what a crash may have left. Gives the number of images.
fn schedule(seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let mut model = Model::default();
    let mut disk = SimDisk::new(random.next_u64());
    let mut num_images = 0;
    for life in 0..6 {
        disk.set_faults(DiskFaults {
            die_at: Some(1 + random.below(if life == 0 { 200 } else { 120 }) as u64),
            has_short_writes: random.below(2) == 0,
            ..DiskFaults::default()
        });
        // Fails when the process dies; else it ended before.
        let died = model.live(&disk, &mut random);
        drop(died);
        for _ in 0..17 {
            let image = disk.crash(random.next_u64());
            let found = model.clone().recover(&image);
            found.unwrap_or_else(|error| panic!("seed {seed} life {life}: {error:?}"));
            num_images += 1;
        }
        // The next driver finds one of these, or the machine was never down.
        let next = random.next_u64();
        disk = if random.below(2) == 0 {
            disk.crash(next)
        } else {
            disk.kill(next)
        };
    }
    num_images
}

#[test]
fn crash_images_give_what_was_confirmed_and_nothing_else() {
    const NUM_IMAGES: u64 = 100_000;
    let (next, num_images) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while num_images.load(Ordering::Relaxed) < NUM_IMAGES {
                    let images = schedule(next.fetch_add(1, Ordering::Relaxed));
                    num_images.fetch_add(images, Ordering::Relaxed);
                }
            });
        }
    });
    let (num_seeds, num_images) = (next.into_inner(), num_images.into_inner());
    println!("{num_images} crash images of logs, seeds 0..{num_seeds}");
    assert!(num_images >= NUM_IMAGES);
}

#[test]
fn whatever_call_fails_what_was_confirmed_is_there() {
    let mut num_scenarios = 0;
    for seed in 0..5 {
        num_scenarios += fail_every_call(seed, |disk| {
            let mut random = Random::new(seed);
            let mut model = Model::default();
            for _ in 0..3 {
                // Each life may fail; the next begins in the same machine.
                let _ = model.live(disk, &mut random);
            }
            let faults = DiskFaults::default();
            for image in [disk.crash(seed), disk.kill(seed)] {
                image.set_faults(faults);
                let mut model = model.clone();
                let recovered = model.recover(&image);
                drop(recovered.unwrap_or_else(|error| panic!("seed {seed}: {error:?} {disk:?}")));
                // What was found is there for good: not even a lost sync before takes it away.
                for again in 0..3 {
                    drop(model.clone().recover(&image.crash(again)).unwrap());
                }
            }
        });
    }
    println!("{num_scenarios} scenarios with a failing call");
    assert!(num_scenarios > 1_000);
}
