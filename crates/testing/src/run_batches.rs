//! Tables of batches: what goes in, batch by batch, and what comes out.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tidemill_core::{Context, Data, Error, ManualClock, Result};
use tidemill_streaming::{
    DStream, QueueMode, RddQueue, Running, Stop, StreamEvent, StreamingContext,
};

use crate::backends::{Backends, TestBackend};

/// How long a batch of a table is, on its clock.
const BATCH: Duration = Duration::from_secs(1);

/// A batch that takes longer than this, on the machine's clock, hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `operation` makes of the batches of `input`, one list a batch, run in this process.
///
/// Each batch has two partitions; [`BatchTable`] has the choice, other backends, and tables of two
/// inputs. Time is a [`ManualClock`] that moves on when a batch has ended: nothing waits.
///
/// # Errors
/// What the stream's `start` refuses, and the first batch's failure.
///
/// ```
/// use tidemill_testing::run_batches;
///
/// let doubled = run_batches(vec![vec![1, 2], vec![], vec![3]], |numbers| numbers.map(|x| 2 * x))?;
/// assert_eq!(doubled, [vec![2, 4], vec![], vec![6]]);
/// # Ok::<(), tidemill_core::Error>(())
/// ```
pub fn run_batches<T: Data, U: Data>(
    input: Vec<Vec<T>>,
    operation: impl Fn(&DStream<T>) -> DStream<U>,
) -> Result<Vec<Vec<U>>> {
    let local = Backends::named(Some("local"))?;
    let local = local
        .first()
        .ok_or_else(|| Error::internal("no local backend"))?;
    BatchTable::new(*local).run(input, operation)
}

/// Each batch sorted, for operators that promise no order.
///
/// ```
/// use tidemill_testing::{run_batches, unordered};
///
/// let words = vec![vec!["b", "a", "b"].into_iter().map(String::from).collect()];
/// let counts = unordered(run_batches(words, |words| words.count_by_value())?);
/// assert_eq!(counts, [vec![("a".to_owned(), 1), ("b".to_owned(), 2)]]);
/// # Ok::<(), tidemill_core::Error>(())
/// ```
#[must_use]
pub fn unordered<T: Ord>(mut batches: Vec<Vec<T>>) -> Vec<Vec<T>> {
    for batch in &mut batches {
        batch.sort();
    }
    batches
}

/// Runs tables of batches on a backend.
#[derive(Clone, Copy, Debug)]
pub struct BatchTable {
    backend: TestBackend,
    num_partitions: usize,
}

impl BatchTable {
    /// On `backend`, two slots and two partitions a batch.
    #[must_use]
    pub fn new(backend: TestBackend) -> Self {
        Self {
            backend,
            num_partitions: 2,
        }
    }

    /// The same with so many partitions a batch.
    #[must_use]
    pub fn partitions(self, num_partitions: usize) -> Self {
        Self {
            num_partitions,
            ..self
        }
    }

    /// What `operation` makes of the batches of `input`; see [`run_batches`].
    ///
    /// # Errors
    /// As [`run_batches`].
    pub fn run<T: Data, U: Data>(
        &self,
        input: Vec<Vec<T>>,
        operation: impl Fn(&DStream<T>) -> DStream<U>,
    ) -> Result<Vec<Vec<U>>> {
        let num_batches = input.len();
        let program = Program::new(self.backend)?;
        let output = operation(&program.input(input, self.num_partitions)?);
        program.run(&output, num_batches)
    }

    /// What `operation` makes of the batches of `left` and `right`, side by side; the shorter one
    /// goes on with empty batches.
    ///
    /// # Errors
    /// As [`run_batches`].
    pub fn run_two<T: Data, W: Data, U: Data>(
        &self,
        left: Vec<Vec<T>>,
        right: Vec<Vec<W>>,
        operation: impl Fn(&DStream<T>, &DStream<W>) -> DStream<U>,
    ) -> Result<Vec<Vec<U>>> {
        let num_batches = left.len().max(right.len());
        let program = Program::new(self.backend)?;
        let left = program.input(left, self.num_partitions)?;
        let right = program.input(right, self.num_partitions)?;
        program.run(&operation(&left, &right), num_batches)
    }
}

/// What the thread that drives a table hears.
enum News {
    BatchCompleted,
    Failed(Error),
}

/// The program of one table.
struct Program {
    ctx: Context,
    clock: ManualClock,
    ssc: StreamingContext,
    news: (Sender<News>, Receiver<News>),
}

impl Program {
    fn new(backend: TestBackend) -> Result<Self> {
        let clock = ManualClock::new(0);
        let builder = backend.builder(2)?.clock(Arc::new(clock.clone()));
        let ctx = builder.build()?;
        let ssc = StreamingContext::new(&ctx, BATCH)?;
        let news = channel();
        let completed = news.0.clone();
        ssc.add_listener(move |event: &StreamEvent| {
            if matches!(event, StreamEvent::BatchCompleted(_)) {
                // The table may have been given up.
                let _ = completed.send(News::BatchCompleted);
            }
        });
        Ok(Self {
            ctx,
            clock,
            ssc,
            news,
        })
    }

    fn input<T: Data>(&self, batches: Vec<Vec<T>>, num_partitions: usize) -> Result<DStream<T>> {
        let queue = RddQueue::new();
        for batch in batches {
            queue.push(self.ctx.parallelize_into(batch, num_partitions)?);
        }
        Ok(self.ssc.queue_stream(&queue, QueueMode::OneAtATime))
    }

    fn run<U: Data>(self, output: &DStream<U>, num_batches: usize) -> Result<Vec<Vec<U>>> {
        let (sender, rows) = channel();
        output.for_each_rdd(move |rdd, _| Ok(sender.send(rdd.collect()?)?));
        let (failures, news) = self.news;
        let running = self.ssc.start()?;
        std::thread::scope(|scope| {
            let running = &running;
            scope.spawn(move || {
                if let Err(error) = running.await_termination() {
                    let _ = failures.send(News::Failed(error));
                }
            });
            let driven = drive(&self.clock, &news, running, num_batches);
            running.stop(Stop::now()).and(driven)
        })?;
        self.ctx.stop();
        Ok(rows.try_iter().collect())
    }
}

/// One batch after the other, each when the one before has ended.
fn drive(
    clock: &ManualClock,
    news: &Receiver<News>,
    running: &Running,
    num_batches: usize,
) -> Result<()> {
    for batch in 0..num_batches {
        clock.advance(BATCH);
        match news.recv_timeout(PATIENCE) {
            // A failed batch is completed too; its error was there before.
            Ok(News::BatchCompleted) => {
                running.await_termination_or_timeout(Duration::ZERO)?;
            }
            Ok(News::Failed(error)) => return Err(error),
            Err(error) => {
                return Err(Error::unavailable("batch does not end")
                    .with("batch", batch)
                    .caused_by(error));
            }
        }
    }
    Ok(())
}
