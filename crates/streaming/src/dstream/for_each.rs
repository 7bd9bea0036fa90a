//! `for_each_rdd`: the output every other output is made of.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_core::codec::Encoder;
use tidemill_core::function::Plain;
use tidemill_core::travel::Image;
use tidemill_core::{Data, Operator, PartitionIter, Rdd, Result, catch};

use super::node::{AnyStream, Batch, Job};
use super::{BoxError, DStream, user_error};
use crate::graph::AnyOutput;
use crate::time::Time;

type Action<T> = dyn Fn(&Rdd<T>, Time, &Operator) -> Result<(), BoxError> + Send + Sync;
type Check = Box<dyn Fn(&Operator, &Image) -> Result<()> + Send + Sync>;

/// An output that a program has defined. It runs whether this is kept or dropped.
#[derive(Clone)]
pub struct Output {
    operator: Arc<Mutex<Operator>>,
}

#[expect(
    clippy::must_use_candidate,
    reason = "the output is registered already: the handle is for whom wants it"
)]
impl Output {
    /// Names the output, as [`DStream::named`] does an operator: in messages, in the events of
    /// listeners, in checkpoints.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tidemill_core::Context;
    /// # use tidemill_streaming::{QueueMode, RddQueue, StreamingContext};
    /// # let ssc = StreamingContext::new(&Context::local(1)?, Duration::from_secs(1))?;
    /// let numbers = ssc.queue_stream(&RddQueue::<u64>::new(), QueueMode::All);
    /// let output = numbers.print().named("numbers");
    /// assert!(format!("{output:?}").starts_with("print \"numbers\" at "));
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    pub fn named(self, name: &str) -> Self {
        {
            let mut operator = self.operator.lock();
            *operator = operator.named(name);
        }
        self
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operator.lock())
    }
}

/// Runs a function of the user for each batch's RDD.
struct ForEach<T: 'static> {
    parent: DStream<T>,
    operator: Arc<Mutex<Operator>>,
    action: Arc<Action<T>>,
    check: Option<Check>,
}

impl<T: Data> AnyOutput for ForEach<T> {
    fn stream(&self) -> Arc<dyn AnyStream> {
        self.parent.any()
    }

    fn operator(&self) -> Operator {
        self.operator.lock().clone()
    }

    fn check(&self, image: &Image) -> Result<()> {
        self.check
            .as_ref()
            .map_or(Ok(()), |check| check(&self.operator(), image))
    }

    fn generate(&self, batch: &Batch) -> Result<Option<Job>> {
        let time = batch.time;
        let Some(rdd) = self.parent.stream().rdd_of(batch, time)? else {
            return Ok(None);
        };
        let (action, operator) = (Arc::clone(&self.action), self.operator());
        Ok(Some(Box::new(move || {
            match catch(|| Ok(operator.call(|| action(&rdd, time, &operator)))) {
                Ok(ended) => ended.map_err(|error| user_error(&operator, time, error)),
                Err(panic) => Err(panic.with("batch_time", time)),
            }
        })))
    }
}

impl<T: Data> DStream<T> {
    /// Runs `f` on the driver for each batch's RDD. What `f` runs actions on is computed; an `f`
    /// without an action runs no job.
    ///
    /// *Guarantee* at least once: after a failure a batch may be repeated, with the same time.
    /// An `Err` is reported by `await_termination`; later batches go on.
    #[track_caller]
    pub fn for_each_rdd(
        &self,
        f: impl Fn(&Rdd<T>, Time) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Output {
        let operator = Operator::new("for_each_rdd", Location::caller());
        self.output(operator, move |rdd, time, _| f(rdd, time))
    }

    /// Runs `f` on the records of each partition of each batch, empty ones too, where the
    /// partition is: the place for a connection to somewhere else, one a partition.
    ///
    /// *Cost* one job a batch. *Guarantee* at least once: a partition whose task fails is run
    /// again, from its first record. An `Err` fails the task like a panic.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidemill_core::Context;
    /// use tidemill_streaming::{BoxError, QueueMode, RddQueue, Stop, StreamingContext};
    ///
    /// let ctx = Context::local(1)?;
    /// let queue = RddQueue::new();
    /// queue.push(ctx.parallelize_into([1, 2, 3], 1)?);
    /// let ssc = StreamingContext::new(&ctx, Duration::from_millis(5))?;
    /// let (sender, sums) = std::sync::mpsc::channel();
    /// ssc.queue_stream(&queue, QueueMode::OneAtATime)
    ///     .for_each_partition(move |records| sender.send(records.sum::<i32>()));
    /// let running = ssc.start()?;
    /// assert_eq!(sums.recv(), Ok(6));
    /// running.stop(Stop::now())?;
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    #[track_caller]
    pub fn for_each_partition<E>(
        &self,
        f: impl Fn(PartitionIter<T>) -> Result<(), E> + Send + Sync + 'static,
    ) -> Output
    where
        E: Into<BoxError> + 'static,
    {
        let operator = Operator::new("for_each_partition", Location::caller());
        self.for_each_partition_with(operator, Plain(f))
    }

    pub(crate) fn for_each_partition_with<E, M>(&self, operator: Operator, f: M) -> Output
    where
        E: Into<BoxError> + 'static,
        M: tidemill_core::function::Function<PartitionIter<T>, Output = Result<(), E>>,
    {
        let function = Arc::new(f);
        let checked = Arc::clone(&function);
        let check: Check =
            Box::new(move |operator, image| checked.encode(&mut Encoder::new(operator, image)));
        let action = move |rdd: &Rdd<T>, _: Time, operator: &Operator| {
            Ok(rdd.for_each_partition_with(operator.clone(), Arc::clone(&function))?)
        };
        self.register(operator, action, Some(check))
    }

    pub(crate) fn output(
        &self,
        operator: Operator,
        action: impl Fn(&Rdd<T>, Time, &Operator) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Output {
        self.register(operator, action, None)
    }

    fn register(
        &self,
        operator: Operator,
        action: impl Fn(&Rdd<T>, Time, &Operator) -> Result<(), BoxError> + Send + Sync + 'static,
        check: Option<Check>,
    ) -> Output {
        let operator = Arc::new(Mutex::new(operator));
        self.shared().graph.add_output(Arc::new(ForEach {
            parent: self.clone(),
            operator: Arc::clone(&operator),
            action: Arc::new(action),
            check,
        }));
        Output { operator }
    }
}
