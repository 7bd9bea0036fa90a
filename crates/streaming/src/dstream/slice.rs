//! `slice`: the RDDs of batches that have been, for questions while the stream runs.

use tidemill_core::{Data, Rdd, Result, catch};

use super::DStream;
use super::node::Batch;
use crate::time::Interval;

impl<T: Data> DStream<T> {
    /// The RDDs of the batches in `interval`, both ends included, each end moved back to the
    /// nearest batch of the stream. RDDs that were not made, or are forgotten, are made now.
    ///
    /// Batches are in it from when their jobs were made; times that have not come are left out.
    /// [`StreamingContext::remember`](crate::StreamingContext::remember) says how far back one may
    /// ask.
    ///
    /// *Cost* none, until an action asks for records.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidemill_core::Context;
    /// use tidemill_streaming::{QueueMode, RddQueue, Stop, StreamingContext, Time};
    ///
    /// let ctx = Context::local(1)?;
    /// let queue = RddQueue::new();
    /// queue.push(ctx.parallelize([1, 2, 3]));
    /// let ssc = StreamingContext::new(&ctx, Duration::from_millis(20))?;
    /// ssc.remember(Duration::from_secs(60))?;
    /// let numbers = ssc.queue_stream(&queue, QueueMode::OneAtATime);
    /// let (sender, batches) = std::sync::mpsc::channel();
    /// numbers.for_each_rdd(move |_, time| Ok(sender.send(time)?));
    ///
    /// assert!(numbers.slice((Time::from_ms(0), Time::from_ms(1))).is_err(), "not before the start");
    /// let running = ssc.start()?;
    /// let (first, second) = (batches.recv().unwrap(), batches.recv().unwrap());
    /// let rdds = numbers.slice((first, second))?;
    /// assert_eq!(rdds.len(), 2);
    /// assert_eq!(rdds[0].collect()?, [1, 2, 3]);
    /// running.stop(Stop::now())?;
    /// # Ok::<(), tidemill_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` before the start, and for a stream that no output needs: it has no batches.
    /// `Data` for batches that have been forgotten. Else those of functions given to `transform`.
    pub fn slice(&self, interval: impl Into<Interval>) -> Result<Vec<Rdd<T>>> {
        let Interval { begin, end } = interval.into();
        let (zero, slide) = (self.stream().zero()?, self.slide_duration());
        let align = |time: crate::time::Time| time.max(zero).floor_from(slide, zero);
        let first = align(begin).max(zero + slide);
        let last = align(end.min(self.shared().graph.generated()));
        // Functions of the user run here, and may panic.
        catch(|| {
            first
                .to(last, slide)
                .filter_map(|time| {
                    let batch = Batch::new(time);
                    self.stream().rdd_of(&batch, time).transpose()
                })
                .collect()
        })
    }
}
