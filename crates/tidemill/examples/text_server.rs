//! Feeds the lines of standard input to whoever connects: `text_server PORT`, then type.
//!
//! Stands in for `nc -lk PORT`. One client at a time; when it leaves, the next one gets what
//! comes from then on. Ends when standard input does.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, TcpListener};

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args()
        .nth(1)
        .and_then(|port| port.parse::<u16>().ok());
    let Some(port) = port else {
        return Err("usage: text_server PORT (0 picks a free one)".into());
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(|error| format!("cannot listen on port {port}: {error}; choose another port"))?;
    eprintln!("listening on {}", listener.local_addr()?);

    let mut input = io::stdin().lock();
    loop {
        let (mut client, address) = listener.accept()?;
        eprintln!("{address} is connected");
        loop {
            let chunk = input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(());
            }
            // The bytes that a leaving client did not take wait for the next one.
            match client.write(chunk) {
                Ok(taken) => input.consume(taken),
                Err(error) => {
                    eprintln!("{address} has left: {error}");
                    break;
                }
            }
        }
    }
}
