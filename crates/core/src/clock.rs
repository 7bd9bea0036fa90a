//! Time. The only file of the engine that reads the machine's clock or waits on it.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the module that owns the clock"
)]

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};

/// Where the engine gets its time from.
///
/// [`SystemClock`] in production, [`ManualClock`] in tests, which then never wait.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// Microseconds on a clock that never goes back; its origin means nothing.
    fn monotonic_us(&self) -> u64;

    /// Waits until `deadline_ms` (as [`now_ms`](Clock::now_ms) counts), or until `waiter` is woken.
    /// Returns whether the deadline was reached.
    fn wait_until(&self, deadline_ms: i64, waiter: &Waiter) -> bool;
}

/// Wakes the threads that wait on a [`Clock`] with it; a wake-up is never lost. Clones are the same
/// waiter.
#[derive(Clone, Default)]
pub struct Waiter {
    shared: Arc<(Mutex<bool>, Condvar)>,
}

impl Waiter {
    /// A waiter that nobody has woken.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the current waits, and every later one at once.
    pub fn wake(&self) {
        let (woken, condvar) = &*self.shared;
        *woken.lock() = true;
        condvar.notify_all();
    }

    /// Whether [`wake`](Self::wake) was called.
    #[must_use]
    pub fn is_woken(&self) -> bool {
        *self.shared.0.lock()
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter")
            .field("woken", &self.is_woken())
            .finish()
    }
}

/// The machine's clock: the wall clock's time when it was made, and from then on a clock that
/// never jumps. Setting the wall clock neither stalls a stream nor floods it; a long-running
/// program's batch times may drift from a wall clock that was corrected.
#[derive(Clone, Debug)]
pub struct SystemClock {
    origin: Instant,
    origin_since_epoch: Duration,
}

impl SystemClock {
    /// The machine's clock.
    #[must_use]
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            origin: Instant::now(),
            origin_since_epoch: since_epoch.unwrap_or_default(),
        }
    }

    fn since_epoch(&self) -> Duration {
        self.origin_since_epoch + self.origin.elapsed()
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        i64::try_from(self.since_epoch().as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn wait_until(&self, deadline_ms: i64, waiter: &Waiter) -> bool {
        let (woken, condvar) = &*waiter.shared;
        let mut woken = woken.lock();
        loop {
            if *woken {
                return false;
            }
            let now = self.since_epoch();
            let deadline = Duration::from_millis(u64::try_from(deadline_ms).unwrap_or(0));
            if deadline <= now {
                return true;
            }
            // An hour at a time: the condition variable's own arithmetic must not overflow.
            let wait = (deadline - now).min(Duration::from_secs(3600));
            let _ = condvar.wait_for(&mut woken, wait);
        }
    }
}

/// A clock that moves only when it is told to.
///
/// ```
/// use std::time::Duration;
/// use tidemill_core::{Clock, ManualClock};
///
/// let clock = ManualClock::new(1_000);
/// clock.advance(Duration::from_millis(500));
/// assert_eq!(clock.now_ms(), 1_500);
/// ```
#[derive(Clone, Default)]
pub struct ManualClock {
    shared: Arc<Manual>,
}

#[derive(Default)]
struct Manual {
    now: Mutex<i64>,
    waiting: Mutex<Vec<Waiter>>,
}

impl ManualClock {
    /// A clock that stands at `now_ms` milliseconds since the epoch.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        let clock = Self::default();
        *clock.shared.now.lock() = now_ms;
        clock
    }

    /// Moves the clock forward and wakes those whose deadline has come.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let mut now = self.shared.now.lock();
        *now = now.saturating_add(by);
        drop(now);
        self.notify();
    }

    /// Sets the clock to `now_ms`, forwards or back.
    pub fn set(&self, now_ms: i64) {
        *self.shared.now.lock() = now_ms;
        self.notify();
    }

    fn notify(&self) {
        for waiter in self.shared.waiting.lock().iter() {
            let _guard = waiter.shared.0.lock();
            waiter.shared.1.notify_all();
        }
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock")
            .field("now_ms", &self.now_ms())
            .finish()
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        *self.shared.now.lock()
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.now_ms())
            .unwrap_or(0)
            .saturating_mul(1_000)
    }

    fn wait_until(&self, deadline_ms: i64, waiter: &Waiter) -> bool {
        self.shared.waiting.lock().push(waiter.clone());
        let (woken, condvar) = &*waiter.shared;
        let mut guard = woken.lock();
        let reached = loop {
            if *guard {
                break false;
            }
            if self.now_ms() >= deadline_ms {
                break true;
            }
            condvar.wait(&mut guard);
        };
        drop(guard);
        let mut waiting = self.shared.waiting.lock();
        // One entry only: another thread may wait with the same waiter.
        let own = |other: &Waiter| Arc::ptr_eq(&other.shared, &waiter.shared);
        if let Some(at) = waiting.iter().position(own) {
            waiting.swap_remove(at);
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_wait_ends_when_the_deadline_is_reached() {
        let clock = ManualClock::new(0);
        let other = clock.clone();
        let waiting = std::thread::spawn(move || other.wait_until(100, &Waiter::new()));
        clock.advance(Duration::from_millis(100));
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn two_threads_may_wait_with_one_waiter() {
        let (clock, waiter) = (ManualClock::new(0), Waiter::new());
        let (sender, ends) = std::sync::mpsc::channel();
        for deadline_ms in [10, 20] {
            let (clock, waiter, sender) = (clock.clone(), waiter.clone(), sender.clone());
            std::thread::spawn(move || {
                let reached = clock.wait_until(deadline_ms, &waiter);
                sender.send((deadline_ms, reached))
            });
        }
        while clock.shared.waiting.lock().len() < 2 {
            std::thread::yield_now();
        }
        for deadline_ms in [10, 20] {
            clock.advance(Duration::from_millis(10));
            let end = ends.recv_timeout(Duration::from_secs(60));
            assert_eq!(end, Ok((deadline_ms, true)));
        }
        assert!(clock.shared.waiting.lock().is_empty());
    }

    #[test]
    fn a_wake_up_before_the_wait_is_not_lost() {
        let waiter = Waiter::new();
        waiter.wake();
        assert!(!ManualClock::new(0).wait_until(1, &waiter));
        assert!(!SystemClock::new().wait_until(i64::MAX, &waiter));
    }
}
