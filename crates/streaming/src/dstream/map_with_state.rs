//! `map_with_state`: a state for each key, seen only by records of the key.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::codec::{Decoder, Encoder};
use tidemill_core::function::{Function3, Function4, Plain};
use tidemill_core::state::{MapState, MapWithState, State};
use tidemill_core::travel::{Image, Portable};
use tidemill_core::{Data, Key, Operator, Rdd, Result};

use super::node::{AnyStream, Batch, StreamNode};
use super::{DStream, DStreamWith};
use crate::state::keyed::KeyedOperator;
use crate::state::{AnyState, StateSpec, check_timeout};
use crate::time::{Time, take_until};

/// What [`DStream::map_with_state`] gives: a stream of the mapped records, and on the side one of
/// the state itself.
#[must_use = "a stream does nothing until an output needs it"]
pub struct MapWithStateDStream<K: 'static, S: 'static, U: 'static> {
    mapped: DStream<U>,
    state: Arc<KeyedOperator<K, S>>,
}

impl<K, S, U> Clone for MapWithStateDStream<K, S, U> {
    fn clone(&self) -> Self {
        Self {
            mapped: self.mapped.clone(),
            state: Arc::clone(&self.state),
        }
    }
}

impl<K, S, U> Deref for MapWithStateDStream<K, S, U> {
    type Target = DStream<U>;

    fn deref(&self) -> &DStream<U> {
        &self.mapped
    }
}

impl<K: Key, S: Data, U: Data> fmt::Debug for MapWithStateDStream<K, S, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mapped.fmt(f)
    }
}

impl<K: Key, S: Data, U: Data> MapWithStateDStream<K, S, U> {
    /// The mapped records alone.
    pub fn into_mapped(self) -> DStream<U> {
        self.mapped
    }

    /// Names the operator, as [`DStream::named`].
    pub fn named(self, name: &str) -> Self {
        Self {
            mapped: self.mapped.named(name),
            state: self.state,
        }
    }

    /// Marks the mapped RDDs of every `interval` for a checkpoint, as [`DStream::checkpoint`].
    #[track_caller]
    pub fn checkpoint(self, interval: Duration) -> Self {
        Self {
            mapped: self.mapped.checkpoint(interval),
            state: self.state,
        }
    }

    /// All keys with their states, after each batch.
    ///
    /// *Shape* `(K, S)`, the same slide, placed as the state is, order not kept. *Cost* of an RDD
    /// that is read: the whole state. *State* none of its own.
    #[track_caller]
    pub fn state_snapshots(&self) -> DStream<(K, S)> {
        let operator = Operator::new("state_snapshots", Location::caller());
        let node = StateSnapshots {
            mapped: self.mapped.clone(),
            state: Arc::clone(&self.state),
        };
        self.mapped.child(operator, node)
    }
}

/// The records that each batch maps to.
struct MapWithStateNode<K: 'static, V: 'static, S: 'static, M: MapState<K, V, S>> {
    parent: DStream<(K, V)>,
    timeout: Option<Duration>,
    state: Arc<KeyedOperator<K, S>>,
    step: Arc<MapWithState<M>>,
    /// What was made of batches that are remembered.
    made: Mutex<BTreeMap<Time, Rdd<M::Output>>>,
    /// Held while a batch is asked for its input: each is asked once. Code of the user runs then.
    asking: Mutex<()>,
}

impl<K: Key, V: Data, S: Data, M: MapState<K, V, S>> MapWithStateNode<K, V, S, M> {
    /// A batch without an RDD is an empty one: time goes on for it too.
    fn register(&self, operator: &Operator, time: Time, batch: &Batch) -> Result<Rdd<M::Output>> {
        let input = match self.parent.stream().rdd_of(batch, time)? {
            Some(input) => input,
            None => {
                let ctx = self.state.context();
                ctx.parallelize_as(operator.clone(), Vec::new(), 0)
            }
        };
        Ok(self.state.register(operator, time, &input, &self.step))
    }
}

impl<K: Key, V: Data, S: Data, M: MapState<K, V, S>> StreamNode<M::Output>
    for MapWithStateNode<K, V, S, M>
{
    fn compute(
        &self,
        operator: &Operator,
        time: Time,
        batch: &Batch,
    ) -> Result<Option<Rdd<M::Output>>> {
        let _one = self.asking.lock();
        let ledger = self.state.ledger();
        if ledger.has_asked(time) {
            return Ok(self.made.lock().get(&time).cloned());
        }
        for missed in ledger.missed(time, self.parent.slide_duration()) {
            match self.register(operator, missed, batch) {
                Ok(rdd) => drop(self.made.lock().insert(missed, rdd)),
                Err(error) => ledger.miss(operator, missed, error)?,
            }
        }
        let rdd = self.register(operator, time, batch)?;
        self.made.lock().insert(time, rdd.clone());
        Ok(Some(rdd))
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        vec![self.parent.any()]
    }

    fn state(&self) -> Option<Arc<dyn AnyState>> {
        Some(self.state.clone())
    }

    fn check(&self, operator: &Operator, image: &Image) -> Result<()> {
        self.step.encode(&mut Encoder::new(operator, image))
    }

    fn validate(&self, operator: &Operator) -> Result<()> {
        check_timeout(operator, self.timeout, true)
    }

    fn is_stored(&self) -> bool {
        true
    }

    fn forget(&self, time: Time, unpersist: bool) {
        let forgotten = take_until(&mut self.made.lock(), time);
        for rdd in forgotten.values().filter(|_| unpersist) {
            rdd.unpersist();
        }
    }
}

/// The state after each batch.
struct StateSnapshots<K: 'static, S: 'static, U: 'static> {
    mapped: DStream<U>,
    state: Arc<KeyedOperator<K, S>>,
}

impl<K: Key, S: Data, U: Data> StreamNode<(K, S)> for StateSnapshots<K, S, U> {
    fn compute(
        &self,
        operator: &Operator,
        time: Time,
        batch: &Batch,
    ) -> Result<Option<Rdd<(K, S)>>> {
        let mapped = self.mapped.stream().rdd_of(batch, time)?;
        Ok(mapped.map(|_| self.state.snapshot(operator, time)))
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        vec![self.mapped.any()]
    }

    fn is_stored(&self) -> bool {
        true
    }
}

/// `f(key, value, state)`: one record for each.
struct OnRecord<F>(F);

/// `f(time, key, value, state)`: a record or none.
struct OnRecordAt<F>(F);

impl<F: Portable> Portable for OnRecord<F> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        F::decode(decoder).map(Self)
    }
}

impl<F: Portable> Portable for OnRecordAt<F> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        F::decode(decoder).map(Self)
    }
}

impl<K: Key, V, S: Data, U: Data, F> MapState<K, V, S> for OnRecord<F>
where
    F: for<'a, 'b> Function3<&'a K, Option<V>, &'b mut State<S>, Output = U>,
{
    type Output = U;

    #[inline]
    fn map(&self, _: i64, key: &K, value: Option<V>, state: &mut State<S>) -> Option<U> {
        Some(self.0.call(key, value, state))
    }
}

impl<K: Key, V, S: Data, U: Data, F> MapState<K, V, S> for OnRecordAt<F>
where
    F: for<'a, 'b> Function4<Time, &'a K, Option<V>, &'b mut State<S>, Output = Option<U>>,
{
    type Output = U;

    #[inline]
    fn map(&self, time_ms: i64, key: &K, value: Option<V>, state: &mut State<S>) -> Option<U> {
        self.0.call(Time::from_ms(time_ms), key, value, state)
    }
}

impl<K: Key, V: Data> DStream<(K, V)> {
    /// Maps each record with the help of its key's state, which `f` may read, update and remove.
    /// Called once for each record, in the order of the partitions; keys without a record are not
    /// touched, unless they time out: then `f` is called without a value.
    ///
    /// *Shape* `U`, the same slide, placed as the state is. *Cost* one shuffle of all records; ∝
    /// the keys that are touched or time out, however many there are. *State* a pair a key, and
    /// what the remembered batches replaced.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidemill_core::Context;
    /// use tidemill_streaming::{QueueMode, RddQueue, StateSpec, Stop, StreamingContext};
    ///
    /// let ctx = Context::local(2)?;
    /// let queue = RddQueue::new();
    /// queue.push(ctx.parallelize(vec![("a".to_owned(), 1), ("a".to_owned(), 2)]));
    ///
    /// let ssc = StreamingContext::new(&ctx, Duration::from_millis(5))?;
    /// let totals = ssc
    ///     .queue_stream(&queue, QueueMode::OneAtATime)
    ///     .map_with_state(StateSpec::new(), |word, value, state| {
    ///         let total = state.get().copied().unwrap_or(0) + value.unwrap_or(0);
    ///         state.update(total);
    ///         (word.clone(), total)
    ///     });
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// totals.for_each_rdd(move |rdd, _| Ok(sender.send(rdd.collect()?)?));
    ///
    /// let running = ssc.start()?;
    /// let first = receiver.recv().unwrap_or_default();
    /// assert_eq!(first, [("a".to_owned(), 1), ("a".to_owned(), 3)]);
    /// running.stop(Stop::now())?;
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn map_with_state<S: Data, U: Data>(
        &self,
        spec: StateSpec<K, S>,
        f: impl Fn(&K, Option<V>, &mut State<S>) -> U + Send + Sync + 'static,
    ) -> MapWithStateDStream<K, S, U> {
        let operator = Operator::new("map_with_state", Location::caller());
        self.map_with_state_as(operator, spec, OnRecord(Plain(f)))
    }

    /// As [`map_with_state`](Self::map_with_state); `f` gets the batch's time too, and may map a
    /// record to none.
    #[track_caller]
    pub fn map_with_state_at<S: Data, U: Data>(
        &self,
        spec: StateSpec<K, S>,
        f: impl Fn(Time, &K, Option<V>, &mut State<S>) -> Option<U> + Send + Sync + 'static,
    ) -> MapWithStateDStream<K, S, U> {
        let operator = Operator::new("map_with_state", Location::caller());
        self.map_with_state_as(operator, spec, OnRecordAt(Plain(f)))
    }

    fn map_with_state_as<S: Data, M: MapState<K, V, S>>(
        &self,
        operator: Operator,
        spec: StateSpec<K, S>,
        function: M,
    ) -> MapWithStateDStream<K, S, M::Output> {
        let ctx = &self.shared().ctx;
        let (placement, initial, timeout) = spec.into_parts(ctx);
        let state = KeyedOperator::new(ctx, placement, timeout.is_some(), initial);
        let node = MapWithStateNode {
            parent: self.clone(),
            timeout,
            state: Arc::clone(&state),
            step: Arc::new(MapWithState { function, timeout }),
            made: Mutex::default(),
            asking: Mutex::default(),
        };
        let mapped = self.child(operator, node);
        MapWithStateDStream { mapped, state }
    }
}

impl<K: Key, V: Data, C: Data> DStreamWith<(K, V), C> {
    /// As [`DStream::map_with_state`].
    #[track_caller]
    pub fn map_with_state<S: Data, U: Data>(
        &self,
        spec: StateSpec<K, S>,
        f: impl Fn(&C, &K, Option<V>, &mut State<S>) -> U + Send + Sync + 'static,
    ) -> MapWithStateDStream<K, S, U> {
        let operator = Operator::new("map_with_state", Location::caller());
        let function = OnRecord(self.captured(f));
        self.stream().map_with_state_as(operator, spec, function)
    }

    /// As [`DStream::map_with_state_at`].
    #[track_caller]
    pub fn map_with_state_at<S: Data, U: Data>(
        &self,
        spec: StateSpec<K, S>,
        f: impl Fn(&C, Time, &K, Option<V>, &mut State<S>) -> Option<U> + Send + Sync + 'static,
    ) -> MapWithStateDStream<K, S, U> {
        let operator = Operator::new("map_with_state", Location::caller());
        let function = OnRecordAt(self.captured(f));
        self.stream().map_with_state_as(operator, spec, function)
    }
}
