//! A server of generated sentences, so that the example needs nothing else to run.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use tidemill::core::{Clock, Waiter};
use tidemill::prelude::*;

const SUBJECTS: [&str; 4] = ["the tide", "the mill", "a wheel", "the miller"];
const VERBS: [&str; 4] = ["fills", "turns", "lifts", "waits for"];
const OBJECTS: [&str; 4] = ["the pond", "the stone", "the grain", "the sea"];

/// Lines that are sent at a time, and how often.
const LINES: usize = 20;
const PAUSE_MS: i64 = 100;

/// Starts the server on a free port; it ends with the program.
pub(super) fn serve(clock: Arc<dyn Clock>) -> Result<(String, u16)> {
    let no_port = |e| Error::unavailable("no port is free on this machine").caused_by(e);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(no_port)?;
    let address = listener.local_addr().map_err(no_port)?;
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that leaves is no reason to stop.
            let _ = feed(client, &*clock);
        }
    });
    Ok((address.ip().to_string(), address.port()))
}

fn feed(mut client: TcpStream, clock: &dyn Clock) -> std::io::Result<()> {
    let mut seed = 42_usize;
    let mut pick = |words: [&'static str; 4]| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        words
            .get((seed >> 33) % words.len())
            .copied()
            .unwrap_or_default()
    };
    loop {
        let mut lines = String::new();
        for _ in 0..LINES {
            lines.push_str(&format!(
                "{} {} {}\n",
                pick(SUBJECTS),
                pick(VERBS),
                pick(OBJECTS)
            ));
        }
        client.write_all(lines.as_bytes())?;
        clock.wait_until(clock.now_ms() + PAUSE_MS, &Waiter::new());
    }
}
