//! `zip`: two RDDs, record by record.

use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use crate::codec::{Decoder, Encoder};
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::function::Function2;
use crate::operator::{Operator, abort_task};
use crate::travel::Portable;

impl<T: Data> Rdd<T> {
    /// Pairs of the first records of both RDDs, the second ones, and so on.
    ///
    /// *Shape* `(T, U)`, as many partitions, order kept. *Cost* narrow. *State* none.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let numbers = ctx.range(0..4);
    /// let squares = numbers.zip(&numbers.map(|x| x * x))?;
    /// assert_eq!(squares.collect()?, [(0, 0), (1, 1), (2, 4), (3, 9)]);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when the RDDs have different numbers of partitions. A job fails with `Invalid`
    /// when two partitions of one number differ in length.
    #[track_caller]
    pub fn zip<U: Data>(&self, other: &Rdd<U>) -> Result<Rdd<(T, U)>> {
        let operator = Operator::new("zip", Location::caller());
        let function = Arc::new(Lockstep {
            operator: operator.clone(),
        });
        self.zip_partitions_with(operator, other, function)
    }
}

/// Pairs of records; both sides must end together.
struct Lockstep {
    operator: Operator,
}

impl Portable for Lockstep {
    fn encode(&self, _: &mut Encoder<'_>) -> Result<()> {
        Ok(())
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            operator: decoder.operator().clone(),
        })
    }
}

impl<T: Data, U: Data> Function2<PartitionIter<T>, PartitionIter<U>> for Lockstep {
    type Output = PartitionIter<(T, U)>;

    fn call(&self, mut left: PartitionIter<T>, mut right: PartitionIter<U>) -> Self::Output {
        let (operator, mut at) = (self.operator.clone(), 0_u64);
        Box::new(std::iter::from_fn(move || {
            let longer = match (left.next(), right.next()) {
                (Some(a), Some(b)) => {
                    at += 1;
                    return Some((a, b));
                }
                (None, None) => return None,
                (Some(_), None) => "left",
                (None, Some(_)) => "right",
            };
            let message = "can only zip RDDs with the same number of records in each partition";
            abort_task(
                Error::invalid(message)
                    .with("operator", &operator)
                    .with("longer", longer)
                    .with("shorter_has", at),
            )
        }))
    }
}
