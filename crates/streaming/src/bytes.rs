//! How the headers of durable files are laid out: a frame that checks itself around plain fields.
//!
//! Numbers are little-endian. The first sixteen bytes of a frame mean the same in every version,
//! so that a newer file is recognised as newer and not taken for a damaged one.

use std::fmt;

/// The bytes before a frame's body: magic, version, zero, length of the body, checksum.
pub(crate) const FRAME_BYTES: usize = 16;

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameFault {
    /// The file ends inside the frame.
    Short,
    /// The first four bytes are of another kind of file.
    Magic,
    /// The length is more than a frame of this kind can have.
    Length(u32),
    /// The bytes are not those that were written.
    Checksum,
    /// Whole, but of a version that this program does not know.
    Version(u16),
}

impl fmt::Display for FrameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the file ends too early"),
            Self::Magic => f.write_str("the first bytes are of another kind of file"),
            Self::Length(length) => write!(f, "a length of {length} bytes is more than allowed"),
            Self::Checksum => f.write_str("the checksum does not match"),
            Self::Version(version) => write!(f, "format version {version} is newer"),
        }
    }
}

/// Puts a frame around `body`.
pub(crate) fn frame(magic: [u8; 4], version: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FRAME_BYTES + body.len());
    bytes.extend(magic);
    bytes.extend(version.to_le_bytes());
    bytes.extend([0; 2]);
    bytes.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes), body);
    bytes.extend(checksum.to_le_bytes());
    bytes.extend(body);
    bytes
}

/// A frame at the beginning of `bytes`: its body, and its checksum.
pub(crate) fn unframe(
    magic: [u8; 4],
    version: u16,
    max_body_bytes: u32,
    bytes: &[u8],
) -> Result<(&[u8], u32), FrameFault> {
    let (head, rest) = bytes
        .split_at_checked(FRAME_BYTES)
        .ok_or(FrameFault::Short)?;
    let mut fields = Fields::new(head);
    let short = FrameFault::Short;
    let found = fields.take(4).ok_or(short)?;
    let (found_version, zero) = (fields.u16().ok_or(short)?, fields.u16().ok_or(short)?);
    let (length, checksum) = (fields.u32().ok_or(short)?, fields.u32().ok_or(short)?);
    if found != magic {
        return Err(FrameFault::Magic);
    }
    if length > max_body_bytes {
        return Err(FrameFault::Length(length));
    }
    let body = rest.get(..length as usize).ok_or(FrameFault::Short)?;
    let checked = head.get(..FRAME_BYTES - 4).ok_or(short)?;
    if crc32c::crc32c_append(crc32c::crc32c(checked), body) != checksum || zero != 0 {
        return Err(FrameFault::Checksum);
    }
    if found_version != version {
        return Err(FrameFault::Version(found_version));
    }
    Ok((body, checksum))
}

/// Takes fields off the front of bytes; `None` when too few are left.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn take(&mut self, num_bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(num_bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// Text behind its length in 16 bits.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = self.u16()?;
        std::str::from_utf8(self.take(length.into())?).ok()
    }

    /// Whether everything was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Text behind its length; callers have refused what is longer than [`MAX_NAME_BYTES`].
pub(crate) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// The longest name of an operator, an application or a file.
pub(crate) const MAX_NAME_BYTES: usize = 4_096;

/// Two plain numbers with a hyphen between them, as in the names of files.
pub(crate) fn number_pair(text: &str) -> Option<(u64, u64)> {
    let (first, second) = text.split_once('-')?;
    let number = |digits: &str| {
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| digits.parse().ok()).flatten()
    };
    Some((number(first)?, number(second)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 4] = *b"TEST";

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let whole = frame(MAGIC, 1, b"the body of a frame");
        assert_eq!(
            unframe(MAGIC, 1, 100, &whole).map(|(body, _)| body),
            Ok(&b"the body of a frame"[..])
        );
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let fault = unframe(MAGIC, 1, 100, &flipped).unwrap_err();
            assert!(
                !matches!(fault, FrameFault::Version(_)),
                "bit {bit}: {fault}"
            );
        }
        for length in 0..whole.len() {
            assert!(unframe(MAGIC, 1, 100, &whole[..length]).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_recognised_only_when_whole() {
        let newer = frame(MAGIC, 2, b"anything");
        assert_eq!(unframe(MAGIC, 1, 100, &newer), Err(FrameFault::Version(2)));
        assert_eq!(
            unframe(MAGIC, 1, 100, &newer[..newer.len() - 1]),
            Err(FrameFault::Short)
        );
        assert_eq!(unframe(MAGIC, 1, 7, &newer), Err(FrameFault::Length(8)));
    }

    #[test]
    fn text_is_read_as_it_was_put() {
        let mut bytes = Vec::new();
        put_text(&mut bytes, "müller");
        bytes.push(9);
        let mut fields = Fields::new(&bytes);
        assert_eq!((fields.text(), fields.u8()), (Some("müller"), Some(9)));
        assert!(fields.is_empty() && fields.u16().is_none());
    }
}
