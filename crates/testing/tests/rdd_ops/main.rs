//! Every operator and action of the core, on every backend.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by panicking"
)]

mod actions;
mod checkpoints;
mod failures;
mod files;
#[path = "../harness/mod.rs"]
mod harness;
mod jobs;
mod narrow;
mod pairs;
mod saving;
mod shared;
mod sorting;
mod sources;
mod storage;
#[path = "../support/mod.rs"]
mod support;
mod travel;

fn main() {
    tidemill_core::init();
    let cases = [
        sources::cases(),
        files::cases(),
        saving::cases(),
        narrow::cases(),
        pairs::cases(),
        sorting::cases(),
        actions::cases(),
        storage::cases(),
        checkpoints::cases(),
        shared::cases(),
        jobs::cases(),
        failures::cases(),
        travel::cases(),
    ];
    support::run(cases.into_iter().flatten().collect());
}
