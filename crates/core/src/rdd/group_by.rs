//! `group_by`: the records that a function says the same of.

use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use super::map::WithKey;
use crate::data::{Data, Key};
use crate::function::Plain;
use crate::operator::Operator;

impl<T: Data> Rdd<T> {
    /// The records of which `f` says the same, under what it says.
    ///
    /// *Shape* `(K, Vec<T>)`, records in the order they had. *Cost* one shuffle of all records;
    /// all records of a key in memory: to count or sum them, `key_by` and `aggregate_by_key` ship
    /// far less. *State* none.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let mut groups = ctx.parallelize([1, 1, 2, 3, 5, 8]).group_by(|x| x % 2).collect()?;
    /// groups.sort();
    /// assert_eq!(groups, [(0, vec![2, 8]), (1, vec![1, 1, 3, 5])]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn group_by<K: Key>(
        &self,
        f: impl Fn(&T) -> K + Send + Sync + 'static,
    ) -> Rdd<(K, Vec<T>)> {
        let operator = Operator::new("group_by", Location::caller());
        let keyed = self.map_with(operator.clone(), Arc::new(WithKey(Arc::new(Plain(f)))));
        let partitioner = keyed.own_partitioner();
        keyed.group_values(operator, partitioner)
    }
}
