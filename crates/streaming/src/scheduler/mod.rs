//! The driver: batches generated, their jobs run, what they no longer need forgotten.
//!
//! One loop handles a closed list of events in order. The clock thread only posts ticks; code of
//! the user (functions of `transform`, outputs) runs on the generator's and the job threads, and
//! the loop waits for their events like for any other.

mod batch;
mod clock;
mod driver;
mod lag;
mod threads;
mod workers;

pub(crate) use driver::{Driver, Event};
pub(crate) use threads::{Patience, is_own_thread, mark_own_thread};
