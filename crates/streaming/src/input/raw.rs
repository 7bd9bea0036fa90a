//! `raw_socket_stream`: whole blocks from a TCP server, in the engine's own encoding.

use std::io::{BufReader, Read};
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use tidemill_core::{Data, Error, Operator, Result, codec};

use super::InputEnv;
use crate::context::StreamingContext;
use crate::dstream::DStream;
use crate::receiver::{BlockBuffer, BlockReceiver, Channel, Endpoint, Report, SocketOptions};

/// How a raw socket input connects and reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawSocketOptions {
    /// As for lines; what concerns lines is not used.
    pub socket: SocketOptions,
    /// Longest block, in bytes. Default 1 GiB.
    pub max_block_bytes: u32,
}

impl Default for RawSocketOptions {
    fn default() -> Self {
        Self {
            socket: SocketOptions::default(),
            max_block_bytes: 1 << 30,
        }
    }
}

impl StreamingContext {
    /// Blocks from the TCP server `host:port`: each is a length (4 bytes, big endian, signed) and so
    /// many bytes, a `Vec<T>` as [`codec::encode`](tidemill_core::codec::encode) writes it.
    ///
    /// *Shape* `T`, a partition a block: no block interval, no copy. *Cost* a thread, which decodes
    /// each block once, so that a damaged one is refused where it comes in. *State* none.
    /// *Guarantee* as [`socket_text_stream`](Self::socket_text_stream). A length below 0 or above
    /// the longest block, and bytes that are no block, are reported and end the connection, which
    /// is then made again.
    #[track_caller]
    pub fn raw_socket_stream<T: Data>(&self, host: &str, port: u16) -> DStream<T> {
        let operator = Operator::new("raw_socket_stream", Location::caller());
        self.raw(operator, host, port, RawSocketOptions::default())
    }

    /// As [`raw_socket_stream`](Self::raw_socket_stream), with options.
    #[track_caller]
    pub fn raw_socket_stream_with<T: Data>(
        &self,
        host: &str,
        port: u16,
        options: RawSocketOptions,
    ) -> DStream<T> {
        let operator = Operator::new("raw_socket_stream", Location::caller());
        self.raw(operator, host, port, options)
    }

    fn raw<T: Data>(
        &self,
        operator: Operator,
        host: &str,
        port: u16,
        options: RawSocketOptions,
    ) -> DStream<T> {
        let endpoint = Endpoint {
            host: host.to_owned(),
            port,
            options: options.socket,
        };
        self.received(
            operator,
            RawReceiver::<T> {
                endpoint,
                max_block_bytes: options.max_block_bytes,
                types: PhantomData,
            },
        )
    }
}

struct RawReceiver<T> {
    endpoint: Endpoint,
    max_block_bytes: u32,
    types: PhantomData<fn() -> T>,
}

/// Collects nothing: blocks come whole.
struct NoBuffer<T>(PhantomData<fn() -> T>);

impl<T: Data> BlockBuffer for NoBuffer<T> {
    type Block = Vec<T>;

    fn take(&mut self) -> Option<Vec<T>> {
        None
    }

    fn size_bytes(&self) -> usize {
        0
    }
}

impl<T: Data> BlockReceiver for RawReceiver<T> {
    type Block = Vec<T>;
    type Buffer = NoBuffer<T>;

    fn name(&self) -> String {
        "RawSocketReceiver".to_owned()
    }

    fn validate(&self) -> Result<()> {
        if self.max_block_bytes == 0 {
            return Err(Error::invalid("max_block_bytes must be positive"));
        }
        self.endpoint.validate()
    }

    fn buffer(&self) -> NoBuffer<T> {
        NoBuffer(PhantomData)
    }

    fn run(
        &self,
        channel: &Arc<Channel<NoBuffer<T>>>,
        env: &InputEnv,
        report: &dyn Report,
    ) -> Result<()> {
        let clock = env.ctx.clock();
        self.endpoint
            .run(&**clock, channel.stopped(), report, &mut |connection| {
                let mut reader =
                    BufReader::with_capacity(self.endpoint.options.read_bytes.max(1), connection);
                let mut frame = Vec::new();
                loop {
                    let whole = read_frame(&mut reader, self.max_block_bytes, &mut frame);
                    // A stream that stops ends the connection wherever it is.
                    if channel.is_stopped() || !whole? {
                        return Ok(());
                    }
                    if !frame.is_empty() {
                        let block: Vec<T> = codec::decode(&frame)
                            .map_err(|e| Error::data("frame is not a block").caused_by(e))?;
                        channel.store(block)?;
                    }
                }
            });
        Ok(())
    }
}

/// Reads one frame; `false` at the end of the stream between two.
fn read_frame(reader: &mut impl Read, max_bytes: u32, frame: &mut Vec<u8>) -> Result<bool> {
    frame.clear();
    let Some(len) = read_length(reader)? else {
        return Ok(false);
    };
    let Ok(num_bytes) = u32::try_from(len) else {
        return Err(Error::data("invalid negative block length").with("length", len));
    };
    if num_bytes > max_bytes {
        return Err(Error::data("block length exceeds the longest block")
            .with("length", len)
            .with("max_block_bytes", max_bytes));
    }
    // Grows with what comes, not with what the length says.
    let mut bytes = reader.take(u64::from(num_bytes));
    bytes.read_to_end(frame).map_err(receiving)?;
    if frame.len() as u64 != u64::from(num_bytes) {
        return Err(torn().with("length", len).with("received", frame.len()));
    }
    Ok(true)
}

/// The four bytes of a length; `None` at the end of the stream.
fn read_length(reader: &mut impl Read) -> Result<Option<i32>> {
    let mut bytes = Vec::with_capacity(4);
    reader
        .by_ref()
        .take(4)
        .read_to_end(&mut bytes)
        .map_err(receiving)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let bytes = <[u8; 4]>::try_from(bytes).map_err(|_| torn())?;
    Ok(Some(i32::from_be_bytes(bytes)))
}

fn receiving(error: std::io::Error) -> Error {
    Error::unavailable("error receiving data").caused_by(error)
}

fn torn() -> Error {
    Error::data("connection ended within a block, which is dropped")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let (mut frames, mut frame) = (Vec::new(), Vec::new());
        while read_frame(&mut bytes, 5, &mut frame)? {
            frames.push(frame.clone());
        }
        Ok(frames)
    }

    // S-084
    #[test]
    fn frames_are_a_big_endian_length_and_bytes() {
        let frames = read(b"\0\0\0\x02ab\0\0\0\0\0\0\0\x05cdefg").unwrap();
        assert_eq!(frames, [&b"ab"[..], b"", b"cdefg"]);
        assert_eq!(read(b"").unwrap(), [b""; 0]);
    }

    // S-085
    #[test]
    fn negative_oversized_and_torn_frames_are_refused() {
        for (bytes, text) in [
            (
                &b"\xFF\xFF\xFF\xFFab"[..],
                "invalid negative block length length=-1",
            ),
            (b"\0\0\0\x06abcdef", "exceeds"),
            (b"\x7F\xFF\xFF\xFF", "exceeds"),
            (b"\0\0\0\x05abc", "within a block"),
            (b"\0\0", "within a block"),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
