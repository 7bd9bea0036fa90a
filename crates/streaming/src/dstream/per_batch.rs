//! Operators that make each batch's RDD of the parents' RDDs of the same batch.

use std::sync::Arc;
use std::time::Duration;

use tidemill_core::codec::Encoder;
use tidemill_core::travel::{Image, Portable};
use tidemill_core::{Data, Error, Operator, Rdd, Result};

use super::DStream;
use super::node::{AnyStream, Batch, StreamNode};
use crate::context::Shared;
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
            _ => Err(no_rdd(operator, time)),
        }
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        vec![self.left.any(), self.right.any()]
    }

    fn validate(&self, operator: &Operator) -> Result<()> {
        let all = [Part::of(&self.left), Part::of(&self.right)];
        refuse_mixed(operator, self.left.shared(), &all)
    }
}

type MakeOfMany<T, U> = dyn Fn(&[Rdd<T>], &Operator, Time) -> Result<Rdd<U>> + Send + Sync;

/// Any number of parents of one type and slide.
pub(crate) struct PerMany<T: 'static, U: 'static> {
    shared: Arc<Shared>,
    all: Vec<DStream<T>>,
    make: Box<MakeOfMany<T, U>>,
}

impl<T: Data, U: Data> PerMany<T, U> {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        all: &[DStream<T>],
        make: impl Fn(&[Rdd<T>], &Operator, Time) -> Result<Rdd<U>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            all: all.to_vec(),
            make: Box::new(make),
        }
    }
}

impl<T: Data, U: Data> StreamNode<U> for PerMany<T, U> {
    fn compute(&self, operator: &Operator, time: Time, batch: &Batch) -> Result<Option<Rdd<U>>> {
        let rdds = self
            .all
            .iter()
            .map(|stream| {
                let rdd = stream.stream().rdd_of(batch, time)?;
                rdd.ok_or_else(|| no_rdd(operator, time))
            })
            .collect::<Result<Vec<_>>>()?;
        (self.make)(&rdds, operator, time).map(Some)
    }

    fn parents(&self) -> Vec<Arc<dyn AnyStream>> {
        self.all.iter().map(DStream::any).collect()
    }

    fn validate(&self, operator: &Operator) -> Result<()> {
        if self.all.is_empty() {
            let text = format!("list of DStreams to {} is empty", operator.kind());
            return Err(Error::invalid(text)
                .with("operator", operator)
                .with("hint", "give it at least one stream"));
        }
        let all: Vec<Part<'_>> = self.all.iter().map(Part::of).collect();
        refuse_mixed(operator, &self.shared, &all)
    }
}

fn no_rdd(operator: &Operator, time: Time) -> Error {
    Error::invalid("could not generate RDD from a parent")
        .with("operator", operator)
        .with("batch_time", time)
}

/// One of several parents, its type forgotten.
struct Part<'a> {
    shared: &'a Arc<Shared>,
    slide: Duration,
    operator: Operator,
}

impl<'a> Part<'a> {
    fn of<T: Data>(stream: &'a DStream<T>) -> Self {
        Self {
            shared: stream.shared(),
            slide: stream.slide_duration(),
            operator: stream.any().operator(),
        }
    }
}

/// Refuses parents that do not have batches at the same times in the same program.
fn refuse_mixed(operator: &Operator, shared: &Arc<Shared>, all: &[Part<'_>]) -> Result<()> {
    let Some(first) = all.first() else {
        return Ok(());
    };
    let refuse = |why: &str, other: &Part<'_>, hint: &str| {
        Err(Error::invalid(why)
            .with("operator", operator)
            .with("left", &first.operator)
            .with("right", &other.operator)
            .with("hint", hint))
    };
    for part in all {
        if !Arc::ptr_eq(shared, part.shared) {
            return refuse(
                "some of the DStreams have different contexts",
                part,
                "make both of one StreamingContext",
            );
        }
        if part.slide != first.slide {
            return refuse(
                "some of the DStreams have different slide durations",
                part,
                &format!(
                    "give both the same slide, now {} ms and {} ms",
                    first.slide.as_millis(),
                    part.slide.as_millis()
                ),
            );
        }
    }
    Ok(())
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
        self.per_batch_shared(operator, Arc::new(function), make)
    }

    /// As `per_batch`, with a function object that another stream has too.
    pub(crate) fn per_batch_shared<U: Data, M: Portable>(
        &self,
        operator: Operator,
        function: Arc<M>,
        make: impl Fn(&Rdd<T>, Operator, Arc<M>) -> Rdd<U> + Send + Sync + 'static,
    ) -> DStream<U> {
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
