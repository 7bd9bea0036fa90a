//! What tests of Tidemill programs stand on.
//!
//! [`Backends`] lists every way a job can run: threads of this process, tasks that are encoded
//! and decoded, tasks in child processes of the same executable, each also with seeded faults. A
//! suite makes one trial for each of its cases and each backend. [`Recorder`] sits in front of a
//! backend and writes down which jobs, stages and tasks it was asked for. [`run_batches`] runs a
//! stream operator over a table of batches, on a clock that nobody waits for.
//!
//! [`Soak`] is a program to be run for long, beside which nothing may grow.
//! [`SimDisk`] stands in for the disk under logs and checkpoints: it forgets what was not synced.
//!
//! What this crate is not: a mock. Everything but [`Faults`] and [`SimDisk`] is the engine's own code, with the
//! real handshake between real processes.

pub mod loopback;

mod backends;
mod random;
mod recorder;
mod run_batches;
mod sim_disk;
mod soak;

pub use backends::{Backends, TestBackend};
pub use loopback::{Faults, Loopback};
pub use random::Random;
pub use recorder::{JobRecord, Recorder, StageRecord};
pub use run_batches::{BatchTable, run_batches, unordered};
pub use sim_disk::{DiskFaults, SimDisk, fail_every_call};
pub use soak::{Footprint, Soak};
