//! Logs and checkpoints: on the machine's disk, on one that crashes at every moment, and on files
//! that something has damaged.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by panicking"
)]

mod checkpoint_conformance;
mod checkpoint_crashes;
mod checkpoint_damage;
mod fencing;
mod golden;
mod support;
mod wal_conformance;
mod wal_crashes;
mod wal_damage;
mod wal_files;
