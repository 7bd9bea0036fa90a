//! What a step wants to change.

use serde::{Deserialize, Serialize};

use super::slab::NONE;

/// What happens to one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Change<S> {
    Set(S),
    /// The state stays; the time-out begins anew.
    Touch,
    /// Only of keys that are there.
    Remove,
}

/// A change and whom it concerns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Keyed<K, S> {
    pub(super) key: K,
    pub(super) change: Change<S>,
    /// The slot that the version before has the key in; `NONE` for a key that it has not, and for
    /// all that came from another process, where slots have other numbers.
    #[serde(skip, default = "nowhere")]
    pub(super) hint: u32,
}

fn nowhere() -> u32 {
    NONE
}

/// What one batch does to one partition: each key at most once, and the records it maps to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[doc(hidden)]
pub struct Delta<K, S, U> {
    pub(super) changes: Vec<Keyed<K, S>>,
    pub(super) mapped: Vec<U>,
}
