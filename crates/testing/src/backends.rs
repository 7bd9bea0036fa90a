//! The list of backends that a suite runs on.

use std::sync::Arc;

use tidemill_core::scheduler::{Backend, ThreadBackend};
use tidemill_core::storage::MemoryStore;
use tidemill_core::{Context, ContextBuilder, Error, Result};

use crate::loopback::{Faults, Loopback};

/// The backends a suite runs on.
///
/// | Name | Tasks run |
/// |---|---|
/// | `local` | where they are |
/// | `loopback` | encoded and decoded, in this process |
/// | `loopback-process` | in child processes of the same executable |
/// | `loopback-lossy` | as `loopback`, with lost messages |
/// | `process-lossy` | as `loopback-process`, with lost messages |
/// | `process-killed` | as `loopback-process`, with a killed child |
#[derive(Debug)]
pub struct Backends;

/// Where the random numbers of the faulty backends start unless a test says otherwise.
const DEFAULT_SEED: u64 = 0x7469_6465;

const NAMES: [(&str, Place, Option<(u16, bool)>); 6] = [
    ("local", Place::Here, None),
    ("loopback", Place::Encoded, None),
    ("loopback-process", Place::Children, None),
    ("loopback-lossy", Place::Encoded, Some((60, false))),
    ("process-lossy", Place::Children, Some((15, false))),
    ("process-killed", Place::Children, Some((0, true))),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Here,
    Encoded,
    Children,
}

/// One backend of the list.
#[derive(Clone, Copy, Debug)]
pub struct TestBackend {
    name: &'static str,
    place: Place,
    faults: Option<Faults>,
}

impl Backends {
    /// All of them.
    #[must_use]
    pub fn all() -> Vec<TestBackend> {
        NAMES.into_iter().map(TestBackend::new).collect()
    }

    /// Those that `wanted` names, separated by commas; all when it is `None`. A suite passes what
    /// the environment variable `TIDEMILL_TEST_BACKEND` says.
    ///
    /// # Errors
    /// `Invalid` for a name that is not in the list.
    pub fn named(wanted: Option<&str>) -> Result<Vec<TestBackend>> {
        let Some(wanted) = wanted else {
            return Ok(Self::all());
        };
        let find = |name: &str| {
            let found = Self::all().into_iter().find(|backend| backend.name == name);
            found.ok_or_else(|| {
                let known: Vec<&str> = NAMES.iter().map(|(name, ..)| *name).collect();
                Error::invalid("no such test backend")
                    .with("name", name)
                    .with("known", known.join(", "))
            })
        };
        wanted.split(',').map(|name| find(name.trim())).collect()
    }
}

impl TestBackend {
    fn new((name, place, faults): (&'static str, Place, Option<(u16, bool)>)) -> Self {
        let faults = faults.map(|(drop_per_mille, kills)| Faults {
            seed: DEFAULT_SEED,
            drop_per_mille,
            kill_after: kills.then_some(1),
        });
        Self {
            name,
            place,
            faults,
        }
    }

    /// As in the table of [`Backends`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether tasks stay values: a closure that captures works here and nowhere else.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.place == Place::Here
    }

    /// Whether messages are lost or executors die.
    #[must_use]
    pub fn is_faulty(&self) -> bool {
        self.faults.is_some()
    }

    /// The faults, to be printed when a test fails.
    #[must_use]
    pub fn faults(&self) -> Option<Faults> {
        self.faults
    }

    /// The same backend with its faults at other moments, so that no two trials of a suite lose
    /// the same messages.
    #[must_use]
    pub fn salted(self, salt: u64) -> Self {
        let faults = self.faults.map(|faults| {
            let faults = faults.salted(salt);
            let kill_after = faults.kill_after.map(|_| 1 + faults.seed % 8);
            Faults {
                kill_after,
                ..faults
            }
        });
        Self { faults, ..self }
    }

    /// A new backend of `num_slots` slots.
    ///
    /// # Errors
    /// As [`Loopback::in_process`] and [`Loopback::process`].
    pub fn backend(&self, num_slots: usize) -> Result<Arc<dyn Backend>> {
        self.backend_with(num_slots, 64 << 20)
    }

    /// A new backend that keeps up to `max_cache_bytes` of cached partitions.
    ///
    /// # Errors
    /// As [`backend`](Self::backend).
    pub fn backend_with(
        &self,
        num_slots: usize,
        max_cache_bytes: usize,
    ) -> Result<Arc<dyn Backend>> {
        Ok(match self.place {
            Place::Here => {
                let blocks = Arc::new(MemoryStore::new(max_cache_bytes));
                let name = format!("local[{num_slots}]");
                Arc::new(ThreadBackend::local(&name, num_slots, blocks)?)
            }
            Place::Encoded => Arc::new(Loopback::in_process_with(
                num_slots,
                self.faults,
                max_cache_bytes,
            )?),
            Place::Children => Arc::new(Loopback::process_with(
                num_slots,
                self.faults,
                max_cache_bytes,
            )?),
        })
    }

    /// Settings of a context on a new backend of `num_slots` slots.
    ///
    /// # Errors
    /// As [`backend`](Self::backend).
    pub fn builder(&self, num_slots: usize) -> Result<ContextBuilder> {
        Ok(Context::builder().backend(self.backend(num_slots)?))
    }

    /// A context on a new backend of `num_slots` slots.
    ///
    /// # Errors
    /// As [`backend`](Self::backend).
    pub fn context(&self, num_slots: usize) -> Result<Context> {
        self.builder(num_slots)?.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_chosen_by_name() {
        let names = |wanted| -> Result<Vec<&str>> {
            Ok(Backends::named(wanted)?.iter().map(|b| b.name).collect())
        };
        assert_eq!(names(None).unwrap().len(), 6);
        assert_eq!(
            names(Some("local, loopback")).unwrap(),
            ["local", "loopback"]
        );
        let error = names(Some("remote")).unwrap_err();
        assert!(error.to_string().contains("process-killed"), "{error}");
    }

    #[test]
    fn each_trial_has_faults_of_its_own() {
        let lossy = TestBackend::new(NAMES[4]);
        assert!(lossy.is_faulty() && !lossy.is_local());
        assert_ne!(lossy.salted(1).faults(), lossy.salted(2).faults());
    }
}
