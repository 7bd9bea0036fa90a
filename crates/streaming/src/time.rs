//! Instants of a stream: `Time` and `Interval`. Spans are `std::time::Duration`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant, in milliseconds since the Unix epoch. Prints as `1000 ms`.
///
/// ```
/// use std::time::Duration;
/// use tidemill_streaming::Time;
///
/// let time = Time::from_ms(1_350);
/// assert_eq!(time.floor(Duration::from_millis(200)), Time::from_ms(1_200));
/// assert_eq!(time.to_string(), "1350 ms");
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(i64);

/// A span in whole milliseconds; spans beyond 292 million years are cut.
pub(crate) fn as_ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Whether `span` is a whole number of `unit`s.
pub(crate) fn is_multiple(span: Duration, unit: Duration) -> bool {
    !unit.is_zero() && span.as_nanos().is_multiple_of(unit.as_nanos())
}

/// Takes out what belongs to times up to and with `time`.
pub(crate) fn take_until<V>(by_time: &mut BTreeMap<Time, V>, time: Time) -> BTreeMap<Time, V> {
    let later = by_time.split_off(&Time(time.0.saturating_add(1)));
    std::mem::replace(by_time, later)
}

impl Time {
    /// `ms` milliseconds since the epoch.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// The last multiple of `span` that is not later (towards zero before the epoch).
    #[must_use]
    pub fn floor(self, span: Duration) -> Self {
        self.floor_from(span, Self(0))
    }

    /// The last instant `zero + k * span` that is not later.
    #[must_use]
    pub fn floor_from(self, span: Duration, zero: Self) -> Self {
        let unit = as_ms(span).max(1);
        Self((self.0 - zero.0) / unit * unit + zero.0)
    }

    /// Whether it is a multiple of `span` since the epoch.
    #[must_use]
    pub fn is_multiple_of(self, span: Duration) -> bool {
        self.0 % as_ms(span).max(1) == 0
    }

    /// The span since an earlier instant; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// From here on in steps, before `end`.
    pub fn until(self, end: Self, step: Duration) -> impl Iterator<Item = Self> {
        let step = as_ms(step).max(1);
        std::iter::successors(Some(self), move |time| Some(Self(time.0 + step)))
            .take_while(move |time| *time < end)
    }

    /// From here on in steps, up to and with `end`.
    pub fn to(self, end: Self, step: Duration) -> impl Iterator<Item = Self> {
        self.until(Self(end.0.saturating_add(1)), step)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(as_ms(span)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(as_ms(span)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// What lies between two instants. Prints as `[1000 ms, 2000 ms]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Interval {
    /// Where it begins.
    pub begin: Time,
    /// Where it ends.
    pub end: Time,
}

impl Interval {
    /// How long it is.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.end.since(self.begin)
    }
}

impl From<(Time, Time)> for Interval {
    fn from((begin, end): (Time, Time)) -> Self {
        Self { begin, end }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.begin, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    // S-001
    #[test]
    fn time_prints_with_its_unit() {
        assert_eq!(Time::from_ms(1_000).to_string(), "1000 ms");
        let interval = Interval {
            begin: Time::from_ms(0),
            end: Time::from_ms(5),
        };
        assert_eq!(
            (interval.to_string(), interval.duration()),
            ("[0 ms, 5 ms]".into(), ms(5))
        );
    }

    // S-002
    #[test]
    fn floor_aligns_down() {
        let time = Time::from_ms(1_350);
        assert_eq!(time.floor(ms(200)), Time::from_ms(1_200));
        assert_eq!(
            time.floor_from(ms(200), Time::from_ms(50)),
            Time::from_ms(1_250)
        );
    }

    // S-003
    #[test]
    fn until_leaves_the_end_out_and_to_takes_it_in() {
        let (from, end) = (Time::from_ms(0), Time::from_ms(20));
        let all = |times: Vec<Time>| times.into_iter().map(Time::as_ms).collect::<Vec<_>>();
        assert_eq!(all(from.until(end, ms(10)).collect()), [0, 10]);
        assert_eq!(all(from.to(end, ms(10)).collect()), [0, 10, 20]);
        assert_eq!(all(from.to(end, ms(15)).collect()), [0, 15]);
    }

    // S-004
    #[test]
    fn arithmetic_and_order() {
        let time = Time::from_ms(100);
        assert_eq!((time + ms(5)) - ms(10), Time::from_ms(95));
        assert_eq!(time.since(Time::from_ms(40)), ms(60));
        assert_eq!(Time::from_ms(40).since(time), ms(0));
        assert!(time.is_multiple_of(ms(50)) && !time.is_multiple_of(ms(30)));
        assert!(is_multiple(ms(10), ms(5)) && !is_multiple(ms(10), ms(3)));
        assert_eq!(time.max(Time::from_ms(101)), Time::from_ms(101));
    }
}
