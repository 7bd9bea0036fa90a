//! Threads that run code of the user: one generates, some run jobs.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use parking_lot::Mutex;
use tidemill_core::{CancelToken, JobScope, Result, catch};

use super::driver::Event;
use super::threads::{Busy, Work};
use crate::dstream::node::{Batch, Job};
use crate::graph::Graph;
use crate::listener::InputInfo;
use crate::time::Time;

/// The jobs of one batch, by output.
pub(crate) struct Generated {
    pub(crate) time: Time,
    pub(crate) inputs: Vec<InputInfo>,
    pub(crate) jobs: Result<Vec<(usize, Job)>>,
}

/// Generates batches, one after the other. Jobs that this takes are marked with `scope`.
pub(crate) fn generate(
    graph: &Graph,
    times: &Receiver<Time>,
    events: &Sender<Event>,
    busy: &Busy,
    scope: &JobScope,
) {
    for time in times {
        let scope = scope
            .clone()
            .described(format!("Streaming job from the generation of batch {time}"));
        let generated = busy.with(Work::Generation(time), || generate_one(graph, time, &scope));
        if events.send(Event::Generated(generated)).is_err() {
            return;
        }
    }
}

fn generate_one(graph: &Graph, time: Time, scope: &JobScope) -> Generated {
    for input in &graph.inputs {
        input.allocate(time);
    }
    let batch = Batch::new(time);
    let jobs = catch(|| scope.run(|| generate_jobs(graph, &batch)));
    graph.mark_generated(time);
    Generated {
        time,
        inputs: batch.inputs(),
        jobs,
    }
}

/// The jobs of a batch, each after the states that its output needs; states that no output of the
/// batch needs have a job of their own.
fn generate_jobs(graph: &Graph, batch: &Batch) -> Result<Vec<(usize, Job)>> {
    let (states, time) = (&graph.states, batch.time);
    // Also those that no output needs now: a window that comes later reads back to this batch, and
    // its records are this batch's. One that fails leaves the others theirs.
    let mut touched = Ok(());
    for source in graph.sources() {
        touched = touched.and(catch(|| source.touch(batch)));
    }
    touched?;
    let mut jobs = Vec::new();
    for (output, id) in graph.outputs.iter().zip(0..) {
        if let Some(job) = output.generate(batch)? {
            jobs.push((id, states.before(id, time, job)));
        }
    }
    states.register(batch)?;
    if let Some(job) = states.rest(jobs.iter().map(|(id, _)| *id), time) {
        jobs.push((graph.outputs.len(), job));
    }
    Ok(jobs)
}

/// One job of one batch.
pub(crate) struct QueuedJob {
    pub(crate) time: Time,
    pub(crate) output: usize,
    pub(crate) job: Job,
}

/// Runs jobs, in the order they come, until there are no more or they are abandoned. Jobs of the
/// core that they start are marked with `scope`.
pub(crate) fn work(
    jobs: &Mutex<Receiver<QueuedJob>>,
    events: &Sender<Event>,
    abandon: &CancelToken,
    busy: &Busy,
    scope: &JobScope,
) {
    loop {
        let next = jobs.lock().recv();
        let Ok(QueuedJob { time, output, job }) = next else {
            return;
        };
        if abandon.is_cancelled() {
            return;
        }
        if events.send(Event::JobStarted { time, output }).is_err() {
            return;
        }
        let scope = scope.clone().described(format!(
            "Streaming job from output {output} of batch {time}"
        ));
        let result = busy.with(Work::Output(time, output), || catch(|| scope.run(job)));
        if events
            .send(Event::JobEnded {
                time,
                output,
                result,
            })
            .is_err()
        {
            return;
        }
    }
}

/// The job threads' shared end of the queue.
pub(crate) type JobQueue = Arc<Mutex<Receiver<QueuedJob>>>;
