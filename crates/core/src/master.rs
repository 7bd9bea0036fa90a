//! Master strings: where a program runs.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Where tasks run: `local`, `local[N]`, `local[*]`, `local[N,F]` or `local[*,F]`.
///
/// `N` is the number of task slots, `F` how often one task may fail before its job does (1 when
/// not given: no retry, as in Apache Spark).
///
/// ```
/// use tidemill_core::Master;
///
/// let master: Master = "local[2,4]".parse()?;
/// assert_eq!((master.num_slots(), master.max_attempts()), (2, 4));
/// assert!("local[0]".parse::<Master>().is_err());
/// # Ok::<(), tidemill_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    text: String,
    num_slots: usize,
    max_attempts: u32,
}

impl Master {
    /// `local[N]`; 0 counts as 1.
    #[must_use]
    pub fn local(num_slots: usize) -> Self {
        let num_slots = num_slots.max(1);
        Self {
            text: format!("local[{num_slots}]"),
            num_slots,
            max_attempts: 1,
        }
    }

    /// How many tasks run at a time.
    #[must_use]
    pub fn num_slots(&self) -> usize {
        self.num_slots
    }

    /// How often one task may fail, at least 1.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.max_attempts
    }
}

impl fmt::Display for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// More threads than this are a slip of the keyboard: the machine would give out first.
const MAX_SLOTS: usize = 4_096;

fn refuse(text: &str, why: &str) -> Error {
    Error::invalid(format!("could not parse master URL: {why}"))
        .with("master", format!("{text:?}"))
        .with(
            "accepted",
            "local, local[N], local[*], local[N,maxFailures], local[*,maxFailures]",
        )
}

impl FromStr for Master {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let trimmed = text.trim();
        if trimmed == "local" {
            return Ok(Self {
                text: trimmed.to_owned(),
                ..Self::local(1)
            });
        }
        let inside = trimmed
            .strip_prefix("local[")
            .and_then(|rest| rest.strip_suffix(']'))
            .ok_or_else(|| refuse(text, "unknown form"))?;
        let (slots, failures) = match inside.split_once(',') {
            Some((slots, failures)) => (slots.trim(), Some(failures.trim())),
            None => (inside.trim(), None),
        };
        let num_slots = match slots {
            "*" => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            number => number
                .parse()
                .map_err(|_| refuse(text, "N is not a number"))?,
        };
        if num_slots > MAX_SLOTS {
            let why = format!("more than {MAX_SLOTS} threads; local[*] takes one for each CPU");
            return Err(refuse(text, &why));
        }
        if num_slots == 0 {
            return Err(refuse(text, "asked to run locally with 0 threads"));
        }
        let max_attempts = match failures {
            Some(number) => number
                .parse()
                .map_err(|_| refuse(text, "maxFailures is not a number"))?,
            None => 1,
        };
        if max_attempts == 0 {
            return Err(refuse(text, "maxFailures must be at least 1"));
        }
        Ok(Self {
            text: trimmed.to_owned(),
            num_slots,
            max_attempts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // C-014
    #[test]
    fn the_accepted_forms() {
        let parse = |text: &str| {
            let master: Master = text.parse().unwrap();
            (master.num_slots(), master.max_attempts())
        };
        let cpus = std::thread::available_parallelism().unwrap().get();
        assert_eq!(parse("local"), (1, 1));
        assert_eq!(parse("local[3]"), (3, 1));
        assert_eq!(parse("local[*]"), (cpus, 1));
        assert_eq!(parse("local[2, 4]"), (2, 4));
        assert_eq!(parse("local[*,3]"), (cpus, 3));
    }

    // C-015
    #[test]
    fn anything_else_is_refused_and_the_forms_are_shown() {
        for bad in [
            "",
            "local[0]",
            "local[",
            "local[x]",
            "local[2,0]",
            "local[2,x]",
            "local[99999]",
            "yarn",
            "Local",
        ] {
            let error = bad.parse::<Master>().unwrap_err();
            assert!(error.to_string().contains("local[N]"), "{error}");
            assert!(error.to_string().contains("could not parse master URL"));
        }
    }
}
