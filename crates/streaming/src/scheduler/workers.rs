//! Threads that run code of the user: one generates, some run jobs.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use parking_lot::Mutex;
use tidemill_core::{CancelToken, Error, JobScope, Result, catch};

use super::driver::Event;
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
    scope: &JobScope,
) {
    for time in times {
        for input in &graph.inputs {
            input.allocate(time);
        }
        let batch = Batch::new(time);
        let scope = scope
            .clone()
            .described(format!("Streaming job from the generation of batch {time}"));
        let jobs = catch(|| scope.run(|| generate_jobs(graph, &batch)));
        let generated = Generated {
            time,
            inputs: batch.inputs(),
            jobs,
        };
        if events.send(Event::Generated(generated)).is_err() {
            return;
        }
    }
}

fn generate_jobs(graph: &Graph, batch: &Batch) -> Result<Vec<(usize, Job)>> {
    let mut jobs = Vec::new();
    for (output, id) in graph.outputs.iter().zip(0..) {
        if let Some(job) = output.generate(batch)? {
            jobs.push((id, job));
        }
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
        let result = catch(|| scope.run(job));
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

thread_local! {
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as one that a stream waits for when it stops.
pub(crate) fn mark_own_thread() {
    IS_OWN.set(true);
}

/// Whether a stream waits for this thread when it stops: code of the user on it must not wait for
/// the stream.
pub(crate) fn is_own_thread() -> bool {
    IS_OWN.get()
}

/// A thread that ends when its channel is closed.
pub(crate) fn spawn(
    name: String,
    body: impl FnOnce() + Send + 'static,
) -> Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            mark_own_thread();
            body();
        })
        .map_err(|e| Error::unavailable("no thread for the stream").caused_by(e))
}

/// The job threads' shared end of the queue.
pub(crate) type JobQueue = Arc<Mutex<Receiver<QueuedJob>>>;
