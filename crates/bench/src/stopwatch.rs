//! The one place of this crate that reads the clock.

use std::time::{Duration, Instant};

/// Runs `work` and says how long it took.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time, not the engine's"
)]
pub(crate) fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}
