//! The driver's loop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::scheduler::ServiceHandle;
use tidemill_core::{CancelToken, Clock, Error, JobGroup, JobScope, Result, catch};

use super::batch::{Now, RunningBatch};
use super::clock::{BatchClock, BlockClock, Deadline};
use super::lag::Lag;
use super::threads::{Patience, StreamThread, Work};
use super::workers::{Generated, JobQueue, QueuedJob, generate, work};
use crate::graph::Graph;
use crate::input::InputEnv;
use crate::listener::{OutputInfo, StreamEvent};
use crate::notice;
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
    generating: Option<Time>,
    last_time: Time,
    generator: Option<Sender<Time>>,
    jobs: Option<Sender<QueuedJob>>,
    batches: BTreeMap<Time, RunningBatch>,
    /// Batches that are done while a state has not applied them: they count against receivers.
    held: BTreeSet<Time>,
    phase: Phase,
    /// Tells the job threads to leave what waits.
    abandon: CancelToken,
    /// The jobs that code of the user runs on the stream's threads.
    group: JobGroup,
    threads: Vec<StreamThread>,
    lag: Lag,
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
        // Jobs are marked as this thread's are now, but end with the stream. They come every batch:
        // a progress bar would flicker.
        let scope = JobScope::current().in_group(&group).quiet();
        let for_jobs = scope.clone();
        threads.push(StreamThread::spawn("stream-generator", move |busy| {
            generate(&for_generator, &times, &answers, busy, &scope);
        })?);
        for n in 0..env.settings.concurrent_jobs {
            let (queue, answers) = (Arc::clone(&job_queue), events.clone());
            let (abandon, scope) = (abandon.clone(), for_jobs.clone());
            threads.push(StreamThread::spawn(
                &format!("stream-job-{n}"),
                move |busy| work(&queue, &answers, &abandon, busy, &scope),
            )?);
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
        let (ticks, block_ticks) = clocks.inspect_err(|_| end_inputs(&graph, &env))?;
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
            generating: None,
            last_time: zero,
            generator: Some(generator),
            jobs: Some(jobs),
            batches: BTreeMap::new(),
            held: BTreeSet::new(),
            phase: Phase::Running,
            abandon,
            group,
            threads,
            lag: Lag::new(period),
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
            Event::Tick(time) if self.phase == Phase::Running => {
                self.request(time);
                self.watch_lag();
            }
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

    /// Says when batches fall behind, and when they have caught up.
    fn watch_lag(&mut self) {
        let waiting = self
            .batches
            .keys()
            .chain(&self.generating)
            .chain(&self.ungenerated);
        let Some(oldest) = waiting.min().copied() else {
            return;
        };
        let late = self.now().time.since(oldest);
        if let Some(news) = self.lag.observe(late) {
            news.tell(oldest, late, self.period);
        }
    }

    fn generate_next(&mut self) {
        if self.generating.is_some() {
            return;
        }
        let (Some(generator), Some(time)) = (&self.generator, self.ungenerated.pop_front()) else {
            return;
        };
        self.generating = generator.send(time).is_ok().then_some(time);
    }

    fn generated(&mut self, generated: Generated) {
        self.generating = None;
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

    /// A batch is done: receivers may go on once it is applied to all states, and what nobody needs
    /// any more is forgotten. A batch that is still running keeps what it needs, whatever was done
    /// after it.
    fn release(&mut self, time: Time) {
        self.held.insert(time);
        let applied = self.graph.states.hold(self.last_time);
        while let Some(done) = self.held.first().copied().filter(|time| *time <= applied) {
            self.held.remove(&done);
            for input in &self.graph.inputs {
                input.complete(done);
            }
        }
        let oldest = self
            .batches
            .keys()
            .next()
            .map_or(time, |running| time.min(*running - self.period));
        // Not beyond what was counted above: a batch that is forgotten frees no room any more.
        let oldest = oldest.min(applied);
        self.graph.clear(oldest, self.env.settings.unpersist);
    }

    fn fail(&self, error: &Error) {
        tracing::error!(error = %error.report(), "batch failed");
        notice::tell("batch failed", &error.report());
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
        let (clock, inputs) = (Arc::clone(&self.clock), self.graph.inputs.clone());
        let events = self.events.clone();
        let drain = StreamThread::spawn("stream-drain", move |_| {
            let mut patience = Patience::new(&clock, Duration::MAX);
            patience.join_inputs(&inputs);
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
        let idle =
            self.batches.is_empty() && self.ungenerated.is_empty() && self.generating.is_none();
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

    /// Ends all threads, as far as code of the user lets it. Jobs that wait are dropped, running
    /// ones are cancelled.
    fn wind_up(mut self) {
        // Jobs of other programs on the same context go on.
        self.abandon.cancel();
        self.group.cancel();
        self.jobs = None;
        self.generator = None;
        self.stop_inputs();
        let mut patience = Patience::new(&self.clock, self.env.settings.stop_patience);
        patience.join_inputs(&self.graph.inputs);
        let clocks = std::iter::once(&self.ticks).chain(&self.block_ticks);
        for service in clocks.chain(&self.deadlines) {
            service.stop();
            patience.join_clock(service);
        }
        for thread in std::mem::take(&mut self.threads) {
            patience.join(thread, |work| self.describe(work));
        }
        for input in &self.graph.inputs {
            input.close();
        }
        self.graph.clear_all();
        if self.stops_context {
            self.termination.stop_context(&self.env.ctx, &mut patience);
        }
        patience.tell();
    }

    fn describe(&self, work: Work) -> String {
        match work {
            Work::Generation(time) => {
                format!("a function of transform, or a source, for batch {time}")
            }
            Work::Output(time, output) => {
                let name = self.output_info(time, output, None).name;
                format!("output {name} of batch {time}")
            }
        }
    }
}

/// Whatever ends the driver ends its clocks and receivers, and nothing is heard of it any more.
impl Drop for Driver {
    fn drop(&mut self) {
        self.stop_inputs();
        // What was left behind has nobody to tell.
        self.env.bus.close();
    }
}

/// Starts all receivers, or none.
fn start_inputs(graph: &Graph, env: &Arc<InputEnv>) -> Result<()> {
    for input in &graph.inputs {
        if let Err(error) = Arc::clone(input).start(env) {
            end_inputs(graph, env);
            return Err(error.with("receiver", input.name()));
        }
    }
    Ok(())
}

fn end_inputs(graph: &Graph, env: &InputEnv) {
    for started in &graph.inputs {
        started.stop();
    }
    let mut patience = Patience::new(env.ctx.clock(), env.settings.stop_patience);
    patience.join_inputs(&graph.inputs);
    patience.tell();
    env.bus.close();
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
