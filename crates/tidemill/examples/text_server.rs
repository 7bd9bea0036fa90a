//! Feeds the lines of standard input to whoever connects: `text_server PORT`, then type.
//!
//! Stands in for `nc -lk PORT`. One client at a time; when it leaves, the next one gets what
//! comes from then on. Ends when standard input has ended and a client has got all of it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

fn main() -> ExitCode {
    let port = std::env::args()
        .nth(1)
        .and_then(|port| port.parse::<u16>().ok());
    let Some(port) = port else {
        eprintln!("usage: text_server PORT (0 picks a free one)");
        return ExitCode::FAILURE;
    };
    match serve(port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot serve on port {port}: {error}; is another server on that port?");
            ExitCode::FAILURE
        }
    }
}

fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    eprintln!("listening on {}", listener.local_addr()?);
    let input = read_input();
    let mut pending = Vec::new();
    loop {
        let (client, address) = listener.accept()?;
        eprintln!("{address} is connected");
        match feed(client, &input, &mut pending) {
            Ok(()) => return Ok(()),
            Err(error) => eprintln!("{address} has left: {error}"),
        }
    }
}

/// Standard input in chunks, read ahead by one.
fn read_input() -> Receiver<Vec<u8>> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut chunk = vec![0; 1 << 18];
        while let Ok(len @ 1..) = io::stdin().read(&mut chunk) {
            let bytes = chunk.get(..len).unwrap_or_default().to_vec();
            if sender.send(bytes).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Feeds one client until the input ends. What a leaving client did not take stays `pending`.
fn feed(mut client: TcpStream, input: &Receiver<Vec<u8>>, pending: &mut Vec<u8>) -> io::Result<()> {
    loop {
        while !pending.is_empty() {
            let taken = client.write(pending)?;
            pending.drain(..taken);
        }
        match input.recv_timeout(Duration::from_millis(100)) {
            Ok(chunk) => {
                leave_if_gone(&client).inspect_err(|_| pending.extend_from_slice(&chunk))?;
                *pending = chunk;
            }
            Err(RecvTimeoutError::Timeout) => leave_if_gone(&client)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// An error when the client has closed its side.
fn leave_if_gone(client: &TcpStream) -> io::Result<()> {
    client.set_nonblocking(true)?;
    let peeked = client.peek(&mut [0]);
    client.set_nonblocking(false)?;
    match peeked {
        Ok(0) => Err(ErrorKind::ConnectionAborted.into()),
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}
