//! `socket_text_stream`: lines from a TCP server.

use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tidemill_core::{Clock, Error, ErrorKind, Result, TextBlock, Waiter};

use super::BlockReceiver;
use super::channel::{BlockBuffer, Channel};
use super::line_cutter::{LineCutter, LongLines, Utf8Policy};
use crate::input::InputEnv;
use crate::time::as_ms;

/// How a socket input connects and reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Longest wait for one address to answer. Default 10 s.
    pub connect_timeout: Duration,
    /// Wait before the first new attempt; doubles up to `max_backoff`. Default 100 ms.
    pub min_backoff: Duration,
    /// Longest wait between attempts, give or take a quarter. Default 2 s.
    pub max_backoff: Duration,
    /// A connection that brings nothing for so long is made again. Default `None`: never.
    pub idle_timeout: Option<Duration>,
    /// TCP keep-alive probes are sent after so much silence. Default 30 s.
    pub keep_alive: Duration,
    /// Bytes asked for with one read. Default 256 KiB.
    pub read_bytes: usize,
    /// Longest line, in bytes without its end. Default 1 MiB.
    pub max_line_bytes: usize,
    /// What happens to longer lines. Default: dropped and counted.
    pub long_lines: LongLines,
    /// What happens to bytes that are not UTF-8. Default: replaced and counted.
    pub utf8: Utf8Policy,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            min_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            idle_timeout: None,
            keep_alive: Duration::from_secs(30),
            read_bytes: 256 << 10,
            max_line_bytes: 1 << 20,
            long_lines: LongLines::default(),
            utf8: Utf8Policy::default(),
        }
    }
}

impl SocketOptions {
    fn validate(&self) -> Result<()> {
        let positive = [
            ("connect_timeout", !self.connect_timeout.is_zero()),
            ("keep_alive", self.keep_alive.as_secs() > 0),
            ("read_bytes", self.read_bytes > 0),
            ("max_line_bytes", self.max_line_bytes > 0),
            ("idle_timeout", self.idle_timeout != Some(Duration::ZERO)),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, is_positive)| !is_positive) {
            return Err(Error::invalid("socket option must be positive").with("option", name));
        }
        if self.max_backoff > Duration::from_secs(3_600) || self.min_backoff > self.max_backoff {
            return Err(Error::invalid(
                "socket back-off must be at most an hour, the least not above the most",
            )
            .with("min_backoff", format!("{:?}", self.min_backoff))
            .with("max_backoff", format!("{:?}", self.max_backoff)));
        }
        Ok(())
    }
}

/// A read returns at least this often, to see whether the stream is stopping.
const POLL: Duration = Duration::from_millis(50);

/// Where a socket input connects to.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) options: SocketOptions,
}

impl Endpoint {
    /// Refuses what can never connect.
    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |why: &str| {
            Err(Error::invalid(why.to_owned())
                .with("host", format!("{:?}", self.host))
                .with("port", self.port))
        };
        if self.port == 0 {
            return refuse("port 0 is no port to connect to");
        }
        let is_address = self.host.parse::<std::net::Ipv6Addr>().is_ok();
        if self.host.is_empty() || (self.host.contains(':') && !is_address) {
            return refuse("host must be a name or an address, without a port");
        }
        self.options.validate()
    }

    /// Connects and hands the connection to `read`, again and again until the stream stops. A
    /// connection that brought something begins the back-off anew.
    pub(crate) fn run(
        &self,
        clock: &dyn Clock,
        stop: &Waiter,
        report: &dyn Fn(&Error),
        read: &mut dyn FnMut(&mut Connection<'_>) -> Result<()>,
    ) {
        let mut attempt = 0_u32;
        while !stop.is_woken() {
            let ended: Result<()> = self.connect().and_then(|stream| {
                tracing::info!(host = self.host, port = self.port, "connected");
                let mut connection = Connection::new(stream, &self.options, clock, stop)?;
                let ended = read(&mut connection);
                if connection.received > 0 {
                    attempt = 0;
                }
                ended?;
                Err(Error::unavailable("socket data stream had no more data"))
            });
            if stop.is_woken() {
                return;
            }
            let delay = self.backoff(attempt, clock.monotonic_us());
            let again = clock.now_ms().saturating_add(as_ms(delay));
            attempt = attempt.saturating_add(1);
            if let Err(error) = ended {
                report(
                    &error
                        .with("address", format!("{}:{}", self.host, self.port))
                        .with("trying_again_in_ms", delay.as_millis()),
                );
            }
            clock.wait_until(again, stop);
        }
    }

    /// Doubles with each attempt, up to the longest, give or take a quarter.
    fn backoff(&self, attempt: u32, random: u64) -> Duration {
        let base = self
            .options
            .min_backoff
            .saturating_mul(1 << attempt.min(16));
        let base = base.min(self.options.max_backoff);
        let jitter = u32::try_from(random.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54).unwrap_or(512);
        base * 3 / 4 + base * jitter / 2048
    }

    /// A connection to the first address of the name that answers.
    fn connect(&self) -> Result<TcpStream> {
        let addresses = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|e| {
                Error::unavailable("host name cannot be resolved")
                    .with("host", &self.host)
                    .caused_by(e)
            })?;
        let mut tried = Vec::new();
        for address in addresses {
            match TcpStream::connect_timeout(&address, self.options.connect_timeout) {
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

/// An open connection that ends when the stream stops.
pub(crate) struct Connection<'a> {
    stream: TcpStream,
    clock: &'a dyn Clock,
    stop: &'a Waiter,
    idle_timeout: Option<Duration>,
    last_data_ms: i64,
    received: u64,
}

impl<'a> Connection<'a> {
    fn new(
        stream: TcpStream,
        options: &SocketOptions,
        clock: &'a dyn Clock,
        stop: &'a Waiter,
    ) -> Result<Self> {
        let keep_alive = socket2::TcpKeepalive::new().with_time(options.keep_alive);
        socket2::SockRef::from(&stream)
            .set_tcp_keepalive(&keep_alive)
            .and_then(|()| stream.set_read_timeout(Some(POLL)))
            .map_err(|e| Error::unavailable("connection cannot be set up").caused_by(e))?;
        let (idle_timeout, last_data_ms) = (options.idle_timeout, clock.now_ms());
        Ok(Self {
            stream,
            clock,
            stop,
            idle_timeout,
            last_data_ms,
            received: 0,
        })
    }
}

impl Read for Connection<'_> {
    /// 0 at the end of the stream, and when the stream stops.
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        while !self.stop.is_woken() {
            match self.stream.read(buffer) {
                Ok(len) => {
                    self.received += len as u64;
                    self.last_data_ms = self.clock.now_ms();
                    return Ok(len);
                }
                Err(error) if matches!(error.kind(), Interrupted | TimedOut | WouldBlock) => {
                    let silent_ms = self.clock.now_ms().saturating_sub(self.last_data_ms);
                    let silent = Duration::from_millis(u64::try_from(silent_ms).unwrap_or(0));
                    if self.idle_timeout.is_some_and(|limit| silent >= limit) {
                        return Err(std::io::Error::new(
                            TimedOut,
                            "nothing came for the idle timeout",
                        ));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }
}

/// Receives lines.
pub(crate) struct SocketReceiver(pub(crate) Endpoint);

impl BlockReceiver for SocketReceiver {
    fn validate(&self) -> Result<()> {
        self.0.validate()
    }

    type Block = TextBlock;
    type Buffer = LineCutter;

    fn name(&self) -> String {
        "SocketReceiver".to_owned()
    }

    fn buffer(&self) -> LineCutter {
        let options = &self.0.options;
        LineCutter::new(options.max_line_bytes, options.long_lines, options.utf8)
    }

    fn run(
        &self,
        channel: &Arc<Channel<LineCutter>>,
        env: &InputEnv,
        report: &dyn Fn(&Error),
    ) -> Result<()> {
        let mut chunk = vec![0; self.0.options.read_bytes.max(1)];
        let mut reported = channel.append(|cutter| cutter.counts());
        self.0.run(
            &**env.ctx.clock(),
            channel.stopped(),
            report,
            &mut |connection| {
                loop {
                    let len = connection
                        .read(&mut chunk)
                        .map_err(|e| Error::unavailable("error receiving data").caused_by(e));
                    let Ok(len @ 1..) = len else {
                        // The last line may have no end.
                        channel.append(BlockBuffer::end);
                        return len.map(drop);
                    };
                    let bytes = chunk.get(..len).unwrap_or_default();
                    let (pushed, counts) =
                        channel.append(|cutter| (cutter.push(bytes), cutter.counts()));
                    if counts != reported {
                        reported = counts;
                        report(
                            &Error::new(ErrorKind::Data, "input was not as it should be")
                                .with("dropped_lines", counts.dropped_lines)
                                .with("replaced_sequences", counts.replaced_sequences),
                        );
                    }
                    if let Err(error) = channel.take_failure() {
                        report(&error);
                    }
                    if pushed.is_err() {
                        // Nothing of this connection may run into the next one's first line.
                        channel.append(BlockBuffer::end);
                    }
                    pushed?;
                }
            },
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_differ() {
        let options = SocketOptions::default();
        let endpoint = Endpoint {
            host: String::new(),
            port: 0,
            options,
        };
        let mut seen = std::collections::HashSet::new();
        for attempt in 0..40 {
            let base = Duration::from_millis(100 << attempt.min(10)).min(Duration::from_secs(2));
            for random in [0, 1, 12_345, u64::MAX] {
                let wait = endpoint.backoff(attempt, random);
                assert!(
                    wait >= base * 3 / 4 && wait <= base * 5 / 4,
                    "{attempt}: {wait:?}"
                );
                seen.insert(wait);
            }
        }
        assert!(seen.len() > 8);
    }
}
