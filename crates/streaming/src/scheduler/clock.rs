//! Ticks: batch times, block intervals for receivers, and the end of patience.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tidemill_core::scheduler::{Service, ServiceContext};
use tidemill_core::{Clock, Result};

use super::driver::Event;
use crate::input::AnyInput;
use crate::running::Stop;
use crate::time::Time;

/// Posts one event for each batch time. After a pause all missed ones are posted, none is skipped.
pub(crate) struct BatchClock {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) first: Time,
    pub(crate) period: Duration,
    pub(crate) events: Sender<Event>,
}

impl Service for BatchClock {
    fn name(&self) -> String {
        "stream-clock".to_owned()
    }

    fn run(&self, service: &ServiceContext) -> Result<()> {
        let mut next = self.first;
        while self.clock.wait_until(next.as_ms(), service.stopped()) {
            if self.events.send(Event::Tick(next)).is_err() {
                break;
            }
            next = next + self.period;
        }
        Ok(())
    }
}

/// Ends a graceful stop that takes too long.
pub(crate) struct Deadline {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) at: Time,
    pub(crate) events: Sender<Event>,
}

impl Service for Deadline {
    fn name(&self) -> String {
        "stop-deadline".to_owned()
    }

    fn run(&self, service: &ServiceContext) -> Result<()> {
        if self.clock.wait_until(self.at.as_ms(), service.stopped()) {
            tracing::warn!(deadline = %self.at, "graceful stop takes too long, stopping at once");
            // The stream may be over by now.
            let _ = self.events.send(Event::Stop(Stop::now()));
        }
        Ok(())
    }
}

/// Cuts blocks between batch times; at a batch time the batch itself does.
pub(crate) struct BlockClock {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) first: Time,
    pub(crate) period: Duration,
    pub(crate) inputs: Vec<Arc<dyn AnyInput>>,
}

impl Service for BlockClock {
    fn name(&self) -> String {
        "block-clock".to_owned()
    }

    fn run(&self, service: &ServiceContext) -> Result<()> {
        let mut next = self.first;
        while self.clock.wait_until(next.as_ms(), service.stopped()) {
            for input in &self.inputs {
                input.cut();
            }
            let now = Time::from_ms(self.clock.now_ms());
            // Late cuts are not made up for: an interval without a cut is a longer block.
            next = now.floor_from(self.period, self.first) + self.period;
        }
        Ok(())
    }
}
