//! Counts words that a receiver of the program's own brings in.
//!
//! A receiver is plain data (it may be sent to where it runs) with one function, which runs on a
//! thread of its own, stores what it gets and returns when the stream stops. When it returns an
//! error it is called again after a pause: there is no code for reconnecting here.
//!
//! `cargo run --release --example custom_receiver` counts sentences of its own;
//! `… -- localhost 9999` connects to a server.

mod support;

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use support::{Options, Server};
use tidemill::prelude::*;

/// Receives the lines that a server sends.
#[derive(Serialize, Deserialize)]
struct Lines {
    host: String,
    port: u16,
}

impl Receiver for Lines {
    type Item = Text;

    fn run(&self, ctx: &ReceiverContext<Text>) -> Result<(), BoxError> {
        let server = TcpStream::connect((self.host.as_str(), self.port))?;
        // So that it looks now and then whether it is to stop.
        server.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut server = BufReader::new(server);
        let mut line = String::new();
        while !ctx.is_stopped() {
            match server.read_line(&mut line) {
                Ok(0) => return Err("the server has closed the connection".into()),
                Ok(_) => {
                    ctx.store(Text::from(line.trim_end()))?;
                    line.clear();
                }
                // What has come of a line stays in `line`.
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    tidemill::init();
    let options = Options::<Server>::from_args("Counts words that a receiver of its own brings in");
    let ctx = Context::new(&options.master)?;
    let ssc = StreamingContext::new(&ctx, options.batch_duration())?;

    let (host, port) = options.address(&ssc)?;
    let lines = ssc.receiver_stream(Lines { host, port });
    let words = lines.flat_map(|line| line.words());
    let counts = words.map(|word| (word, 1_u64)).reduce_by_key(|a, b| a + b);
    counts.print();

    options.run(ssc)
}
