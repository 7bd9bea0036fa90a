//! Seeded faults: messages that never arrive, executors that die.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::{Clock, ManualClock, Waiter};

/// After this long without an answer a message counts as lost. Passes on a manual clock only.
const MESSAGE_DEADLINE: Duration = Duration::from_secs(5);

/// More losses than this and nothing would ever get through.
const MAX_DROP_PER_MILLE: u16 = 900;

/// Which faults happen. Plain data; prints as what has to be written to see them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Where the random numbers start.
    pub seed: u64,
    /// How many of a thousand messages are lost, at most 900. A message to an executor is sent
    /// again when its deadline has passed; an executor that was not heard of in time is given up.
    pub drop_per_mille: u16,
    /// The executor that is spoken to dies at the message of this number, counted over all
    /// executors from 1 on; only that one.
    pub kill_after: Option<u64>,
}

impl Faults {
    /// The same faults at other moments.
    #[must_use]
    pub fn salted(self, salt: u64) -> Self {
        Self {
            seed: mix(self.seed ^ salt),
            ..self
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What happens to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    Lost,
    ExecutorDies,
}

/// Deals out fates, and counts them.
#[derive(Debug)]
pub(super) struct Fates {
    faults: Option<Faults>,
    clock: ManualClock,
    dealt: Mutex<Dealt>,
    num_lost: AtomicU64,
    num_killed: AtomicU64,
}

#[derive(Debug)]
struct Dealt {
    random: u64,
    num_messages: u64,
}

impl Fates {
    pub(super) fn new(faults: Option<Faults>) -> Self {
        let dealt = Mutex::new(Dealt {
            random: faults.map_or(0, |faults| faults.seed),
            num_messages: 0,
        });
        Self {
            faults,
            clock: ManualClock::new(0),
            dealt,
            num_lost: AtomicU64::new(0),
            num_killed: AtomicU64::new(0),
        }
    }

    pub(super) fn faults(&self) -> Option<Faults> {
        self.faults
    }

    pub(super) fn num_lost(&self) -> u64 {
        self.num_lost.load(Ordering::Relaxed)
    }

    pub(super) fn num_killed(&self) -> u64 {
        self.num_killed.load(Ordering::Relaxed)
    }

    /// What happens to the next message.
    pub(super) fn next(&self) -> Fate {
        let Some(faults) = self.faults else {
            return Fate::Arrives;
        };
        let mut dealt = self.dealt.lock();
        dealt.num_messages += 1;
        dealt.random = dealt.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        if faults.kill_after == Some(dealt.num_messages) {
            self.num_killed.fetch_add(1, Ordering::Relaxed);
            return Fate::ExecutorDies;
        }
        let drop_per_mille = u64::from(faults.drop_per_mille.min(MAX_DROP_PER_MILLE));
        if mix(dealt.random) % 1000 < drop_per_mille {
            self.num_lost.fetch_add(1, Ordering::Relaxed);
            return Fate::Lost;
        }
        Fate::Arrives
    }

    /// Waits for what will never come, until the deadline: on a clock that is moved there at once.
    pub(super) fn wait_in_vain(&self) {
        let deadline_ms = i64::try_from(MESSAGE_DEADLINE.as_millis()).unwrap_or(i64::MAX);
        let deadline_ms = self.clock.now_ms().saturating_add(deadline_ms);
        self.clock.advance(MESSAGE_DEADLINE);
        self.clock.wait_until(deadline_ms, &Waiter::new());
    }
}

/// One step of splitmix64.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULTS: Faults = Faults {
        seed: 7,
        drop_per_mille: 200,
        kill_after: Some(10),
    };

    #[test]
    fn one_seed_gives_the_same_fates_each_time() {
        let deal = |faults| {
            let fates = Fates::new(Some(faults));
            (0..1000).map(|_| fates.next()).collect::<Vec<_>>()
        };
        assert_eq!(deal(FAULTS), deal(FAULTS));
        assert_ne!(deal(FAULTS), deal(FAULTS.salted(1)));
        let lost = deal(FAULTS).iter().filter(|f| **f == Fate::Lost).count();
        assert!((150..250).contains(&lost), "{lost} of 1000 lost");
        assert_eq!(deal(FAULTS)[9], Fate::ExecutorDies);
    }

    #[test]
    fn a_deadline_passes_without_waiting() {
        let fates = Fates::new(Some(FAULTS));
        fates.wait_in_vain();
        assert_eq!(fates.clock.now_ms(), 5_000);
    }
}
