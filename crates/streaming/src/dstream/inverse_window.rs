//! `reduce_by_key_and_window_inverse`: a window as the one before, without what leaves, with what
//! enters.

use std::panic::Location;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_core::codec::Encoder;
use tidemill_core::combine::Reduce;
use tidemill_core::function::{Function2, Plain};
use tidemill_core::state::{InverseWindow, KeepAll, Placement, Side};
use tidemill_core::travel::{Image, Portable};
use tidemill_core::{Data, HashPartitioner, Key, Operator, Partitioner, Rdd, Result};

use super::node::{AnyStream, Batch, StreamNode};
use super::placed::Placed;
use super::window::Window;
use super::{DStream, DStreamWith};
use crate::state::AnyState;
use crate::state::keyed::KeyedOperator;
use crate::state::ledger::BEGINNING;
use crate::time::Time;

/// Windows that are kept as a state.
struct InverseReduced<K: 'static, V: 'static, F, G, H> {
    /// The combined values of each batch.
    reduced: DStream<(K, V)>,
    window: Window,
    state: Arc<KeyedOperator<K, V>>,
    step: Arc<InverseWindow<F, G, H>>,
    /// Held while a batch is asked for its input: each is asked once.
    asking: Mutex<()>,
}

impl<K, V, F, G, H> InverseReduced<K, V, F, G, H>
where
    K: Key,
    V: Data,
    F: Function2<V, V, Output = V>,
    G: Function2<V, V, Output = V>,
    H: for<'a, 'b> Function2<&'a K, &'b V, Output = bool>,
{
    /// The batches that are in one of two windows only: the one at `time` and the last one before.
    fn register(&self, operator: &Operator, time: Time, batch: &Batch) -> Result<()> {
        let (stream, span) = (self.reduced.stream(), self.window.span());
        let before = self.state.ledger().last_version();
        let begin = time - span;
        let leaving = if before == BEGINNING {
            Vec::new()
        } else {
            stream.rdds_within(batch, before - span, begin.min(before))?
        };
        let entering = stream.rdds_within(batch, begin.max(before), time)?;
        let leaving = leaving.iter().map(|rdd| {
            let side = Arc::new(Plain(|value: V| Side::Leaving(value)));
            rdd.map_values_with(operator.clone(), side)
        });
        let entering = entering.iter().map(|rdd| {
            let side = Arc::new(Plain(|value: V| Side::Entering(value)));
            rdd.map_values_with(operator.clone(), side)
        });
        let sides: Vec<Rdd<(K, Side<V>)>> = leaving.chain(entering).collect();
        let sides = self.state.context().union_as(operator.clone(), &sides)?;
        self.state
            .register_silent(operator, time, &sides, &self.step);
        Ok(())
    }
}

impl<K, V, F, G, H> StreamNode<(K, V)> for InverseReduced<K, V, F, G, H>
where
    K: Key,
    V: Data,
    F: Function2<V, V, Output = V>,
    G: Function2<V, V, Output = V>,
    H: for<'a, 'b> Function2<&'a K, &'b V, Output = bool>,
{
    fn compute(
        &self,
        operator: &Operator,
        time: Time,
        batch: &Batch,
    ) -> Result<Option<Rdd<(K, V)>>> {
        let _one = self.asking.lock();
        let ledger = self.state.ledger();
        if !ledger.has_asked(time) {
            let slide = self.window.slide_over(self.reduced.slide_duration());
            for missed in ledger.missed(time, slide) {
                self.register(operator, missed, batch)?;
            }
            self.register(operator, time, batch)?;
        }
        Ok(Some(self.state.snapshot(operator, time)))
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        vec![self.reduced.any()]
    }

    fn reads_back(&self) -> std::time::Duration {
        self.window.span()
    }

    fn state(&self) -> Option<Arc<dyn AnyState>> {
        Some(self.state.clone())
    }

    fn check(&self, operator: &Operator, image: &Image) -> Result<()> {
        self.step.encode(&mut Encoder::new(operator, image))
    }

    fn validate(&self, operator: &Operator) -> Result<()> {
        let parent_slide = self.reduced.slide_duration();
        self.window.validate(operator, parent_slide)
    }

    fn is_stored(&self) -> bool {
        true
    }
}

impl<K: Key, V: Data> DStream<(K, V)> {
    /// The values of each key in each window combined by `f`, which must be associative and
    /// commutative: the window before, `inverse` of what leaves it, `f` with what enters.
    /// `inverse(f(a, b), b)` must be `a`.
    ///
    /// Keys stay, with whatever value, when all their records have left: see
    /// [`reduce_by_key_and_window_filtered`](Self::reduce_by_key_and_window_filtered). Where
    /// there is no inverse, or numbers are rounded, use
    /// [`reduce_by_key_and_window`](super::PairDStream::reduce_by_key_and_window).
    ///
    /// *Shape* `(K, V)`, all keys, the window's slide, by hash in as many partitions as the
    /// context's default parallelism. *Cost* one shuffle a batch of one pair a key and partition;
    /// ∝ the keys of the batches that enter and leave, not of the window; the combined batches are
    /// remembered in memory. *State* a pair a key. A batch that fails is always applied first by
    /// the next, whatever [`FailedBatch`](crate::FailedBatch) says: what was left out could not
    /// leave.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidemill_core::Context;
    /// use tidemill_streaming::{QueueMode, RddQueue, Stop, StreamingContext, Window};
    ///
    /// let ctx = Context::local(2)?;
    /// let queue = RddQueue::new();
    /// for records in [vec![("a", 1)], vec![("a", 10)], vec![]] {
    ///     let owned = records.into_iter().map(|(key, value)| (key.to_owned(), value));
    ///     queue.push(ctx.parallelize(owned));
    /// }
    /// let batch = Duration::from_millis(5);
    /// let ssc = StreamingContext::new(&ctx, batch)?;
    /// let sums = ssc
    ///     .queue_stream(&queue, QueueMode::OneAtATime)
    ///     .reduce_by_key_and_window_inverse(Window::of(2 * batch), |a, b| a + b, |sum, x| sum - x);
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// sums.for_each_rdd(move |rdd, _| Ok(sender.send(rdd.collect()?)?));
    ///
    /// let running = ssc.start()?;
    /// let windows: Vec<_> = receiver.iter().take(4).flatten().map(|(_, sum)| sum).collect();
    /// assert_eq!(windows, [1, 11, 10, 0]);
    /// running.stop(Stop::now())?;
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce_by_key_and_window_inverse(
        &self,
        window: Window,
        f: impl Fn(V, V) -> V + Send + Sync + 'static,
        inverse: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> Self {
        let operator = Operator::new("reduce_by_key_and_window_inverse", Location::caller());
        let functions = (Plain(f), Plain(inverse), KeepAll);
        self.inverse_window_as(operator, window, functions, self.by_hash())
    }

    /// As [`reduce_by_key_and_window_inverse`](Self::reduce_by_key_and_window_inverse); pairs for
    /// which `filter` does not hold go, and are forgotten. Asked for pairs that a batch has
    /// changed: it should look at nothing else.
    #[track_caller]
    pub fn reduce_by_key_and_window_filtered(
        &self,
        window: Window,
        f: impl Fn(V, V) -> V + Send + Sync + 'static,
        inverse: impl Fn(V, V) -> V + Send + Sync + 'static,
        filter: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        let operator = Operator::new("reduce_by_key_and_window_filtered", Location::caller());
        let functions = (Plain(f), Plain(inverse), Plain(filter));
        self.inverse_window_as(operator, window, functions, self.by_hash())
    }

    fn by_hash(&self) -> Arc<HashPartitioner> {
        let ctx = &self.shared().ctx;
        Arc::new(HashPartitioner::new(ctx.default_parallelism()))
    }

    fn inverse_window_as<F, G, H, P>(
        &self,
        operator: Operator,
        window: Window,
        (reduce, inverse, filter): (F, G, H),
        partitioner: Arc<P>,
    ) -> Self
    where
        F: Function2<V, V, Output = V>,
        G: Function2<V, V, Output = V>,
        H: for<'a, 'b> Function2<&'a K, &'b V, Output = bool>,
        P: Partitioner<K>,
    {
        let (reduce, ctx) = (Arc::new(Reduce(reduce)), &self.shared().ctx);
        let by = Arc::clone(&partitioner);
        let reduced = self.per_batch_shared(
            operator.clone(),
            Arc::clone(&reduce),
            move |rdd, operator, reduce| rdd.combine_placed(operator, reduce, Arc::clone(&by)),
        );
        // Each is read when it enters, and again when it leaves.
        reduced.stream().keep_by_default();
        let slide = window.slide_over(self.slide_duration());
        let node = InverseReduced {
            reduced,
            window,
            state: KeyedOperator::gapless(ctx, Placement::shared(partitioner)),
            step: Arc::new(InverseWindow {
                reduce,
                inverse,
                filter,
            }),
            asking: Mutex::new(()),
        };
        Self::new(self.shared(), operator, slide, node)
    }
}

impl<K: Key, V: Data, P: Partitioner<K>> Placed<K, V, P> {
    /// As [`DStream::reduce_by_key_and_window_inverse`].
    #[track_caller]
    pub fn reduce_by_key_and_window_inverse(
        &self,
        window: Window,
        f: impl Fn(V, V) -> V + Send + Sync + 'static,
        inverse: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> DStream<(K, V)> {
        let operator = Operator::new("reduce_by_key_and_window_inverse", Location::caller());
        let functions = (Plain(f), Plain(inverse), KeepAll);
        let partitioner = self.partitioner();
        self.pairs()
            .inverse_window_as(operator, window, functions, partitioner)
    }

    /// As [`DStream::reduce_by_key_and_window_filtered`].
    #[track_caller]
    pub fn reduce_by_key_and_window_filtered(
        &self,
        window: Window,
        f: impl Fn(V, V) -> V + Send + Sync + 'static,
        inverse: impl Fn(V, V) -> V + Send + Sync + 'static,
        filter: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> DStream<(K, V)> {
        let operator = Operator::new("reduce_by_key_and_window_filtered", Location::caller());
        let functions = (Plain(f), Plain(inverse), Plain(filter));
        let partitioner = self.partitioner();
        self.pairs()
            .inverse_window_as(operator, window, functions, partitioner)
    }
}

impl<K: Key, V: Data, C: Data> DStreamWith<(K, V), C> {
    /// As [`DStream::reduce_by_key_and_window_inverse`].
    #[track_caller]
    pub fn reduce_by_key_and_window_inverse(
        &self,
        window: Window,
        f: impl Fn(&C, V, V) -> V + Send + Sync + 'static,
        inverse: impl Fn(&C, V, V) -> V + Send + Sync + 'static,
    ) -> DStream<(K, V)> {
        let operator = Operator::new("reduce_by_key_and_window_inverse", Location::caller());
        let functions = (self.captured(f), self.captured(inverse), KeepAll);
        let stream = self.stream();
        stream.inverse_window_as(operator, window, functions, stream.by_hash())
    }
}
