//! `for_each_rdd`: the output every other output is made of.

use std::sync::Arc;

use tidemill_core::{Data, Operator, Rdd, Result, catch};

use super::node::{AnyStream, Batch, Job};
use super::{BoxError, DStream, user_error};
use crate::graph::AnyOutput;
use crate::time::Time;

type Action<T> = dyn Fn(&Rdd<T>, Time) -> Result<(), BoxError> + Send + Sync;

/// Runs a function of the user for each batch's RDD.
pub(crate) struct ForEach<T: 'static> {
    parent: DStream<T>,
    operator: Operator,
    action: Arc<Action<T>>,
}

impl<T: Data> ForEach<T> {
    pub(crate) fn new(
        parent: DStream<T>,
        operator: Operator,
        action: impl Fn(&Rdd<T>, Time) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            parent,
            operator,
            action: Arc::new(action),
        }
    }
}

impl<T: Data> AnyOutput for ForEach<T> {
    fn stream(&self) -> Arc<dyn AnyStream> {
        self.parent.any()
    }

    fn operator(&self) -> Operator {
        self.operator.clone()
    }

    fn generate(&self, batch: &Batch) -> Result<Option<Job>> {
        let time = batch.time;
        let Some(rdd) = self.parent.stream().rdd_of(batch, time)? else {
            return Ok(None);
        };
        let (action, operator) = (Arc::clone(&self.action), self.operator.clone());
        Ok(Some(Box::new(move || {
            match catch(|| Ok(operator.call_on_driver(|| action(&rdd, time)))) {
                Ok(ended) => ended.map_err(|error| user_error(&operator, time, error)),
                Err(panic) => Err(panic.with("batch_time", time)),
            }
        })))
    }
}
