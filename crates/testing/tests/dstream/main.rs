//! Every operator, input and output of streams: operators on every backend, the rest where it
//! makes a difference.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by panicking"
)]

mod constant;
mod failures;
mod feed;
mod file_streams;
mod graph;
#[path = "../harness/mod.rs"]
mod harness;
mod inputs;
mod joins;
mod lifecycle;
mod listeners;
mod long_runs;
mod misuse;
mod operators;
mod outputs;
mod random;
mod raw_socket;
mod receivers;
mod saving;
mod scheduling;
mod slices;
mod socket;
mod socket_faults;
mod start;
mod state;
mod state_failures;
mod state_map;
mod state_runs;
mod state_windows;
mod stopping;
mod support;
mod windows;

fn main() {
    tidemill_core::init();
    let cases = [
        operators::cases(),
        joins::cases(),
        windows::cases(),
        slices::cases(),
        misuse::cases(),
        inputs::cases(),
        constant::cases(),
        file_streams::cases(),
        raw_socket::cases(),
        outputs::cases(),
        saving::cases(),
        graph::cases(),
        scheduling::cases(),
        start::cases(),
        state::cases(),
        state_map::cases(),
        state_failures::cases(),
        state_runs::cases(),
        state_windows::cases(),
        long_runs::cases(),
        lifecycle::cases(),
        stopping::cases(),
        failures::cases(),
        listeners::cases(),
        receivers::cases(),
        socket::cases(),
        socket_faults::cases(),
    ];
    let cases: Vec<support::Case> = cases.into_iter().flatten().collect();
    support::run(cases);
}
