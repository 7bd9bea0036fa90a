//! What the suites share: cases, the bench a case runs on, and a few helpers.

use std::sync::Arc;

use tidemill_core::{Context, Master};
use tidemill_testing::{Recorder, TestBackend};

use crate::harness::{self, Claim};

pub(crate) use crate::harness::Outcome;

/// One claim, shown on every backend.
pub(crate) struct Case {
    name: &'static str,
    run: fn(&Bench) -> Outcome,
}

/// A case for the tables of the suite.
pub(crate) fn case(name: &'static str, run: fn(&Bench) -> Outcome) -> Case {
    Case { name, run }
}

/// Runs all cases on all backends that are wanted.
pub(crate) fn run(cases: Vec<Case>) -> ! {
    harness::run(cases.into_iter().map(|Case { name, run }| Claim {
        name,
        backends: None,
        show: Box::new(move |backend| run(&Bench { backend })),
    }))
}

/// What a case runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bench {
    backend: TestBackend,
}

impl Bench {
    pub(crate) fn backend(&self) -> TestBackend {
        self.backend
    }

    /// A context of two slots.
    pub(crate) fn ctx(&self) -> Context {
        self.backend.context(2).unwrap()
    }

    /// A context of two slots, and what writes down its jobs.
    pub(crate) fn recorded(&self) -> (Context, Arc<Recorder>) {
        let recorder = Arc::new(Recorder::new(self.backend.backend(2).unwrap()));
        let builder = Context::builder().backend(recorder.clone());
        (builder.build().unwrap(), recorder)
    }

    /// A context whose tasks may fail as often as the master says.
    pub(crate) fn retrying(&self, master: &str) -> Context {
        let master: Master = master.parse().unwrap();
        let backend = self.backend.backend(master.num_slots()).unwrap();
        let builder = Context::builder().master(master).backend(backend);
        builder.build().unwrap()
    }

    /// Whether each task is attempted exactly as often as it fails: no attempt is lost on the way.
    pub(crate) fn is_exact(&self) -> bool {
        !self.backend.is_faulty()
    }

    pub(crate) fn is_local(&self) -> bool {
        self.backend.is_local()
    }
}

/// The records in order, where an operator promises none.
pub(crate) fn sorted<T: Ord>(records: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut records: Vec<T> = records.into_iter().collect();
    records.sort();
    records
}

/// Counts calls in whatever process they happen: each appends one byte to a file.
pub(crate) struct Tally {
    _folder: tempfile::TempDir,
    path: String,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tally").display().to_string();
        Self {
            _folder: folder,
            path,
        }
    }

    /// What goes along with a function that calls [`count_in`].
    pub(crate) fn path(&self) -> String {
        self.path.clone()
    }

    pub(crate) fn count(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }
}

/// Counts one call, and returns how many there were before it.
pub(crate) fn count_in(path: &str) -> u64 {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).append(true).open(path).unwrap();
    let before = file.metadata().unwrap().len();
    file.write_all(b"x").unwrap();
    before
}
