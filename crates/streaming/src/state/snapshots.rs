//! A state operator whose every batch makes the whole state anew: `update_state_by_key`.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_core::state::{
    Ensure, Placement, ReadState, Snapshots, StateSize, UpdateAll, Versioned,
};
use tidemill_core::{Context, Data, Key, Operator, Rdd, Result};

use super::ledger::{Apply, BEGINNING, Ledger, Sure};
use super::{AnyState, not_begun};
use crate::settings::FailedBatch;
use crate::time::Time;

/// The remembered versions, their books, and what they begin with.
pub(crate) struct SnapshotOperator<K: 'static, S: 'static> {
    ctx: Context,
    state: Arc<Snapshots<K, S>>,
    ledger: Arc<Ledger>,
    beginning: Mutex<Beginning<K, S>>,
}

enum Beginning<K: 'static, S: 'static> {
    Empty,
    /// To be computed with the first batch.
    Given(Rdd<(K, S)>),
    /// There already.
    Filled,
}

impl<K: Key, S: Data> SnapshotOperator<K, S> {
    pub(crate) fn new(
        ctx: &Context,
        placement: Placement<K>,
        initial: Option<Rdd<(K, S)>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            ctx: ctx.clone(),
            state: Arc::new(Snapshots::new(placement, BEGINNING.as_ms())),
            ledger: Arc::new(Ledger::new()),
            beginning: Mutex::new(initial.map_or(Beginning::Empty, Beginning::Given)),
        })
    }

    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    pub(crate) fn context(&self) -> &Context {
        &self.ctx
    }

    /// Whether there may be any state: before the first record there is none, and no RDD either.
    pub(crate) fn has_begun(&self) -> bool {
        self.ledger.last_version() != BEGINNING
            || !matches!(*self.beginning.lock(), Beginning::Empty)
    }

    /// All pairs after a batch.
    pub(crate) fn snapshot(&self, operator: &Operator, time: Time) -> Rdd<(K, S)> {
        self.version(operator, time, false)
    }

    fn version(&self, operator: &Operator, time: Time, is_base: bool) -> Rdd<(K, S)> {
        let ensure: Arc<dyn Ensure> = Arc::new(Sure {
            ledger: Arc::clone(&self.ledger),
            operator: operator.clone(),
            is_base,
        });
        let state: Arc<dyn ReadState<K, S>> = self.state.clone();
        let versioned = Versioned { state, ensure };
        self.ctx.state_as(operator.clone(), versioned, time.as_ms())
    }

    /// Notes a batch's records, to be applied when its time has come.
    pub(crate) fn register<V: Data, M: UpdateAll<K, V, S>>(
        self: &Arc<Self>,
        operator: &Operator,
        time: Time,
        records: &Rdd<(K, V)>,
        function: &Arc<M>,
    ) {
        let placed = self.state.placement().place(operator, records);
        let from = self.ledger.last_version();
        let before = self.version(operator, from, true);
        let updated = placed.update_as(operator.clone(), &before, function, time.as_ms());
        let apply = ApplyUpdate {
            to: Arc::clone(self),
            operator: operator.clone(),
            updated,
            span: (from.as_ms(), time.as_ms()),
        };
        self.ledger.register(time, Some(Arc::new(apply)));
    }

    /// Before the first batch that is applied, which begins with the version `from`: batches before
    /// it may have been left out. Of equal keys the first counts.
    fn fill(&self, operator: &Operator, from_ms: i64) -> Result<()> {
        let initial = match &*self.beginning.lock() {
            Beginning::Given(initial) => initial.clone(),
            Beginning::Empty | Beginning::Filled => return Ok(()),
        };
        let mut seen = HashSet::new();
        let pairs = initial.partitions_as(operator)?.into_iter().flatten();
        let pairs = pairs.filter(|(key, _)| seen.insert(key.clone())).collect();
        self.state.commit(from_ms, vec![pairs])?;
        *self.beginning.lock() = Beginning::Filled;
        Ok(())
    }
}

/// One batch of the state.
struct ApplyUpdate<K: 'static, S: 'static> {
    to: Arc<SnapshotOperator<K, S>>,
    operator: Operator,
    updated: Rdd<(K, S)>,
    span: (i64, i64),
}

impl<K: Key, S: Data> Apply for ApplyUpdate<K, S> {
    fn apply(&self) -> Result<()> {
        self.to.fill(&self.operator, self.span.0)?;
        let pairs = self.updated.partitions_as(&self.operator)?;
        self.to.state.commit(self.span.1, pairs)
    }

    fn skip(&self) -> Result<()> {
        self.to.state.repeat(self.span.0, self.span.1);
        Ok(())
    }
}

impl<K: Key, S: Data> AnyState for SnapshotOperator<K, S> {
    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn begin(&self, zero: Time, policy: FailedBatch) {
        self.ledger.begin(zero, policy);
    }

    fn forget(&self, time: Time) {
        self.state.forget(time.as_ms());
        self.ledger.forget(time);
    }

    fn encode(&self) -> Result<Vec<u8>> {
        if matches!(*self.beginning.lock(), Beginning::Given(_)) {
            return Err(not_begun());
        }
        self.state.encode(self.ledger.settled()?.as_ms())
    }

    fn restore(&self, bytes: &[u8]) -> Result<()> {
        let pairs = Snapshots::<K, S>::decode(bytes)?;
        self.state.commit(BEGINNING.as_ms(), vec![pairs])?;
        *self.beginning.lock() = Beginning::Filled;
        Ok(())
    }

    fn size(&self) -> StateSize {
        self.state.size()
    }
}
