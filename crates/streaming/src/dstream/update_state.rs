//! `update_state_by_key`: a state for each key, made anew by every batch.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::codec::{Decoder, Encoder};
use tidemill_core::function::{Function, Function2, Function4, Plain};
use tidemill_core::state::{EachKey, Group, UpdateAll, UpdateKey};
use tidemill_core::travel::{Image, Portable};
use tidemill_core::{Data, Key, Operator, PartitionIter, Rdd, Result};

use super::node::{AnyStream, Batch, StreamNode};
use super::{DStream, DStreamWith};
use crate::state::snapshots::SnapshotOperator;
use crate::state::{AnyState, StateSpec, check_timeout};
use crate::time::Time;

/// The state after each batch.
struct UpdateState<K: 'static, V: 'static, S: 'static, M> {
    parent: DStream<(K, V)>,
    timeout: Option<Duration>,
    state: Arc<SnapshotOperator<K, S>>,
    function: Arc<M>,
    /// Held while a batch is asked for its input: each is asked once.
    asking: Mutex<()>,
}

impl<K: Key, V: Data, S: Data, M: UpdateAll<K, V, S>> UpdateState<K, V, S, M> {
    /// Asks for the input of a batch; `None` when there is neither input nor state.
    fn register(&self, operator: &Operator, time: Time, batch: &Batch) -> Result<Option<()>> {
        let input = match self.parent.stream().rdd_of(batch, time)? {
            Some(input) => input,
            None if self.state.has_begun() => {
                let ctx = self.state.context();
                ctx.parallelize_as(operator.clone(), Vec::new(), 0)
            }
            None => {
                self.state.ledger().register(time, None);
                return Ok(None);
            }
        };
        self.state.register(operator, time, &input, &self.function);
        Ok(Some(()))
    }
}

impl<K: Key, V: Data, S: Data, M: UpdateAll<K, V, S>> StreamNode<(K, S)>
    for UpdateState<K, V, S, M>
{
    fn compute(
        &self,
        operator: &Operator,
        time: Time,
        batch: &Batch,
    ) -> Result<Option<Rdd<(K, S)>>> {
        let _one = self.asking.lock();
        let ledger = self.state.ledger();
        if !ledger.has_asked(time) {
            for missed in ledger.missed(time, self.parent.slide_duration()) {
                if let Err(error) = self.register(operator, missed, batch) {
                    ledger.miss(operator, missed, error)?;
                }
            }
            if self.register(operator, time, batch)?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(self.state.snapshot(operator, time)))
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        vec![self.parent.any()]
    }

    fn state(&self) -> Option<Arc<dyn AnyState>> {
        Some(self.state.clone())
    }

    fn check(&self, operator: &Operator, image: &Image) -> Result<()> {
        self.function.encode(&mut Encoder::new(operator, image))
    }

    fn validate(&self, operator: &Operator) -> Result<()> {
        check_timeout(operator, self.timeout, false)
    }

    fn is_stored(&self) -> bool {
        true
    }
}

/// `f(values, state)`.
struct OfValues<F>(F);

/// `f(time, key, values, state)`.
struct OfKey<F>(F);

/// `f(groups)`.
struct OfPartition<F>(F);

impl<F: Portable> Portable for OfValues<F> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        F::decode(decoder).map(Self)
    }
}

impl<F: Portable> Portable for OfKey<F> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        F::decode(decoder).map(Self)
    }
}

impl<F: Portable> Portable for OfPartition<F> {
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        self.0.encode(encoder)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self> {
        F::decode(decoder).map(Self)
    }
}

impl<K, V, S, F> UpdateKey<K, V, S> for OfValues<F>
where
    F: Function2<Vec<V>, Option<S>, Output = Option<S>>,
{
    fn update_key(&self, _: i64, _: &K, values: Vec<V>, state: Option<S>) -> Option<S> {
        self.0.call(values, state)
    }
}

impl<K, V, S, F> UpdateKey<K, V, S> for OfKey<F>
where
    F: for<'a> Function4<Time, &'a K, Vec<V>, Option<S>, Output = Option<S>>,
{
    fn update_key(&self, time_ms: i64, key: &K, values: Vec<V>, state: Option<S>) -> Option<S> {
        self.0.call(Time::from_ms(time_ms), key, values, state)
    }
}

impl<K, V, S, I, F> UpdateAll<K, V, S> for OfPartition<F>
where
    K: Key,
    V: Data,
    S: Data,
    I: IntoIterator<Item = (K, S)> + 'static,
    F: Function<PartitionIter<Group<K, V, S>>, Output = I>,
{
    fn update(
        self: Arc<Self>,
        _: i64,
        groups: PartitionIter<Group<K, V, S>>,
    ) -> PartitionIter<(K, S)> {
        Box::new(self.0.call(groups).into_iter())
    }

    fn may_repeat(&self) -> bool {
        true
    }
}

impl<K: Key, V: Data> DStream<(K, V)> {
    /// A state for each key: what `f` makes of the batch's values of the key, in order, and its
    /// state so far. Called for every key that has either, in every batch; `None` removes the key.
    ///
    /// *Shape* `(K, S)`, all keys after each batch, the same slide, by hash in as many partitions
    /// as the context's default parallelism. *Cost* one shuffle; the whole state is made anew by
    /// every batch: see [`map_with_state`](Self::map_with_state) for states of many keys.
    /// *State* all pairs, and those of the batches that are still remembered.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidemill_core::{Context, Result};
    /// use tidemill_streaming::{QueueMode, RddQueue, Stop, StreamingContext};
    ///
    /// let ctx = Context::local(2)?;
    /// let queue = RddQueue::new();
    /// queue.push(ctx.parallelize(vec![("a".to_owned(), 1), ("a".to_owned(), 2)]));
    ///
    /// let ssc = StreamingContext::new(&ctx, Duration::from_millis(5))?;
    /// let totals = ssc
    ///     .queue_stream(&queue, QueueMode::OneAtATime)
    ///     .update_state_by_key(|values, total: Option<i32>| {
    ///         Some(values.iter().sum::<i32>() + total.unwrap_or(0))
    ///     });
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// totals.for_each_rdd(move |rdd, _| Ok(sender.send(rdd.collect()?)?));
    ///
    /// let running = ssc.start()?;
    /// let first = receiver.recv().unwrap_or_default();
    /// assert_eq!(first, [("a".to_owned(), 3)]);
    /// running.stop(Stop::now())?;
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn update_state_by_key<S: Data>(
        &self,
        f: impl Fn(Vec<V>, Option<S>) -> Option<S> + Send + Sync + 'static,
    ) -> DStream<(K, S)> {
        self.update_state_by_key_with(StateSpec::new(), f)
    }

    /// As [`update_state_by_key`](Self::update_state_by_key), placed and begun as `spec` says.
    /// Keys of the initial state are passed through `f` with the first batch; of equal keys in it
    /// the first counts.
    #[track_caller]
    pub fn update_state_by_key_with<S: Data>(
        &self,
        spec: StateSpec<K, S>,
        f: impl Fn(Vec<V>, Option<S>) -> Option<S> + Send + Sync + 'static,
    ) -> DStream<(K, S)> {
        let operator = Operator::new("update_state_by_key", Location::caller());
        self.update_state_as(operator, spec, EachKey(OfValues(Plain(f))))
    }

    /// As [`update_state_by_key_with`](Self::update_state_by_key_with); `f` gets the batch's time
    /// and the key too.
    #[track_caller]
    pub fn update_state_by_key_at<S: Data>(
        &self,
        spec: StateSpec<K, S>,
        f: impl Fn(Time, &K, Vec<V>, Option<S>) -> Option<S> + Send + Sync + 'static,
    ) -> DStream<(K, S)> {
        let operator = Operator::new("update_state_by_key", Location::caller());
        self.update_state_as(operator, spec, EachKey(OfKey(Plain(f))))
    }

    /// The state of each partition as what `f` makes of its keys, each with the batch's values and
    /// its state so far. `f` may give other keys, and a key twice: pairs are placed again, and of
    /// equal keys the next batch sees the first.
    ///
    /// *Shape*, *Cost* and *State* as [`update_state_by_key`](Self::update_state_by_key). What
    /// `f` gives should not share memory with received records:
    /// [`Text::detach`](tidemill_core::Text::detach) what is kept.
    #[track_caller]
    pub fn update_state_by_partition<S: Data, I>(
        &self,
        spec: StateSpec<K, S>,
        f: impl Fn(PartitionIter<Group<K, V, S>>) -> I + Send + Sync + 'static,
    ) -> DStream<(K, S)>
    where
        I: IntoIterator<Item = (K, S)> + 'static,
    {
        let operator = Operator::new("update_state_by_partition", Location::caller());
        self.update_state_as(operator, spec, OfPartition(Plain(f)))
    }

    fn update_state_as<S: Data, M: UpdateAll<K, V, S>>(
        &self,
        operator: Operator,
        spec: StateSpec<K, S>,
        function: M,
    ) -> DStream<(K, S)> {
        let ctx = &self.shared().ctx;
        let (placement, initial, timeout) = spec.into_parts(ctx);
        let node = UpdateState {
            parent: self.clone(),
            timeout,
            state: SnapshotOperator::new(ctx, placement, initial),
            function: Arc::new(function),
            asking: Mutex::new(()),
        };
        self.child(operator, node)
    }
}

impl<K: Key, V: Data, C: Data> DStreamWith<(K, V), C> {
    /// As [`DStream::update_state_by_key_with`].
    #[track_caller]
    pub fn update_state_by_key<S: Data>(
        &self,
        spec: StateSpec<K, S>,
        f: impl Fn(&C, Vec<V>, Option<S>) -> Option<S> + Send + Sync + 'static,
    ) -> DStream<(K, S)> {
        let operator = Operator::new("update_state_by_key", Location::caller());
        let function = EachKey(OfValues(self.captured(f)));
        self.stream().update_state_as(operator, spec, function)
    }
}
