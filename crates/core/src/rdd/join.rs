//! The joins: `cogroup`, and each left value with each right value.

use std::sync::Arc;

use super::Rdd;
use super::pair::JoinedRdd;
use crate::data::{Data, Key};
use crate::function::Plain;
use crate::operator::Operator;

/// The joins with the operator given.
#[doc(hidden)]
impl<K: Key, V: Data> Rdd<(K, V)> {
    pub fn join_as<W: Data>(
        &self,
        operator: Operator,
        other: &Rdd<(K, W)>,
        num_partitions: Option<usize>,
    ) -> JoinedRdd<K, V, W> {
        let groups = self.cogroup_as(operator.clone(), other, num_partitions);
        groups.flat_map_values_with(
            operator,
            Arc::new(Plain(|(left, right)| pairs(left, right))),
        )
    }

    pub fn left_join_as<W: Data>(
        &self,
        operator: Operator,
        other: &Rdd<(K, W)>,
        num_partitions: Option<usize>,
    ) -> JoinedRdd<K, V, Option<W>> {
        let groups = self.cogroup_as(operator.clone(), other, num_partitions);
        let join = |(left, right)| pairs(left, optional(right));
        groups.flat_map_values_with(operator, Arc::new(Plain(join)))
    }

    pub fn right_join_as<W: Data>(
        &self,
        operator: Operator,
        other: &Rdd<(K, W)>,
        num_partitions: Option<usize>,
    ) -> JoinedRdd<K, Option<V>, W> {
        let groups = self.cogroup_as(operator.clone(), other, num_partitions);
        let join = |(left, right)| pairs(optional(left), right);
        groups.flat_map_values_with(operator, Arc::new(Plain(join)))
    }

    pub fn full_join_as<W: Data>(
        &self,
        operator: Operator,
        other: &Rdd<(K, W)>,
        num_partitions: Option<usize>,
    ) -> JoinedRdd<K, Option<V>, Option<W>> {
        let groups = self.cogroup_as(operator.clone(), other, num_partitions);
        let join = |(left, right)| pairs(optional(left), optional(right));
        groups.flat_map_values_with(operator, Arc::new(Plain(join)))
    }
}

/// Each left value with each right value.
fn pairs<V: Clone, W: Clone>(left: Vec<V>, right: Vec<W>) -> impl Iterator<Item = (V, W)> {
    left.into_iter().flat_map(move |value| {
        right
            .clone()
            .into_iter()
            .map(move |other| (value.clone(), other))
    })
}

/// The values, or one `None` when there are none.
fn optional<V>(values: Vec<V>) -> Vec<Option<V>> {
    if values.is_empty() {
        vec![None]
    } else {
        values.into_iter().map(Some).collect()
    }
}
