//! Sorted runs as one sorted sequence, a record at a time.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::data::Data;
use crate::operator::Operator;
use crate::storage::Records;

/// A tournament between the first records of all runs: what is taken out is replaced from its run,
/// and plays again on the way up only. About `log2(runs)` comparisons a record, and no memory but
/// a record of each run.
pub(crate) struct MergeRuns<T, F> {
    operator: Operator,
    order: F,
    /// What is left of each run, behind its head.
    runs: Vec<Records<T>>,
    heads: Vec<Option<T>>,
    /// Who lost at each place of the tree; the leaves, which are the runs, follow behind.
    losers: Vec<usize>,
    winner: usize,
    num_left: usize,
}

impl<T: Data, F: Fn(&T, &T) -> Ordering> MergeRuns<T, F> {
    /// Merges runs, each of them in `order`; of equal records those of earlier runs come first.
    pub(crate) fn new(runs: Vec<Arc<Vec<T>>>, operator: Operator, order: F) -> Self {
        let mut runs: Vec<Records<T>> = runs.into_iter().map(Records::of).collect();
        let num_left = runs.iter().map(ExactSizeIterator::len).sum();
        let heads = runs.iter_mut().map(Iterator::next).collect();
        let mut merged = Self {
            losers: vec![0; runs.len()],
            operator,
            order,
            runs,
            heads,
            winner: 0,
            num_left,
        };
        merged.first_games();
        merged
    }

    fn first_games(&mut self) {
        let num_runs = self.runs.len();
        // Of each place of the tree, the leaves included.
        let mut winners: Vec<usize> = std::iter::repeat_n(0, num_runs)
            .chain(0..num_runs)
            .collect();
        for place in (1..num_runs).rev() {
            let winner = |place: usize| winners.get(place).copied().unwrap_or(0);
            let (mut won, mut lost) = (winner(2 * place), winner(2 * place + 1));
            if self.beats(lost, won) {
                std::mem::swap(&mut won, &mut lost);
            }
            if let (Some(winner), Some(loser)) =
                (winners.get_mut(place), self.losers.get_mut(place))
            {
                (*winner, *loser) = (won, lost);
            }
        }
        self.winner = winners.get(1).copied().unwrap_or(0);
    }

    /// Whether the head of run `a` comes before that of run `b`.
    #[inline]
    fn beats(&self, a: usize, b: usize) -> bool {
        let head = |run: usize| self.heads.get(run).and_then(Option::as_ref);
        match (head(a), head(b)) {
            (Some(x), Some(y)) => {
                let order = self.operator.call(|| (self.order)(x, y));
                order.then(a.cmp(&b)) == Ordering::Less
            }
            (x, _) => x.is_some(),
        }
    }
}

impl<T: Data, F: Fn(&T, &T) -> Ordering> Iterator for MergeRuns<T, F> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let mut winner = self.winner;
        let next = self.runs.get_mut(winner)?.next();
        let record = std::mem::replace(self.heads.get_mut(winner)?, next)?;
        self.num_left -= 1;
        let mut place = (self.losers.len() + winner) / 2;
        while place > 0 {
            let loser = self.losers.get(place).copied()?;
            if self.beats(loser, winner) {
                *self.losers.get_mut(place)? = winner;
                winner = loser;
            }
            place /= 2;
        }
        self.winner = winner;
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.num_left, Some(self.num_left))
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::random::Random;

    #[test]
    fn runs_are_merged_as_a_stable_sort_would() {
        let mut random = Random::new(7, 0);
        for num_runs in 0..20_u64 {
            let mut runs = Vec::new();
            for run in 0..num_runs {
                let len = random.below(40);
                let mut records: Vec<(u64, u64)> =
                    (0..len).map(|_| (random.below(9), run)).collect();
                records.sort_by_key(|record| record.0);
                runs.push(records);
            }
            let mut expected = runs.concat();
            expected.sort_by_key(|record| record.0);
            let operator = Operator::new("sort_by", Location::caller());
            let runs = runs.into_iter().map(Arc::new).collect();
            let merged = MergeRuns::new(runs, operator, |a: &(u64, u64), b| a.0.cmp(&b.0));
            assert_eq!(merged.size_hint().0, expected.len());
            assert_eq!(merged.collect::<Vec<_>>(), expected, "{num_runs} runs");
        }
    }
}
