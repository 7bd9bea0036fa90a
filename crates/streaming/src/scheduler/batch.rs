//! One batch on its way through the driver.

use std::time::Duration;

use crate::listener::{BatchInfo, InputInfo};
use crate::time::Time;

/// A batch whose jobs were submitted.
#[derive(Debug)]
pub(crate) struct RunningBatch {
    info: BatchInfo,
    submitted_us: u64,
    started_us: u64,
    outputs_left: usize,
}

/// Now, on the wall and on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) time: Time,
    pub(crate) monotonic_us: u64,
}

impl RunningBatch {
    pub(crate) fn new(time: Time, inputs: Vec<InputInfo>, num_outputs: usize, now: Now) -> Self {
        let info = BatchInfo {
            time,
            inputs,
            submitted: now.time,
            started: None,
            completed: None,
            scheduling_delay: None,
            processing_delay: None,
            num_outputs,
            num_failed: 0,
        };
        Self {
            info,
            submitted_us: now.monotonic_us,
            started_us: 0,
            outputs_left: num_outputs,
        }
    }

    pub(crate) fn info(&self) -> BatchInfo {
        self.info.clone()
    }

    /// A job has started; `true` for the batch's first.
    pub(crate) fn start(&mut self, now: Now) -> bool {
        if self.info.started.is_some() {
            return false;
        }
        self.info.started = Some(now.time);
        self.started_us = now.monotonic_us;
        self.info.scheduling_delay = Some(span(self.submitted_us, now));
        true
    }

    /// A job has ended; `true` for the batch's last.
    pub(crate) fn end(&mut self, failed: bool, now: Now) -> bool {
        self.outputs_left = self.outputs_left.saturating_sub(1);
        self.info.num_failed += usize::from(failed);
        if self.outputs_left > 0 {
            return false;
        }
        self.info.completed = Some(now.time);
        self.info.processing_delay = Some(span(self.started_us, now));
        true
    }
}

fn span(from_us: u64, now: Now) -> Duration {
    Duration::from_micros(now.monotonic_us.saturating_sub(from_us))
}
