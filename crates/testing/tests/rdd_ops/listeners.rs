//! What listeners hear of jobs.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_core::{Context, JobEvent, JobListener, JobStatus, PairRdd, TaskId, TaskOutcome};

use crate::support::{Bench, Case, Outcome, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // C-221, C-224
        case("listeners_hear_a_job_in_order", in_order),
        // C-221
        case("listeners_hear_why_a_job_failed", failed),
        // C-222
        case("a_listener_that_panics_harms_no_job", panicking),
    ]
}

/// Writes down all events.
#[derive(Default)]
struct Log(Mutex<Vec<JobEvent>>);

impl JobListener for Log {
    fn on_event(&self, event: &JobEvent) {
        self.0.lock().push(event.clone());
    }
}

impl Log {
    fn of(ctx: &Context) -> Result<Arc<Self>, tidemill_core::Error> {
        let log = Arc::new(Self::default());
        ctx.add_listener(log.clone())?;
        Ok(log)
    }

    fn take(&self, ctx: &Context) -> Vec<JobEvent> {
        ctx.flush_listeners();
        std::mem::take(&mut self.0.lock())
    }
}

fn position(events: &[JobEvent], what: impl Fn(&JobEvent) -> bool) -> usize {
    events.iter().position(what).unwrap()
}

/// Each stage is submitted, its tasks start and end, and it is completed; returns the number of
/// tasks that succeeded.
fn check_stages(events: &[JobEvent]) -> usize {
    let mut open: HashMap<usize, i64> = HashMap::new();
    let mut running: Vec<TaskId> = Vec::new();
    let mut num_succeeded = 0;
    for event in events {
        match event {
            JobEvent::StageSubmitted { stage, .. } => {
                assert!(open.insert(stage.id.stage, 0).is_none());
            }
            JobEvent::TaskStarted { task, .. } => {
                *open.get_mut(&task.stage).unwrap() += 1;
                running.push(*task);
            }
            JobEvent::TaskEnded { task, outcome, .. } => {
                *open.get_mut(&task.stage).unwrap() -= 1;
                let at = running.iter().position(|known| known == task).unwrap();
                running.remove(at);
                num_succeeded += usize::from(matches!(outcome, TaskOutcome::Succeeded));
            }
            JobEvent::StageCompleted { stage, .. } => {
                assert_eq!(open.remove(&stage.id.stage), Some(0));
            }
            _ => {}
        }
    }
    assert!(open.is_empty() && running.is_empty());
    num_succeeded
}

fn in_order(bench: &Bench) -> Outcome {
    let ctx = bench.ctx();
    let log = Log::of(&ctx)?;
    let pairs = ctx.parallelize_into((0..10).map(|x| (x % 3, x)), 4)?;
    let sums = pairs.reduce_by_key(|a, b| a + b);
    sums.count()?;
    let events = log.take(&ctx);
    assert!(matches!(&events[0], JobEvent::JobStarted { job, .. }
        if job.id == 0 && job.action.kind() == "count" && job.stages.len() == 2));
    assert!(matches!(
        events.last(),
        Some(JobEvent::JobEnded {
            job: 0,
            status: JobStatus::Succeeded,
            failure: None,
            ..
        })
    ));
    assert_eq!(check_stages(&events), 4 + sums.num_partitions()?);
    let completed = |at: usize| {
        move |event: &JobEvent| {
            matches!(event, JobEvent::StageCompleted { stage, failure: None, .. }
                if stage.id.stage == at && stage.num_completed_tasks == stage.num_tasks)
        }
    };
    let submitted = |event: &JobEvent| matches!(event, JobEvent::StageSubmitted { stage, .. } if stage.id.stage == 1);
    // The reduce side waits for the map side.
    assert!(position(&events, completed(0)) < position(&events, submitted));
    assert!(position(&events, submitted) < position(&events, completed(1)));
    // A job without partitions has a start and an end as well.
    ctx.empty_rdd::<i32>().count()?;
    let events = log.take(&ctx);
    assert!(matches!(&events[0], JobEvent::JobStarted { job, .. } if job.id == 1));
    assert!(matches!(
        events.last(),
        Some(JobEvent::JobEnded { job: 1, .. })
    ));
    assert_eq!(ctx.num_dropped_events(), 0);
    Ok(())
}

fn failed(bench: &Bench) -> Outcome {
    let ctx = bench.retrying("local[2,2]");
    let log = Log::of(&ctx)?;
    let numbers = ctx.parallelize_into(0..2, 1)?;
    numbers
        .try_map(|_| Err::<i32, _>("bad luck"))
        .collect()
        .unwrap_err();
    let events = log.take(&ctx);
    assert_eq!(check_stages(&events), 0);
    let failures = events.iter().filter(|event| {
        matches!(event, JobEvent::TaskEnded { outcome: TaskOutcome::Failed(error), .. }
            if error.report().contains("bad luck"))
    });
    assert_eq!(failures.count(), 2);
    let stage_failed = |event: &JobEvent| {
        matches!(event, JobEvent::StageCompleted { failure: Some(error), .. }
            if error.report().contains("bad luck"))
    };
    assert_eq!(position(&events, stage_failed), events.len() - 2);
    assert!(matches!(events.last(), Some(JobEvent::JobEnded {
        status: JobStatus::Failed,
        failure: Some(error),
        ..
    }) if error.fact("failed_times") == Some("2")));
    Ok(())
}

fn panicking(bench: &Bench) -> Outcome {
    let bad: Arc<dyn JobListener> = Arc::new(|_: &JobEvent| panic!("listener has bad luck"));
    let ctx = bench.backend().builder(2)?.listener(bad).build()?;
    let log = Log::of(&ctx)?;
    assert_eq!(ctx.range(0..10).count()?, 10);
    assert_eq!(check_stages(&log.take(&ctx)), 2);
    ctx.stop();
    Ok(())
}
