//! Every operator and action of the core, on every backend.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by panicking"
)]

mod actions;
mod arbitrary;
mod checkpoints;
mod failures;
mod files;
mod gate;
mod groups;
#[path = "../harness/mod.rs"]
mod harness;
mod jobs;
mod listeners;
mod lookup;
mod misuse;
mod narrow;
mod pairs;
mod piping;
mod same_as_vec;
mod sampling;
mod saving;
mod scheduling;
mod sets;
mod shared;
mod sorting;
mod sources;
mod speculation;
mod statistics;
mod storage;
#[path = "../support/mod.rs"]
mod support;
mod travel;
mod trees;
mod zipping;

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
        sampling::cases(),
        zipping::cases(),
        sets::cases(),
        trees::cases(),
        lookup::cases(),
        statistics::cases(),
        piping::cases(),
        misuse::cases(),
        storage::cases(),
        checkpoints::cases(),
        shared::cases(),
        jobs::cases(),
        groups::cases(),
        listeners::cases(),
        scheduling::cases(),
        speculation::cases(),
        failures::cases(),
        travel::cases(),
        same_as_vec::cases(),
    ];
    support::run(cases.into_iter().flatten().collect());
}
