//! State by key that lives on from batch to batch: what the stateful operators of streams are made
//! of. Design note 0004 has the whole story.
//!
//! A [`State`] is what the user's function sees. The rest is the engine's own: `KeyedState` holds
//! the entries of an operator in shards and remembers some versions; `Advance` computes what a
//! batch does to a partition without doing it; only a commit on the driver does.

mod advance;
mod delta;
mod handle;
mod inverse;
mod keyed;
mod map;
mod outputs;
mod placement;
mod shard;
mod slab;
mod snapshots;
mod state_at;
mod step;
mod undo;
mod update;

use std::sync::Arc;

use crate::data::PartitionIter;
use crate::error::{Error, Result};

pub use advance::Versioned;
pub use delta::Delta;
pub use handle::State;
pub use inverse::{InverseWindow, KeepAll, Side};
pub use keyed::{KeyedState, StateSize};
pub use map::{MapState, MapWithState};
pub use placement::Placement;
pub use snapshots::Snapshots;
pub use step::{Batch, Overlay, Step};
pub use update::{EachKey, Group, UpdateAll, UpdateKey};

/// Something that makes sure of a version before a job reads it: on the driver, never in a task.
#[doc(hidden)]
pub trait Ensure: Send + Sync {
    /// Makes sure that batch `version_ms` is applied.
    ///
    /// # Errors
    /// Why it cannot be.
    fn ensure(&self, version_ms: i64) -> Result<()>;
}

/// A state whose versions can be read as pairs.
#[doc(hidden)]
pub trait ReadState<K, S>: Send + Sync {
    fn placement(&self) -> &Placement<K>;

    /// The pairs of a partition at a version.
    ///
    /// # Errors
    /// `Data` when the version is forgotten.
    fn read(self: Arc<Self>, version_ms: i64, split: usize) -> Result<PartitionIter<(K, S)>>;
}

/// The error of a version that nobody can go back to any more.
fn forgotten(version_ms: i64) -> Error {
    Error::data("state is gone: its batch has been forgotten")
        .with("batch_time", format!("{version_ms} ms"))
        .with(
            "hint",
            "remember batches for longer with StreamingContext::remember",
        )
}
