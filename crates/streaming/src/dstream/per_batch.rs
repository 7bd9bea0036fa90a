//! Operators that make each batch's RDD of the parents' RDDs of the same batch.

use std::sync::Arc;

use tidemill_core::codec::Encoder;
use tidemill_core::travel::{Image, Portable};
use tidemill_core::{Data, Error, Operator, Rdd, Result};

use super::DStream;
use super::node::{AnyStream, Batch, StreamNode};
use crate::time::Time;

type Check = Box<dyn Fn(&Operator, &Image) -> Result<()> + Send + Sync>;

/// One parent.
pub(crate) struct PerBatch<T: 'static, U: 'static> {
    parent: DStream<T>,
    make: Box<dyn Fn(&Rdd<T>, &Operator, Time) -> Result<Rdd<U>> + Send + Sync>,
    check: Option<Check>,
}

impl<T: Data, U: Data> PerBatch<T, U> {
    pub(crate) fn new(
        parent: &DStream<T>,
        make: impl Fn(&Rdd<T>, &Operator, Time) -> Result<Rdd<U>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            parent: parent.clone(),
            make: Box::new(make),
            check: None,
        }
    }
}

impl<T: Data, U: Data> StreamNode<U> for PerBatch<T, U> {
    fn compute(&self, operator: &Operator, time: Time, batch: &Batch) -> Result<Option<Rdd<U>>> {
        match self.parent.stream().rdd_of(batch, time)? {
            Some(rdd) => (self.make)(&rdd, operator, time).map(Some),
            None => Ok(None),
        }
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        vec![self.parent.any()]
    }

    fn check(&self, operator: &Operator, image: &Image) -> Result<()> {
        self.check
            .as_ref()
            .map_or(Ok(()), |check| check(operator, image))
    }
}

/// Two parents of the same slide.
pub(crate) struct PerTwo<T: 'static, W: 'static, U: 'static> {
    left: DStream<T>,
    right: DStream<W>,
    make: Box<dyn Fn(&Rdd<T>, &Rdd<W>, &Operator, Time) -> Result<Rdd<U>> + Send + Sync>,
}

impl<T: Data, W: Data, U: Data> StreamNode<U> for PerTwo<T, W, U> {
    fn compute(&self, operator: &Operator, time: Time, batch: &Batch) -> Result<Option<Rdd<U>>> {
        let left = self.left.stream().rdd_of(batch, time)?;
        let right = self.right.stream().rdd_of(batch, time)?;
        match (left, right) {
            (Some(left), Some(right)) => (self.make)(&left, &right, operator, time).map(Some),
            _ => Err(Error::invalid("could not generate RDD from a parent")
                .with("operator", operator)
                .with("batch_time", time)),
        }
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        vec![self.left.any(), self.right.any()]
    }

    fn validate(&self, operator: &Operator) -> Result<()> {
        let refuse = |why: &str| {
            Err(Error::invalid(why)
                .with("operator", operator)
                .with("left", self.left.any().operator())
                .with("right", self.right.any().operator()))
        };
        if !Arc::ptr_eq(self.left.shared(), self.right.shared()) {
            return refuse("some of the DStreams have different contexts");
        }
        if self.left.slide_duration() != self.right.slide_duration() {
            return refuse("some of the DStreams have different slide durations");
        }
        Ok(())
    }
}

impl<T: Data> DStream<T> {
    /// A stream whose RDDs are made of this one's with a function object that is shared by all
    /// batches.
    pub(crate) fn per_batch<U: Data, M: Portable>(
        &self,
        operator: Operator,
        function: M,
        make: impl Fn(&Rdd<T>, Operator, Arc<M>) -> Rdd<U> + Send + Sync + 'static,
    ) -> DStream<U> {
        let function = Arc::new(function);
        let checked = Arc::clone(&function);
        let node = PerBatch {
            parent: self.clone(),
            make: Box::new(move |rdd, operator, _| {
                Ok(make(rdd, operator.clone(), Arc::clone(&function)))
            }),
            check: Some(Box::new(move |operator, image| {
                checked.encode(&mut Encoder::new(operator, image))
            })),
        };
        self.child(operator, node)
    }

    /// As `per_batch`, without a function of the user.
    pub(crate) fn per_batch_plain<U: Data>(
        &self,
        operator: Operator,
        make: impl Fn(&Rdd<T>, Operator) -> Result<Rdd<U>> + Send + Sync + 'static,
    ) -> DStream<U> {
        let node = PerBatch {
            parent: self.clone(),
            make: Box::new(move |rdd, operator, _| make(rdd, operator.clone())),
            check: None,
        };
        self.child(operator, node)
    }

    pub(crate) fn per_two<W: Data, U: Data>(
        &self,
        operator: Operator,
        other: &DStream<W>,
        make: impl Fn(&Rdd<T>, &Rdd<W>, &Operator, Time) -> Result<Rdd<U>> + Send + Sync + 'static,
    ) -> DStream<U> {
        let node = PerTwo {
            left: self.clone(),
            right: other.clone(),
            make: Box::new(make),
        };
        self.child(operator, node)
    }
}
