//! Drivers that die at every call while they write checkpoints and state.

use std::sync::atomic::{AtomicU64, Ordering};

use tidemill_core::Result;
use tidemill_streaming::Time;
use tidemill_streaming::checkpoint::{
    Checkpoint, CheckpointOptions, CheckpointStore, LocalCheckpoints, Section, StateFile,
    StateHeader, StateKind,
};
use tidemill_testing::{DiskFaults, Random, SimDisk, fail_every_call};

use crate::support::lease;

/// What the store should hold.
#[derive(Clone, Debug, Default)]
struct Model {
    /// All that were begun, in order.
    begun: Vec<Checkpoint>,
    /// So many of them are surely there: the newest of those, or a newer one, is found.
    num_confirmed: usize,
}

impl Model {
    /// Opens the store and compares; gives the state that the newest one names.
    fn recover(&mut self, disk: &SimDisk) -> Result<(LocalCheckpoints, Vec<StateFile>)> {
        let options = CheckpointOptions { num_kept: 2 };
        let store = LocalCheckpoints::open(lease(disk)?, options)?;
        let Some(found) = store.latest()? else {
            assert_eq!(self.num_confirmed, 0, "a checkpoint is lost");
            self.begun.clear();
            return Ok((store, Vec::new()));
        };
        assert!(
            found.damaged.is_empty(),
            "a crash damages nothing: {:?}",
            found.damaged
        );
        let place = self.begun.iter().position(|one| *one == found.checkpoint);
        let num_found = place.expect("never written") + 1;
        assert!(num_found >= self.num_confirmed, "{num_found} of {self:?}");
        let chain = found.checkpoint.state.get("counts").cloned();
        let chain = chain.unwrap_or_default();
        for file in &chain {
            let mut num_pieces = 0;
            store.read_state(file, &mut |piece| {
                assert!(
                    piece
                        .iter()
                        .all(|byte| u64::from(*byte) == file.type_fingerprint())
                );
                num_pieces += 1;
                Ok(())
            })?;
            assert_eq!(num_pieces, 2);
        }
        self.begun.truncate(num_found);
        self.num_confirmed = num_found;
        Ok((store, chain))
    }

    fn live(&mut self, disk: &SimDisk, random: &mut Random) -> Result<()> {
        let (store, mut chain) = self.recover(disk)?;
        for _ in 0..random.below(6) {
            let number = random.next_u64() % 256;
            if random.below(3) > 0 {
                if random.below(3) == 0 || chain.is_empty() {
                    chain.clear();
                }
                let header = StateHeader {
                    operator: String::from("counts"),
                    kind: match chain.is_empty() {
                        true => StateKind::Snapshot,
                        false => StateKind::Delta,
                    },
                    batch_time: Time::from_ms(0),
                    type_fingerprint: number,
                };
                let mut pieces = (0..2).map(|piece| vec![number as u8; 10 + 40 * piece]);
                chain.push(store.write_state(&header, &mut pieces)?);
            }
            let mut checkpoint = Checkpoint::at(Time::from_ms(random.next_u64() as i64));
            let section = Section::new(&[number as u8; 60]);
            checkpoint.sections.insert(String::from("lines"), section);
            if !chain.is_empty() {
                let files = chain.clone();
                checkpoint.state.insert(String::from("counts"), files);
            }
            self.begun.push(checkpoint.clone());
            store.write(&checkpoint)?;
            self.num_confirmed = self.begun.len();
        }
        Ok(())
    }
}

fn schedule(seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let mut model = Model::default();
    let mut disk = SimDisk::new(random.next_u64());
    let mut num_images = 0;
    for life in 0..4 {
        disk.set_faults(DiskFaults {
            die_at: Some(1 + random.below(200) as u64),
            has_short_writes: random.below(2) == 0,
            ..DiskFaults::default()
        });
        let died = model.live(&disk, &mut random);
        drop(died);
        for _ in 0..10 {
            let image = disk.crash(random.next_u64());
            let found = model.clone().recover(&image);
            found.unwrap_or_else(|error| panic!("seed {seed} life {life}: {error:?}"));
            num_images += 1;
        }
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
fn crash_images_give_the_last_confirmed_checkpoint_or_a_newer_one() {
    const NUM_IMAGES: u64 = 10_000;
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
    let num_images = num_images.into_inner();
    println!(
        "{num_images} crash images of checkpoints, seeds 0..{}",
        next.into_inner()
    );
    assert!(num_images >= NUM_IMAGES);
}

#[test]
fn whatever_call_fails_a_confirmed_checkpoint_is_there() {
    let mut num_scenarios = 0;
    for seed in 0..4 {
        num_scenarios += fail_every_call(seed, |disk| {
            let mut random = Random::new(seed);
            let mut model = Model::default();
            for _ in 0..3 {
                let _ = model.live(disk, &mut random);
            }
            for image in [disk.crash(seed), disk.kill(seed)] {
                let recovered = model.clone().recover(&image);
                drop(recovered.unwrap_or_else(|error| panic!("seed {seed}: {error:?} {disk:?}")));
            }
        });
    }
    println!("{num_scenarios} scenarios with a failing call");
    assert!(num_scenarios > 1_000);
}
