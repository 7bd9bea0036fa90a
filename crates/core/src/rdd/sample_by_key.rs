//! `sample_by_key`, `sample_by_key_exact`: each key at a rate of its own.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Rdd;
use super::exact_sample::{Picker, deal};
use super::map_partitions::MapPartitions;
use super::sample::{Sampling, copies};
use crate::data::{Data, Key, PartitionIter};
use crate::error::{Error, Result};
use crate::function::Captured;
use crate::operator::{Operator, abort_task};
use crate::random::Random;
use crate::travel::stable_hash;

/// What the tasks know. `rates` is a list, so that its bytes do not depend on a map's order.
#[derive(Clone, Serialize, Deserialize)]
struct Rule<R> {
    replacement: bool,
    seed: u64,
    operator: Operator,
    rates: R,
}

/// Each key's number of records and of draws in one partition.
type Shares<K> = Vec<(K, (u64, u64))>;

impl<K: Key, V: Data> Rdd<(K, V)> {
    pub(crate) fn sample_by_key_as(
        &self,
        operator: Operator,
        sampling: Sampling,
        fractions: impl IntoIterator<Item = (K, f64)>,
    ) -> Result<Self> {
        let rates: Vec<(K, f64)> = fractions.into_iter().collect();
        for (_, fraction) in &rates {
            sampling.check(*fraction, &operator)?;
        }
        let meta = self.child(operator.clone());
        let rule = Rule {
            replacement: sampling.has_replacement(),
            seed: sampling.seed_of(&self.ctx, &meta),
            operator,
            rates,
        };
        let function = Arc::new(Captured {
            captures: Arc::new(rule),
            function: draw::<K, V>,
        });
        let parent = self.node.clone();
        Ok(self
            .ctx
            .rdd(MapPartitions::new(meta, parent, function, true)))
    }

    pub(crate) fn sample_by_key_exact_as(
        &self,
        operator: Operator,
        sampling: Sampling,
        fractions: impl IntoIterator<Item = (K, f64)>,
    ) -> Result<Self> {
        let fractions: HashMap<K, f64> = fractions.into_iter().collect();
        for fraction in fractions.values() {
            sampling.check(*fraction, &operator)?;
        }
        let counts = self.act(operator.clone(), |records| {
            let mut counts: HashMap<K, u64> = HashMap::new();
            for (key, _) in records {
                *counts.entry(key).or_default() += 1;
            }
            counts.into_iter().collect::<Vec<(K, u64)>>()
        })?;
        let meta = self.child(operator.clone());
        let seed = sampling.seed_of(&self.ctx, &meta);
        let rates = shares(&counts, &fractions, sampling, seed)
            .map_err(|error| error.with("operator", &operator))?;
        let rule = Rule {
            replacement: sampling.has_replacement(),
            seed,
            operator,
            rates,
        };
        let function = Arc::new(Captured {
            captures: Arc::new(rule),
            function: pick::<K, V>,
        });
        let parent = self.node.clone();
        Ok(self
            .ctx
            .rdd(MapPartitions::new(meta, parent, function, true)))
    }
}

/// Deals each key's draws out to the partitions.
fn shares<K: Key>(
    counts: &[Vec<(K, u64)>],
    fractions: &HashMap<K, f64>,
    sampling: Sampling,
    seed: u64,
) -> Result<Vec<Shares<K>>> {
    let mut of_key: HashMap<&K, Vec<u64>> = HashMap::new();
    for (split, part) in counts.iter().enumerate() {
        for (key, count) in part {
            let of_split = of_key.entry(key).or_insert_with(|| vec![0; counts.len()]);
            if let Some(slot) = of_split.get_mut(split) {
                *slot = *count;
            }
        }
    }
    let mut shares: Vec<Shares<K>> = counts.iter().map(|_| Vec::new()).collect();
    for (key, of_split) in of_key {
        let fraction = fractions.get(key).ok_or_else(no_fraction)?;
        let total: u64 = of_split.iter().sum();
        let draws = (total as f64 * fraction).ceil() as u64;
        // A stream of the key's own: the map's order decides nothing.
        let mut random = Random::new(seed, stable_hash(key));
        let dealt = deal(&of_split, draws, sampling.has_replacement(), &mut random);
        for ((share, count), draws) in shares.iter_mut().zip(of_split).zip(dealt) {
            if count > 0 {
                share.push((key.clone(), (count, draws)));
            }
        }
    }
    Ok(shares)
}

fn no_fraction() -> Error {
    Error::invalid("a key has no fraction: give one for every key, 0 to leave its records out")
}

type Pairs<K, V> = PartitionIter<(K, V)>;

fn draw<K: Key, V: Data>(
    rule: &Rule<Vec<(K, f64)>>,
    split: usize,
    records: Pairs<K, V>,
) -> Pairs<K, V> {
    let Rule {
        seed,
        replacement,
        operator,
        ..
    } = rule.clone();
    let rates: HashMap<K, f64> = rule.rates.iter().cloned().collect();
    let mut random = Random::new(seed, split as u64);
    Box::new(records.flat_map(move |record| {
        let Some(rate) = rates.get(&record.0).copied() else {
            abort_task(no_fraction().with("operator", &operator))
        };
        let times = if replacement {
            random.poisson(rate)
        } else {
            u64::from(random.unit() < rate)
        };
        copies(record, times)
    }))
}

fn pick<K: Key, V: Data>(
    rule: &Rule<Vec<Shares<K>>>,
    split: usize,
    records: Pairs<K, V>,
) -> Pairs<K, V> {
    let seed = Random::new(rule.seed, split as u64).next_u64();
    let shares = rule.rates.get(split).cloned().unwrap_or_default();
    let mut pickers: HashMap<K, (Random, Picker)> = HashMap::new();
    for (key, (count, draws)) in shares {
        let mut own = Random::new(seed, stable_hash(&key));
        let picker = Picker::new(count, draws, rule.replacement, &mut own);
        pickers.insert(key, (own, picker));
    }
    Box::new(records.flat_map(move |record| {
        let times = match pickers.get_mut(&record.0) {
            Some((random, picker)) => picker.pick(random),
            None => 0,
        };
        copies(record, times)
    }))
}
