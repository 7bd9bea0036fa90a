//! When a task is slow enough to be worth a second attempt beside the first.

use std::time::Duration;

/// Twins of slow tasks: off unless a context is given one of these.
///
/// A task whose attempt runs longer than most of its stage gets a second attempt, its twin, in
/// another slot. The first result counts; the other attempt is told to end, counts as no failure,
/// and is not waited for. The rule is Spark's, without its look at processing rates.
///
/// *Guarantee*: records, shuffle blocks and results of a task come from one attempt. Effects that
/// functions have outside the engine happen twice, as they do for retries. Stages that keep state
/// have no twins, nor have stages of one task.
///
/// ```
/// use tidemill_core::{Context, Master, Speculation};
///
/// let eager = Speculation { multiplier: 2.0, ..Speculation::default() };
/// let ctx = Context::builder().master(Master::local(2)).speculation(eager).build()?;
/// assert_eq!(ctx.range(0..10).count()?, 10);
/// # Ok::<(), tidemill_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speculation {
    /// The part of a stage's tasks that must have succeeded first, 0 to 1. Default 0.9.
    pub quantile: f64,
    /// How many times the median run time of those is slow. Default 3.
    pub multiplier: f64,
    /// No task is slow before it has run so long. Default 100 ms.
    pub min_task_runtime: Duration,
    /// How often running tasks are looked at. Default 100 ms.
    pub interval: Duration,
}

impl Default for Speculation {
    fn default() -> Self {
        Self {
            quantile: 0.9,
            multiplier: 3.0,
            min_task_runtime: Duration::from_millis(100),
            interval: Duration::from_millis(100),
        }
    }
}

impl Speculation {
    pub(crate) fn is_valid(&self) -> bool {
        (0.0..=1.0).contains(&self.quantile)
            && self.multiplier.is_finite()
            && self.multiplier >= 0.0
            && !self.interval.is_zero()
    }

    /// Microseconds after which a running task of a stage is slow; `None` while too few of its
    /// tasks have succeeded to tell. `run_times_us` are those of the ones that have.
    pub(super) fn slow_after_us(&self, num_tasks: usize, run_times_us: &[u64]) -> Option<u64> {
        let needed = ((self.quantile * num_tasks as f64) as usize).max(1);
        if num_tasks < 2 || run_times_us.len() < needed {
            return None;
        }
        let slow = self.multiplier * median(run_times_us);
        Some((slow as u64).max(self.min_task_runtime.as_micros() as u64))
    }
}

/// The middle value, or the mean of the two middle ones; 0 of nothing.
fn median(values: &[u64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = |index: usize| sorted.get(index).map_or(0.0, |value| *value as f64);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        at(middle)
    } else {
        f64::midpoint(at(middle.saturating_sub(1)), at(middle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // C-216
    #[test]
    fn a_task_is_slow_beyond_a_multiple_of_the_median_once_most_have_ended() {
        let rule = Speculation::default();
        let ms = |n: u64| n * 1_000;
        assert_eq!(rule.slow_after_us(10, &[ms(100); 8]), None);
        assert_eq!(rule.slow_after_us(10, &[ms(100); 9]), Some(ms(300)));
        let mixed: Vec<u64> = (1..=9).map(|n| ms(n * 100)).collect();
        assert_eq!(rule.slow_after_us(10, &mixed), Some(ms(1_500)));
        assert_eq!(rule.slow_after_us(10, &[ms(1); 9]), Some(ms(100)));
        // A quantile of a few tasks rounds down, to one at the least.
        assert_eq!(rule.slow_after_us(2, &[ms(40)]), Some(ms(120)));
        assert_eq!(rule.slow_after_us(1, &[ms(40)]), None);
        let at_once = Speculation {
            quantile: 0.0,
            ..rule
        };
        assert_eq!(at_once.slow_after_us(9, &[]), None);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(&[4, 1, 3, 2]), 2.5);
        assert_eq!(median(&[9, 1, 5]), 5.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn settings_that_make_no_sense_are_noticed() {
        let rule = Speculation::default();
        assert!(rule.is_valid());
        assert!(
            !Speculation {
                quantile: 1.5,
                ..rule
            }
            .is_valid()
        );
        let nan = f64::NAN;
        assert!(
            !Speculation {
                multiplier: nan,
                ..rule
            }
            .is_valid()
        );
        let interval = Duration::ZERO;
        assert!(!Speculation { interval, ..rule }.is_valid());
    }
}
