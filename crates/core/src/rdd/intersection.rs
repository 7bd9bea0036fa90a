//! `intersection`: the records that two RDDs share.

use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use crate::data::Key;
use crate::function::Plain;
use crate::operator::Operator;

impl<T: Key> Rdd<T> {
    /// The records that are in both RDDs, each once.
    ///
    /// *Shape* `T`, as many partitions as the larger has, order not kept. *Cost* one shuffle a
    /// side, of the distinct records of each partition. *State* none.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let (a, b) = (ctx.parallelize([1, 2, 2, 3]), ctx.parallelize([2, 2, 4]));
    /// assert_eq!(a.intersection(&b).collect()?, [2]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn intersection(&self, other: &Self) -> Self {
        let operator = Operator::new("intersection", Location::caller());
        let n = self
            .partitions_or_default()
            .max(other.partitions_or_default());
        let ours = self.as_keys(operator.clone(), n);
        let theirs = other.as_keys(operator.clone(), n);
        let groups = ours.cogroup_as(operator.clone(), &theirs, Some(n));
        let shared = |(record, (ours, theirs)): (T, (Vec<()>, Vec<()>))| {
            (!ours.is_empty() && !theirs.is_empty()).then_some(record)
        };
        groups.flat_map_with(operator, Arc::new(Plain(shared)))
    }
}
