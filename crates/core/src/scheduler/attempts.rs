//! Attempts at tasks that are watched, because they may be too slow.

use std::collections::{BTreeMap, HashMap};

use super::stage::JobPlan;
use crate::task::{CancelToken, TaskId};

/// The attempts of one job that are waited for.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// By stage and partition, in order, so that what is made of them has an order.
    waited_for: BTreeMap<(usize, usize), Vec<Attempt>>,
    next_numbers: HashMap<(usize, usize), u32>,
    /// Run times of the attempts that succeeded, by stage.
    run_times_us: HashMap<usize, Vec<u64>>,
}

#[derive(Debug)]
struct Attempt {
    id: TaskId,
    /// In which slot it runs, and since when; `None` while it waits for one.
    started: Option<(usize, u64)>,
    cancel: CancelToken,
}

impl Attempt {
    fn ran_us(&self, now_us: u64) -> Option<u64> {
        self.started
            .map(|(_, started_us)| now_us.saturating_sub(started_us))
    }
}

/// What is to be done about an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// It ran longer than any attempt may, so many microseconds.
    Expired(TaskId, u64),
    /// It is slow: this second attempt may be faster.
    Slow(TaskId),
}

impl Attempts {
    /// An attempt will run. Returns what ends it alone.
    pub(super) fn add(&mut self, id: TaskId, job: &CancelToken) -> CancelToken {
        let key = (id.stage, id.split);
        let cancel = job.child();
        self.next_numbers.insert(key, id.attempt + 1);
        self.waited_for.entry(key).or_default().push(Attempt {
            id,
            started: None,
            cancel: cancel.clone(),
        });
        cancel
    }

    /// An attempt runs. Returns whether it is still waited for.
    pub(super) fn start(&mut self, id: TaskId, slot: usize, now_us: u64) -> bool {
        let attempts = self.waited_for.get_mut(&(id.stage, id.split));
        let attempt = attempts.and_then(|all| all.iter_mut().find(|attempt| attempt.id == id));
        attempt.is_some_and(|attempt| {
            attempt.started = Some((slot, now_us));
            true
        })
    }

    /// An attempt has ended. Returns whether it was still waited for.
    pub(super) fn end(&mut self, id: TaskId, now_us: u64, succeeded: bool) -> bool {
        let Some(attempt) = self.remove(id) else {
            return false;
        };
        if let (true, Some(ran_us)) = (succeeded, attempt.ran_us(now_us)) {
            self.run_times_us.entry(id.stage).or_default().push(ran_us);
        }
        true
    }

    /// An attempt is told to end. Returns the slot it ran in, if it was still waited for.
    pub(super) fn abandon(&mut self, id: TaskId) -> Option<usize> {
        let attempt = self.remove(id)?;
        attempt.cancel.cancel();
        attempt.started.map(|(slot, _)| slot)
    }

    fn remove(&mut self, id: TaskId) -> Option<Attempt> {
        let key = (id.stage, id.split);
        let attempts = self.waited_for.get_mut(&key)?;
        let at = attempts.iter().position(|attempt| attempt.id == id)?;
        let attempt = attempts.swap_remove(at);
        if attempts.is_empty() {
            self.waited_for.remove(&key);
        }
        Some(attempt)
    }

    /// All attempts at a task are told to end. Returns them and the slots they run in.
    pub(super) fn write_off(&mut self, stage: usize, split: usize) -> Vec<(TaskId, Option<usize>)> {
        let attempts = self.waited_for.remove(&(stage, split)).unwrap_or_default();
        let written_off = attempts.into_iter().map(|attempt| {
            attempt.cancel.cancel();
            (attempt.id, attempt.started.map(|(slot, _)| slot))
        });
        written_off.collect()
    }

    /// Whether another attempt at the same task is waited for.
    pub(super) fn has_other(&self, id: TaskId) -> bool {
        let attempts = self.waited_for.get(&(id.stage, id.split));
        attempts.is_some_and(|all| all.iter().any(|attempt| attempt.id != id))
    }

    /// The number of a further attempt at the same task.
    pub(super) fn next_number(&self, id: TaskId) -> u32 {
        let next = self.next_numbers.get(&(id.stage, id.split));
        next.copied().unwrap_or(id.attempt + 1)
    }

    /// The attempts that something is to be done about, in order of stage and partition.
    pub(super) fn late(&self, plan: &JobPlan, now_us: u64) -> Vec<Late> {
        let mut late = Vec::new();
        let timeout_us = plan.rules.task_timeout.map(|timeout| timeout.as_micros());
        let mut slow_after_us = HashMap::new();
        for (&(stage, _), attempts) in &self.waited_for {
            let slow_after_us = *slow_after_us
                .entry(stage)
                .or_insert_with(|| self.slow_after_us(plan, stage));
            for attempt in attempts {
                let Some(ran_us) = attempt.ran_us(now_us) else {
                    continue;
                };
                if timeout_us.is_some_and(|timeout| u128::from(ran_us) > timeout) {
                    late.push(Late::Expired(attempt.id, ran_us));
                } else if attempts.len() == 1 && slow_after_us.is_some_and(|slow| ran_us > slow) {
                    late.push(Late::Slow(TaskId {
                        attempt: self.next_number(attempt.id),
                        ..attempt.id
                    }));
                }
            }
        }
        late
    }

    /// When an attempt of a stage is slow; `None` when no second one may be made, or not yet.
    fn slow_after_us(&self, plan: &JobPlan, at: usize) -> Option<u64> {
        let rule = plan.rules.speculation?;
        let stage = plan.stages.get(at).filter(|stage| stage.may_be_twinned)?;
        let run_times_us = self.run_times_us.get(&at).map_or(&[][..], Vec::as_slice);
        rule.slow_after_us(stage.splits.len(), run_times_us)
    }
}
