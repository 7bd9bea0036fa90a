//! A state operator over shards: what `map_with_state` and the inverse window have in common.

use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_core::state::{
    Delta, Ensure, KeyedState, Placement, ReadState, StateSize, Step, Versioned,
};
use tidemill_core::{Context, Data, Error, Key, Operator, Rdd, Result};

use super::ledger::{Apply, BEGINNING, Ledger, Sure};
use super::{AnyState, not_begun};
use crate::settings::FailedBatch;
use crate::time::Time;

/// Shards, their books, and what they begin with.
pub(crate) struct KeyedOperator<K: 'static, S: 'static> {
    ctx: Context,
    state: Arc<KeyedState<K, S>>,
    ledger: Arc<Ledger>,
    initial: Mutex<Option<Rdd<(K, S)>>>,
    /// Whether a batch may be left out at all.
    may_skip: bool,
}

impl<K: Key, S: Data> KeyedOperator<K, S> {
    pub(crate) fn new(
        ctx: &Context,
        placement: Placement<K>,
        keeps_order: bool,
        initial: Option<Rdd<(K, S)>>,
    ) -> Arc<Self> {
        Arc::new(Self::with(ctx, placement, keeps_order, initial, true))
    }

    /// Empty at first, without time-outs, and without ever leaving a batch out.
    pub(crate) fn gapless(ctx: &Context, placement: Placement<K>) -> Arc<Self> {
        Arc::new(Self::with(ctx, placement, false, None, false))
    }

    fn with(
        ctx: &Context,
        placement: Placement<K>,
        keeps_order: bool,
        initial: Option<Rdd<(K, S)>>,
        may_skip: bool,
    ) -> Self {
        let state = KeyedState::new(placement, ctx.seed(), BEGINNING.as_ms(), keeps_order);
        Self {
            ctx: ctx.clone(),
            state: Arc::new(state),
            ledger: Arc::new(Ledger::new()),
            initial: Mutex::new(initial),
            may_skip,
        }
    }

    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    pub(crate) fn context(&self) -> &Context {
        &self.ctx
    }

    fn sure(&self, operator: &Operator, is_base: bool) -> Arc<dyn Ensure> {
        Arc::new(Sure {
            ledger: Arc::clone(&self.ledger),
            operator: operator.clone(),
            is_base,
        })
    }

    /// Notes a batch's records, to be applied when its time has come. The records it maps to.
    pub(crate) fn register<V: Data, M: Step<K, V, S>>(
        self: &Arc<Self>,
        operator: &Operator,
        time: Time,
        records: &Rdd<(K, V)>,
        step: &Arc<M>,
    ) -> Rdd<M::Output> {
        let (deltas, span) = self.deltas(operator, time, records, step);
        let ensure = self.sure(operator, false);
        let mapped = deltas.outputs_as(operator.clone(), &ensure, time.as_ms());
        self.wait((operator, time), deltas, span, Some(mapped.clone()));
        mapped
    }

    /// As `register`, for a step that maps to nothing.
    pub(crate) fn register_silent<V: Data, M: Step<K, V, S, Output = ()>>(
        self: &Arc<Self>,
        operator: &Operator,
        time: Time,
        records: &Rdd<(K, V)>,
        step: &Arc<M>,
    ) {
        let (deltas, span) = self.deltas(operator, time, records, step);
        self.wait((operator, time), deltas, span, None);
    }

    /// What the records do to the state on the way from the last version to this batch's.
    fn deltas<V: Data, M: Step<K, V, S>>(
        &self,
        operator: &Operator,
        time: Time,
        records: &Rdd<(K, V)>,
        step: &Arc<M>,
    ) -> (Rdd<Delta<K, S, M::Output>>, (i64, i64)) {
        let placed = self.state.placement().place(operator, records);
        let span = (self.ledger.last_version().as_ms(), time.as_ms());
        let versioned = Versioned {
            state: Arc::clone(&self.state),
            ensure: self.sure(operator, true),
        };
        let deltas = placed.advance_as(operator.clone(), versioned, step, span);
        (deltas, span)
    }

    fn wait<U: Data>(
        self: &Arc<Self>,
        (operator, time): (&Operator, Time),
        deltas: Rdd<Delta<K, S, U>>,
        span: (i64, i64),
        mapped: Option<Rdd<U>>,
    ) {
        let apply = ApplyDelta {
            to: Arc::clone(self),
            operator: operator.clone(),
            deltas,
            mapped,
            span,
        };
        self.ledger.register(time, Some(Arc::new(apply)));
    }

    /// All pairs after a batch.
    pub(crate) fn snapshot(&self, operator: &Operator, time: Time) -> Rdd<(K, S)> {
        let state: Arc<dyn ReadState<K, S>> = self.state.clone();
        let versioned = Versioned {
            state,
            ensure: self.sure(operator, false),
        };
        self.ctx.state_as(operator.clone(), versioned, time.as_ms())
    }

    /// Before the first batch: what the state begins with counts as touched by that batch.
    fn fill(&self, operator: &Operator, first_ms: i64) -> Result<()> {
        let Some(initial) = self.initial.lock().clone() else {
            return Ok(());
        };
        let pairs = initial.partitions_as(operator)?.into_iter().flatten();
        let entries = pairs.map(|(key, state)| (key, state, first_ms));
        self.state.fill(entries.collect())?;
        *self.initial.lock() = None;
        Ok(())
    }
}

/// One batch of a keyed state.
struct ApplyDelta<K: 'static, S: 'static, U: 'static> {
    to: Arc<KeyedOperator<K, S>>,
    operator: Operator,
    deltas: Rdd<Delta<K, S, U>>,
    mapped: Option<Rdd<U>>,
    span: (i64, i64),
}

impl<K: Key, S: Data, U: Data> Apply for ApplyDelta<K, S, U> {
    fn apply(&self) -> Result<()> {
        let (from_ms, to_ms) = self.span;
        self.to.fill(&self.operator, to_ms)?;
        let deltas = self.deltas.partitions_as(&self.operator)?;
        let deltas = deltas.into_iter().flatten().collect();
        let mapped = self.to.state.commit(from_ms, to_ms, deltas)?;
        // Only a shortcut: what is not kept is mapped again.
        let kept = self.mapped.as_ref().map(|rdd| rdd.keep_as(mapped));
        if let Some(Err(error)) = kept {
            tracing::warn!(state = %self.operator, error = %error.report(), "not kept");
        }
        Ok(())
    }

    fn skip(&self) -> Result<()> {
        self.to.state.repeat(self.span.0, self.span.1)
    }
}

impl<K: Key, S: Data> AnyState for KeyedOperator<K, S> {
    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn begin(&self, zero: Time, policy: FailedBatch) {
        let policy = if self.may_skip {
            policy
        } else {
            FailedBatch::ApplyFirst
        };
        self.ledger.begin(zero, policy);
    }

    fn forget(&self, time: Time) {
        self.state.forget(time.as_ms());
        self.ledger.forget(time);
    }

    fn encode(&self) -> Result<Vec<u8>> {
        if self.initial.lock().is_some() {
            return Err(not_begun());
        }
        self.state.encode(self.ledger.settled()?.as_ms())
    }

    fn restore(&self, bytes: &[u8]) -> Result<()> {
        if !self.may_skip {
            return Err(Error::unavailable(
                "a window with an inverse cannot go on from its state alone: the batches that are \
                 to leave it are not written down",
            ));
        }
        self.state.fill(KeyedState::<K, S>::decode(bytes)?)?;
        *self.initial.lock() = None;
        Ok(())
    }

    fn size(&self) -> StateSize {
        self.state.size()
    }
}
