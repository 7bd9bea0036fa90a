//! Threads that run code of the user: one generates, some run jobs.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use parking_lot::Mutex;
use tidemill_core::{CancelToken, Error, Result, catch};

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

/// Generates batches, one after the other.
pub(crate) fn generate(graph: &Graph, times: &Receiver<Time>, events: &Sender<Event>) {
    for time in times {
        for input in &graph.inputs {
            input.allocate(time);
        }
        let batch = Batch::new(time);
        let jobs = catch(|| jobs_of(graph, &batch));
        graph.mark_generated(time);
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

/// The jobs of a batch, each after the states that its output needs; states that no output of the
/// batch needs have a job of their own.
fn jobs_of(graph: &Graph, batch: &Batch) -> Result<Vec<(usize, Job)>> {
    let (states, time) = (&graph.states, batch.time);
    // Also those that no output needs now: a window that comes later reads back to this batch, and
    // its records are this batch's.
    for source in graph.sources() {
        source.touch(batch)?;
    }
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

/// Runs jobs, in the order they come, until there are no more or they are abandoned.
pub(crate) fn work(
    jobs: &Mutex<Receiver<QueuedJob>>,
    events: &Sender<Event>,
    abandon: &CancelToken,
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
        let result = catch(job);
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
