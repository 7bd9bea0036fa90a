//! `take_sample`: an exact number of records, drawn at random.

use std::panic::Location;
use std::sync::Arc;

use super::Rdd;
use super::exact_sample::{Picker, deal};
use super::sample::{Sampling, copies};
use crate::data::{Data, PartitionIter};
use crate::error::{Error, Result};
use crate::function::Captured;
use crate::operator::Operator;
use crate::random::Random;

/// What a partition gives: its records, draws, and the rest.
type Draws = (Vec<(u64, u64)>, bool, u64);

impl<T: Data> Rdd<T> {
    /// `num` records drawn at random, in random order; without replacement at most as many as
    /// there are.
    ///
    /// *Cost* two jobs: one counts the partitions, one draws. 0 runs none. *Guarantee* every
    /// record is as likely as any other; the size is exact as long as the RDD gives as many
    /// records the second time.
    ///
    /// ```
    /// # use tidemill_core::Sampling;
    /// # let ctx = tidemill_core::Context::local(2)?;
    /// let numbers = ctx.range(0..100);
    /// assert_eq!(numbers.take_sample(Sampling::without_replacement(), 10)?.len(), 10);
    /// assert_eq!(numbers.take_sample(Sampling::without_replacement(), 200)?.len(), 100);
    /// assert_eq!(numbers.take_sample(Sampling::with_replacement(), 200)?.len(), 200);
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for more records than memory could ever hold; else the jobs' failure.
    #[track_caller]
    pub fn take_sample(&self, sampling: Sampling, num: usize) -> Result<Vec<T>> {
        let operator = Operator::new("take_sample", Location::caller());
        let most = isize::MAX.unsigned_abs() / size_of::<T>().max(1);
        if num > most {
            let error = Error::invalid("sample size cannot be greater than memory could hold");
            return Err(error
                .with("operator", operator)
                .with("size", num)
                .with("most", most));
        }
        if num == 0 {
            return Ok(Vec::new());
        }
        let counts = self.act(operator.clone(), |records| records.count() as u64)?;
        let seed = sampling.seed_of(&self.ctx, &self.child(operator.clone()));
        // A stream that no partition has.
        let mut random = Random::new(seed, u64::MAX);
        let replacement = sampling.has_replacement();
        let dealt = deal(&counts, num as u64, replacement, &mut random);
        let draws: Draws = (counts.into_iter().zip(dealt).collect(), replacement, seed);
        let function = Arc::new(Captured {
            captures: Arc::new(draws),
            function: pick::<T>,
        });
        let drawn = self.map_partitions_with(operator.clone(), function);
        let parts = drawn.act(operator, Iterator::collect::<Vec<T>>)?;
        let mut sample: Vec<T> = parts.into_iter().flatten().collect();
        random.shuffle(&mut sample);
        Ok(sample)
    }
}

fn pick<T: Data>(draws: &Draws, split: usize, records: PartitionIter<T>) -> PartitionIter<T> {
    let (parts, replacement, seed) = draws;
    let mut random = Random::new(*seed, split as u64);
    let (count, draws) = parts.get(split).copied().unwrap_or_default();
    let mut picker = Picker::new(count, draws, *replacement, &mut random);
    Box::new(records.flat_map(move |record| copies(record, picker.pick(&mut random))))
}
