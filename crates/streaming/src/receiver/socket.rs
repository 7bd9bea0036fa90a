//! `socket_text_stream`: lines from a TCP server.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tidemill_core::{Clock, Error, Result, TextBlock, Waiter};

use super::channel::{BlockBuffer, Channel};
use super::connect::{POLL, Target};
use super::line_cutter::{LineCutter, LongLines, Utf8Policy};
use super::{BlockReceiver, Report};
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
        report: &dyn Report,
        read: &mut dyn FnMut(&mut Connection<'_>) -> Result<()>,
    ) {
        let target = Target {
            host: self.host.clone(),
            port: self.port,
            timeout: self.options.connect_timeout,
        };
        let mut attempts = Attempts::default();
        while !stop.is_woken() {
            let connected = target.connect(stop);
            attempts.failed += u64::from(connected.is_err());
            let ended: Result<()> = connected.and_then(|stream| {
                let Some(stream) = stream else {
                    return Ok(());
                };
                report.recovered(&attempts.connected(self));
                let mut connection = Connection::new(stream, &self.options, clock, stop)?;
                let ended = read(&mut connection);
                if connection.received > 0 {
                    attempts.waits = 0;
                }
                ended?;
                Err(Error::unavailable("socket data stream had no more data"))
            });
            if stop.is_woken() {
                return;
            }
            let delay = self.backoff(attempts.waits, clock.monotonic_us());
            let again = clock.now_ms().saturating_add(as_ms(delay));
            attempts.waits = attempts.waits.saturating_add(1);
            if let Err(error) = ended {
                report.trouble(&self.tell(&error, delay));
            }
            clock.wait_until(again, stop);
        }
    }

    /// The error with what is done about it. Its cause comes before the facts.
    fn tell(&self, error: &Error, delay: Duration) -> Error {
        let mut message = error.message().to_owned();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        let longest = self.options.max_backoff;
        let message =
            format!("{message}; it keeps trying to connect, with waits of up to {longest:?}");
        let told = Error::new(error.kind(), message)
            .with("address", format!("{}:{}", self.host, self.port));
        let (hint, facts): (Vec<_>, Vec<_>) = error.context().partition(|(key, _)| *key == "hint");
        let waiting = delay.as_millis().to_string();
        let facts = facts
            .into_iter()
            .chain([("next_try_in_ms", waiting.as_str())]);
        facts
            .chain(hint)
            .fold(told, |told, (key, value)| told.with(key, value))
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
}

/// How often it was tried to connect.
#[derive(Default)]
struct Attempts {
    /// Since something was received: the back-off.
    waits: u32,
    /// Tries without a connection since there was one.
    failed: u64,
    was_connected: bool,
}

impl Attempts {
    /// Counts anew; tells of the connection.
    fn connected(&mut self, to: &Endpoint) -> String {
        let attempts = match std::mem::take(&mut self.failed) {
            0 => "at the first attempt".to_owned(),
            failed => format!("after {} attempts", failed + 1),
        };
        let again = match std::mem::replace(&mut self.was_connected, true) {
            true => " again",
            false => "",
        };
        format!("connected to {}:{}{again} {attempts}", to.host, to.port)
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
        report: &dyn Report,
    ) -> Result<()> {
        let mut chunk = vec![0; self.0.options.read_bytes.max(1)];
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
                        channel.append(BlockBuffer::end)?;
                        return len.map(drop);
                    };
                    let bytes = chunk.get(..len).unwrap_or_default();
                    let (pushed, complaint) =
                        channel.append(|cutter| (cutter.push(bytes), cutter.complaint()))?;
                    if let Some(complaint) = complaint {
                        report.trouble(&complaint);
                    }
                    if let Err(error) = channel.take_failure() {
                        report.trouble(&error);
                    }
                    if pushed.is_err() {
                        // Nothing of this connection may run into the next one's first line.
                        channel.append(BlockBuffer::end)?;
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
