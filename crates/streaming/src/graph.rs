//! The graph of a program: its inputs and outputs while it is built, then sealed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::{Error, ErrorKind, Result};

use crate::dstream::node::{AnyStream, Batch, Job};
use crate::input::AnyInput;
use crate::running::Termination;
use crate::time::Time;

/// An output operation: makes at most one job for each batch.
pub(crate) trait AnyOutput: Send + Sync {
    fn stream(&self) -> Arc<dyn AnyStream>;
    fn name(&self) -> String;
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
}

#[derive(Default)]
struct State {
    phase: Phase,
    inputs: Vec<Arc<dyn AnyInput>>,
    outputs: Vec<Arc<dyn AnyOutput>>,
    /// Hears of what is defined when it is too late.
    termination: Option<Arc<Termination>>,
    remember: Option<Duration>,
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
        if state.admit(&output.name()) {
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
        };
        graph.with_remember_durations(batch_duration.max(state.remember.unwrap_or_default()))
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
        tracing::error!(error = %error, "too late");
        if let Some(termination) = &self.termination {
            termination.fail(&error);
        }
        false
    }
}

/// A sealed program.
pub(crate) struct Graph {
    pub(crate) inputs: Vec<Arc<dyn AnyInput>>,
    pub(crate) outputs: Vec<Arc<dyn AnyOutput>>,
    /// All streams that an output needs, each with how long it remembers its RDDs.
    remembered: Vec<(Arc<dyn AnyStream>, Duration)>,
    max_remember: Duration,
}

impl Graph {
    /// Every stream remembers for at least `least`; a parent for as long as its children need.
    fn with_remember_durations(mut self, least: Duration) -> Result<Self> {
        let mut spans: HashMap<u64, Duration> = HashMap::new();
        let children_first = self.children_first();
        for stream in &children_first {
            let own = spans.get(&stream.id()).copied().unwrap_or_default();
            let own = own.max(least).max(stream.slide());
            spans.insert(stream.id(), own);
            for parent in stream.parents() {
                let needed = own + stream.reads_back();
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
        refuse_equal_names(&self.remembered)?;
        Ok(self)
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

    /// Forgets what batch `time` and those after it no longer need.
    pub(crate) fn clear(&self, time: Time, unpersist: bool) {
        for (stream, span) in &self.remembered {
            stream.forget(time - *span, unpersist);
        }
        if unpersist {
            for input in &self.inputs {
                let span = self.span_of(input.as_ref()).unwrap_or(Duration::ZERO);
                input.forget(time - span);
            }
        }
    }

    /// How long an input's blocks are needed; `None` when no output needs the input.
    fn span_of(&self, input: &dyn AnyInput) -> Option<Duration> {
        let of_input =
            |(stream, _): &&(Arc<dyn AnyStream>, Duration)| stream.input_id() == Some(input.id());
        self.remembered.iter().find(of_input).map(|(_, span)| *span)
    }
}

/// Names that the user gave are addresses in checkpoints: no two streams may share one.
fn refuse_equal_names(streams: &[(Arc<dyn AnyStream>, Duration)]) -> Result<()> {
    let mut named: BTreeMap<String, String> = BTreeMap::new();
    for (stream, _) in streams {
        let operator = stream.operator();
        let Some(name) = operator.name() else {
            continue;
        };
        if let Some(other) = named.insert(name.to_owned(), operator.to_string()) {
            return Err(
                Error::new(ErrorKind::Invalid, "two operators have the same name")
                    .with("name", name)
                    .with("one", other)
                    .with("other", operator),
            );
        }
    }
    Ok(())
}
