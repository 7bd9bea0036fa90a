//! Pools: how jobs of several kinds share the slots.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which of two waiting tasks goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchedulingMode {
    /// The older job's, then the earlier stage's.
    #[default]
    Fifo,
    /// The one whose pool, or whose stage inside a pool, has the smaller share of the slots.
    Fair,
}

/// A share of the slots for the jobs that choose it by name.
///
/// *Guarantee*: while pools compete, one that runs fewer tasks than its `min_share` goes first;
/// else the one that runs the fewest tasks for its weight. A free slot never waits for a pool, and
/// a running task is never stopped for another pool's.
///
/// ```
/// use tidemill_core::{Context, JobScope, Master, Pool, SchedulingMode};
///
/// let ctx = Context::builder()
///     .master(Master::local(2))
///     .scheduling_mode(SchedulingMode::Fair)
///     .pool(Pool::new("dashboard").weight(3).min_share(1))
///     .build()?;
/// let count = JobScope::current().in_pool("dashboard").run(|| ctx.range(0..10).count())?;
/// assert_eq!(count, 10);
/// # Ok::<(), tidemill_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Pool {
    name: Arc<str>,
    mode: SchedulingMode,
    weight: u32,
    min_share: usize,
}

impl Pool {
    /// The pool of jobs that choose none.
    pub const DEFAULT: &'static str = "default";

    /// A pool of weight 1 without a minimum share, first in first out inside.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            mode: SchedulingMode::Fifo,
            weight: 1,
            min_share: 0,
        }
    }

    /// How many times the slots of a pool of weight 1. At least 1, which is the default.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Tasks it may run before weights are looked at. Default 0.
    pub fn min_share(mut self, num_tasks: usize) -> Self {
        self.min_share = num_tasks;
        self
    }

    /// How its own jobs share. Default [`SchedulingMode::Fifo`].
    pub fn mode(mut self, mode: SchedulingMode) -> Self {
        self.mode = mode;
        self
    }

    /// What jobs call it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn has_weight(&self) -> bool {
        self.weight > 0
    }
}

/// What a task took of its pool, to be given back when it ends.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pool: Arc<str>,
    set: SetKey,
}

/// Job and stage: the tasks of one stage share alike.
type SetKey = (u64, usize);

/// Tasks that wait, by pool.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    pools: BTreeMap<Arc<str>, PoolQueue<T>>,
    num_served: u64,
}

#[derive(Debug)]
struct PoolQueue<T> {
    pool: Arc<Pool>,
    running: usize,
    num_waiting: usize,
    last_served: u64,
    sets: BTreeMap<SetKey, TaskSet<T>>,
}

#[derive(Debug)]
struct TaskSet<T> {
    running: usize,
    last_served: u64,
    waiting: std::collections::VecDeque<T>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            pools: BTreeMap::new(),
            num_served: 0,
        }
    }
}

impl<T> FairQueue<T> {
    pub(super) fn push(&mut self, pool: &Arc<Pool>, set: SetKey, task: T) {
        let queue = self
            .pools
            .entry(Arc::clone(&pool.name))
            .or_insert_with(|| PoolQueue {
                pool: Arc::clone(pool),
                running: 0,
                num_waiting: 0,
                last_served: 0,
                sets: BTreeMap::new(),
            });
        queue.num_waiting += 1;
        let set = queue.sets.entry(set).or_insert_with(|| TaskSet {
            running: 0,
            last_served: 0,
            waiting: std::collections::VecDeque::new(),
        });
        set.waiting.push_back(task);
    }

    /// The task that goes next, and what to give back when it ends.
    pub(super) fn pop(&mut self) -> Option<(Share, T)> {
        let waiting = self.pools.values_mut().filter(|pool| pool.num_waiting > 0);
        // Among equals the one that was served longest ago: with a single slot all are equal each
        // time, and Spark's rule, the first by name, would starve the others. `min_by` keeps the
        // first of those that were never served, and the pools are walked by name.
        let pool = waiting.min_by(|a, b| {
            let fair = fairest(a.standing(), b.standing());
            fair.then(a.last_served.cmp(&b.last_served))
        })?;
        self.num_served += 1;
        pool.last_served = self.num_served;
        let (key, set) = pool.next_set()?;
        let task = set.waiting.pop_front()?;
        set.last_served = self.num_served;
        set.running += 1;
        pool.running += 1;
        pool.num_waiting -= 1;
        let share = Share {
            pool: Arc::clone(&pool.pool.name),
            set: key,
        };
        Some((share, task))
    }

    /// A task ended. Pools and stages without tasks are forgotten.
    pub(super) fn release(&mut self, share: &Share) {
        let Some(pool) = self.pools.get_mut(&share.pool) else {
            return;
        };
        pool.running = pool.running.saturating_sub(1);
        if let Some(set) = pool.sets.get_mut(&share.set) {
            set.running = set.running.saturating_sub(1);
            if set.running == 0 && set.waiting.is_empty() {
                pool.sets.remove(&share.set);
            }
        }
        if pool.running == 0 && pool.num_waiting == 0 {
            self.pools.remove(&share.pool);
        }
    }

    /// Takes all tasks that wait.
    pub(super) fn drain(&mut self) -> Vec<T> {
        let pools = std::mem::take(&mut self.pools).into_values();
        pools
            .flat_map(|pool| pool.sets.into_values())
            .flat_map(|set| set.waiting)
            .collect()
    }
}

impl<T> PoolQueue<T> {
    fn standing(&self) -> Standing {
        Standing {
            running: self.running,
            min_share: self.pool.min_share,
            weight: self.pool.weight,
        }
    }

    fn next_set(&mut self) -> Option<(SetKey, &mut TaskSet<T>)> {
        let mode = self.pool.mode;
        let waiting = self
            .sets
            .iter_mut()
            .filter(|(_, set)| !set.waiting.is_empty());
        let mut sets = waiting.map(|(key, set)| (*key, set));
        match mode {
            SchedulingMode::Fifo => sets.next(),
            // Stages have no weights.
            SchedulingMode::Fair => sets.min_by_key(|(_, set)| (set.running, set.last_served)),
        }
    }
}

/// What decides between pools.
#[derive(Clone, Copy, Debug)]
struct Standing {
    running: usize,
    min_share: usize,
    weight: u32,
}

/// Which of two pools goes first: Spark's `FairSchedulingAlgorithm`. Fractions are compared by
/// cross-multiplication, exactly.
fn fairest(a: Standing, b: Standing) -> Ordering {
    let is_needy = |s: Standing| s.running < s.min_share;
    let cross = |a: usize, a_by: usize, b: usize, b_by: usize| {
        (a as u128 * b_by as u128).cmp(&(b as u128 * a_by as u128))
    };
    match (is_needy(a), is_needy(b)) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (true, true) => cross(a.running, a.min_share, b.running, b.min_share),
        (false, false) => cross(a.running, a.weight as usize, b.running, b.weight as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills `num_slots` slots from full queues, and returns how many each pool has.
    fn split(pools: &[Pool], num_slots: usize) -> Vec<usize> {
        let mut queue = FairQueue::default();
        for (job, pool) in pools.iter().enumerate() {
            let pool = Arc::new(pool.clone());
            for _ in 0..num_slots {
                queue.push(&pool, (job as u64, 0), job);
            }
        }
        let mut running = vec![0; pools.len()];
        for _ in 0..num_slots {
            running[queue.pop().unwrap().1] += 1;
        }
        running
    }

    // C-217
    #[test]
    fn pools_share_by_weight_once_they_have_their_minimum() {
        let (a, b) = (Pool::new("a"), Pool::new("b"));
        assert_eq!(split(&[a.clone(), b.clone()], 10), [5, 5]);
        assert_eq!(split(&[a.clone().weight(4), b.clone()], 10), [8, 2]);
        let needy = b.clone().min_share(5);
        assert_eq!(split(&[a.clone().weight(4), needy], 6), [1, 5]);
        // Both below their minimum: the one that has less of it.
        let both = [a.min_share(4), b.min_share(2)];
        assert_eq!(split(&both, 6), [4, 2]);
        assert_eq!(split(&both, 3), [2, 1]);
    }

    #[test]
    fn a_pool_is_first_in_first_out_or_fair_inside() {
        let order = |mode| {
            let pool = Arc::new(Pool::new("p").mode(mode));
            let mut queue = FairQueue::default();
            for (job, stage) in [(1, 1), (1, 0), (0, 0)] {
                for _ in 0..2 {
                    queue.push(&pool, (job, stage), (job, stage));
                }
            }
            let taken: Vec<_> = std::iter::from_fn(|| queue.pop().map(|(_, set)| set)).collect();
            taken
        };
        let (a, b, c) = ((0, 0), (1, 0), (1, 1));
        assert_eq!(order(SchedulingMode::Fifo), [a, a, b, b, c, c]);
        assert_eq!(order(SchedulingMode::Fair), [a, b, c, a, b, c]);
    }

    // C-217
    #[test]
    fn pools_take_turns_in_a_single_slot() {
        let mut queue = FairQueue::default();
        for (job, name) in ["a", "b", "a", "b", "b"].into_iter().enumerate() {
            let pool = Arc::new(Pool::new(name).mode(SchedulingMode::Fair));
            queue.push(&pool, (job as u64, 0), (name, job));
            queue.push(&pool, (job as u64, 0), (name, job));
        }
        let mut order = Vec::new();
        while let Some((share, (name, job))) = queue.pop() {
            order.push(format!("{name}{job}"));
            queue.release(&share);
        }
        assert_eq!(order.join(" "), "a0 b1 a2 b3 a0 b4 a2 b1 b3 b4");
    }

    #[test]
    fn nothing_is_left_of_pools_whose_tasks_have_ended() {
        let mut queue = FairQueue::default();
        for name in ["a", "b"] {
            queue.push(&Arc::new(Pool::new(name)), (0, 0), name);
        }
        let (first, name) = queue.pop().unwrap();
        assert_eq!(name, "a");
        queue.release(&first);
        assert_eq!(queue.pools.len(), 1);
        // A slot that is free again serves the pool that waits, not the one that was first.
        queue.push(&Arc::new(Pool::new("a")), (1, 0), "late");
        let (second, _) = queue.pop().unwrap();
        let (third, name) = queue.pop().unwrap();
        assert_eq!(name, "b");
        queue.release(&second);
        queue.release(&third);
        assert!(queue.pools.is_empty() && queue.pop().is_none());
    }

    #[test]
    fn what_waits_can_be_taken_at_once() {
        let mut queue = FairQueue::default();
        for set in 0..3 {
            queue.push(&Arc::new(Pool::new("p")), (set, 0), set);
        }
        queue.pop();
        assert_eq!(queue.drain(), [1, 2]);
        assert!(queue.pop().is_none());
    }
}
