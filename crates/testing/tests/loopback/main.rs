//! The loopback backends themselves: handshake, lost messages, dying executors, no orphans.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by panicking"
)]

mod faults;
mod handshake;
mod orphans;

use libtest_mimic::{Arguments, Trial};

fn main() {
    tidemill_core::init();
    orphans::be_a_driver_that_dies();
    let claims: [(&str, fn()); 13] = [
        ("an_executor_of_this_build_is_let_in", handshake::let_in),
        (
            "an_executor_of_another_build_is_told_so",
            handshake::another_build,
        ),
        ("a_wrong_secret_is_refused", handshake::wrong_secret),
        ("another_protocol_is_refused", handshake::another_protocol),
        ("garbage_instead_of_a_hello_is_refused", handshake::garbage),
        (
            "the_sockets_lie_in_a_private_folder",
            handshake::private_folder,
        ),
        ("a_killed_child_is_replaced", faults::killed_child),
        ("a_seeded_kill_loses_no_record", faults::seeded_kill),
        ("lost_messages_lose_no_record", faults::lost_messages),
        (
            "a_function_that_ends_its_process_fails_the_job",
            faults::suicide,
        ),
        ("a_damaged_message_is_refused", faults::damaged_message),
        ("children_end_with_their_backend", orphans::end_with_backend),
        ("no_child_outlives_a_driver_that_dies", orphans::driver_dies),
    ];
    let trials = claims.map(|(name, claim)| {
        Trial::test(name, move || {
            claim();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit()
}
