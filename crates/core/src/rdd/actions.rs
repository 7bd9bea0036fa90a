//! Actions: jobs that bring something to the driver.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::error::Error as StdError;
use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use crate::codec::{Decoder, Encoder};
use crate::data::{Data, Key, PartitionIter};
use crate::error::{Error, Result};
use crate::function::{Captured, Function, Function2, Plain};
use crate::operator::Operator;
use crate::travel::Portable;

/// `take` looks at this many times more partitions in each further job.
const TAKE_GROWTH: usize = 4;

impl<T: Data> Rdd<T> {
    pub(crate) fn all_splits(&self) -> Result<Vec<usize>> {
        Ok((0..self.num_partitions()?).collect())
    }

    pub(crate) fn act<R: Data>(
        &self,
        operator: Operator,
        f: impl Fn(PartitionIter<T>) -> R + Send + Sync + 'static,
    ) -> Result<Vec<R>> {
        self.ctx
            .run_action(operator, self, &Arc::new(Plain(f)), &self.all_splits()?)
    }

    /// All records, in the order of the partitions.
    ///
    /// *Cost* one job; all records in the driver's memory.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    pub fn collect(&self) -> Result<Vec<T>> {
        let operator = Operator::new("collect", Location::caller());
        Ok(self
            .act(operator, Iterator::collect::<Vec<T>>)?
            .into_iter()
            .flatten()
            .collect())
    }

    /// How many records there are.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    pub fn count(&self) -> Result<u64> {
        let operator = Operator::new("count", Location::caller());
        Ok(self
            .act(operator, |records| records.count() as u64)?
            .into_iter()
            .sum())
    }

    /// The records joined by `f`, partition by partition and then over the partitions, in order.
    ///
    /// # Errors
    /// `Invalid` when there is no record; else the job's failure.
    #[track_caller]
    pub fn reduce(&self, f: impl Fn(T, T) -> T + Clone + Send + Sync + 'static) -> Result<T> {
        let operator = Operator::new("reduce", Location::caller());
        let function = Arc::new(ReducePartition(Plain(f.clone())));
        let parts: Vec<Option<T>> =
            self.ctx
                .run_action(operator.clone(), self, &function, &self.all_splits()?)?;
        let reduced = parts.into_iter().flatten().reduce(f);
        reduced.ok_or_else(|| {
            Error::invalid("can not reduce an empty collection").with("operator", operator)
        })
    }

    /// The records folded into `zero`, which is used once for each partition and once more.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    pub fn fold(
        &self,
        zero: T,
        f: impl Fn(T, T) -> T + Clone + Send + Sync + 'static,
    ) -> Result<T> {
        let operator = Operator::new("fold", Location::caller());
        self.aggregate_as(operator, zero, f.clone(), f)
    }

    /// The records taken into a copy of `zero` for each partition by `merge_value`; the results
    /// joined into `zero` by `merge_results`, in the order of the partitions.
    ///
    /// ```
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let (sum, count) = ctx.range(1..5).aggregate(
    ///     (0, 0),
    ///     |(sum, count), x| (sum + x, count + 1),
    ///     |a, b| (a.0 + b.0, a.1 + b.1),
    /// )?;
    /// assert_eq!((sum, count), (10, 4));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    pub fn aggregate<C: Data>(
        &self,
        zero: C,
        merge_value: impl Fn(C, T) -> C + Send + Sync + 'static,
        merge_results: impl Fn(C, C) -> C,
    ) -> Result<C> {
        let operator = Operator::new("aggregate", Location::caller());
        self.aggregate_as(operator, zero, merge_value, merge_results)
    }

    pub(super) fn aggregate_as<C: Data>(
        &self,
        operator: Operator,
        zero: C,
        merge_value: impl Fn(C, T) -> C + Send + Sync + 'static,
        merge_results: impl Fn(C, C) -> C,
    ) -> Result<C> {
        let function = Arc::new(FoldPartition {
            zero: zero.clone(),
            function: Plain(merge_value),
        });
        let parts = self
            .ctx
            .run_action(operator, self, &function, &self.all_splits()?)?;
        Ok(parts.into_iter().fold(zero, merge_results))
    }

    /// The first `num` records, in the order of the partitions.
    ///
    /// *Cost* jobs over 1, then 4, then 16, … partitions, until there are enough; 0 runs none.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    pub fn take(&self, num: usize) -> Result<Vec<T>> {
        self.take_as(&Operator::new("take", Location::caller()), num)
    }

    #[doc(hidden)]
    pub fn take_as(&self, operator: &Operator, num: usize) -> Result<Vec<T>> {
        let num_partitions = if num == 0 { 0 } else { self.num_partitions()? };
        let mut taken: Vec<T> = Vec::new();
        let (mut next, mut step) = (0, 1);
        while taken.len() < num && next < num_partitions {
            let splits: Vec<usize> = (next..num_partitions.min(next + step)).collect();
            let take = |left: &usize, records: PartitionIter<T>| records.take(*left).collect();
            let function = Captured {
                captures: Arc::new(num - taken.len()),
                function: take,
            };
            let parts: Vec<Vec<T>> =
                self.ctx
                    .run_action(operator.clone(), self, &Arc::new(function), &splits)?;
            taken.extend(parts.into_iter().flatten().take(num - taken.len()));
            next += step;
            step *= TAKE_GROWTH;
        }
        Ok(taken)
    }

    /// The first record.
    ///
    /// # Errors
    /// `Invalid` when there is none; else the job's failure.
    #[track_caller]
    pub fn first(&self) -> Result<T> {
        let operator = Operator::new("first", Location::caller());
        let first = self.take_as(&operator, 1)?.pop();
        first.ok_or_else(|| Error::invalid("RDD is empty").with("operator", operator))
    }

    /// Whether there is no record.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self
            .take_as(&Operator::new("is_empty", Location::caller()), 1)?
            .is_empty())
    }

    /// Runs `f` on each record, where the record is.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    pub fn for_each(&self, f: impl Fn(T) + Send + Sync + 'static) -> Result<()> {
        let operator = Operator::new("for_each", Location::caller());
        self.for_each_with(operator, Arc::new(Plain(f)))
    }

    #[doc(hidden)]
    pub fn for_each_with<M>(&self, operator: Operator, f: Arc<M>) -> Result<()>
    where
        M: Function<T, Output = ()>,
    {
        let function = Arc::new(EachRecord(f));
        self.ctx
            .run_action(operator, self, &function, &self.all_splits()?)?;
        Ok(())
    }

    /// Runs `f` on the records of each partition, empty ones too. An `Err` fails the task.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    pub fn for_each_partition<E>(
        &self,
        f: impl Fn(PartitionIter<T>) -> Result<(), E> + Send + Sync + 'static,
    ) -> Result<()>
    where
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    {
        let operator = Operator::new("for_each_partition", Location::caller());
        self.for_each_partition_with(operator, Arc::new(Plain(f)))
    }

    /// The action with the operator and the function object given, for the streams.
    #[doc(hidden)]
    pub fn for_each_partition_with<E, M>(&self, operator: Operator, f: Arc<M>) -> Result<()>
    where
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
        M: Function<PartitionIter<T>, Output = Result<(), E>>,
    {
        let function = Arc::new(TryEachPartition {
            operator: operator.clone(),
            function: f,
        });
        self.ctx
            .run_action(operator, self, &function, &self.all_splits()?)?;
        Ok(())
    }
}

impl<T: Key> Rdd<T> {
    /// How often each record occurs, on the driver.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    pub fn count_by_value(&self) -> Result<HashMap<T, u64>> {
        let operator = Operator::new("count_by_value", Location::caller());
        let parts = self.act(operator, |records| {
            let mut counts: HashMap<T, u64> = HashMap::new();
            for record in records {
                *counts.entry(record).or_default() += 1;
            }
            counts
        })?;
        let mut total = HashMap::new();
        for (record, count) in parts.into_iter().flatten() {
            *total.entry(record).or_default() += count;
        }
        Ok(total)
    }
}

impl<T: Data + Ord> Rdd<T> {
    /// The `num` largest records, largest first.
    ///
    /// *Cost* one job; `num` records of each partition in memory.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    pub fn top(&self, num: usize) -> Result<Vec<T>> {
        let operator = Operator::new("top", Location::caller());
        let largest = |num: &usize, records: PartitionIter<T>| {
            smallest(*num, records.map(Reverse))
                .into_iter()
                .map(|r| r.0)
                .collect::<Vec<T>>()
        };
        let function = Arc::new(Captured {
            captures: Arc::new(num),
            function: largest,
        });
        let parts = self
            .ctx
            .run_action(operator, self, &function, &self.all_splits()?)?;
        Ok(smallest(num, parts.into_iter().flatten().map(Reverse))
            .into_iter()
            .map(|r| r.0)
            .collect())
    }

    /// The `num` smallest records, smallest first.
    ///
    /// *Cost* one job; `num` records of each partition in memory.
    ///
    /// # Errors
    /// The job's failure.
    #[track_caller]
    pub fn take_ordered(&self, num: usize) -> Result<Vec<T>> {
        let operator = Operator::new("take_ordered", Location::caller());
        let function = |num: &usize, records: PartitionIter<T>| smallest(*num, records);
        let function = Arc::new(Captured {
            captures: Arc::new(num),
            function,
        });
        let parts = self
            .ctx
            .run_action(operator, self, &function, &self.all_splits()?)?;
        Ok(smallest(num, parts.into_iter().flatten()))
    }
}

/// The `num` smallest, in order.
fn smallest<T: Ord>(num: usize, records: impl Iterator<Item = T>) -> Vec<T> {
    let mut heap = BinaryHeap::new();
    for record in records {
        if heap.len() < num {
            heap.push(record);
        } else if let Some(mut largest) = heap.peek_mut()
            && record < *largest
        {
            *largest = record;
        }
    }
    heap.into_sorted_vec()
}

/// Joins the records of a partition: `reduce`.
pub(super) struct ReducePartition<M>(pub(super) M);

impl<M: Portable> Portable for ReducePartition<M> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        M::decode(decoder).map(Self)
    }
}

impl<T, M: Function2<T, T, Output = T>> Function<PartitionIter<T>> for ReducePartition<M> {
    type Output = Option<T>;

    fn call(&self, records: PartitionIter<T>) -> Option<T> {
        records.reduce(|a, b| self.0.call(a, b))
    }
}

/// Takes the records of a partition into a zero: `fold`, `aggregate`.
pub(super) struct FoldPartition<C, M> {
    pub(super) zero: C,
    pub(super) function: M,
}

impl<C: Data, M: Portable> Portable for FoldPartition<C, M> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        encoder.put(&self.zero)?;
        self.function.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            zero: decoder.take()?,
            function: M::decode(decoder)?,
        })
    }
}

impl<T, C: Data, M: Function2<C, T, Output = C>> Function<PartitionIter<T>>
    for FoldPartition<C, M>
{
    type Output = C;

    fn call(&self, records: PartitionIter<T>) -> C {
        records.fold(self.zero.clone(), |have, record| {
            self.function.call(have, record)
        })
    }
}

/// `for_each`.
struct EachRecord<M>(Arc<M>);

impl<M: Portable> Portable for EachRecord<M> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self(Arc::new(M::decode(decoder)?)))
    }
}

impl<T, M: Function<T, Output = ()>> Function<PartitionIter<T>> for EachRecord<M> {
    type Output = ();

    fn call(&self, records: PartitionIter<T>) {
        records.for_each(|record| self.0.call(record));
    }
}

/// `for_each_partition`.
struct TryEachPartition<M> {
    operator: Operator,
    function: Arc<M>,
}

impl<M: Portable> Portable for TryEachPartition<M> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.function.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            operator: decoder.operator().clone(),
            function: Arc::new(M::decode(decoder)?),
        })
    }
}

impl<T, E, M> Function<PartitionIter<T>> for TryEachPartition<M>
where
    E: Into<Box<dyn StdError + Send + Sync>>,
    M: Function<PartitionIter<T>, Output = Result<(), E>>,
{
    type Output = ();

    fn call(&self, records: PartitionIter<T>) {
        if let Err(error) = self.function.call(records) {
            self.operator.fail(error);
        }
    }
}
