//! Whether batches keep up with the clock.

use std::time::Duration;

use tidemill_core::Error;

use crate::notice;
use crate::time::Time;

/// A stream is behind when a batch is late by more than so many batch intervals, ...
const INTERVALS: u32 = 10;

/// ... and by more than this: short batches are late by many intervals whenever the machine is busy.
const LEAST: Duration = Duration::from_secs(1);

/// Watches how late the oldest unfinished batch is.
#[derive(Debug)]
pub(crate) struct Lag {
    period: Duration,
    /// How late is behind. Twice as much each time, or a stream with peaks would say so for ever.
    limit: Duration,
    last: Duration,
    is_behind: bool,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LagNews {
    FallsBehind,
    CaughtUp,
}

impl Lag {
    pub(crate) fn new(period: Duration) -> Self {
        Self {
            period,
            limit: LEAST.max(period.saturating_mul(INTERVALS)),
            last: Duration::ZERO,
            is_behind: false,
        }
    }

    /// Takes in how late the oldest unfinished batch is at a batch time. Behind is late and still
    /// getting later; caught up is when no batch is left but the last two.
    pub(crate) fn observe(&mut self, late: Duration) -> Option<LagNews> {
        let grows = late > std::mem::replace(&mut self.last, late);
        let was_behind = self.is_behind;
        if late > self.limit && grows {
            self.is_behind = true;
        } else if late <= self.period {
            self.is_behind = false;
        }
        match (was_behind, self.is_behind) {
            (false, true) => {
                self.limit = self.limit.saturating_mul(2);
                Some(LagNews::FallsBehind)
            }
            (true, false) => Some(LagNews::CaughtUp),
            _ => None,
        }
    }
}

impl LagNews {
    /// Says so of a stream whose oldest unfinished batch is so late.
    pub(crate) fn tell(self, oldest: Time, late: Duration, period: Duration) {
        match self {
            Self::CaughtUp => {
                notice::over("batches have caught up", &format!("oldest_batch={oldest}"));
            }
            Self::FallsBehind => {
                let error = Error::unavailable("they take longer than the batch interval")
                    .with("oldest_batch", oldest)
                    .with("late_ms", late.as_millis())
                    .with("batch_interval_ms", period.as_millis())
                    .with(
                        "hint",
                        "longer batches, faster outputs, more slots or less input",
                    );
                notice::warn("batches fall behind", &error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_batches_are_not_behind_at_once() {
        let mut lag = Lag::new(Duration::from_millis(1));
        let mut late = |ms| lag.observe(Duration::from_millis(ms));
        assert_eq!((late(11), late(1_000)), (None, None));
        assert_eq!(late(1_001), Some(LagNews::FallsBehind));
    }

    #[test]
    fn each_change_is_news_once_and_again_when_it_is_worse() {
        let mut lag = Lag::new(Duration::from_secs(1));
        let late = [
            0, 5, 10, 10, 11, 12, 40, 12, 9, 11, 2, 1, 0, 15, 0, 9, 30, 0,
        ];
        let news: Vec<(u64, LagNews)> = late
            .into_iter()
            .filter_map(|late| Some((late, lag.observe(Duration::from_secs(late))?)))
            .collect();
        let expected = [
            (11, LagNews::FallsBehind),
            (1, LagNews::CaughtUp),
            (30, LagNews::FallsBehind),
            (0, LagNews::CaughtUp),
        ];
        assert_eq!(news, expected);
    }

    #[test]
    fn what_is_late_but_gets_no_later_is_no_news() {
        let mut lag = Lag::new(Duration::from_millis(100));
        lag.last = Duration::from_secs(60);
        for late in (2..60).rev() {
            assert_eq!(lag.observe(Duration::from_secs(late)), None);
        }
    }
}
