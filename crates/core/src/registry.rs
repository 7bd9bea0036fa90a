//! `JobRegistry`: the one place where the jobs of a context are known.

use std::collections::{BTreeMap, VecDeque};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::job_group::JobGroup;
use crate::job_settings::{JobSettings, Pools};
use crate::listener::{EventBus, JobEvent, JobListener};
use crate::operator::Operator;
use crate::progress::ProgressBar;
use crate::scheduler::{JobMonitor, JobPlan, JobRules, Stage};
use crate::scope::JobScope;
use crate::status::{JobInfo, JobStatus};
use crate::task::CancelToken;

/// So many jobs that have ended are remembered, as in Spark.
const MAX_REMEMBERED: usize = 1_000;

/// Jobs that run, and those that have ended lately.
#[derive(Debug)]
pub(crate) struct JobRegistry {
    next: AtomicU64,
    jobs: Mutex<Jobs>,
    /// Told when a job starts, and when nothing will start any more.
    news: Condvar,
    pools: Pools,
    rules: JobRules,
    clock: Arc<dyn Clock>,
    bus: OnceLock<EventBus>,
    bar: OnceLock<Arc<ProgressBar>>,
    max_queued_events: usize,
    is_stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct Jobs {
    running: BTreeMap<u64, Arc<Job>>,
    ended: VecDeque<Arc<Job>>,
}

/// What is known of a job without its lineage.
#[derive(Debug)]
pub(crate) struct Job {
    id: u64,
    action: Operator,
    scope: Option<Arc<JobScope>>,
    pool: Option<String>,
    cancel: CancelToken,
    monitor: Arc<JobMonitor>,
    started_ms: i64,
    status: OnceLock<JobStatus>,
}

/// A job that runs: it ends, well or not, when this is dropped.
pub(crate) struct RunningJob {
    registry: Arc<JobRegistry>,
    job: Arc<Job>,
    failure: Option<Error>,
}

impl JobRegistry {
    pub(crate) fn new(settings: &JobSettings, clock: Arc<dyn Clock>) -> Result<Arc<Self>> {
        let registry = Arc::new(Self {
            next: AtomicU64::new(0),
            jobs: Mutex::default(),
            news: Condvar::new(),
            pools: settings.pools()?,
            rules: settings.rules()?,
            clock,
            bus: OnceLock::new(),
            bar: OnceLock::new(),
            max_queued_events: settings.max_queued_events(),
            is_stopped: AtomicBool::new(false),
        });
        for listener in settings.listeners() {
            registry.add_listener(Arc::clone(listener))?;
        }
        if settings.has_progress_bar() && std::io::stderr().is_terminal() {
            let bar = ProgressBar::start(&registry, Arc::clone(&registry.clock))?;
            let _ = registry.bar.set(bar);
        }
        Ok(registry)
    }

    pub(crate) fn add_listener(&self, listener: Arc<dyn JobListener>) -> Result<()> {
        if self.bus.get().is_none() {
            let bus = EventBus::start(self.max_queued_events, Arc::clone(&self.clock))?;
            // Another thread may have been quicker: then this bus goes, with its thread.
            let _ = self.bus.set(bus);
        }
        if let Some(bus) = self.bus.get() {
            bus.add(listener);
        }
        Ok(())
    }

    pub(crate) fn bus(&self) -> Option<&EventBus> {
        self.bus.get()
    }

    /// Registers a job that is about to run: what the plan needs, and what ends it.
    pub(crate) fn start(
        self: &Arc<Self>,
        operator: Operator,
        stages: Vec<Stage>,
        (max_attempts, seed): (u32, u64),
    ) -> (Arc<JobPlan>, RunningJob) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let cancel = CancelToken::new();
        let scope = JobScope::shared();
        let pool = self.pools.of(scope.as_deref());
        let monitor = Arc::new(JobMonitor::new(id, &stages, self.bus.get().cloned()));
        let job = Arc::new(Job {
            id,
            action: operator.clone(),
            pool: pool.as_ref().map(|pool| pool.name().to_owned()),
            cancel: cancel.clone(),
            monitor: Arc::clone(&monitor),
            started_ms: self.clock.now_ms(),
            status: OnceLock::new(),
            scope,
        });
        self.jobs.lock().running.insert(id, Arc::clone(&job));
        self.news.notify_all();
        // Only after it is registered, so that a group that is cancelled meanwhile finds it.
        if job.group().is_some_and(|group| group.join(self)) {
            cancel.cancel();
        }
        if monitor.has_listeners() {
            let info = Arc::new(job.info());
            monitor.post(|time_ms| JobEvent::JobStarted { job: info, time_ms });
        }
        let plan = Arc::new(JobPlan {
            job: id,
            stages,
            operator,
            cancel,
            max_attempts,
            seed,
            pool,
            rules: self.rules,
            monitor,
            clock: Arc::clone(&self.clock),
        });
        let registry = Arc::clone(self);
        let running = RunningJob {
            registry,
            job,
            failure: None,
        };
        (plan, running)
    }

    /// Asks running jobs to end.
    pub(crate) fn cancel_where(&self, is_meant: impl Fn(&Job) -> bool) {
        for job in self.jobs.lock().running.values() {
            if is_meant(job) {
                job.cancel.cancel();
            }
        }
    }

    /// Jobs that run, oldest first.
    pub(crate) fn running(&self) -> Vec<Arc<Job>> {
        self.jobs.lock().running.values().cloned().collect()
    }

    /// All jobs that are remembered, oldest first.
    pub(crate) fn known(&self) -> Vec<Arc<Job>> {
        let jobs = self.jobs.lock();
        let mut known: Vec<_> = jobs
            .ended
            .iter()
            .chain(jobs.running.values())
            .cloned()
            .collect();
        known.sort_by_key(|job| job.id);
        known
    }

    pub(crate) fn find(&self, id: u64) -> Option<Arc<Job>> {
        let jobs = self.jobs.lock();
        let running = jobs.running.get(&id);
        let found = running.or_else(|| jobs.ended.iter().find(|job| job.id == id));
        found.cloned()
    }

    /// Waits until a job runs. Returns whether one does; there will be none after the stop.
    pub(crate) fn wait_for_job(&self) -> bool {
        let mut jobs = self.jobs.lock();
        while jobs.running.is_empty() && !self.is_stopped.load(Ordering::Acquire) {
            self.news.wait(&mut jobs);
        }
        !self.is_stopped.load(Ordering::Acquire)
    }

    /// Lets those who wait for jobs end: there will be none.
    pub(crate) fn close(&self) {
        {
            let _jobs = self.jobs.lock();
            self.is_stopped.store(true, Ordering::Release);
            self.news.notify_all();
        }
        if let Some(bar) = self.bar.get() {
            bar.stop();
        }
    }

    /// Also lets listeners hear what has happened, and ends their thread.
    pub(crate) fn stop(&self) {
        self.close();
        if let Some(bus) = self.bus.get() {
            bus.stop();
        }
    }
}

impl Job {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn monitor(&self) -> &JobMonitor {
        &self.monitor
    }

    pub(crate) fn started_ms(&self) -> i64 {
        self.started_ms
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.is_quiet())
    }

    pub(crate) fn group_id(&self) -> Option<&str> {
        self.group()?.id()
    }

    pub(crate) fn is_in(&self, group: &JobGroup) -> bool {
        self.group().is_some_and(|own| own.is_same(group))
    }

    pub(crate) fn has_tag(&self, tag: &str) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.has_tag(tag))
    }

    pub(crate) fn info(&self) -> JobInfo {
        let scope = self.scope.as_deref();
        JobInfo {
            id: self.id,
            action: self.action.clone(),
            group: self.group_id().map(str::to_owned),
            description: scope.and_then(JobScope::description).map(str::to_owned),
            tags: scope.map_or_else(Vec::new, |scope| scope.tags().map(str::to_owned).collect()),
            pool: self.pool.clone(),
            status: self.status.get().copied().unwrap_or(JobStatus::Running),
            stages: self.monitor.stages(),
        }
    }

    fn group(&self) -> Option<&JobGroup> {
        self.scope.as_ref()?.group()
    }
}

impl RunningJob {
    /// Notes how the job ended, and ends it.
    pub(crate) fn end<R>(mut self, result: &Result<R>) {
        self.failure = result.as_ref().err().cloned();
        let _ = self.job.status.set(match result {
            Ok(_) => JobStatus::Succeeded,
            Err(_) => JobStatus::Failed,
        });
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        // Without a status yet when a panic unwinds through the action.
        let status = *self.job.status.get_or_init(|| JobStatus::Failed);
        let mut jobs = self.registry.jobs.lock();
        jobs.running.remove(&self.job.id);
        jobs.ended.push_back(Arc::clone(&self.job));
        let forgotten = (jobs.ended.len() > MAX_REMEMBERED).then(|| jobs.ended.pop_front());
        drop(jobs);
        drop(forgotten);
        if let Some(bar) = self.registry.bar.get() {
            bar.erase();
        }
        let (job, failure) = (self.job.id, self.failure.take());
        self.job.monitor.post(|time_ms| JobEvent::JobEnded {
            job,
            status,
            failure,
            time_ms,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::clock::ManualClock;

    fn registry() -> Arc<JobRegistry> {
        let clock = Arc::new(ManualClock::new(0));
        JobRegistry::new(&JobSettings::default(), clock).unwrap()
    }

    fn start(registry: &Arc<JobRegistry>) -> (Arc<JobPlan>, RunningJob) {
        let operator = Operator::new("count", Location::caller());
        registry.start(operator, Vec::new(), (1, 0))
    }

    #[test]
    fn only_jobs_of_the_group_are_cancelled_in_whatever_context_they_run() {
        let (here, there, group) = (registry(), registry(), JobGroup::new());
        let ours = group.run(|| [start(&here), start(&there), start(&here)]);
        let (theirs, _running) = start(&here);
        group.cancel();
        assert!(ours.iter().all(|(plan, _)| plan.cancel.is_cancelled()));
        assert!(!theirs.cancel.is_cancelled());
        drop(ours);
        assert_eq!((here.running().len(), there.running().len()), (1, 0));
        let (late, _running) = group.run(|| start(&here));
        assert!(late.cancel.is_cancelled());
    }

    #[test]
    fn the_latest_thousand_jobs_are_remembered() {
        let registry = registry();
        for _ in 0..MAX_REMEMBERED + 5 {
            start(&registry).1.end(&Ok(()));
        }
        let (_, running) = start(&registry);
        let known: Vec<u64> = registry.known().iter().map(|job| job.id()).collect();
        assert_eq!(known, (5..=1_005).collect::<Vec<u64>>());
        assert!(registry.find(4).is_none() && registry.find(5).is_some());
        running.end(&Err::<(), _>(Error::internal("no")));
        let info = registry.find(1_005).unwrap().info();
        assert_eq!(info.status, JobStatus::Failed);
    }

    #[test]
    fn a_job_whose_action_panics_has_failed() {
        let registry = registry();
        drop(start(&registry));
        let info = registry.find(0).unwrap().info();
        assert_eq!(info.status, JobStatus::Failed);
        assert!(registry.running().is_empty());
    }
}
