//! The examples as their readers run them: each is started, fed, and must print what it promises.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

mod batches;
mod files;
mod options;
mod program;
mod sockets;
