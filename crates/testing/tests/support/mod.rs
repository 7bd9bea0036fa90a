//! What the suites share: cases, the bench a case runs on, and a few helpers.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use tidemill_core::{Context, Error, Master};
use tidemill_testing::{Backends, Recorder, TestBackend};

/// How a case ends.
pub(crate) type Outcome = Result<(), Error>;

/// One claim, shown on every backend.
pub(crate) struct Case {
    name: &'static str,
    run: fn(&Bench) -> Outcome,
}

/// A case for the tables of the suite.
pub(crate) fn case(name: &'static str, run: fn(&Bench) -> Outcome) -> Case {
    Case { name, run }
}

/// Runs all cases on all backends; `TIDEMILL_TEST_BACKEND` names those that are wanted, and
/// `TIDEMILL_TEST_SEED` moves the faults of the faulty ones.
pub(crate) fn run(cases: &[Case]) -> ! {
    let arguments = Arguments::from_args();
    let wanted = std::env::var("TIDEMILL_TEST_BACKEND").ok();
    let backends = Backends::named(wanted.as_deref()).expect("TIDEMILL_TEST_BACKEND");
    let seed = std::env::var("TIDEMILL_TEST_SEED").map_or(0, |seed| {
        seed.parse::<u64>().expect("TIDEMILL_TEST_SEED is a number")
    });
    let trials = backends
        .iter()
        .flat_map(|backend| cases.iter().map(move |case| trial(case, *backend, seed)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit()
}

fn trial(case: &Case, backend: TestBackend, seed: u64) -> Trial {
    let mut hasher = DefaultHasher::new();
    case.name.hash(&mut hasher);
    let backend = backend.salted(hasher.finish() ^ seed);
    let run = case.run;
    let checked = move || {
        let message = match catch_unwind(AssertUnwindSafe(|| run(&Bench { backend }))) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.report(),
            Err(panic) => panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default(),
        };
        let faults = backend.faults().map_or(String::new(), |faults| {
            format!("\n{faults}; the same again with TIDEMILL_TEST_SEED={seed}")
        });
        Err(Failed::from(format!("{message}{faults}")))
    };
    Trial::test(case.name, checked).with_kind(backend.name())
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
