//! Element bounds: what may be an element of an RDD, and what may be a key.

use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// An element: owned, cloneable, and able to leave the process through serde.
///
/// Implemented for every type that has the parts; never implemented by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an element of an RDD or DStream",
    label = "needs Clone + Send + Sync + Serialize + DeserializeOwned + 'static",
    note = "derive `Clone, serde::Serialize, serde::Deserialize`; borrowed data must be owned, for text use `Text` or `String`"
)]
pub trait Data: Clone + Send + Sync + Serialize + DeserializeOwned + 'static {}

impl<T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static> Data for T {}

/// A key of the keyed operators: an element that can be hashed and compared.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "needs to be an element (`Data`) with `Eq + Hash`",
    note = "floating point numbers are not keys: wrap them in a type that defines equality"
)]
pub trait Key: Data + Eq + Hash {}

impl<T: Data + Eq + Hash> Key for T {}

/// The records of one partition, one after the other. Lives in one task, on one thread.
pub type PartitionIter<T> = Box<dyn Iterator<Item = T>>;
