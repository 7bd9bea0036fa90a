//! State that lives on from batch to batch: when it is advanced, and by whom. Design note 0004.
//!
//! Core computes what a batch does to a state; a [`ledger::Ledger`] here says when it is done.

mod group;
pub(crate) mod keyed;
pub(crate) mod ledger;
pub(crate) mod snapshots;
mod spec;

use tidemill_core::state::StateSize;
use tidemill_core::{Error, Result};

pub(crate) use group::States;
pub use spec::StateSpec;
pub(crate) use spec::check_timeout;

use crate::settings::FailedBatch;
use crate::time::Time;
use ledger::Ledger;

/// The state of an operator as the graph sees it, whatever its types.
pub(crate) trait AnyState: Send + Sync {
    fn ledger(&self) -> &Ledger;

    /// The stream starts: its first batch is after `zero`.
    fn begin(&self, zero: Time, policy: FailedBatch);

    /// Forgets batches up to and with `time`.
    fn forget(&self, time: Time);

    /// The state as bytes, after the last batch.
    fn encode(&self) -> Result<Vec<u8>>;

    /// Begins with what another run of the program encoded, in place of what the program says.
    fn restore(&self, bytes: &[u8]) -> Result<()>;

    fn size(&self) -> StateSize;
}

/// Before its first batch a state is what the program says; there is nothing to write down.
fn not_begun() -> Error {
    Error::unavailable("a state has not taken in what it begins with yet")
}
