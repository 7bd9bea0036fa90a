//! `subtract`, `subtract_by_key`: what the other side lacks.

use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use crate::combine::Reduce;
use crate::data::{Data, Key};
use crate::function::Plain;
use crate::operator::Operator;

impl<T: Key> Rdd<T> {
    /// The records that the other RDD lacks, duplicates kept.
    ///
    /// *Shape* `T`, as many partitions, order not kept. *Cost* one shuffle a side: of all records
    /// here, of the distinct ones there. *State* none.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let (a, b) = (ctx.parallelize([1, 2, 2, 3]), ctx.parallelize([3, 4]));
    /// let mut rest = a.subtract(&b).collect()?;
    /// rest.sort();
    /// assert_eq!(rest, [1, 2, 2]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn subtract(&self, other: &Self) -> Self {
        let operator = Operator::new("subtract", Location::caller());
        let n = self.partitions_or_default();
        let ours = self.map_with(operator.clone(), Arc::new(Plain(|record: T| (record, ()))));
        let theirs = other.as_keys(operator.clone(), n);
        let groups = ours.cogroup_as(operator.clone(), &theirs, Some(n));
        let missing = |(record, (ours, theirs)): (T, (Vec<()>, Vec<()>))| {
            let times = if theirs.is_empty() { ours.len() } else { 0 };
            std::iter::repeat_n(record, times)
        };
        groups.flat_map_with(operator, Arc::new(Plain(missing)))
    }
}

impl<K: Key, V: Data> Rdd<(K, V)> {
    pub(crate) fn subtract_by_key_as<W: Data>(
        &self,
        operator: Operator,
        other: &Rdd<(K, W)>,
    ) -> Self {
        let partitioner = self.own_partitioner();
        let keys = other.map_values_with(operator.clone(), Arc::new(Plain(|_: W| ())));
        let once = Arc::new(Reduce(Plain(|(), ()| ())));
        let keys = keys.combine_by::<(), _>(operator.clone(), once, Arc::clone(&partitioner));
        let groups = self.cogroup_by(operator.clone(), &keys, partitioner);
        let missing = |(ours, theirs): (Vec<V>, Vec<()>)| {
            if theirs.is_empty() { ours } else { Vec::new() }
        };
        groups.flat_map_values_with(operator, Arc::new(Plain(missing)))
    }
}
