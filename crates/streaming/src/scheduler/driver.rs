//! The driver's loop.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::scheduler::ServiceHandle;
use tidemill_core::{CancelToken, Clock, Error, JobGroup, Result, catch};

use super::batch::{Now, RunningBatch};
use super::clock::{BatchClock, BlockClock, Deadline};
use super::workers::{Generated, JobQueue, QueuedJob, generate, spawn, work};
use crate::graph::Graph;
use crate::input::InputEnv;
use crate::listener::{OutputInfo, StreamEvent};
use crate::notice::tell;
use crate::running::{Stop, Termination};
use crate::time::Time;

/// Everything that can happen to the driver.
pub(crate) enum Event {
    /// A batch time has come.
    Tick(Time),
    /// A batch's jobs are made, or could not be.
    Generated(Generated),
    JobStarted {
        time: Time,
        output: usize,
    },
    JobEnded {
        time: Time,
        output: usize,
        result: Result<()>,
    },
    /// The receivers have ended, after a graceful stop.
    Drained,
    Stop(Stop),
}

/// The state of a running stream.
pub(crate) struct Driver {
    graph: Arc<Graph>,
    env: Arc<InputEnv>,
    clock: Arc<dyn Clock>,
    period: Duration,
    termination: Arc<Termination>,
    events: Sender<Event>,
    ticks: ServiceHandle,
    block_ticks: Option<ServiceHandle>,
    /// Batch times that wait to be generated. The generator has at most one at a time.
    ungenerated: VecDeque<Time>,
    is_generating: bool,
    last_time: Time,
    generator: Option<Sender<Time>>,
    jobs: Option<Sender<QueuedJob>>,
    batches: BTreeMap<Time, RunningBatch>,
    phase: Phase,
    /// Tells the job threads to leave what waits.
    abandon: CancelToken,
    /// The jobs that code of the user runs on the stream's threads.
    group: JobGroup,
    threads: Vec<std::thread::JoinHandle<()>>,
    deadlines: Vec<ServiceHandle>,
    stops_context: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Running,
    /// Gracefully: receivers are ending.
    Draining,
    /// Gracefully: batches are ending.
    Finishing,
    Over,
}

impl Driver {
    /// Starts the threads; on an error nothing is left running.
    pub(crate) fn new(
        graph: Arc<Graph>,
        env: Arc<InputEnv>,
        period: Duration,
        termination: Arc<Termination>,
        (events, zero): (Sender<Event>, Time),
    ) -> Result<Self> {
        let clock = Arc::clone(env.ctx.clock());
        for stream in graph.streams() {
            stream.begin(zero);
        }
        graph.states.begin(zero, env.settings.failed_batch);
        let (generator, times) = channel();
        let (jobs, job_queue) = channel();
        let job_queue: JobQueue = Arc::new(Mutex::new(job_queue));
        let abandon = CancelToken::new();
        let mut threads = Vec::new();
        let group = JobGroup::new();
        let (for_generator, answers) = (Arc::clone(&graph), events.clone());
        let in_group = group.clone();
        threads.push(spawn("stream-generator".to_owned(), move || {
            in_group.run(|| generate(&for_generator, &times, &answers));
        })?);
        for n in 0..env.settings.concurrent_jobs {
            let (queue, answers) = (Arc::clone(&job_queue), events.clone());
            let (abandon, in_group) = (abandon.clone(), group.clone());
            threads.push(spawn(format!("stream-job-{n}"), move || {
                in_group.run(|| work(&queue, &answers, &abandon));
            })?);
        }
        start_inputs(&graph, &env)?;
        let (for_ticks, for_events) = (Arc::clone(&clock), events.clone());
        let ticks = BatchClock {
            clock: for_ticks,
            first: zero + period,
            period,
            events: for_events,
        };
        let clocks = block_ticks(&graph, &env, period, zero)
            .and_then(|blocks| ServiceHandle::spawn(Arc::new(ticks)).map(|ticks| (ticks, blocks)));
        let (ticks, block_ticks) = clocks.inspect_err(|_| end_inputs(&graph))?;
        Ok(Self {
            graph,
            env,
            clock,
            period,
            termination,
            events,
            ticks,
            block_ticks,
            ungenerated: VecDeque::new(),
            is_generating: false,
            last_time: zero,
            generator: Some(generator),
            jobs: Some(jobs),
            batches: BTreeMap::new(),
            phase: Phase::Running,
            abandon,
            group,
            threads,
            deadlines: Vec::new(),
            stops_context: false,
        })
    }

    /// Handles events until the stream is over. The threads end in any case.
    pub(crate) fn run(mut self, events: &Receiver<Event>) {
        let handled = catch(|| {
            while self.phase != Phase::Over {
                match events.recv() {
                    Ok(event) => self.handle(event),
                    Err(_) => break,
                }
            }
            Ok(())
        });
        // What is forgotten is freed here, and values of the user may panic then.
        if let Err(error) = handled {
            self.fail(&error.with("while", "driving the stream"));
        }
        self.wind_up();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick(time) if self.phase == Phase::Running => self.request(time),
            // A tick that was on its way when the stop came.
            Event::Tick(_) => {}
            Event::Generated(generated) => self.generated(generated),
            Event::JobStarted { time, output } => self.job_started(time, output),
            Event::JobEnded {
                time,
                output,
                result,
            } => self.job_ended(time, output, result),
            Event::Drained => self.drained(),
            Event::Stop(stop) => self.stop(&stop),
        }
    }

    fn now(&self) -> Now {
        let time = Time::from_ms(self.clock.now_ms());
        Now {
            time,
            monotonic_us: self.clock.monotonic_us(),
        }
    }

    /// Asks for a batch.
    fn request(&mut self, time: Time) {
        self.last_time = time;
        self.ungenerated.push_back(time);
        self.generate_next();
    }

    fn generate_next(&mut self) {
        if self.is_generating {
            return;
        }
        let (Some(generator), Some(time)) = (&self.generator, self.ungenerated.pop_front()) else {
            return;
        };
        self.is_generating = generator.send(time).is_ok();
    }

    fn generated(&mut self, generated: Generated) {
        self.is_generating = false;
        let Generated { time, inputs, jobs } = generated;
        match jobs {
            Ok(jobs) if jobs.is_empty() => self.release(time),
            Ok(jobs) => self.submit(time, inputs, jobs),
            Err(error) => {
                let error = error.with("while", "generating jobs").with("batch", time);
                self.fail(&error);
                self.release(time);
            }
        }
        self.generate_next();
        self.check_finished();
    }

    fn submit(
        &mut self,
        time: Time,
        inputs: Vec<crate::listener::InputInfo>,
        jobs: Vec<(usize, crate::dstream::node::Job)>,
    ) {
        let batch = RunningBatch::new(time, inputs, jobs.len(), self.now());
        self.env.bus.post(StreamEvent::BatchSubmitted(batch.info()));
        self.batches.insert(time, batch);
        if let Some(queue) = &self.jobs {
            for (output, job) in jobs {
                let _ = queue.send(QueuedJob { time, output, job });
            }
        }
    }

    fn output_info(&self, time: Time, output: usize, failure: Option<String>) -> OutputInfo {
        let name = self.graph.outputs.get(output).map_or_else(
            || "state".to_owned(),
            |output| output.operator().to_string(),
        );
        OutputInfo {
            time,
            id: output,
            name,
            failure,
        }
    }

    fn job_started(&mut self, time: Time, output: usize) {
        let now = self.now();
        if let Some(batch) = self.batches.get_mut(&time)
            && batch.start(now)
        {
            self.env.bus.post(StreamEvent::BatchStarted(batch.info()));
        }
        let info = self.output_info(time, output, None);
        self.env.bus.post(StreamEvent::OutputStarted(info));
    }

    fn job_ended(&mut self, time: Time, output: usize, result: Result<()>) {
        let failure = result.as_ref().err().map(Error::report);
        let info = self.output_info(time, output, failure);
        self.env.bus.post(StreamEvent::OutputCompleted(info));
        let failed = result.is_err();
        if let Err(error) = result {
            self.fail(&error);
        }
        let now = self.now();
        let Some(batch) = self.batches.get_mut(&time) else {
            return;
        };
        if batch.end(failed, now) {
            let info = batch.info();
            self.batches.remove(&time);
            if let Some(delay) = info.total_delay() {
                tracing::debug!(batch = %time, total_delay_us = delay.as_micros(), "batch is done");
            }
            self.release(time);
            self.env.bus.post(StreamEvent::BatchCompleted(info));
            self.check_finished();
        }
    }

    /// A batch is done: receivers may go on, and what nobody needs any more is forgotten. A batch
    /// that is still running keeps what it needs, whatever was done after it.
    fn release(&self, time: Time) {
        for input in &self.graph.inputs {
            input.complete(time);
        }
        let oldest = self
            .batches
            .keys()
            .next()
            .map_or(time, |running| time.min(*running - self.period));
        self.graph.clear(oldest, self.env.settings.unpersist);
    }

    fn fail(&self, error: &Error) {
        tracing::error!(error = %error.report(), "batch failed");
        tell("batch failed", error);
        self.termination.fail(error);
    }

    fn stop(&mut self, stop: &Stop) {
        self.stops_context |= stop.stop_context;
        if !stop.gracefully {
            self.phase = Phase::Over;
            return;
        }
        if let Some(patience) = stop.deadline {
            self.stop_after(patience);
        }
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Draining;
        self.stop_inputs();
        let (graph, events) = (Arc::clone(&self.graph), self.events.clone());
        let drain = spawn("stream-drain".to_owned(), move || {
            for input in &graph.inputs {
                if let Err(error) = input.join() {
                    tracing::error!(input = input.name(), error = %error.report(), "receiver failed");
                }
            }
            let _ = events.send(Event::Drained);
        });
        match drain {
            Ok(thread) => self.threads.push(thread),
            Err(_) => self.phase = Phase::Over,
        }
    }

    fn stop_after(&mut self, patience: Duration) {
        let deadline = Deadline {
            clock: Arc::clone(&self.clock),
            at: Time::from_ms(self.clock.now_ms()) + patience,
            events: self.events.clone(),
        };
        match ServiceHandle::spawn(Arc::new(deadline)) {
            Ok(deadline) => self.deadlines.push(deadline),
            Err(_) => self.phase = Phase::Over,
        }
    }

    /// All that was received is in blocks: one more batch takes what no batch has yet.
    fn drained(&mut self) {
        if self.phase != Phase::Draining {
            return;
        }
        self.phase = Phase::Finishing;
        if self
            .graph
            .inputs
            .iter()
            .any(|input| input.has_unallocated())
        {
            self.request(self.last_time + self.period);
        }
        self.check_finished();
    }

    fn check_finished(&mut self) {
        let idle = self.batches.is_empty() && self.ungenerated.is_empty() && !self.is_generating;
        if self.phase == Phase::Finishing && idle {
            self.phase = Phase::Over;
        }
    }

    fn stop_inputs(&self) {
        self.ticks.stop();
        if let Some(ticks) = &self.block_ticks {
            ticks.stop();
        }
        for input in &self.graph.inputs {
            input.stop();
        }
    }

    /// Ends all threads. Jobs that wait are dropped, running ones are cancelled.
    fn wind_up(mut self) {
        // Jobs of other programs on the same context go on.
        self.abandon.cancel();
        self.group.cancel();
        self.jobs = None;
        self.generator = None;
        self.stop_inputs();
        for input in &self.graph.inputs {
            let _ = input.join();
        }
        let _ = self.ticks.join();
        if let Some(ticks) = &self.block_ticks {
            let _ = ticks.join();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        for deadline in &self.deadlines {
            deadline.stop();
            let _ = deadline.join();
        }
        self.graph.clear_all();
        if self.stops_context {
            self.env.ctx.stop();
        }
    }
}

/// Whatever ends the driver ends its clocks and receivers.
impl Drop for Driver {
    fn drop(&mut self) {
        self.stop_inputs();
    }
}

/// Starts all receivers, or none.
fn start_inputs(graph: &Graph, env: &Arc<InputEnv>) -> Result<()> {
    for input in &graph.inputs {
        if let Err(error) = Arc::clone(input).start(env) {
            end_inputs(graph);
            return Err(error.with("receiver", input.name()));
        }
    }
    Ok(())
}

fn end_inputs(graph: &Graph) {
    for started in &graph.inputs {
        started.stop();
        let _ = started.join();
    }
}

/// Block ticks, where batches are longer than a block interval and there is anything to cut.
fn block_ticks(
    graph: &Graph,
    env: &InputEnv,
    period: Duration,
    zero: Time,
) -> Result<Option<ServiceHandle>> {
    let interval = env.settings.block_interval;
    if graph.inputs.is_empty() || interval >= period {
        return Ok(None);
    }
    let ticks = BlockClock {
        clock: Arc::clone(env.ctx.clock()),
        first: zero + interval,
        period: interval,
        inputs: graph.inputs.clone(),
    };
    ServiceHandle::spawn(Arc::new(ticks)).map(Some)
}
