//! `StateSpec`: how a state is placed, what it begins with, when keys go.

use std::fmt;
use std::time::Duration;

use tidemill_core::state::Placement;
use tidemill_core::{Context, Data, Error, Key, Operator, Partitioner, Rdd, Result};

/// How the state of a stateful operator is placed, what it begins with, and when its keys time
/// out. What is set twice is as it was set last.
///
/// ```
/// use std::time::Duration;
/// use tidemill_core::Context;
/// use tidemill_streaming::StateSpec;
///
/// let ctx = Context::local(2)?;
/// let spec = StateSpec::new()
///     .initial_state(ctx.parallelize(vec![("a".to_owned(), 1_u64)]))
///     .partitions(4)
///     .timeout(Duration::from_secs(60));
/// assert!(format!("{spec:?}").contains("60s"));
/// # Ok::<(), tidemill_core::Error>(())
/// ```
#[must_use]
pub struct StateSpec<K: 'static, S: 'static> {
    placement: Option<Placement<K>>,
    initial: Option<Rdd<(K, S)>>,
    timeout: Option<Duration>,
}

impl<K, S> Default for StateSpec<K, S> {
    fn default() -> Self {
        Self {
            placement: None,
            initial: None,
            timeout: None,
        }
    }
}

impl<K, S> Clone for StateSpec<K, S> {
    fn clone(&self) -> Self {
        Self {
            placement: self.placement.clone(),
            initial: self.initial.clone(),
            timeout: self.timeout,
        }
    }
}

impl<K: Key, S: Data> StateSpec<K, S> {
    /// An empty state by hash in as many partitions as the context's default parallelism, whose
    /// keys never time out.
    pub fn new() -> Self {
        Self::default()
    }

    /// By hash in so many partitions; 0 counts as 1.
    pub fn partitions(self, num_partitions: usize) -> Self {
        Self {
            placement: Some(Placement::hash(num_partitions)),
            ..self
        }
    }

    /// Placed by `partitioner`.
    pub fn partitioner(self, partitioner: impl Partitioner<K>) -> Self {
        Self {
            placement: Some(Placement::by(partitioner)),
            ..self
        }
    }

    /// What the state is before the first batch. Computed with it, once.
    pub fn initial_state(self, initial: Rdd<(K, S)>) -> Self {
        Self {
            initial: Some(initial),
            ..self
        }
    }

    /// Keys that no record has touched for longer go: the function sees each once more, without a
    /// value and with [`is_timing_out`](tidemill_core::state::State::is_timing_out), at the end of
    /// the first batch that is more than `timeout` later than their last one. Only for
    /// `map_with_state`; whole milliseconds, at least one.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..self
        }
    }

    /// Placement, initial state and time-out.
    pub(crate) fn into_parts(self, ctx: &Context) -> Parts<K, S> {
        let placement = self
            .placement
            .unwrap_or_else(|| Placement::hash(ctx.default_parallelism()));
        (placement, self.initial, self.timeout)
    }
}

/// What a [`StateSpec`] says, with the context's defaults.
pub(crate) type Parts<K, S> = (Placement<K>, Option<Rdd<(K, S)>>, Option<Duration>);

/// Refuses a time-out that cannot be.
pub(crate) fn check_timeout(
    operator: &Operator,
    timeout: Option<Duration>,
    is_supported: bool,
) -> Result<()> {
    let refuse = |what: &str| {
        Err(Error::invalid(what)
            .with("operator", operator)
            .with("timeout", format!("{:?}", timeout.unwrap_or_default())))
    };
    match timeout {
        Some(_) if !is_supported => {
            refuse("only map_with_state has time-outs: return None for keys that are to go")
        }
        Some(timeout) if timeout.as_millis() == 0 => {
            refuse("a time-out must be a positive number of milliseconds")
        }
        _ => Ok(()),
    }
}

impl<K, S> fmt::Debug for StateSpec<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateSpec")
            .field("placement", &self.placement)
            .field("initial", &self.initial)
            .field("timeout", &self.timeout)
            .finish()
    }
}
