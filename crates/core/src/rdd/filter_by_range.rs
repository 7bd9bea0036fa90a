//! `filter_by_range`: the pairs whose keys lie between two bounds.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::Rdd;
use super::coalesce::Coalesce;
use crate::data::Data;
use crate::function::Captured;
use crate::operator::Operator;

impl<K: Data + Ord, V: Data> Rdd<(K, V)> {
    pub(crate) fn filter_by_range_as(&self, operator: Operator, keys: RangeInclusive<K>) -> Self {
        let (lower, upper) = keys.into_inner();
        let placed = self.partitioner().and_then(|by| by.typed::<K>());
        let between = placed.and_then(|by| by.partitions_between(&lower, &upper));
        let pruned = match between {
            Some(splits) => {
                let (meta, parent) = (self.child(operator.clone()), self.node.clone());
                self.ctx.rdd(Coalesce::only(meta, parent, splits))
            }
            None => self.clone(),
        };
        let lies_between =
            |(lower, upper): &(K, K), record: &(K, V)| *lower <= record.0 && record.0 <= *upper;
        let function = Arc::new(Captured {
            captures: Arc::new((lower, upper)),
            function: lies_between,
        });
        pruned.filter_with(operator, function)
    }
}
