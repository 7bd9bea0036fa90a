//! A server of generated lines, so that the examples need nothing else to run.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use tidemill::core::{Clock, Waiter};
use tidemill::prelude::*;

const SUBJECTS: [&str; 4] = ["the tide", "the mill", "a wheel", "the miller"];
const VERBS: [&str; 4] = ["fills", "turns", "lifts", "waits for"];
const OBJECTS: [&str; 4] = ["the pond", "the stone", "the grain", "the sea"];
const PAGES: [&str; 4] = ["/", "/tides", "/mills", "/basket"];

/// Lines that are sent at a time, and how often.
const LINES: usize = 20;
const PAUSE_MS: i64 = 100;

/// Clicks after which a visitor leaves for good, on average.
const CLICKS_PER_VISITOR: usize = 50;

/// Makes one line.
pub(super) type Line = fn(&mut Generator) -> String;

/// Picks one of four with a generator of pseudo-random numbers.
#[derive(Debug)]
pub(super) struct Generator {
    seed: usize,
    num_lines: usize,
}

impl Generator {
    fn pick<T: Copy + Default>(&mut self, things: [T; 4]) -> T {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        things
            .get((self.seed >> 33) % things.len())
            .copied()
            .unwrap_or_default()
    }
}

/// For example `the tide waits for the stone`.
pub(super) fn sentence(of: &mut Generator) -> String {
    let (subject, verb, object) = (of.pick(SUBJECTS), of.pick(VERBS), of.pick(OBJECTS));
    format!("{subject} {verb} {object}")
}

/// For example `visitor-7 /mills`. Visitors come and go.
pub(super) fn click(of: &mut Generator) -> String {
    let (newest, page) = (of.num_lines / CLICKS_PER_VISITOR, of.pick(PAGES));
    let visitor = newest + of.pick([0, 1, 2, 3]);
    format!("visitor-{visitor} {page}")
}

/// Starts the server on a free port; it ends with the program.
pub(super) fn serve(clock: Arc<dyn Clock>, line: Line) -> Result<(String, u16)> {
    let no_port = |e| Error::unavailable("no port is free on this machine").caused_by(e);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(no_port)?;
    let address = listener.local_addr().map_err(no_port)?;
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that leaves is no reason to stop.
            let _ = feed(client, &*clock, line);
        }
    });
    Ok((address.ip().to_string(), address.port()))
}

fn feed(mut client: TcpStream, clock: &dyn Clock, line: Line) -> std::io::Result<()> {
    let mut generator = Generator {
        seed: 42,
        num_lines: 0,
    };
    loop {
        let mut lines = String::new();
        for _ in 0..LINES {
            lines.push_str(&line(&mut generator));
            lines.push('\n');
            generator.num_lines += 1;
        }
        client.write_all(lines.as_bytes())?;
        clock.wait_until(clock.now_ms() + PAUSE_MS, &Waiter::new());
    }
}
