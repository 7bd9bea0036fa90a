//! The graph of a program: its inputs and outputs while it is built, then sealed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::travel::Image;
use tidemill_core::{Error, Operator, Result};

use crate::dstream::node::{AnyStream, Batch, Job};
use crate::input::AnyInput;
use crate::names::{GraphInfo, NameSource, name_operators};
use crate::running::Termination;
use crate::state::States;
use crate::time::Time;

/// An output operation: makes at most one job for each batch.
pub(crate) trait AnyOutput: Send + Sync {
    fn stream(&self) -> Arc<dyn AnyStream>;
    fn operator(&self) -> Operator;
    /// Refuses functions that cannot leave the process.
    fn check(&self, _image: &Image) -> Result<()> {
        Ok(())
    }
    fn generate(&self, batch: &Batch) -> Result<Option<Job>>;

    /// Refuses what cannot work, before the first batch.
    fn validate(&self) -> Result<()> {
        Ok(())
    }
}

/// What a program has defined so far.
#[derive(Default)]
pub(crate) struct GraphBuilder {
    state: Mutex<State>,
    /// The last batch time for which jobs were made, in milliseconds; 0 before the first.
    generated_ms: Arc<AtomicI64>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    inputs: Vec<Arc<dyn AnyInput>>,
    outputs: Vec<Arc<dyn AnyOutput>>,
    /// Hears of what is defined when it is too late.
    termination: Option<Arc<Termination>>,
    remember: Option<Duration>,
    /// What states begin with, by the names of their operators.
    restored: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Phase {
    #[default]
    Building,
    Started,
    Stopped,
}

impl GraphBuilder {
    /// Registers an input made for its position. Once the stream runs it is refused and logged.
    pub(crate) fn add_input<I: AnyInput + 'static>(&self, make: impl FnOnce(usize) -> I) -> Arc<I> {
        let mut state = self.state.lock();
        let input = Arc::new(make(state.inputs.len()));
        if state.admit(&input.name()) {
            state.inputs.push(input.clone());
        }
        input
    }

    pub(crate) fn add_output(&self, output: Arc<dyn AnyOutput>) {
        let mut state = self.state.lock();
        if state.admit(&output.operator().to_string()) {
            state.outputs.push(output);
        }
    }

    /// Least time that every stream remembers its RDDs.
    pub(crate) fn remember(&self, span: Duration) -> Result<()> {
        let mut state = self.state.lock();
        if let Some(already) = state.remember {
            return Err(
                Error::invalid("remember duration is already set").with("ms", already.as_millis())
            );
        }
        state.remember = Some(span);
        Ok(())
    }

    /// What states begin with, by the names of their operators.
    pub(crate) fn restore(&self, states: Vec<(String, Vec<u8>)>) {
        self.state.lock().restored = states;
    }

    /// Forgets what was defined, unless it was started.
    pub(crate) fn abandon(&self) {
        let (inputs, outputs) = {
            let mut state = self.state.lock();
            (
                std::mem::take(&mut state.inputs),
                std::mem::take(&mut state.outputs),
            )
        };
        // Freeing them frees values of the user, whatever these do then.
        drop((inputs, outputs));
    }

    /// Whether what is set of a stream still counts; refused like a late output when not.
    pub(crate) fn admit_setting(&self, what: &str, operator: &Operator) -> bool {
        let state = self.state.lock();
        if state.phase == Phase::Building {
            return true;
        }
        let text = format!("cannot change {what} of a DStream after streaming context has started");
        state.refuse(&Error::invalid(text).with("operator", operator));
        false
    }

    /// The last batch time that has come.
    pub(crate) fn generated(&self) -> Time {
        Time::from_ms(self.generated_ms.load(Ordering::Acquire))
    }

    pub(crate) fn stop(&self) {
        self.state.lock().phase = Phase::Stopped;
    }

    /// Seals the graph: nothing can be added from now on.
    pub(crate) fn start(
        &self,
        batch_duration: Duration,
        termination: &Arc<Termination>,
    ) -> Result<Graph> {
        let mut state = self.state.lock();
        state.termination = Some(Arc::clone(termination));
        state.phase = Phase::Started;
        let graph = Graph {
            inputs: std::mem::take(&mut state.inputs),
            outputs: std::mem::take(&mut state.outputs),
            remembered: Vec::new(),
            max_remember: Duration::ZERO,
            info: GraphInfo::default(),
            states: States::default(),
            generated_ms: Arc::clone(&self.generated_ms),
        };
        let least = batch_duration.max(state.remember.unwrap_or_default());
        let graph = graph.with_remember_durations(least)?;
        graph.states.restore(&std::mem::take(&mut state.restored))?;
        Ok(graph)
    }
}

impl State {
    fn admit(&mut self, name: &str) -> bool {
        let what = match self.phase {
            Phase::Building => return true,
            Phase::Started => "starting",
            Phase::Stopped => "stopping",
        };
        let error = Error::invalid(format!(
            "adding new inputs, transformations, and output operations after {what} a context is \
             not supported"
        ))
        .with("operator", name);
        self.refuse(&error);
        false
    }

    /// What comes too late is logged, and told to whom awaits the end.
    fn refuse(&self, error: &Error) {
        tracing::error!(error = %error, "too late");
        if let Some(termination) = &self.termination {
            termination.fail(error);
        }
    }
}

/// A sealed program.
pub(crate) struct Graph {
    pub(crate) inputs: Vec<Arc<dyn AnyInput>>,
    pub(crate) outputs: Vec<Arc<dyn AnyOutput>>,
    /// All streams that an output needs, each with how long it remembers its RDDs.
    remembered: Vec<(Arc<dyn AnyStream>, Duration)>,
    max_remember: Duration,
    pub(crate) info: GraphInfo,
    pub(crate) states: States,
    generated_ms: Arc<AtomicI64>,
}

impl Graph {
    /// Every stream remembers for at least `least`; a parent for as long as its children need.
    fn with_remember_durations(mut self, least: Duration) -> Result<Self> {
        let mut spans: HashMap<u64, Duration> = HashMap::new();
        let children_first = self.children_first();
        for stream in &children_first {
            let own = spans.get(&stream.id()).copied().unwrap_or_default();
            let own = own.max(least).max(remembers_itself(&**stream));
            spans.insert(stream.id(), own);
            for parent in stream.parents() {
                let needed = own.saturating_add(stream.reads_back());
                let span = spans.entry(parent.id()).or_default();
                *span = (*span).max(needed);
            }
        }
        self.max_remember = spans.values().copied().max().unwrap_or_default();
        self.remembered = children_first
            .into_iter()
            .map(|stream| {
                let span = spans.get(&stream.id()).copied().unwrap_or(least);
                (stream, span)
            })
            .collect();
        let (info, names) = name_operators(self.name_sources())?;
        self.info = info;
        let parents_first = self.remembered.iter().rev();
        self.states = States::new(
            parents_first.map(|(stream, _)| Arc::clone(stream)),
            self.outputs.iter().map(|output| output.stream()),
            &names,
        );
        Ok(self)
    }

    /// Streams and outputs as they were defined: outputs after all streams.
    fn name_sources(&self) -> Vec<NameSource> {
        let streams = self.streams().map(|stream| NameSource {
            id: stream.id(),
            operator: stream.operator(),
            parents: stream.parents().iter().map(|parent| parent.id()).collect(),
        });
        let mut sources: Vec<NameSource> = streams.collect();
        let after = sources
            .iter()
            .map(|source| source.id + 1)
            .max()
            .unwrap_or(0);
        let outputs = self.outputs.iter().zip(after..);
        sources.extend(outputs.map(|(output, id)| NameSource {
            id,
            operator: output.operator(),
            parents: vec![output.stream().id()],
        }));
        sources
    }

    /// Streams that outputs need, each before all its parents.
    fn children_first(&self) -> Vec<Arc<dyn AnyStream>> {
        let mut parents_first = Vec::new();
        let mut seen = HashSet::new();
        let mut open: Vec<(Arc<dyn AnyStream>, bool)> = self
            .outputs
            .iter()
            .map(|output| (output.stream(), false))
            .collect();
        while let Some((stream, parents_placed)) = open.pop() {
            if parents_placed {
                parents_first.push(stream);
            } else if seen.insert(stream.id()) {
                let parents = stream.parents();
                open.push((stream, true));
                open.extend(parents.into_iter().map(|parent| (parent, false)));
            }
        }
        parents_first.reverse();
        parents_first
    }

    /// Streams that an output needs.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &Arc<dyn AnyStream>> {
        self.remembered.iter().map(|(stream, _)| stream)
    }

    /// Forgets what batch `time` and those after it no longer need; what a state has not applied
    /// yet is needed.
    pub(crate) fn clear(&self, time: Time, unpersist: bool) {
        self.forget(self.states.hold(time), unpersist);
    }

    /// Forgets everything.
    pub(crate) fn clear_all(&self) {
        self.forget(Time::from_ms(i64::MAX), true);
    }

    fn forget(&self, time: Time, unpersist: bool) {
        for (stream, span) in &self.remembered {
            stream.forget(time - *span, unpersist);
        }
        for input in &self.inputs {
            let span = self.span_of(input.as_ref()).unwrap_or(Duration::ZERO);
            input.forget(time - span, unpersist);
        }
    }

    /// How long an input's blocks are needed; `None` when no output needs the input.
    fn span_of(&self, input: &dyn AnyInput) -> Option<Duration> {
        let of_input =
            |(stream, _): &&(Arc<dyn AnyStream>, Duration)| stream.input_id() == Some(input.id());
        self.remembered.iter().find(of_input).map(|(_, span)| *span)
    }

    /// The inputs that an output needs.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Arc<dyn AnyStream>> {
        self.streams().filter(|stream| stream.input_id().is_some())
    }

    /// Notes that the jobs of a batch are made, or could not be.
    pub(crate) fn mark_generated(&self, time: Time) {
        self.generated_ms.fetch_max(time.as_ms(), Ordering::AcqRel);
    }
}

/// How long a stream remembers for itself: one slide, or two intervals of its checkpoints.
fn remembers_itself(stream: &dyn AnyStream) -> Duration {
    let slide = stream.slide();
    stream
        .checkpoint_interval()
        .filter(|interval| slide <= *interval)
        .map_or(slide, |interval| interval.saturating_mul(2))
}
