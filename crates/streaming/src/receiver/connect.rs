//! Connecting beside the receiver's thread, so that a stop does not wait for a name or a server.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use tidemill_core::{Error, Result, Waiter};

/// A receiver looks at least this often whether the stream is stopping.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// Where to, and how long to wait for each address.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) timeout: Duration,
}

impl Target {
    /// A connection to the first address of the name that answers; `None` when the stream stops
    /// meanwhile. The thread that was connecting then ends by itself, and closes what it opened.
    pub(super) fn connect(&self, stop: &Waiter) -> Result<Option<TcpStream>> {
        let (sender, connected) = channel();
        let target = self.clone();
        std::thread::Builder::new()
            .name("socket-connect".to_owned())
            .spawn(move || sender.send(target.connect_now()))
            .map_err(|e| Error::unavailable("no thread to connect with").caused_by(e))?;
        while !stop.is_woken() {
            match connected.recv_timeout(POLL) {
                Ok(connection) => return connection.map(Some),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::internal("connecting thread died"));
                }
            }
        }
        Ok(None)
    }

    fn connect_now(&self) -> Result<TcpStream> {
        let addresses = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| {
                Error::unavailable(format!(
                    "error connecting: host name cannot be resolved: {error}"
                ))
                .with("hint", "check the name, or give an address")
            })?;
        let mut tried = Vec::new();
        for address in addresses {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(stream) => return Ok(stream),
                Err(error) => tried.push(format!("{address} ({error})")),
            }
        }
        Err(Error::unavailable("error connecting: no server answers")
            .with("tried", tried.join(", "))
            .with(
                "hint",
                format!("start one, for example `nc -lk {}`", self.port),
            ))
    }
}
