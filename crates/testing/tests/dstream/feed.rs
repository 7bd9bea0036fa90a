//! A receiver that does what its case tells it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver as Inbox, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidemill_streaming::{BoxError, Receiver, ReceiverContext};

use crate::support::take;

/// What the receiver is told to do.
pub(crate) enum Order {
    Store(Vec<u64>),
    StoreBlock(Vec<u64>),
    Report(&'static str),
    End,
    Fail(&'static str),
    Panic(&'static str),
}

/// The case's side.
pub(crate) struct Feed {
    orders: Sender<Order>,
    done: Inbox<bool>,
}

/// The receiver's side. On its way to another process it would lose its orders.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Fed {
    #[serde(skip)]
    ends: Option<Arc<Mutex<(Inbox<Order>, Sender<bool>)>>>,
}

pub(crate) fn fed() -> (Feed, Fed) {
    let (orders, inbox) = channel();
    let (answers, done) = channel();
    let ends = Some(Arc::new(Mutex::new((inbox, answers))));
    (Feed { orders, done }, Fed { ends })
}

impl Feed {
    /// Gives an order, and waits for nothing.
    pub(crate) fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
    }

    /// Waits until an order has been carried out. Whether all was stored.
    #[track_caller]
    pub(crate) fn is_done(&self) -> bool {
        take(&self.done)
    }

    /// What became of the next order that was carried out, if there is one.
    pub(crate) fn answer(&self) -> Option<bool> {
        self.done.try_recv().ok()
    }

    /// Does something, and tells whether an order has been carried out by now.
    pub(crate) fn is_done_after(&self, act: impl FnOnce()) -> bool {
        act();
        std::thread::yield_now();
        self.answer().is_some()
    }

    /// Gives an order to a receiver that may be gone.
    pub(crate) fn order_nobody(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// Stores records one by one, and returns when the last is stored.
    #[track_caller]
    pub(crate) fn store(&self, records: impl IntoIterator<Item = u64>) {
        self.order(Order::Store(records.into_iter().collect()));
        assert!(self.is_done(), "the stream takes no records");
    }
}

impl Receiver for Fed {
    type Item = u64;

    fn run(&self, ctx: &ReceiverContext<u64>) -> Result<(), BoxError> {
        let ends = self.ends.as_ref().ok_or("orders do not travel")?.lock();
        let (orders, done) = &*ends;
        while !ctx.is_stopped() {
            let stored = match orders.recv_timeout(Duration::from_millis(1)) {
                Ok(Order::Store(records)) => records.into_iter().try_for_each(|x| ctx.store(x)),
                Ok(Order::StoreBlock(records)) => ctx.store_block(records),
                Ok(Order::Report(text)) => {
                    ctx.report_error(text);
                    Ok(())
                }
                Ok(Order::End) => return Ok(()),
                Ok(Order::Fail(text)) => return Err(text.into()),
                Ok(Order::Panic(text)) => panic!("{text}"),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    ctx.wait_until_stopped();
                    return Ok(());
                }
            };
            let _ = done.send(stored.is_ok());
        }
        Ok(())
    }
}
