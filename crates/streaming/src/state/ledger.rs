//! `Ledger`: which batches a state operator has applied, which wait, and the one who applies them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_core::state::Ensure;
use tidemill_core::{Error, ErrorKind, Operator, Result, catch};

use crate::notice::tell;
use crate::settings::FailedBatch;
use crate::time::Time;

/// The version of a state before its first batch.
pub(crate) const BEGINNING: Time = Time::from_ms(i64::MIN);

/// Applies one batch to the state, or, when it is to be left out, makes its version the same as
/// the one before.
pub(crate) trait Apply: Send + Sync {
    fn apply(&self) -> Result<()>;
    fn skip(&self) -> Result<()>;
}

/// The books of one state operator.
pub(crate) struct Ledger {
    /// Held by the thread that applies. Taken before `books`, never after.
    applying: Mutex<()>,
    books: Mutex<Books>,
}

struct Books {
    policy: FailedBatch,
    /// Up to here every batch is applied or was left out.
    applied: Time,
    /// Up to here every batch was asked for its input.
    asked: Time,
    /// The version that the next batch begins with.
    last_version: Time,
    /// Batches whose input is known.
    pending: BTreeMap<Time, Arc<dyn Apply>>,
    /// Why batches could not be applied, for those who ask for them again.
    failed: BTreeMap<Time, Error>,
    /// Of all states of the program.
    num_skipped: Arc<AtomicU64>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            applying: Mutex::new(()),
            books: Mutex::new(Books {
                policy: FailedBatch::default(),
                applied: BEGINNING,
                asked: BEGINNING,
                last_version: BEGINNING,
                pending: BTreeMap::new(),
                failed: BTreeMap::new(),
                num_skipped: Arc::default(),
            }),
        }
    }

    /// The stream starts: its first batch is after `zero`.
    pub(crate) fn begin(&self, zero: Time, policy: FailedBatch) {
        let mut books = self.books.lock();
        books.policy = policy;
        (books.applied, books.asked) = (zero, zero);
    }

    /// Batches before `time` that nobody could ask for their input, because they could not be
    /// generated.
    pub(crate) fn missed(&self, time: Time, slide: Duration) -> Vec<Time> {
        let asked = self.books.lock().asked;
        (asked + slide).until(time, slide).collect()
    }

    /// Whether the batch was asked for its input before.
    pub(crate) fn has_asked(&self, time: Time) -> bool {
        time <= self.books.lock().asked
    }

    /// The version that the next batch begins with.
    pub(crate) fn last_version(&self) -> Time {
        self.books.lock().last_version
    }

    /// Notes a batch's input; `None` when the batch has none and leaves the state as it is.
    pub(crate) fn register(&self, time: Time, apply: Option<Arc<dyn Apply>>) {
        let mut books = self.books.lock();
        books.asked = books.asked.max(time);
        if let Some(apply) = apply {
            books.last_version = time;
            books.pending.insert(time, apply);
        }
    }

    /// Notes that a batch's input cannot be had: under the policy *skip* it is left out.
    ///
    /// # Errors
    /// Why it cannot be had, under the other policy.
    pub(crate) fn miss(&self, operator: &Operator, time: Time, error: Error) -> Result<()> {
        let mut books = self.books.lock();
        if books.policy == FailedBatch::ApplyFirst || is_stopping(&error) {
            return Err(error);
        }
        books.asked = books.asked.max(time);
        books.skipped(operator, time, &error);
        Ok(())
    }

    /// The first batch that is not applied yet, known or not.
    pub(crate) fn first_open(&self, slide: Duration) -> Time {
        let books = self.books.lock();
        let pending = books.pending.keys().next();
        pending.copied().unwrap_or(books.asked + slide)
    }

    /// The last version that can be written down: everything asked for is applied.
    pub(crate) fn settled(&self) -> Result<Time> {
        let books = self.books.lock();
        match books.pending.keys().next() {
            None => Ok(books.last_version),
            Some(time) => Err(
                Error::unavailable("a batch is not applied to the state yet")
                    .with("batch_time", time),
            ),
        }
    }

    /// Whether a batch up to and with `time` waits to be applied.
    pub(crate) fn waits_for(&self, time: Time) -> bool {
        let books = self.books.lock();
        books
            .pending
            .keys()
            .next()
            .is_some_and(|first| *first <= time)
    }

    /// Counts batches that are left out there.
    pub(crate) fn count_in(&self, num_skipped: &Arc<AtomicU64>) {
        self.books.lock().num_skipped = Arc::clone(num_skipped);
    }

    /// Forgets failures up to and with `time`.
    pub(crate) fn forget(&self, time: Time) {
        drop(crate::time::take_until(&mut self.books.lock().failed, time));
    }

    fn has_applied(&self, time: Time) -> bool {
        self.books.lock().applied >= time
    }

    /// Applies what waits up to and with `time`, in order. What failed for this batch before fails
    /// the same way, without another run.
    pub(crate) fn advance(&self, operator: &Operator, time: Time) -> Result<()> {
        {
            let books = self.books.lock();
            if let Some(error) = books.failed.get(&time) {
                return Err(error.clone());
            }
            if books.applied >= time {
                return Ok(());
            }
        }
        let _one = self.applying.lock();
        loop {
            let (at, apply) = {
                let mut books = self.books.lock();
                if let Some(error) = books.failed.get(&time) {
                    return Err(error.clone());
                }
                let next = books.pending.first_key_value();
                let Some((at, apply)) = next.filter(|(at, _)| **at <= time) else {
                    books.applied = books.applied.max(time.min(books.asked));
                    return Ok(());
                };
                (*at, Arc::clone(apply))
            };
            let result = catch(|| apply.apply());
            self.settle(operator, (time, at), &*apply, result)?;
        }
    }

    fn settle(
        &self,
        operator: &Operator,
        (wanted, at): (Time, Time),
        apply: &dyn Apply,
        result: Result<()>,
    ) -> Result<()> {
        let error = result
            .err()
            .map(|error| error.with("state", operator).with("state_batch_time", at));
        let policy = self.books.lock().policy;
        let skips = policy == FailedBatch::Skip && error.as_ref().is_some_and(|e| !is_stopping(e));
        if skips {
            apply.skip()?;
        }
        let mut books = self.books.lock();
        if error.is_none() || skips {
            books.pending.remove(&at);
            books.failed.remove(&at);
            books.applied = books.applied.max(at);
        }
        let Some(error) = error else { return Ok(()) };
        if skips {
            books.skipped(operator, at, &error);
            // The batch that was left out fails; one that only had to go past it does not.
            books.failed.insert(at, error.clone());
            return if at == wanted { Err(error) } else { Ok(()) };
        }
        books.failed.insert(wanted, error.clone());
        Err(error)
    }
}

/// A job that was cancelled or refused because everything ends is not the batch's fault.
fn is_stopping(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Closed)
}

impl Books {
    /// A batch is left out: people hear of it.
    fn skipped(&self, operator: &Operator, time: Time, error: &Error) {
        let num_skipped = self.num_skipped.fetch_add(1, Ordering::Relaxed) + 1;
        let what = "a batch was left out of the state";
        tracing::warn!(
            state = %operator, batch = %time, num_skipped, error = %error.report(), what
        );
        tell(
            what,
            &error.clone().with("num_skipped", num_skipped).report(),
        );
    }
}

/// A ledger as the nodes of core see it.
pub(crate) struct Sure {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) operator: Operator,
    /// Whether it is asked for the version that a batch begins with: one that was left out is as
    /// good as any then.
    pub(crate) is_base: bool,
}

impl Ensure for Sure {
    fn ensure(&self, version_ms: i64) -> Result<()> {
        let time = Time::from_ms(version_ms);
        if self.is_base && self.ledger.has_applied(time) {
            return Ok(());
        }
        self.ledger.advance(&self.operator, time)
    }
}
