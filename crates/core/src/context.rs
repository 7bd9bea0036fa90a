//! `Context`: makes RDDs and runs jobs.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::fast::FixedState;
use parking_lot::Mutex;

use crate::accumulator::Accumulators;
use crate::clock::{Clock, SystemClock, Waiter};
use crate::codec::Encoder;
use crate::data::{Data, PartitionIter};
use crate::error::{Error, ErrorKind, Result};
use crate::function::Function;
use crate::job_settings::JobSettings;
use crate::listener::{EventBus, JobListener};
use crate::master::Master;
use crate::operator::{Operator, abort_task, refuses_early};
use crate::rdd::Rdd;
use crate::rdd::action::ActionRoot;
use crate::rdd::checkpoint::Checkpoints;
use crate::rdd::node::{Meta, Parent, RddNode};
use crate::registry::JobRegistry;
use crate::scheduler::{Backend, JobPlan, StageRoot, ThreadBackend, plan};
use crate::shuffle::{Cleaner, ShuffleTracker, lost_outputs};
use crate::status::StatusTracker;
use crate::storage::{BlockStore, MemoryStore, StorageLimits};
use crate::task::{CancelToken, is_in_task};

/// How often a job may find that map outputs of one shuffle are lost.
const MAX_LOSSES: u32 = 4;

/// What the tasks of a job gave, by partition: a hash that is cheap, as each task pays for two.
type Results<R> = HashMap<usize, R, FixedState>;

/// Makes RDDs and runs jobs on a backend. A value, never a global; cheap to clone.
///
/// ```
/// use tidemill_core::Context;
///
/// let ctx = Context::local(2)?;
/// let words = ctx.parallelize(vec!["to", "be", "or", "not", "to", "be"].into_iter().map(String::from));
/// assert_eq!(words.distinct().count()?, 4);
/// # Ok::<(), tidemill_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Arc<dyn Backend>,
    clock: Arc<dyn Clock>,
    shuffles: Arc<ShuffleTracker>,
    max_attempts: u32,
    default_parallelism: usize,
    seed: u64,
    next_rdd: AtomicU64,
    next_shuffle: AtomicU64,
    next_broadcast: AtomicU64,
    accumulators: Accumulators,
    checkpoints: Checkpoints,
    jobs: Arc<JobRegistry>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.jobs.close();
    }
}

/// Settings and components of a [`Context`].
#[derive(Debug)]
#[must_use]
pub struct ContextBuilder {
    master: Master,
    storage: StorageLimits,
    default_parallelism: Option<usize>,
    seed: Option<u64>,
    clock: Option<Arc<dyn Clock>>,
    backend: Option<Arc<dyn Backend>>,
    pub(crate) jobs: JobSettings,
}

impl ContextBuilder {
    /// Where tasks run. Default `local[*]`.
    pub fn master(mut self, master: Master) -> Self {
        self.master = master;
        self
    }

    /// Memory for cached partitions, in bytes. Default 1 GiB.
    pub fn max_cache_bytes(mut self, bytes: usize) -> Self {
        self.storage.max_cache_bytes = bytes;
        self
    }

    /// Memory for shuffle outputs, in bytes; beyond it the oldest are written to disk. Default
    /// 1 GiB.
    pub fn max_shuffle_bytes(mut self, bytes: usize) -> Self {
        self.storage.max_shuffle_bytes = bytes;
        self
    }

    /// Where blocks go that have no room in memory: into a folder of their own under `folder`,
    /// which is removed when the context stops. Default: the system's temporary folder.
    pub fn spill_folder(mut self, folder: impl Into<std::path::PathBuf>) -> Self {
        self.storage.spill_folder = Some(folder.into());
        self
    }

    /// Partitions of RDDs and shuffles that say nothing else. Default: the number of slots.
    pub fn default_parallelism(mut self, num_partitions: usize) -> Self {
        self.default_parallelism = Some(num_partitions.max(1));
        self
    }

    /// Seed of everything random. Default: drawn anew for each context.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Where time comes from. Default: the machine's clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Runs jobs on `backend` in place of the master's.
    pub fn backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backend = Some(backend);
        self
    }

    /// The context.
    ///
    /// # Errors
    /// `Unavailable` when the machine gives no threads; `Unsupported` in a program compiled with
    /// `panic = "abort"`, where one failing task would end the process.
    pub fn build(self) -> Result<Context> {
        if cfg!(panic = "abort") {
            let error = "a program compiled with panic=\"abort\" cannot contain a failing task";
            return Err(Error::new(ErrorKind::Unsupported, error).with(
                "hint",
                "remove panic = \"abort\" from the profile in Cargo.toml",
            ));
        }
        let backend = match self.backend {
            Some(backend) => backend,
            None => {
                let blocks = Arc::new(MemoryStore::with_limits(self.storage));
                let name = self.master.to_string();
                Arc::new(ThreadBackend::local(
                    &name,
                    self.master.num_slots(),
                    blocks,
                )?)
            }
        };
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let jobs = JobRegistry::new(&self.jobs, Arc::clone(&clock))?;
        let inner = Inner {
            clock,
            shuffles: Arc::default(),
            max_attempts: self.master.max_attempts(),
            default_parallelism: self.default_parallelism.unwrap_or(backend.num_slots()),
            seed: self.seed.unwrap_or_else(random_seed),
            next_rdd: AtomicU64::new(0),
            next_shuffle: AtomicU64::new(0),
            next_broadcast: AtomicU64::new(0),
            accumulators: Accumulators::default(),
            checkpoints: Checkpoints::default(),
            jobs,
            backend,
        };
        Ok(Context {
            inner: Arc::new(inner),
        })
    }
}

/// Each partition once, in the order of its first mention.
fn distinct(splits: &[usize]) -> Cow<'_, [usize]> {
    if splits.is_sorted_by(|a, b| a < b) {
        return Cow::Borrowed(splits);
    }
    let mut seen = HashSet::with_capacity(splits.len());
    let first = splits.iter().copied().filter(|split| seen.insert(*split));
    Cow::Owned(first.collect())
}

/// A seed from the hasher that the standard library seeds from the system.
fn random_seed() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(0)
}

impl Context {
    /// Settings and components, to be changed before the context is built.
    pub fn builder() -> ContextBuilder {
        ContextBuilder {
            master: Master::local(std::thread::available_parallelism().map_or(1, usize::from)),
            storage: StorageLimits::default(),
            default_parallelism: None,
            seed: None,
            clock: None,
            backend: None,
            jobs: JobSettings::default(),
        }
    }

    /// A context of `num_slots` threads in this process.
    ///
    /// # Errors
    /// As [`ContextBuilder::build`].
    pub fn local(num_slots: usize) -> Result<Self> {
        Self::builder().master(Master::local(num_slots)).build()
    }

    /// A context for a master string such as `local[2]`.
    ///
    /// # Errors
    /// `Invalid` for a string of another form; else as [`ContextBuilder::build`].
    pub fn new(master: &str) -> Result<Self> {
        Self::builder().master(master.parse()?).build()
    }

    /// Partitions of RDDs and shuffles that say nothing else.
    #[must_use]
    pub fn default_parallelism(&self) -> usize {
        self.inner.default_parallelism
    }

    /// Least number of partitions of files: two, or one where only one task runs at a time.
    #[must_use]
    pub fn default_min_partitions(&self) -> usize {
        self.inner.default_parallelism.min(2)
    }

    /// Where time comes from.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// What runs the jobs.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.inner.backend
    }

    /// Where the driver's blocks are.
    #[must_use]
    pub fn blocks(&self) -> &Arc<dyn BlockStore> {
        self.inner.backend.blocks()
    }

    /// The run's seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// Ends all jobs and threads; listeners hear what has happened so far. Later jobs fail with
    /// `Closed`. Harmless when called again.
    pub fn stop(&self) {
        self.cancel_all_jobs();
        self.inner.backend.stop();
        self.blocks().close();
        self.inner.jobs.stop();
    }

    /// Asks all running jobs to end; their actions return `Cancelled`.
    pub fn cancel_all_jobs(&self) {
        self.inner.jobs.cancel_where(|_| true);
    }

    /// Asks one running job to end. No job of that id: nothing happens.
    pub fn cancel_job(&self, id: u64) {
        self.inner.jobs.cancel_where(|job| job.id() == id);
    }

    /// Asks the running jobs of the groups of that id to end; jobs to come are not refused, unlike
    /// by [`JobGroup::cancel`](crate::JobGroup::cancel). No such group: nothing happens.
    pub fn cancel_job_group(&self, id: &str) {
        let jobs = &self.inner.jobs;
        jobs.cancel_where(|job| job.group_id() == Some(id));
    }

    /// Asks the running jobs with a tag to end. No such job: nothing happens.
    pub fn cancel_jobs_with_tag(&self, tag: &str) {
        self.inner.jobs.cancel_where(|job| job.has_tag(tag));
    }

    /// What is known of jobs, now and lately.
    #[must_use]
    pub fn status(&self) -> StatusTracker {
        StatusTracker::new(Arc::clone(&self.inner.jobs), Arc::clone(self.backend()))
    }

    /// Adds a listener, which hears the jobs that start from now on.
    ///
    /// # Errors
    /// `Unavailable` when the machine gives no thread for the first one.
    pub fn add_listener(&self, listener: Arc<dyn JobListener>) -> Result<()> {
        self.inner.jobs.add_listener(listener)
    }

    /// Waits until the listeners have heard all that has happened so far. A listener cannot wait
    /// for itself: there it returns at once.
    pub fn flush_listeners(&self) {
        if let Some(bus) = self.inner.jobs.bus() {
            bus.flush();
        }
    }

    /// How many events no listener heard because they were too slow.
    #[must_use]
    pub fn num_dropped_events(&self) -> u64 {
        self.inner.jobs.bus().map_or(0, EventBus::num_dropped)
    }

    /// Runs `function` on some partitions and returns what it gave, in the order of `splits`. A
    /// partition that is listed twice is computed once.
    ///
    /// # Errors
    /// `Invalid` for a partition the RDD does not have; else the job's failure.
    #[track_caller]
    pub fn run_job<T, R, M>(&self, rdd: &Rdd<T>, function: M, splits: &[usize]) -> Result<Vec<R>>
    where
        T: Data,
        R: Data,
        M: Function<PartitionIter<T>, Output = R>,
    {
        let operator = Operator::new("run_job", Location::caller());
        self.run_action(operator, rdd, &Arc::new(function), splits)
    }

    pub(crate) fn run_action<T, R, M>(
        &self,
        operator: Operator,
        rdd: &Rdd<T>,
        function: &Arc<M>,
        splits: &[usize],
    ) -> Result<Vec<R>>
    where
        T: Data,
        R: Data,
        M: Function<PartitionIter<T>, Output = R>,
    {
        let root = self.action_root(&operator, rdd, function, splits)?;
        let mut results = Results::with_capacity_and_hasher(splits.len(), FixedState::default());
        let tasks = distinct(splits);
        self.run_root(operator, &root, &tasks, &mut results, &|_| ())?;
        let is_repeated = tasks.len() < splits.len();
        let mut take = |split: &usize| match is_repeated {
            true => results.get(split).cloned(),
            false => results.remove(split),
        };
        let results = splits.iter().map(|split| {
            take(split).ok_or_else(|| {
                Error::internal("backend returned no result").with("partition", split)
            })
        });
        let results = results.collect::<Result<_>>()?;
        self.write_checkpoints(Arc::new(rdd.parent().clone()))?;
        Ok(results)
    }

    /// As [`run_action`](Self::run_action), but for so long: what is not done then is cancelled,
    /// and only what is done comes back, in the order of `splits`.
    pub(crate) fn run_action_for<T, R, M>(
        &self,
        operator: Operator,
        rdd: &Rdd<T>,
        function: &Arc<M>,
        splits: &[usize],
        timeout: Duration,
    ) -> Result<Vec<R>>
    where
        T: Data,
        R: Data,
        M: Function<PartitionIter<T>, Output = R>,
    {
        let root = self.action_root(&operator, rdd, function, splits)?;
        let millis = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        let deadline_ms = self.clock().now_ms().saturating_add(millis);
        let waiter = Waiter::new();
        let running: Mutex<(bool, Option<CancelToken>)> = Mutex::default();
        let mut results = Results::default();
        let ended = std::thread::scope(|scope| {
            let alarm = || {
                if self.clock().wait_until(deadline_ms, &waiter) {
                    let mut running = running.lock();
                    running.0 = true;
                    if let Some(job) = &running.1 {
                        job.cancel();
                    }
                }
            };
            let begun = |job: &CancelToken| {
                let mut running = running.lock();
                running.1 = Some(job.clone());
                if running.0 {
                    job.cancel();
                }
            };
            let alarm = std::thread::Builder::new().spawn_scoped(scope, alarm);
            let ended = match alarm {
                Ok(_) => self.run_root(operator, &root, splits, &mut results, &begun),
                Err(e) => Err(Error::unavailable("no thread for a timeout").caused_by(e)),
            };
            waiter.wake();
            ended
        });
        let is_late = running.lock().0;
        match ended {
            Err(error) if !(is_late && error.kind() == ErrorKind::Cancelled) => Err(error),
            _ => Ok(splits
                .iter()
                .filter_map(|split| results.remove(split))
                .collect()),
        }
    }

    /// The last step of an action's job, after what can be refused without running it.
    fn action_root<T, R, M>(
        &self,
        operator: &Operator,
        rdd: &Rdd<T>,
        function: &Arc<M>,
        splits: &[usize],
    ) -> Result<Arc<dyn StageRoot>>
    where
        T: Data,
        R: Data,
        M: Function<PartitionIter<T>, Output = R>,
    {
        if is_in_task() {
            return Err(Error::invalid(
                "an RDD was used inside another RDD's function: actions run on the driver only",
            )
            .with("operator", operator));
        }
        let num_partitions = rdd.num_partitions()?;
        if let Some(bad) = splits.iter().find(|split| **split >= num_partitions) {
            return Err(
                Error::invalid("attempting to access a non-existent partition")
                    .with("operator", operator)
                    .with("partition", bad)
                    .with("num_partitions", num_partitions),
            );
        }
        let meta = self.meta(operator.clone(), rdd.parent().depth());
        let (parent, function) = (rdd.parent().clone(), Arc::clone(function));
        Ok(Arc::new(ActionRoot::new(meta, parent, function)))
    }

    /// Runs a job, and again what is left of it when map outputs turn out to be lost. Adds the
    /// results of the tasks that succeeded, also when others fail; `begun` hears what cancels it.
    fn run_root<R: Data>(
        &self,
        operator: Operator,
        root: &Arc<dyn StageRoot>,
        splits: &[usize],
        results: &mut Results<R>,
        begun: &dyn Fn(&CancelToken),
    ) -> Result<()> {
        // Each shuffle by itself: a lineage of many may lose all of them at once.
        let mut losses: HashMap<u64, u32> = HashMap::new();
        loop {
            let left = splits.iter().filter(|split| !results.contains_key(*split));
            let left = left.copied().collect();
            let planned_at = self.inner.shuffles.num_marks();
            let stages = plan(
                Arc::clone(root),
                left,
                &self.inner.shuffles,
                &**self.blocks(),
            )?;
            let settings = (self.inner.max_attempts, self.inner.seed);
            let (plan, running) = self.inner.jobs.start(operator.clone(), stages, settings);
            begun(&plan.cancel);
            let result = self.run_plan(&plan, results);
            running.end(&result);
            let Err(error) = result else {
                return Ok(());
            };
            let Some(lost) = lost_outputs(&error) else {
                return Err(error);
            };
            let times = losses.entry(lost.0).or_default();
            *times += 1;
            if *times == MAX_LOSSES {
                return Err(error.with("lost_times", *times).with("job", operator));
            }
            tracing::warn!(error = %error.report(), "map output is made again");
            let shuffles = &self.inner.shuffles;
            shuffles.lose(lost, planned_at, &**self.blocks())?;
        }
    }

    /// Runs a job once; the results of its last stage go into `results`, also when it fails later.
    fn run_plan<R: Data>(&self, plan: &Arc<JobPlan>, results: &mut Results<R>) -> Result<()> {
        let last = plan.stages.len().saturating_sub(1);
        let mut wrong_type = false;
        let ended = self.inner.backend.run(plan, &mut |stage, split, output| {
            self.inner.accumulators.apply(output.updates);
            if stage == last {
                match output.value.downcast::<R>() {
                    Ok(result) => drop(results.insert(split, *result)),
                    Err(_) => wrong_type = true,
                }
            }
        });
        if wrong_type {
            return Err(Error::internal("backend returned a result of another type"));
        }
        ended
    }

    pub(crate) fn accumulators(&self) -> &Accumulators {
        &self.inner.accumulators
    }

    pub(crate) fn checkpoints(&self) -> &Checkpoints {
        &self.inner.checkpoints
    }

    pub(crate) fn next_broadcast(&self) -> u64 {
        self.inner.next_broadcast.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn meta(&self, operator: Operator, parent_depth: u32) -> Meta {
        let id = self.inner.next_rdd.fetch_add(1, Ordering::Relaxed);
        Meta::new(id, operator, parent_depth)
    }

    /// A new shuffle, and what forgets its outputs when it goes.
    pub(crate) fn shuffle_cleaner(&self, num_maps: usize, num_reduces: usize) -> Cleaner {
        Cleaner {
            shuffle: self.inner.next_shuffle.fetch_add(1, Ordering::Relaxed),
            num_maps,
            num_reduces,
            blocks: Arc::downgrade(self.blocks()),
            tracker: Arc::clone(&self.inner.shuffles),
        }
    }

    /// The RDD of a node. For a stream it is refused here when it could not leave the process:
    /// the function of the user that makes it ends with the error.
    pub(crate) fn rdd<T: Data>(&self, node: impl RddNode<T> + 'static) -> Rdd<T> {
        if refuses_early()
            && let Some(image) = self.inner.backend.image()
            && let Err(error) = node.encode(&[], &mut Encoder::new(node.meta().operator(), image))
        {
            abort_task(error);
        }
        Rdd::new(self.clone(), Parent::new(Arc::new(node)))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("backend", &self.inner.backend)
            .finish_non_exhaustive()
    }
}
