//! `StreamingContext`: a program of streams while it is being built.

use std::fmt;
use std::io::{Read, Write};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::{Context, Data, Error, Operator, Rdd, Result, Text};

use crate::dstream::node::StreamNode;
use crate::dstream::per_batch::PerMany;
use crate::dstream::{BoxError, DStream, user_error};
use crate::graph::GraphBuilder;
use crate::input::{
    InputSource, OffsetInput, OffsetReader, OffsetSource, Passive, QueueInput, QueueMode, RddQueue,
    ReceiverInput, ReceiverStream, SourceInput,
};
use crate::listener::StreamListener;
use crate::listener_bus::Listener;
use crate::receiver::{
    BlockReceiver, Endpoint, Receiver, SocketItems, SocketOptions, SocketReceiver, UserReceiver,
};
use crate::running::Running;
use crate::settings::StreamSettings;
use crate::time::Time;

/// Where `print` writes to.
pub(crate) type Printer = Arc<Mutex<Box<dyn Write + Send>>>;

/// What streams and their context share.
pub(crate) struct Shared {
    pub(crate) ctx: Context,
    pub(crate) graph: GraphBuilder,
    next_stream: AtomicU64,
    printer: Mutex<Printer>,
}

impl Shared {
    pub(crate) fn next_stream(&self) -> u64 {
        self.next_stream.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn printer(&self) -> Printer {
        Arc::clone(&self.printer.lock())
    }
}

/// A program of streams while it is being built: inputs, transformations, outputs. Nothing runs
/// before [`start`](Self::start), which consumes it.
///
/// ```
/// use std::time::Duration;
/// use tidemill_core::Context;
/// use tidemill_streaming::{PairDStream, QueueMode, RddQueue, Stop, StreamingContext};
///
/// let ctx = Context::local(2)?;
/// let queue = RddQueue::new();
/// queue.push(ctx.parallelize(["to be or not to be".to_owned()]));
///
/// let ssc = StreamingContext::new(&ctx, Duration::from_millis(5))?;
/// let counts = ssc
///     .queue_stream(&queue, QueueMode::OneAtATime)
///     .flat_map(|line| line.split(' ').map(String::from).collect::<Vec<_>>())
///     .map(|word| (word, 1))
///     .reduce_by_key(|a, b| a + b);
/// let (sender, receiver) = std::sync::mpsc::channel();
/// counts.for_each_rdd(move |rdd, _time| Ok(sender.send(rdd.collect()?)?));
///
/// let running = ssc.start()?;
/// let first = receiver.recv().unwrap_or_default();
/// assert!(first.contains(&("be".to_owned(), 2)));
/// running.stop(Stop::gracefully())?;
/// # Ok::<(), tidemill_core::Error>(())
/// ```
///
/// A context starts once:
///
/// ```compile_fail
/// # fn twice(ssc: tidemill_streaming::StreamingContext) {
/// let running = ssc.start();
/// let again = ssc.start(); // the context was moved into `running`
/// # }
/// ```
pub struct StreamingContext {
    ctx: Context,
    batch_duration: Duration,
    settings: StreamSettings,
    shared: Arc<Shared>,
    listeners: Mutex<Vec<Listener>>,
}

impl StreamingContext {
    /// A program whose batches are `batch_duration` long, at least one millisecond and a whole
    /// number of them.
    ///
    /// # Errors
    /// `Invalid` for another duration.
    pub fn new(ctx: &Context, batch_duration: Duration) -> Result<Self> {
        Self::with_settings(ctx, batch_duration, StreamSettings::default())
    }

    /// As [`new`](Self::new), with settings.
    ///
    /// # Errors
    /// `Invalid` for another duration or a setting out of its range.
    pub fn with_settings(
        ctx: &Context,
        batch_duration: Duration,
        settings: StreamSettings,
    ) -> Result<Self> {
        if batch_duration.is_zero() || !batch_duration.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(Error::invalid(
                "batch duration must be a positive, whole number of milliseconds",
            )
            .with("got", format!("{batch_duration:?}"))
            .with("hint", "for example Duration::from_secs(1)"));
        }
        settings.validate()?;
        let stdout: Box<dyn Write + Send> = Box::new(std::io::stdout());
        let shared = Shared {
            ctx: ctx.clone(),
            graph: GraphBuilder::default(),
            next_stream: AtomicU64::new(0),
            printer: Mutex::new(Arc::new(Mutex::new(stdout))),
        };
        let (ctx, shared) = (ctx.clone(), Arc::new(shared));
        Ok(Self {
            ctx,
            batch_duration,
            settings,
            shared,
            listeners: Mutex::default(),
        })
    }

    /// The context that runs the jobs.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// How long a batch is.
    #[must_use]
    pub fn batch_duration(&self) -> Duration {
        self.batch_duration
    }

    /// Every stream remembers its RDDs at least for `span`, so that they can be asked for.
    ///
    /// # Errors
    /// `Invalid` when it was set already.
    pub fn remember(&self, span: Duration) -> Result<()> {
        self.shared.graph.remember(span)
    }

    /// Adds a listener, which hears all events from the start on.
    #[track_caller]
    pub fn add_listener(&self, listener: impl StreamListener) {
        let operator = Operator::new("add_listener", Location::caller());
        self.listeners.lock().push((operator, Arc::new(listener)));
    }

    /// Makes `print`s defined from now on write to `out` in place of standard output.
    pub fn print_to(&self, out: impl Write + Send + 'static) {
        *self.shared.printer.lock() = Arc::new(Mutex::new(Box::new(out)));
    }

    /// Lines from the TCP server `host:port`; `\n`, `\r\n` and `\r` end a line.
    ///
    /// *Shape* [`Text`], a partition a block. *Cost* a thread; no allocation per line. *State*
    /// none. *Guarantee* none across a crash, and lines sent while disconnected are lost with the
    /// server: a plain socket cannot be asked again. Reconnects for ever, with back-off.
    #[track_caller]
    pub fn socket_text_stream(&self, host: &str, port: u16) -> DStream<Text> {
        self.socket_text_stream_with(host, port, SocketOptions::default())
    }

    /// As [`socket_text_stream`](Self::socket_text_stream), with options.
    #[track_caller]
    pub fn socket_text_stream_with(
        &self,
        host: &str,
        port: u16,
        options: SocketOptions,
    ) -> DStream<Text> {
        let operator = Operator::new("socket_text_stream", Location::caller());
        let endpoint = Endpoint {
            host: host.to_owned(),
            port,
            options,
        };
        self.received(operator, SocketReceiver(endpoint))
    }

    /// What `convert` makes of the bytes of the TCP server `host:port`. It is given each
    /// connection, reads until its end, and hands on each record.
    ///
    /// *Shape* `T`, a partition a block. *Guarantee* as
    /// [`socket_text_stream`](Self::socket_text_stream).
    #[track_caller]
    pub fn socket_stream<T: Data>(
        &self,
        host: &str,
        port: u16,
        convert: impl Fn(&mut dyn Read, &mut dyn FnMut(T)) -> Result<(), BoxError>
        + Send
        + Sync
        + 'static,
    ) -> DStream<T> {
        let operator = Operator::new("socket_stream", Location::caller());
        let endpoint = Endpoint {
            host: host.to_owned(),
            port,
            options: SocketOptions::default(),
        };
        self.received(
            operator,
            SocketItems {
                endpoint,
                convert: Box::new(convert),
            },
        )
    }

    /// What a receiver of the user's own stores.
    ///
    /// *Shape* the receiver's items, a partition a block. *Guarantee* what the receiver's own
    /// acknowledgements make of it; see [`Receiver`].
    #[track_caller]
    pub fn receiver_stream<R: Receiver>(&self, receiver: R) -> DStream<R::Item> {
        let operator = Operator::new("receiver_stream", Location::caller());
        self.received(operator, UserReceiver(receiver))
    }

    pub(crate) fn received<R: BlockReceiver>(
        &self,
        operator: Operator,
        receiver: R,
    ) -> DStream<<R::Block as tidemill_core::storage::BlockData>::Item> {
        let ctx = self.ctx.clone();
        let input = self
            .shared
            .graph
            .add_input(|id| ReceiverInput::new(id, ctx, receiver));
        DStream::new(
            &self.shared,
            operator,
            self.batch_duration,
            ReceiverStream(input),
        )
    }

    /// RDDs that the program queues: one a batch or all at once; an empty one when none waits.
    ///
    /// *Shape* as the queued RDDs. *Guarantee* none across a restart.
    #[track_caller]
    pub fn queue_stream<T: Data>(&self, queue: &RddQueue<T>, mode: QueueMode) -> DStream<T> {
        self.queue_as(
            Operator::new("queue_stream", Location::caller()),
            queue,
            mode,
            None,
        )
    }

    /// As [`queue_stream`](Self::queue_stream), with an RDD for batches when none waits.
    #[track_caller]
    pub fn queue_stream_or<T: Data>(
        &self,
        queue: &RddQueue<T>,
        mode: QueueMode,
        default: Rdd<T>,
    ) -> DStream<T> {
        self.queue_as(
            Operator::new("queue_stream", Location::caller()),
            queue,
            mode,
            Some(default),
        )
    }

    fn queue_as<T: Data>(
        &self,
        operator: Operator,
        queue: &RddQueue<T>,
        mode: QueueMode,
        default: Option<Rdd<T>>,
    ) -> DStream<T> {
        let id = self.passive_input(&operator);
        let (ctx, queue) = (self.ctx.clone(), queue.clone());
        let node = QueueInput {
            id,
            ctx,
            queue,
            mode,
            default,
        };
        DStream::new(&self.shared, operator, self.batch_duration, node)
    }

    /// What a source of the user's own makes for each batch, on the driver.
    #[track_caller]
    pub fn input_stream<S: InputSource>(&self, source: S) -> DStream<S::Item> {
        let operator = Operator::new("input_stream", Location::caller());
        let node = SourceInput {
            id: self.passive_input(&operator),
            source,
        };
        DStream::new(&self.shared, operator, self.batch_duration, node)
    }

    /// Ranges of a source that can be read again; tasks read them.
    ///
    /// *Shape* the source's items, a partition a range. *Guarantee* replayable: a batch that is
    /// computed again reads the same ranges.
    #[track_caller]
    pub fn offset_stream<S: OffsetSource>(
        &self,
        source: S,
    ) -> DStream<<S::Reader as OffsetReader>::Item> {
        let operator = Operator::new("offset_stream", Location::caller());
        let node = OffsetInput::new(self.passive_input(&operator), self.ctx.clone(), source);
        DStream::new(&self.shared, operator, self.batch_duration, node)
    }

    /// The records of all streams: those of the first, then of the second, and so on.
    ///
    /// *Shape* `T`, the streams' slide. *Cost* narrow. *State* none. No stream at all, and streams
    /// of different contexts or slides, are refused at start.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidemill_core::Context;
    /// use tidemill_streaming::{QueueMode, RddQueue, StreamingContext};
    ///
    /// let ssc = StreamingContext::new(&Context::local(1)?, Duration::from_secs(1))?;
    /// let parts = [1, 2, 3].map(|_| ssc.queue_stream(&RddQueue::<u64>::new(), QueueMode::All));
    /// assert_eq!(ssc.union(&parts).slide_duration(), Duration::from_secs(1));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn union<T: Data>(&self, streams: &[DStream<T>]) -> DStream<T> {
        let operator = Operator::new("union", Location::caller());
        let ctx = self.ctx.clone();
        self.per_many(operator, streams, move |rdds, operator, _| {
            ctx.union_as(operator.clone(), rdds)
        })
    }

    /// The RDD that `f` makes of each batch's RDDs of all streams, in their order. `f` runs on the
    /// driver, once a batch, before the batch's jobs; an `Err` fails the batch, later ones go on.
    ///
    /// *Shape* `U`, the streams' slide. No stream at all, and streams of different contexts or
    /// slides, are refused at start. For two streams of different types see
    /// [`DStream::transform_with`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tidemill_core::Context;
    /// # use tidemill_streaming::{QueueMode, RddQueue, StreamingContext};
    /// # let ssc = StreamingContext::new(&Context::local(1)?, Duration::from_secs(1))?;
    /// let parts = [1, 2].map(|_| ssc.queue_stream(&RddQueue::<u64>::new(), QueueMode::All));
    /// let longest_first = ssc.transform(&parts, |rdds, _time| match rdds {
    ///     [a, b] => Ok(b.union(a)?),
    ///     _ => Err("two streams".into()),
    /// });
    /// assert_eq!(longest_first.slide_duration(), Duration::from_secs(1));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn transform<T: Data, U: Data>(
        &self,
        streams: &[DStream<T>],
        f: impl Fn(&[Rdd<T>], Time) -> Result<Rdd<U>, BoxError> + Send + Sync + 'static,
    ) -> DStream<U> {
        let operator = Operator::new("transform", Location::caller());
        self.per_many(operator, streams, move |rdds, operator, time| {
            operator
                .call_on_driver(|| f(rdds, time))
                .map_err(|e| user_error(operator, time, e))
        })
    }

    fn per_many<T: Data, U: Data>(
        &self,
        operator: Operator,
        streams: &[DStream<T>],
        make: impl Fn(&[Rdd<T>], &Operator, Time) -> Result<Rdd<U>> + Send + Sync + 'static,
    ) -> DStream<U> {
        let slide = streams
            .first()
            .map_or(self.batch_duration, DStream::slide_duration);
        let node = PerMany::new(&self.shared, streams, make);
        DStream::new(&self.shared, operator, slide, node)
    }

    fn passive_input(&self, operator: &Operator) -> usize {
        let name = operator.to_string();
        self.shared.graph.add_input(|id| Passive { id, name }).id
    }

    /// The stream of an input that has nothing to do outside of computing a batch.
    pub(crate) fn passive<T: Data, N: StreamNode<T>>(
        &self,
        operator: Operator,
        make: impl FnOnce(usize) -> N,
    ) -> DStream<T> {
        let node = make(self.passive_input(&operator));
        DStream::new(&self.shared, operator, self.batch_duration, node)
    }

    /// Begins with the states that another run of the program gave as
    /// [`Running::encode_states`].
    #[doc(hidden)]
    pub fn restore_states(&self, states: Vec<(String, Vec<u8>)>) {
        self.shared.graph.restore(states);
    }

    /// Checks the program and runs it. Does not block; see [`Running::await_termination`].
    ///
    /// # Errors
    /// `Invalid` for everything the program does wrong: no outputs, streams of different contexts
    /// or slides, two operators of one name, a closure that cannot go where the tasks run (with
    /// its operator and line). `Unavailable` when the machine gives no threads.
    pub fn start(self) -> Result<Running> {
        let listeners = std::mem::take(&mut *self.listeners.lock());
        Running::start(
            self.ctx.clone(),
            self.batch_duration,
            self.settings.clone(),
            &self.shared,
            listeners,
        )
    }
}

impl Drop for StreamingContext {
    /// Streams know their graph and the graph knows its outputs' streams: a program that never
    /// started would keep itself.
    fn drop(&mut self) {
        self.shared.graph.abandon();
    }
}

impl fmt::Debug for StreamingContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamingContext")
            .field("ctx", &self.ctx)
            .field("batch_duration", &self.batch_duration)
            .finish_non_exhaustive()
    }
}
