//! What a workload gives: medians of interleaved rounds, and the ratio to the limit.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// One number, measured several times.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
        let (last, middle) = (values.len().saturating_sub(1), values.len() / 2);
        let median = if values.len().is_multiple_of(2) && last > 0 {
            (at(middle - 1) + at(middle)) / 2.0
        } else {
            at(middle)
        };
        Self {
            median,
            min: at(0),
            max: at(last),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, min, max } = self;
        write!(f, "{median:.3} ({min:.3} … {max:.3})")
    }
}

/// The two times of one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) engine: Duration,
    pub(crate) limit: Duration,
}

/// The result of one workload.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    workload: &'static str,
    engine: Spread,
    limit: Spread,
    /// How much of the limit's speed the engine reaches: the median over the rounds.
    ratio: f64,
    ratio_min: f64,
    ratio_max: f64,
    unit: &'static str,
    peak_rss_bytes: u64,
    /// Further figures of the workload.
    #[serde(flatten)]
    notes: BTreeMap<&'static str, f64>,
}

impl Report {
    /// Of work that is counted per second: `amount` of `unit`s in each round.
    pub(crate) fn per_second(
        workload: &'static str,
        unit: &'static str,
        amount: f64,
        rounds: &[Round],
    ) -> Self {
        Self::new(workload, unit, rounds, |time| amount / time.as_secs_f64())
    }

    /// Of work whose cost counts: each round took so much for one of `amount`, in microseconds.
    pub(crate) fn micros_each(
        workload: &'static str,
        unit: &'static str,
        amount: f64,
        rounds: &[Round],
    ) -> Self {
        Self::new(workload, unit, rounds, |time| {
            time.as_secs_f64() * 1e6 / amount
        })
    }

    fn new(
        workload: &'static str,
        unit: &'static str,
        rounds: &[Round],
        figure: impl Fn(Duration) -> f64,
    ) -> Self {
        let of = |times: &dyn Fn(&Round) -> f64| Spread::of(rounds.iter().map(times).collect());
        let ratio = of(&|round| round.limit.as_secs_f64() / round.engine.as_secs_f64());
        Self {
            workload,
            engine: of(&|round| figure(round.engine)),
            limit: of(&|round| figure(round.limit)),
            ratio: ratio.median,
            ratio_min: ratio.min,
            ratio_max: ratio.max,
            unit,
            peak_rss_bytes: peak_rss_bytes().unwrap_or(0),
            notes: BTreeMap::new(),
        }
    }

    /// Adds a figure of the workload's own.
    pub(crate) fn note(&mut self, what: &'static str, figure: f64) {
        self.notes.insert(what, figure);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {}", self.workload, self.unit)?;
        writeln!(f, "  engine    {}", self.engine)?;
        writeln!(f, "  limit     {}", self.limit)?;
        writeln!(
            f,
            "  ratio     {:.3} ({:.3} … {:.3})",
            self.ratio, self.ratio_min, self.ratio_max
        )?;
        write!(f, "  peak rss  {} MB", self.peak_rss_bytes / 1_000_000)?;
        self.notes
            .iter()
            .try_for_each(|(what, figure)| write!(f, "\n  {what}  {figure:.3}"))
    }
}

/// The most memory this process ever had, where the system says so.
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    memory_bytes("VmHWM:")
}

/// The memory this process has now, where the system says so.
pub(crate) fn rss_bytes() -> Option<u64> {
    memory_bytes("VmRSS:")
}

fn memory_bytes(what: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_the_rounds() {
        let rounds = [(4, 2), (10, 1), (4, 3)].map(|(engine, limit)| Round {
            engine: Duration::from_secs(engine),
            limit: Duration::from_secs(limit),
        });
        let report = Report::per_second("w", "records/s", 12.0, &rounds);
        assert_eq!(
            (report.ratio, report.ratio_min, report.ratio_max),
            (0.5, 0.1, 0.75)
        );
        assert_eq!((report.engine.median, report.limit.median), (3.0, 6.0));
        let report = Report::micros_each("w", "us/task", 1e6, &rounds);
        assert_eq!((report.engine.median, report.limit.median), (4.0, 2.0));
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn peak_memory_is_known() {
        assert!(peak_rss_bytes().unwrap() > 100_000);
    }
}
