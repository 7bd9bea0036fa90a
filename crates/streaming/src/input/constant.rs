//! `constant_stream`: the same RDD in every batch.

use std::panic::Location;
use std::sync::Arc;

use tidemill_core::{Context, Data, Operator, Rdd, Result};

use crate::context::StreamingContext;
use crate::dstream::DStream;
use crate::dstream::node::{AnyStream, Batch, StreamNode};
use crate::time::Time;

impl StreamingContext {
    /// The records of `rdd` in every batch: for tests, and to join a table with a stream.
    ///
    /// *Shape* as the RDD. *Cost* computed in each batch that needs it, unless the RDD is cached;
    /// forgetting a batch does not forget what is cached. *State* none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidemill_core::{Context, Result};
    /// use tidemill_streaming::{Stop, StreamingContext};
    ///
    /// # fn main() -> Result<()> {
    /// let ctx = Context::local(2)?;
    /// let ssc = StreamingContext::new(&ctx, Duration::from_millis(5))?;
    /// let (sender, rows) = std::sync::mpsc::channel();
    /// let table = ctx.parallelize([("a", 1)].map(|(key, n)| (key.to_owned(), n))).cache();
    /// ssc.constant_stream(&table)
    ///     .for_each_rdd(move |rdd, _| Ok(sender.send(rdd.collect()?)?));
    /// let running = ssc.start()?;
    /// assert_eq!(rows.iter().take(2).flatten().count(), 2);
    /// running.stop(Stop::now())
    /// # }
    /// ```
    #[track_caller]
    pub fn constant_stream<T: Data>(&self, rdd: &Rdd<T>) -> DStream<T> {
        let operator = Operator::new("constant_stream", Location::caller());
        let (ctx, rdd) = (self.context().clone(), rdd.clone());
        self.passive(operator, |id| Constant { id, ctx, rdd })
    }
}

struct Constant<T: 'static> {
    id: usize,
    ctx: Context,
    rdd: Rdd<T>,
}

impl<T: Data> StreamNode<T> for Constant<T> {
    fn compute(&self, operator: &Operator, _: Time, _: &Batch) -> Result<Option<Rdd<T>>> {
        // A view: a stream forgets what is cached of the RDDs it made, and this one is not its own.
        let view = std::slice::from_ref(&self.rdd);
        self.ctx.union_as(operator.clone(), view).map(Some)
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        Vec::new()
    }

    fn input_id(&self) -> Option<usize> {
        Some(self.id)
    }
}
