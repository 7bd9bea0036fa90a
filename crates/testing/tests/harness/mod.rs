//! What makes trials of a suite's claims: one for each claim and backend.

use std::hash::{DefaultHasher, Hash, Hasher};

use libtest_mimic::{Arguments, Failed, Trial};
use tidemill_core::{Error, catch};
use tidemill_testing::{Backends, TestBackend};

/// How a claim ends.
pub(crate) type Outcome = Result<(), Error>;

/// Something that a suite shows on some backends.
pub(crate) struct Claim {
    pub(crate) name: &'static str,
    /// The backends it is shown on; `None` for all.
    pub(crate) backends: Option<&'static [&'static str]>,
    pub(crate) show: Box<dyn Fn(TestBackend) -> Outcome + Send + Sync>,
}

/// Shows all claims; `TIDEMILL_TEST_BACKEND` names the backends that are wanted, and
/// `TIDEMILL_TEST_SEED` moves the faults of the faulty ones.
pub(crate) fn run(claims: impl IntoIterator<Item = Claim>) -> ! {
    let arguments = Arguments::from_args();
    let wanted = std::env::var("TIDEMILL_TEST_BACKEND").ok();
    let backends = Backends::named(wanted.as_deref()).expect("TIDEMILL_TEST_BACKEND");
    let seed = std::env::var("TIDEMILL_TEST_SEED").map_or(0, |seed| {
        seed.parse::<u64>().expect("TIDEMILL_TEST_SEED is a number")
    });
    // The claims live as long as the program: a trial must own what it runs.
    let claims: &'static [Claim] = claims.into_iter().collect::<Vec<_>>().leak();
    let trials = backends
        .iter()
        .flat_map(|backend| {
            claims
                .iter()
                .filter(|claim| claim.backends.is_none_or(|on| on.contains(&backend.name())))
                .map(|claim| trial(claim, *backend, seed))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit()
}

fn trial(claim: &'static Claim, backend: TestBackend, seed: u64) -> Trial {
    let mut hasher = DefaultHasher::new();
    claim.name.hash(&mut hasher);
    let backend = backend.salted(hasher.finish() ^ seed);
    let checked = move || {
        let Err(error) = catch(|| (claim.show)(backend)) else {
            return Ok(());
        };
        let faults = backend.faults().map_or(String::new(), |faults| {
            format!("\n{faults}; the same again with TIDEMILL_TEST_SEED={seed}")
        });
        Err(Failed::from(format!("{}{faults}", error.report())))
    };
    Trial::test(claim.name, checked).with_kind(backend.name())
}
