//! Settings of a context that say how its jobs are run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::context::ContextBuilder;
use crate::error::{Error, Result};
use crate::listener::JobListener;
use crate::scheduler::{JobRules, Pool, SchedulingMode, Speculation};
use crate::scope::JobScope;

/// What [`ContextBuilder`] was told about jobs.
#[derive(Clone)]
pub(crate) struct JobSettings {
    mode: SchedulingMode,
    pools: Vec<Pool>,
    rules: JobRules,
    has_progress_bar: bool,
    listeners: Vec<Arc<dyn JobListener>>,
    max_queued_events: usize,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            mode: SchedulingMode::Fifo,
            pools: Vec::new(),
            rules: JobRules::default(),
            has_progress_bar: true,
            listeners: Vec::new(),
            max_queued_events: 10_000,
        }
    }
}

impl ContextBuilder {
    /// How jobs share the slots. Default [`SchedulingMode::Fifo`]: the older job goes first, and
    /// later ones use what it leaves. [`SchedulingMode::Fair`] shares between pools.
    pub fn scheduling_mode(mut self, mode: SchedulingMode) -> Self {
        self.jobs.mode = mode;
        self
    }

    /// Adds a pool, in place of one of the same name. Pools count where jobs are scheduled fairly.
    pub fn pool(mut self, pool: Pool) -> Self {
        self.jobs.pools.push(pool);
        self
    }

    /// Runs a second attempt beside a slow one. Default: off.
    pub fn speculation(mut self, speculation: Speculation) -> Self {
        self.jobs.rules.speculation = Some(speculation);
        self
    }

    /// How long one attempt at a task may run. Then it counts as failed and is no longer waited
    /// for; it is told to end, which it does at its next record, or at once where it runs in a
    /// process of its own. One that does not end keeps its slot: where all slots are taken so, the
    /// next attempt waits. Default: for ever.
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.jobs.rules.task_timeout = Some(timeout);
        self
    }

    /// How much a job may give back to the driver, in encoded bytes of all its results. A job that
    /// gives more fails as soon as it does. Default: no limit. Where tasks run in the driver's own
    /// process, a limit costs one encoding of the results.
    pub fn max_result_bytes(mut self, bytes: u64) -> Self {
        self.jobs.rules.max_result_bytes = Some(bytes);
        self
    }

    /// Whether jobs that take longer than half a second show how far they are, where standard error
    /// is a terminal. Default: they do.
    pub fn progress_bar(mut self, is_shown: bool) -> Self {
        self.jobs.has_progress_bar = is_shown;
        self
    }

    /// Adds a listener that hears all jobs from the first on.
    pub fn listener(mut self, listener: Arc<dyn JobListener>) -> Self {
        self.jobs.listeners.push(listener);
        self
    }

    /// How many events may wait for slow listeners before more are dropped. Default 10,000.
    pub fn max_queued_events(mut self, num_events: usize) -> Self {
        self.jobs.max_queued_events = num_events.max(1);
        self
    }
}

impl JobSettings {
    /// # Errors
    /// `Invalid` for a pool of weight 0.
    pub(crate) fn pools(&self) -> Result<Pools> {
        if let Some(pool) = self.pools.iter().find(|pool| !pool.has_weight()) {
            let error = Error::invalid("a pool's weight must be at least 1");
            return Err(error.with("pool", pool.name()));
        }
        let known = self.pools.iter().cloned().map(Arc::new);
        Ok(Pools {
            is_fair: self.mode == SchedulingMode::Fair,
            known: Mutex::new(known.map(|pool| (pool.name().to_owned(), pool)).collect()),
        })
    }

    /// # Errors
    /// `Invalid` for a rule of speculation that makes no sense, or a time-out of nothing.
    pub(crate) fn rules(&self) -> Result<JobRules> {
        if let Some(rule) = self.rules.speculation.filter(|rule| !rule.is_valid()) {
            let error = Error::invalid(
                "speculation needs a quantile from 0 to 1, a multiplier of at least 0 and an interval",
            );
            return Err(error.with("speculation", format!("{rule:?}")));
        }
        if self
            .rules
            .task_timeout
            .is_some_and(|timeout| timeout.is_zero())
        {
            return Err(Error::invalid(
                "a task's time-out must be longer than nothing",
            ));
        }
        Ok(self.rules)
    }

    pub(crate) fn listeners(&self) -> &[Arc<dyn JobListener>] {
        &self.listeners
    }

    pub(crate) fn max_queued_events(&self) -> usize {
        self.max_queued_events
    }

    pub(crate) fn has_progress_bar(&self) -> bool {
        self.has_progress_bar
    }
}

impl fmt::Debug for JobSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobSettings")
            .field("mode", &self.mode)
            .field("pools", &self.pools)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// The pools of a context.
#[derive(Debug)]
pub(crate) struct Pools {
    is_fair: bool,
    known: Mutex<BTreeMap<String, Arc<Pool>>>,
}

impl Pools {
    /// The pool of a job that is started in `scope`; `None` where jobs are not scheduled fairly.
    pub(crate) fn of(&self, scope: Option<&JobScope>) -> Option<Arc<Pool>> {
        if !self.is_fair {
            return None;
        }
        let name = scope.and_then(JobScope::pool).unwrap_or(Pool::DEFAULT);
        let mut known = self.known.lock();
        if let Some(pool) = known.get(name) {
            return Some(Arc::clone(pool));
        }
        if name != Pool::DEFAULT {
            tracing::warn!(
                pool = name,
                "no such pool, it is made with weight 1 and no minimum share"
            );
        }
        let pool = Arc::new(Pool::new(name));
        known.insert(name.to_owned(), Arc::clone(&pool));
        Some(pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, ErrorKind};

    // C-217
    #[test]
    fn unknown_pools_are_made_with_defaults_and_the_default_pool_can_be_set() {
        let mut settings = JobSettings {
            mode: SchedulingMode::Fair,
            ..JobSettings::default()
        };
        settings.pools = vec![
            Pool::new("a").weight(2),
            Pool::new(Pool::DEFAULT).min_share(1),
        ];
        let pools = settings.pools().unwrap();
        let of = |name: &str| pools.of(Some(&JobScope::default().in_pool(name))).unwrap();
        assert_eq!(*of("a"), Pool::new("a").weight(2));
        assert_eq!(*of("new"), Pool::new("new"));
        assert!(Arc::ptr_eq(&of("new"), &of("new")));
        assert_eq!(*pools.of(None).unwrap(), Pool::new("default").min_share(1));
        assert!(JobSettings::default().pools().unwrap().of(None).is_none());
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let speculation = Speculation {
            quantile: 2.0,
            ..Speculation::default()
        };
        for builder in [
            Context::builder().pool(Pool::new("a").weight(0)),
            Context::builder().speculation(speculation),
            Context::builder().task_timeout(Duration::ZERO),
        ] {
            assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}
