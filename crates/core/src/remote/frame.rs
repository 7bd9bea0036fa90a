//! Frames: a length, then that many bytes.

use std::io::{Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec;
use crate::error::{Error, Result};

/// Longest frame that is accepted: a damaged length must not ask for all memory.
pub const MAX_FRAME_BYTES: u32 = 1 << 30;

/// Writes one message.
///
/// # Errors
/// `Invalid` when the message cannot be encoded or is too long; `Unavailable` when the peer is gone.
pub fn write_frame<M: Serialize>(stream: &mut impl Write, message: &M) -> Result<()> {
    let body = codec::encode(message)?;
    let len = u32::try_from(body.len())
        .ok()
        .filter(|len| *len <= MAX_FRAME_BYTES);
    let len = len.ok_or_else(|| {
        Error::invalid("message is too long to send")
            .with("bytes", body.len())
            .with("max_bytes", MAX_FRAME_BYTES)
    })?;
    let send = |stream: &mut dyn Write| {
        stream.write_all(&len.to_le_bytes())?;
        stream.write_all(&body)?;
        stream.flush()
    };
    send(stream).map_err(|e| Error::unavailable("peer is gone").caused_by(e))
}

/// Reads one message; `None` when the peer has closed the stream between two.
///
/// # Errors
/// `Unavailable` when the peer is gone in the middle of one, `Data` when it is not a message.
pub fn read_frame<M: DeserializeOwned>(stream: &mut impl Read) -> Result<Option<M>> {
    let gone = |e: std::io::Error| Error::unavailable("peer is gone").caused_by(e);
    let mut len = [0; 4];
    match stream.read_exact(&mut len) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(gone(e)),
    }
    let len = u32::from_le_bytes(len);
    if len > MAX_FRAME_BYTES {
        return Err(Error::data("frame is too long")
            .with("bytes", len)
            .with("max_bytes", MAX_FRAME_BYTES));
    }
    let mut body = Vec::new();
    let read = stream
        .take(u64::from(len))
        .read_to_end(&mut body)
        .map_err(gone)?;
    if read < len as usize {
        return Err(Error::unavailable(
            "peer is gone in the middle of a message",
        ));
    }
    codec::decode(&body).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_length_is_refused_before_memory_is_taken() {
        let error = read_frame::<u8>(&mut [0xff_u8; 8].as_slice()).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Data);
    }

    #[test]
    fn every_truncation_is_an_end_or_an_error() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &(7_u32, "seven".to_owned())).unwrap();
        let whole: Option<(u32, String)> = read_frame(&mut bytes.as_slice()).unwrap();
        assert_eq!(whole, Some((7, "seven".to_owned())));
        for len in 4..bytes.len() {
            assert!(read_frame::<(u32, String)>(&mut &bytes[..len]).is_err());
        }
    }
}
