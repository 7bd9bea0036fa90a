//! `cogroup3`, `cogroup4`: cogroups of cogroups, all placed alike, so that each input is shuffled
//! once at the most.

use std::sync::Arc;

use super::Rdd;
use super::pair::common_partitioner;
use crate::data::{Data, Key};
use crate::function::Plain;
use crate::operator::Operator;

/// A key with all its values of three inputs.
pub type Grouped3<K, V, W, X> = (K, (Vec<V>, Vec<W>, Vec<X>));

/// A key with all its values of four inputs.
pub type Grouped4<K, V, W, X, Y> = (K, (Vec<V>, Vec<W>, Vec<X>, Vec<Y>));

/// What one side of an outer cogroup has of an inner one: a single pair of lists, or nothing.
type Inner<V, W> = Vec<(Vec<V>, Vec<W>)>;

impl<K: Key, V: Data> Rdd<(K, V)> {
    pub(crate) fn cogroup3_as<W: Data, X: Data>(
        &self,
        operator: Operator,
        second: &Rdd<(K, W)>,
        third: &Rdd<(K, X)>,
    ) -> Rdd<Grouped3<K, V, W, X>> {
        let inputs = [self.placing(), second.placing(), third.placing()];
        let partitioner = common_partitioner(&inputs);
        let two = self.cogroup_by(operator.clone(), second, Arc::clone(&partitioner));
        let three = two.cogroup_by(operator.clone(), third, partitioner);
        let flat = |(two, x): (Inner<V, W>, Vec<X>)| {
            let (v, w) = two.into_iter().next().unwrap_or_default();
            (v, w, x)
        };
        three.map_values_with(operator, Arc::new(Plain(flat)))
    }

    pub(crate) fn cogroup4_as<W: Data, X: Data, Y: Data>(
        &self,
        operator: Operator,
        second: &Rdd<(K, W)>,
        third: &Rdd<(K, X)>,
        fourth: &Rdd<(K, Y)>,
    ) -> Rdd<Grouped4<K, V, W, X, Y>> {
        let (first, last) = (
            [self.placing(), second.placing()],
            [third.placing(), fourth.placing()],
        );
        let partitioner = common_partitioner(&[first, last].concat());
        let left = self.cogroup_by(operator.clone(), second, Arc::clone(&partitioner));
        let right = third.cogroup_by(operator.clone(), fourth, Arc::clone(&partitioner));
        let four = left.cogroup_by(operator.clone(), &right, partitioner);
        let flat = |(left, right): (Inner<V, W>, Inner<X, Y>)| {
            let (v, w) = left.into_iter().next().unwrap_or_default();
            let (x, y) = right.into_iter().next().unwrap_or_default();
            (v, w, x, y)
        };
        four.map_values_with(operator, Arc::new(Plain(flat)))
    }
}
