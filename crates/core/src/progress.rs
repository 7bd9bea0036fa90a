//! The progress bar: how far long jobs are, on a terminal.

use std::cmp::Ordering;
use std::io::{self, Write};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::clock::{Clock, Waiter};
use crate::error::{Error, Result};
use crate::registry::{Job, JobRegistry};
use crate::status::{StageInfo, StageStatus};

/// A job that has not run so long shows nothing.
const FIRST_MS: i64 = 500;
/// How often the bar is drawn.
const REFRESH_MS: i64 = 200;
/// Columns of the bar: those of the narrowest usual terminal.
const WIDTH: usize = 80;
/// More stages would leave too little room for each.
const MAX_STAGES: usize = 3;

/// The bar on standard error, drawn by a thread of its own.
#[derive(Debug, Default)]
pub(crate) struct ProgressBar {
    /// What the line says now.
    shown: Mutex<String>,
    stop: Waiter,
}

impl ProgressBar {
    /// Shows how far the jobs of `registry` are until the bar is stopped.
    ///
    /// # Errors
    /// `Unavailable` when the machine gives no thread.
    pub(crate) fn start(registry: &Arc<JobRegistry>, clock: Arc<dyn Clock>) -> Result<Arc<Self>> {
        let bar = Arc::new(Self::default());
        let (painter, registry) = (Arc::clone(&bar), Arc::downgrade(registry));
        std::thread::Builder::new()
            .name("job-progress".to_owned())
            .spawn(move || painter.run(&registry, &*clock))
            .map_err(|e| Error::unavailable("no thread for the progress bar").caused_by(e))?;
        Ok(bar)
    }

    pub(crate) fn stop(&self) {
        self.stop.wake();
    }

    /// Leaves the line to others. At the end of a job, before its action returns: what the program
    /// prints then must not be wiped later.
    pub(crate) fn erase(&self) {
        // A terminal that is gone shows nothing.
        let _ = self.paint(String::new(), &mut std::io::stderr());
    }

    /// The life of the thread.
    fn run(&self, registry: &Weak<JobRegistry>, clock: &dyn Clock) {
        while let Some(registry) = registry.upgrade()
            && registry.wait_for_job()
        {
            let next_ms = clock.now_ms().saturating_add(REFRESH_MS);
            let drawn = self.draw(&registry, clock.now_ms(), &mut std::io::stderr());
            drop(registry);
            if drawn.is_err() || !clock.wait_until(next_ms, &self.stop) {
                break;
            }
        }
        self.erase();
    }

    fn draw(&self, registry: &JobRegistry, now_ms: i64, out: &mut dyn Write) -> io::Result<()> {
        let is_long =
            |job: &&Arc<Job>| !job.is_quiet() && now_ms.saturating_sub(job.started_ms()) > FIRST_MS;
        let jobs = registry.running();
        let long = jobs.iter().filter(is_long);
        let stages: Vec<StageInfo> = long.flat_map(|job| job.monitor().stages()).collect();
        self.paint(render(&stages, WIDTH), out)?;
        // A job that ended meanwhile found nothing to erase, perhaps.
        if registry.running().is_empty() {
            self.paint(String::new(), out)?;
        }
        Ok(())
    }

    fn paint(&self, line: String, out: &mut dyn Write) -> io::Result<()> {
        let mut shown = self.shown.lock();
        if *shown != line {
            // In one write: other threads write to the terminal too.
            out.write_all(replacing(&shown, &line).as_bytes())?;
            out.flush()?;
            *shown = line;
        }
        Ok(())
    }
}

/// What to write so that a terminal's line says `line` in place of `shown`.
fn replacing(shown: &str, line: &str) -> String {
    let (old, new) = (shown.chars().count(), line.chars().count());
    if line.is_empty() {
        format!("\r{}\r", " ".repeat(old))
    } else {
        format!("\r{line}{}", " ".repeat(old.saturating_sub(new)))
    }
}

/// The active stages side by side, as Spark draws them:
/// `[Stage 3.1:=======>            (34 + 2) / 60]`, tasks done and running of all.
fn render(stages: &[StageInfo], width: usize) -> String {
    let is_active = |stage: &&StageInfo| stage.status == StageStatus::Active;
    let active: Vec<&StageInfo> = stages.iter().filter(is_active).take(MAX_STAGES).collect();
    let each = width / active.len().max(1);
    active
        .iter()
        .map(|stage| render_stage(stage, each))
        .collect()
}

fn render_stage(stage: &StageInfo, width: usize) -> String {
    let (done, all) = (stage.num_completed_tasks, stage.num_tasks);
    let head = format!("[Stage {}:", stage.id);
    let tail = format!("({done} + {}) / {all}]", stage.num_active_tasks);
    let room = width.saturating_sub(head.len() + tail.len());
    let reached = room * done / all.max(1);
    let bar = (0..room).map(|at| match at.cmp(&reached) {
        Ordering::Less => '=',
        Ordering::Equal => '>',
        Ordering::Greater => ' ',
    });
    let bar: String = bar.collect();
    format!("{head}{bar}{tail}")
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::job_settings::JobSettings;
    use crate::operator::Operator;
    use crate::rdd::action::ActionRoot;
    use crate::scheduler::{Stage, plan};
    use crate::shuffle::ShuffleTracker;
    use crate::status::StageId;
    use crate::{JobScope, ManualClock};

    fn stage(done: usize, running: usize, all: usize) -> StageInfo {
        StageInfo {
            id: StageId { job: 3, stage: 1 },
            operator: Operator::new("collect", Location::caller()),
            status: StageStatus::Active,
            num_tasks: all,
            num_active_tasks: running,
            num_completed_tasks: done,
            num_failed_tasks: 0,
        }
    }

    fn stages_of(rdd: &crate::Rdd<i64>) -> Vec<Stage> {
        let operator = Operator::new("count", Location::caller());
        let meta = rdd.context().meta(operator, 0);
        let count = |records: crate::PartitionIter<i64>| records.count() as u64;
        let count = Arc::new(crate::function::Plain(count));
        let root = ActionRoot::new(meta, rdd.parent().clone(), count);
        let blocks = rdd.context().blocks();
        plan(
            Arc::new(root),
            vec![0],
            &ShuffleTracker::default(),
            &**blocks,
        )
        .unwrap()
    }

    #[test]
    fn a_bar_shows_what_is_done_and_what_runs() {
        let drawn = render(&[stage(30, 2, 60)], 40);
        assert_eq!(drawn, "[Stage 3.1:=======>       (30 + 2) / 60]");
        let start = render(&[stage(0, 2, 60)], 40);
        assert_eq!(start, "[Stage 3.1:>               (0 + 2) / 60]");
        let end = render(&[stage(60, 0, 60)], 40);
        assert_eq!(end, "[Stage 3.1:===============(60 + 0) / 60]");
        assert_eq!(render(&[stage(30, 2, 60)], 10), "[Stage 3.1:(30 + 2) / 60]");
    }

    #[test]
    fn active_stages_stand_side_by_side_and_others_are_left_out() {
        let waiting = StageInfo {
            status: StageStatus::Waiting,
            ..stage(0, 0, 5)
        };
        let two = render(&[stage(1, 1, 2), waiting.clone(), stage(0, 0, 9)], 80);
        let parts: Vec<&str> = two.split_inclusive(']').collect();
        let widths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        assert_eq!(widths, [40, 40], "{two}");
        assert!(render(&vec![stage(1, 1, 2); 9], 80).len() <= 80);
        assert_eq!(render(&[waiting], 80), "");
    }

    #[test]
    fn a_line_replaces_the_one_before_it_wholly() {
        assert_eq!(replacing("", "abc"), "\rabc");
        assert_eq!(replacing("abcde", "ab"), "\rab   ");
        assert_eq!(replacing("abc", ""), "\r   \r");
    }

    #[test]
    fn only_long_jobs_that_are_not_quiet_are_drawn_and_then_erased() {
        let clock = Arc::new(ManualClock::new(0));
        let registry = JobRegistry::new(&JobSettings::default(), clock).unwrap();
        let start = || {
            let operator = Operator::new("collect", Location::caller());
            let ctx = crate::Context::local(1).unwrap();
            let stages = stages_of(&ctx.range(0..3));
            let (plan, running) = registry.start(operator, stages, (1, 0));
            plan.monitor.stage_submitted(0);
            running
        };
        let bar = ProgressBar::default();
        let drawn = |now_ms| {
            let mut out = Vec::new();
            bar.draw(&registry, now_ms, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let loud = start();
        let quiet = JobScope::default().quiet().run(start);
        assert_eq!(drawn(500), "");
        let line = drawn(501);
        assert!(line.starts_with("\r[Stage 0.0:>"), "{line:?}");
        assert_eq!(line.matches("Stage").count(), 1);
        assert_eq!(drawn(700), "", "nothing has changed");
        loud.end(&Ok(()));
        assert!(drawn(900).trim().is_empty());
        assert!(bar.shown.lock().is_empty());
        quiet.end(&Ok(()));
    }
}
