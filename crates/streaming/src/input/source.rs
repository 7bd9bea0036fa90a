//! `InputSource`: an input of the user's own, asked on the driver for each batch.

use std::sync::Arc;

use tidemill_core::{Data, Operator, Rdd};

use crate::dstream::node::{AnyStream, Batch, StreamNode};
use crate::dstream::{BoxError, user_error};
use crate::time::Time;

/// Makes the RDD of each batch.
///
/// ```
/// use tidemill_core::{Context, Rdd};
/// use tidemill_streaming::{BoxError, InputSource, Time};
///
/// /// One record a batch: its time.
/// struct Ticks(Context);
///
/// impl InputSource for Ticks {
///     type Item = i64;
///
///     fn compute(&self, time: Time) -> Result<Option<Rdd<i64>>, BoxError> {
///         Ok(Some(self.0.parallelize_into([time.as_ms()], 1)?))
///     }
/// }
/// ```
pub trait InputSource: Send + Sync + 'static {
    /// The record type.
    type Item: Data;

    /// The RDD of the batch `time`; `None` for no RDD, and so no job.
    ///
    /// # Errors
    /// Fails the batch; later ones go on.
    fn compute(&self, time: Time) -> Result<Option<Rdd<Self::Item>>, BoxError>;
}

pub(crate) struct SourceInput<S> {
    pub(crate) id: usize,
    pub(crate) source: S,
}

impl<S: InputSource> StreamNode<S::Item> for SourceInput<S> {
    fn compute(
        &self,
        operator: &Operator,
        time: Time,
        _: &Batch,
    ) -> tidemill_core::Result<Option<Rdd<S::Item>>> {
        operator
            .call(|| self.source.compute(time))
            .map_err(|e| user_error(operator, time, e))
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        Vec::new()
    }

    fn input_id(&self) -> Option<usize> {
        Some(self.id)
    }
}
