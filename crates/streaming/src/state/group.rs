//! The states of a graph: each is advanced once a batch, parents first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tidemill_core::state::StateSize;
use tidemill_core::{Error, Result};

use super::AnyState;
use crate::dstream::node::{AnyStream, Batch, Job};
use crate::settings::FailedBatch;
use crate::time::Time;

/// A stream that has a state.
#[derive(Clone)]
struct Stateful {
    /// The operator's name in the graph.
    name: String,
    stream: Arc<dyn AnyStream>,
    state: Arc<dyn AnyState>,
}

impl Stateful {
    fn advance(&self, time: Time) -> Result<()> {
        self.state.ledger().advance(&self.stream.operator(), time)
    }
}

/// All states that outputs need.
#[derive(Default)]
pub(crate) struct States {
    /// Parents first.
    all: Vec<Stateful>,
    /// For each output those it needs.
    by_output: Vec<Vec<Stateful>>,
    num_skipped: Arc<AtomicU64>,
}

impl States {
    /// The states among `parents_first`, the streams of all outputs, with the names of all.
    pub(crate) fn new(
        parents_first: impl Iterator<Item = Arc<dyn AnyStream>>,
        outputs: impl Iterator<Item = Arc<dyn AnyStream>>,
        names: &HashMap<u64, String>,
    ) -> Self {
        let with_state = |stream: Arc<dyn AnyStream>| {
            let state = stream.state()?;
            let name = names.get(&stream.id())?.clone();
            Some(Stateful {
                name,
                stream,
                state,
            })
        };
        let all: Vec<Stateful> = parents_first.filter_map(with_state).collect();
        let by_output = outputs
            .map(|output| {
                let above = streams_above(output);
                let needed = all.iter().filter(|one| above.contains(&one.stream.id()));
                needed.cloned().collect()
            })
            .collect();
        Self {
            all,
            by_output,
            num_skipped: Arc::default(),
        }
    }

    pub(crate) fn begin(&self, zero: Time, policy: FailedBatch) {
        for one in &self.all {
            one.state.begin(zero, policy);
            one.state.ledger().count_in(&self.num_skipped);
        }
    }

    /// Sees to it that every state knows its input of the batch, whatever the outputs asked for.
    pub(crate) fn register(&self, batch: &Batch) -> Result<()> {
        self.all.iter().try_for_each(|one| one.stream.touch(batch))
    }

    /// The output's job, after the states that it needs.
    pub(crate) fn before(&self, output: usize, time: Time, job: Job) -> Job {
        match self.by_output.get(output) {
            Some(needed) if !needed.is_empty() => {
                let advance = advance(needed.clone(), time);
                Box::new(move || advance().and_then(|()| job()))
            }
            _ => job,
        }
    }

    /// A job for the states that none of these outputs needs, if there are any.
    pub(crate) fn rest(&self, outputs: impl Iterator<Item = usize>, time: Time) -> Option<Job> {
        let needed = outputs.filter_map(|output| self.by_output.get(output));
        let covered: HashSet<u64> = needed.flatten().map(|one| one.stream.id()).collect();
        let rest = self.all.iter();
        let rest: Vec<Stateful> = rest
            .filter(|one| !covered.contains(&one.stream.id()))
            .filter(|one| one.state.ledger().waits_for(time))
            .cloned()
            .collect();
        (!rest.is_empty()).then(|| advance(rest, time))
    }

    /// The latest time up to which everything may be forgotten: a batch that waits to be applied
    /// needs its input.
    pub(crate) fn hold(&self, time: Time) -> Time {
        let open = self.all.iter();
        let open = open.map(|one| one.state.ledger().first_open(one.stream.slide()));
        open.map(|open| Time::from_ms(open.as_ms().saturating_sub(1)))
            .min()
            .map_or(time, |held| held.min(time))
    }

    /// Each state under the name that its operator goes by.
    pub(crate) fn encode(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let states = self.all.iter();
        let encoded = states.map(|one| Ok((one.name.clone(), one.state.encode()?)));
        encoded.collect()
    }

    /// Fills states with what [`encode`](Self::encode) gave.
    pub(crate) fn restore(&self, states: &[(String, Vec<u8>)]) -> Result<()> {
        for (name, bytes) in states {
            let mut all = self.all.iter();
            let found = all.find(|one| one.name == *name);
            let Some(found) = found else {
                return Err(
                    Error::invalid("a state belongs to no operator of the program")
                        .with("state", name),
                );
            };
            let restored = found.state.restore(bytes);
            restored.map_err(|error| error.with("state", name))?;
        }
        Ok(())
    }

    /// How many keys each state has, and what they take.
    pub(crate) fn sizes(&self) -> Vec<(String, StateSize)> {
        let states = self.all.iter();
        states
            .map(|one| (one.name.clone(), one.state.size()))
            .collect()
    }

    /// Counts the batches that are left out of the states.
    pub(crate) fn num_skipped(&self) -> &Arc<AtomicU64> {
        &self.num_skipped
    }
}

/// Advances states in order. The first failure is the job's: later ones may need what failed.
fn advance(states: Vec<Stateful>, time: Time) -> Job {
    Box::new(move || states.iter().try_for_each(|one| one.advance(time)))
}

fn streams_above(output: Arc<dyn AnyStream>) -> HashSet<u64> {
    let mut above = HashSet::new();
    let mut open = vec![output];
    while let Some(stream) = open.pop() {
        if above.insert(stream.id()) {
            open.extend(stream.parents());
        }
    }
    above
}
