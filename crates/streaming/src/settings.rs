//! Settings of a stream: plain data with units and defaults.

use std::time::Duration;

use tidemill_core::{Error, Result};

/// Settings of a [`StreamingContext`](crate::StreamingContext).
///
/// ```
/// use std::time::Duration;
/// use tidemill_streaming::StreamSettings;
///
/// let settings = StreamSettings { concurrent_jobs: 2, ..StreamSettings::default() };
/// assert_eq!(settings.block_interval, Duration::from_millis(200));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// Receivers cut a block this often, or once a batch when batches are shorter. Default 200 ms.
    pub block_interval: Duration,
    /// Receivers cut a block when it has this many bytes. Default 16 MiB.
    pub max_block_bytes: usize,
    /// Receivers stop reading while this many bytes wait for their batch to end, and for the states
    /// to have applied it. Default 512 MiB.
    pub max_waiting_bytes: usize,
    /// Wait before a receiver that ended is started again. Default 2 s.
    pub receiver_restart_delay: Duration,
    /// How long a stop at once waits for receivers and outputs of the program to end, and then for
    /// listeners to hear of it; what has not ended by then is left behind, with a warning. Also
    /// after the deadline of a graceful stop. Default 2 s.
    pub stop_patience: Duration,
    /// Output operations that run at a time, over all batches. Default 1: strictly in order.
    pub concurrent_jobs: usize,
    /// Whether forgotten RDDs and blocks leave memory. Default true.
    pub unpersist: bool,
    /// What a state does about a batch that it could not apply. Default: applies it first at the
    /// next batch.
    pub failed_batch: FailedBatch,
}

/// What a state does about a batch that it could not apply.
///
/// ```
/// use tidemill_streaming::{FailedBatch, StreamSettings};
///
/// let settings = StreamSettings { failed_batch: FailedBatch::Skip, ..StreamSettings::default() };
/// assert_ne!(settings.failed_batch, FailedBatch::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailedBatch {
    /// The next batch applies it first, and fails as long as that fails: nothing is lost, and the
    /// inputs of what waits are kept. Receivers stop reading when that is
    /// [`max_waiting_bytes`](StreamSettings::max_waiting_bytes).
    #[default]
    ApplyFirst,
    /// It is left out, told of and counted: the state goes on as if the batch had been empty.
    Skip,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            block_interval: Duration::from_millis(200),
            max_block_bytes: 16 << 20,
            max_waiting_bytes: 512 << 20,
            receiver_restart_delay: Duration::from_secs(2),
            stop_patience: Duration::from_secs(2),
            concurrent_jobs: 1,
            unpersist: true,
            failed_batch: FailedBatch::ApplyFirst,
        }
    }
}

impl StreamSettings {
    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::invalid(format!("{what} must be positive")));
        if self.block_interval.as_millis() == 0 {
            return refuse("block_interval (in whole milliseconds)");
        }
        if self.max_block_bytes == 0 {
            return refuse("max_block_bytes");
        }
        if self.max_waiting_bytes == 0 {
            return refuse("max_waiting_bytes");
        }
        if self.concurrent_jobs == 0 {
            return refuse("concurrent_jobs");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S-147
    #[test]
    fn a_block_interval_of_zero_is_refused() {
        let settings = StreamSettings {
            block_interval: Duration::ZERO,
            ..Default::default()
        };
        assert!(
            settings
                .validate()
                .unwrap_err()
                .to_string()
                .contains("block_interval")
        );
    }
}
