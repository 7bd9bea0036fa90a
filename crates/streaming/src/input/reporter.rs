//! What is said of a receiver: everything to the listeners, to people as much as they can read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tidemill_core::{Error, ErrorKind};

use super::InputEnv;
use crate::listener::{ReceiverInfo, StreamEvent};
use crate::notice;
use crate::receiver::Report;

/// Tells the listeners and the log of one receiver.
pub(crate) struct Reporter {
    stream_id: usize,
    name: String,
    env: Arc<InputEnv>,
    last_error: Mutex<Option<String>>,
    said: Mutex<Said>,
    is_closed: AtomicBool,
}

impl Reporter {
    pub(crate) fn new(stream_id: usize, name: String, env: &Arc<InputEnv>) -> Self {
        Self {
            stream_id,
            name,
            env: Arc::clone(env),
            last_error: Mutex::default(),
            said: Mutex::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn started(&self) {
        self.post(StreamEvent::ReceiverStarted, true);
    }

    pub(crate) fn stopped(&self) {
        self.post(StreamEvent::ReceiverStopped, false);
    }

    /// The stream is over: a receiver that was left behind has nobody to tell.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    fn post(&self, event: fn(ReceiverInfo) -> StreamEvent, is_active: bool) {
        self.env.bus.post(event(ReceiverInfo {
            stream_id: self.stream_id,
            name: self.name.clone(),
            is_active,
            last_error: self.last_error.lock().clone(),
        }));
    }
}

impl Report for Reporter {
    fn trouble(&self, error: &Error) {
        if self.is_closed.load(Ordering::Relaxed) {
            return;
        }
        let now_us = self.env.ctx.clock().monotonic_us();
        let times = {
            let mut said = self.said.lock();
            let times = said.is_news(&cause_of(error), now_us);
            said.is_outage |= times.is_some() && error.kind() == ErrorKind::Unavailable;
            times
        };
        match times {
            Some(0) => notice::warn(&self.name, error),
            Some(times) => notice::warn(&self.name, &error.clone().with("times", times)),
            None => tracing::debug!(receiver = self.name, error = %error.report(), "trouble"),
        }
        *self.last_error.lock() = Some(error.report());
        self.post(StreamEvent::ReceiverError, true);
    }

    fn recovered(&self, news: &str) {
        let was_said = std::mem::take(&mut self.said.lock().is_outage);
        if was_said && !self.is_closed.load(Ordering::Relaxed) {
            notice::over(&self.name, news);
        } else {
            tracing::debug!(receiver = self.name, "{news}");
        }
    }
}

/// What makes two errors the same: the message and the causes, not the facts.
fn cause_of(error: &Error) -> String {
    let mut text = error.message().to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// How long the same trouble is not said again at first; the span doubles each time it is.
const QUIET_US: u64 = 10_000_000;
const MAX_QUIET_US: u64 = 3_600_000_000;

/// Different troubles that are told apart; the others are one.
const MAX_CAUSES: usize = 8;

/// What was said of a receiver's trouble.
#[derive(Debug, Default)]
struct Said {
    causes: HashMap<String, Cause>,
    /// It was said that something is not there, and not yet that it is back.
    is_outage: bool,
}

#[derive(Debug)]
struct Cause {
    /// Not said again before.
    quiet_until_us: u64,
    quiet_us: u64,
    /// Since it was said.
    times: u64,
}

impl Said {
    /// Whether this is to be said now, and how often it was not since it was.
    fn is_news(&mut self, cause: &str, now_us: u64) -> Option<u64> {
        // What has not come for as long as it was quiet is news when it comes again.
        self.causes
            .retain(|_, cause| now_us < cause.quiet_until_us.saturating_add(cause.quiet_us));
        let is_known = self.causes.contains_key(cause);
        let key = match is_known || self.causes.len() < MAX_CAUSES {
            true => cause,
            false => "",
        };
        let Some(known) = self.causes.get_mut(key) else {
            let new = Cause {
                quiet_until_us: now_us.saturating_add(QUIET_US),
                quiet_us: QUIET_US,
                times: 0,
            };
            self.causes.insert(key.to_owned(), new);
            return Some(0);
        };
        known.times += 1;
        if now_us < known.quiet_until_us {
            return None;
        }
        known.quiet_us = (known.quiet_us * 2).min(MAX_QUIET_US);
        known.quiet_until_us = now_us.saturating_add(known.quiet_us);
        Some(std::mem::take(&mut known.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn the_same_is_said_less_and_less_often() {
        let mut said = Said::default();
        let news: Vec<(u64, u64)> = (0..200)
            .filter_map(|s| Some((s, said.is_news("refused", s * SECOND)?)))
            .collect();
        assert_eq!(news, [(0, 0), (10, 10), (30, 20), (70, 40), (150, 80)]);
    }

    #[test]
    fn another_cause_is_said_at_once_and_two_by_turns_are_not() {
        let mut said = Said::default();
        let news: Vec<(u64, &str)> = (0..100)
            .map(|s| {
                (
                    s,
                    if s % 2 == 0 {
                        "refused"
                    } else {
                        "no more data"
                    },
                )
            })
            .filter(|(s, cause)| said.is_news(cause, s * SECOND).is_some())
            .collect();
        let expected = [0, 10, 30, 70].map(|s| (s, "refused"));
        let other = [1, 11, 31, 71].map(|s| (s, "no more data"));
        let mut all = [expected, other].concat();
        all.sort_unstable();
        assert_eq!(news, all);
    }

    #[test]
    fn causes_that_differ_each_time_do_not_flood() {
        let mut said = Said::default();
        let num_said = (0..1_000)
            .filter(|n| said.is_news(&format!("record {n}"), n * 1_000).is_some())
            .count();
        assert!(num_said <= MAX_CAUSES + 1, "{num_said}");
        assert!(said.causes.len() <= MAX_CAUSES + 1);
    }

    #[test]
    fn what_comes_back_after_a_long_time_is_news() {
        let mut said = Said::default();
        assert_eq!(said.is_news("refused", 0), Some(0));
        assert_eq!(said.is_news("refused", SECOND), None);
        assert_eq!(said.is_news("refused", 25 * SECOND), Some(0));
    }
}
