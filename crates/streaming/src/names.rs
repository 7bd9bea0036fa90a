//! The operators of a started program and their names: the addresses of checkpoints and messages.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use tidemill_core::{Error, Operator, Result};

/// What a name is made of.
#[derive(Clone, Debug)]
pub(crate) struct NameSource {
    /// Counts up in the order of definition: a parent's is less than its children's.
    pub(crate) id: u64,
    pub(crate) operator: Operator,
    pub(crate) parents: Vec<u64>,
}

/// One operator of a started program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperatorInfo {
    /// Its name, the only one of its kind in the program: what `.named("…")` said, else the
    /// kinds of operators from the input on (or from the nearest named operator), such as
    /// `queue_stream/map/reduce_by_key`, and `#1`, `#2`, … after a second and third of the same
    /// path, in the order of definition.
    pub name: String,
    /// Whether the program gave the name.
    pub is_named: bool,
    /// What it does, for example `map`.
    pub kind: String,
    /// `file:line` of the call in the program.
    pub location: String,
    /// The names of the operators it reads.
    pub parents: Vec<String>,
}

/// The operators of a started program, parents first, outputs last. Prints one a line.
///
/// ```
/// use std::time::Duration;
/// use tidemill_core::Context;
/// use tidemill_streaming::{QueueMode, RddQueue, Stop, StreamingContext};
///
/// let ctx = Context::local(1)?;
/// let ssc = StreamingContext::new(&ctx, Duration::from_millis(5))?;
/// let numbers = ssc.queue_stream(&RddQueue::<u32>::new(), QueueMode::OneAtATime);
/// numbers.map(|x| x + 1).for_each_rdd(|_, _| Ok(()));
/// numbers.map(|x| x + 2).named("plus two").for_each_rdd(|_, _| Ok(()));
///
/// let running = ssc.start()?;
/// let names: Vec<&str> = running.graph().operators.iter().map(|op| op.name.as_str()).collect();
/// assert_eq!(names, [
///     "queue_stream",
///     "queue_stream/map",
///     "plus two",
///     "queue_stream/map/for_each_rdd",
///     "plus two/for_each_rdd",
/// ]);
/// running.stop(Stop::now())?;
/// # Ok::<(), tidemill_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GraphInfo {
    /// The operators.
    pub operators: Vec<OperatorInfo>,
}

impl fmt::Display for GraphInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for operator in &self.operators {
            let OperatorInfo {
                name,
                kind,
                location,
                parents,
                ..
            } = operator;
            write!(f, "{name}: {kind} at {location}")?;
            if !parents.is_empty() {
                write!(f, " reads {}", parents.join(", "))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Names all operators. Also gives the name of each id.
///
/// # Errors
/// `Invalid` when two have the same name, which would be one address for two.
pub(crate) fn name_operators(
    mut sources: Vec<NameSource>,
) -> Result<(GraphInfo, HashMap<u64, String>)> {
    sources.sort_by_key(|source| source.id);
    let mut paths: HashMap<u64, String> = HashMap::new();
    let mut ordinals: HashMap<String, usize> = HashMap::new();
    let mut names: HashMap<u64, String> = HashMap::new();
    let mut taken: BTreeMap<String, Operator> = BTreeMap::new();
    let mut operators = Vec::with_capacity(sources.len());
    for NameSource {
        id,
        operator,
        parents,
    } in sources
    {
        let name = match operator.name() {
            Some(name) => {
                paths.insert(id, name.to_owned());
                name.to_owned()
            }
            None => {
                let above = parents.first().and_then(|parent| paths.get(parent));
                let path = above.map_or_else(
                    || operator.kind().to_owned(),
                    |above| format!("{above}/{}", operator.kind()),
                );
                let ordinal = ordinals.entry(path.clone()).or_default();
                let name = match *ordinal {
                    0 => path.clone(),
                    again => format!("{path}#{again}"),
                };
                *ordinal += 1;
                paths.insert(id, path);
                name
            }
        };
        if let Some(other) = taken.insert(name.clone(), operator.clone()) {
            return Err(Error::invalid("two operators have the same name")
                .with("name", name)
                .with("one", other)
                .with("other", operator));
        }
        operators.push(OperatorInfo {
            name: name.clone(),
            is_named: operator.name().is_some(),
            kind: operator.kind().to_owned(),
            location: operator.location(),
            parents: parents
                .iter()
                .filter_map(|parent| names.get(parent).cloned())
                .collect(),
        });
        names.insert(id, name);
    }
    Ok((GraphInfo { operators }, names))
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;

    fn source(id: u64, kind: &str, parents: &[u64]) -> NameSource {
        NameSource {
            id,
            operator: Operator::new(kind, Location::caller()),
            parents: parents.to_vec(),
        }
    }

    fn named(mut source: NameSource, name: &str) -> NameSource {
        source.operator = source.operator.named(name);
        source
    }

    fn names(sources: Vec<NameSource>) -> Vec<String> {
        let (graph, _) = name_operators(sources).unwrap();
        graph.operators.into_iter().map(|op| op.name).collect()
    }

    #[test]
    fn a_path_of_kinds_and_an_ordinal() {
        let sources = vec![
            source(4, "filter", &[2]),
            source(0, "queue_stream", &[]),
            source(1, "map", &[0]),
            source(2, "map", &[0]),
            source(3, "filter", &[1]),
        ];
        assert_eq!(
            names(sources),
            [
                "queue_stream",
                "queue_stream/map",
                "queue_stream/map#1",
                "queue_stream/map/filter",
                "queue_stream/map/filter#1",
            ]
        );
    }

    #[test]
    fn a_given_name_begins_the_path_anew_and_takes_no_ordinal() {
        let sources = vec![
            source(0, "queue_stream", &[]),
            named(source(1, "map", &[0]), "words"),
            source(2, "map", &[0]),
            source(3, "join", &[1, 2]),
        ];
        let (graph, _) = name_operators(sources).unwrap();
        let last = graph.operators.last().unwrap();
        assert_eq!(last.name, "words/join");
        assert_eq!(last.parents, ["words", "queue_stream/map"]);
        assert!(!last.is_named);
        let text = graph.to_string();
        assert!(text.starts_with("queue_stream: queue_stream at "), "{text}");
        assert!(text.ends_with(" reads words, queue_stream/map\n"), "{text}");
    }

    #[test]
    fn a_given_name_that_is_an_automatic_one_too_is_refused() {
        let sources = vec![
            source(0, "queue_stream", &[]),
            source(1, "map", &[0]),
            named(source(2, "filter", &[0]), "queue_stream/map"),
        ];
        let error = name_operators(sources).unwrap_err();
        assert_eq!(error.message(), "two operators have the same name");
        assert_eq!(error.fact("name"), Some("queue_stream/map"));
    }
}
