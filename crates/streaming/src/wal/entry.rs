//! The bytes of a log: what a file begins with, and what stands before each record.
//!
//! Each file's header gives a checksum of its own, which seeds the checksums of its records'
//! headers: a record copied from another file, or a log inside a record, is never taken for a
//! record of this file.

use crate::bytes::{FRAME_BYTES, Fields, FrameFault, frame, number_pair, put_text, unframe};

const SEGMENT_MAGIC: [u8; 4] = *b"TMWS";
const SEGMENT_VERSION: u16 = 1;
const MAX_SEGMENT_BODY_BYTES: u32 = 1_024;

/// The most bytes a segment's header can have.
pub(super) const MAX_SEGMENT_HEADER_BYTES: u64 = FRAME_BYTES as u64 + MAX_SEGMENT_BODY_BYTES as u64;

/// Where a frame has its checksum.
const CHECKSUM: std::ops::Range<usize> = FRAME_BYTES - 4..FRAME_BYTES;

/// What each record begins with.
pub(super) const RECORD_MAGIC: [u8; 4] = *b"TMWR";
const RECORD_VERSION: u8 = 1;

/// The bytes before a record's body.
pub(super) const RECORD_HEADER_BYTES: usize = 36;

/// The most bytes of one record's body: 32 MiB.
pub(super) const MAX_BODY_BYTES: u32 = 32 << 20;

/// What a log file begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) application: String,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    /// The number of the first record.
    pub(super) first: u64,
}

impl SegmentHeader {
    /// The bytes, and the seed of the checksums behind them.
    pub(super) fn encode(&self) -> (Vec<u8>, u32) {
        let mut body = Vec::new();
        put_text(&mut body, &self.application);
        for field in [self.epoch, self.sequence, self.first] {
            body.extend(field.to_le_bytes());
        }
        let bytes = frame(SEGMENT_MAGIC, SEGMENT_VERSION, &body);
        let seed = bytes
            .get(CHECKSUM)
            .map_or(0, |bytes| Fields::new(bytes).u32().unwrap_or(0));
        (bytes, seed)
    }

    /// Reads what [`Self::encode`] wrote: the header, its length, and its checksum, which is the
    /// seed of its records' checksums.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, usize, u32), FrameFault> {
        let (body, seed) = unframe(
            SEGMENT_MAGIC,
            SEGMENT_VERSION,
            MAX_SEGMENT_BODY_BYTES,
            bytes,
        )?;
        let mut fields = Fields::new(body);
        let broken = FrameFault::Checksum;
        let header = Self {
            application: fields.text().ok_or(broken)?.to_owned(),
            epoch: fields.u64().ok_or(broken)?,
            sequence: fields.u64().ok_or(broken)?,
            first: fields.u64().ok_or(broken)?,
        };
        if !fields.is_empty() {
            return Err(broken);
        }
        Ok((header, FRAME_BYTES + body.len(), seed))
    }

    /// The name of the file: sorted by name is sorted by sequence.
    pub(super) fn file_name(&self) -> String {
        format!("{:020}-{:010}.wal", self.sequence, self.epoch)
    }
}

/// Sequence and epoch of a log file by its name; `None` when it is not one.
pub(super) fn parse_file_name(name: &str) -> Option<(u64, u64)> {
    number_pair(name.strip_suffix(".wal")?)
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A record of the log's user.
    Data,
    /// The end of a file that is complete.
    Footer,
}

/// What stands before each record's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) kind: Kind,
    pub(super) num_body_bytes: u32,
    pub(super) body_checksum: u32,
    /// The record's number; a footer has that of the next record.
    pub(super) lsn: u64,
    /// The number of the first record that was synced together with this one.
    pub(super) group: u64,
}

impl RecordHeader {
    pub(super) fn footer(next: u64) -> Self {
        Self {
            kind: Kind::Footer,
            num_body_bytes: 0,
            body_checksum: crc32c::crc32c(&[]),
            lsn: next,
            group: next,
        }
    }

    pub(super) fn encode(&self, seed: u32) -> [u8; RECORD_HEADER_BYTES] {
        let kind = match self.kind {
            Kind::Data => 1,
            Kind::Footer => 2,
        };
        let [m0, m1, m2, m3] = RECORD_MAGIC;
        let [n0, n1, n2, n3] = self.num_body_bytes.to_le_bytes();
        let [c0, c1, c2, c3] = self.body_checksum.to_le_bytes();
        let [l0, l1, l2, l3, l4, l5, l6, l7] = self.lsn.to_le_bytes();
        let [g0, g1, g2, g3, g4, g5, g6, g7] = self.group.to_le_bytes();
        let checked = [
            m0,
            m1,
            m2,
            m3,
            RECORD_VERSION,
            kind,
            0,
            0, //
            n0,
            n1,
            n2,
            n3,
            c0,
            c1,
            c2,
            c3, //
            l0,
            l1,
            l2,
            l3,
            l4,
            l5,
            l6,
            l7, //
            g0,
            g1,
            g2,
            g3,
            g4,
            g5,
            g6,
            g7,
        ];
        let mut bytes = [0; RECORD_HEADER_BYTES];
        let (head, tail) = bytes.split_at_mut(checked.len());
        head.copy_from_slice(&checked);
        tail.copy_from_slice(&crc32c::crc32c_append(seed, &checked).to_le_bytes());
        bytes
    }

    /// Reads a header whose checksum and limits are right.
    pub(super) fn decode(seed: u32, bytes: &[u8]) -> Option<Self> {
        let (checked, checksum) = bytes.split_at_checked(RECORD_HEADER_BYTES - 4)?;
        if !checked.starts_with(&RECORD_MAGIC)
            || crc32c::crc32c_append(seed, checked) != Fields::new(checksum).u32()?
        {
            return None;
        }
        let mut fields = Fields::new(checked);
        fields.take(RECORD_MAGIC.len())?;
        let version = fields.u8()?;
        let kind = match fields.u8()? {
            1 => Kind::Data,
            2 => Kind::Footer,
            _ => return None,
        };
        let zero = fields.u16()?;
        let header = Self {
            kind,
            num_body_bytes: fields.u32()?,
            body_checksum: fields.u32()?,
            lsn: fields.u64()?,
            group: fields.u64()?,
        };
        let is_possible = version == RECORD_VERSION
            && zero == 0
            && header.num_body_bytes <= MAX_BODY_BYTES
            && header.group <= header.lsn;
        is_possible.then_some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> RecordHeader {
        RecordHeader {
            kind: Kind::Data,
            num_body_bytes: 3,
            body_checksum: crc32c::crc32c(b"abc"),
            lsn: 7,
            group: 5,
        }
    }

    #[test]
    fn a_record_header_is_read_as_written_and_every_bit_counts() {
        let bytes = header().encode(9);
        assert_eq!(RecordHeader::decode(9, &bytes), Some(header()));
        assert_eq!(RecordHeader::decode(8, &bytes), None, "of another file");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(9, &flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn an_impossible_header_is_refused_however_right_its_checksum() {
        for wrong in [
            RecordHeader {
                num_body_bytes: MAX_BODY_BYTES + 1,
                ..header()
            },
            RecordHeader {
                group: 8,
                ..header()
            },
        ] {
            assert_eq!(RecordHeader::decode(9, &wrong.encode(9)), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_segment_header_and_its_name_are_read_as_written() {
        let header = SegmentHeader {
            application: String::from("wordcount"),
            epoch: 3,
            sequence: 12,
            first: 400,
        };
        let (bytes, seed) = header.encode();
        let expected = (header.clone(), bytes.len(), seed);
        assert_eq!(SegmentHeader::decode(&bytes), Ok(expected));
        assert_eq!(parse_file_name(&header.file_name()), Some((12, 3)));
        for name in ["a.wal", "1-2.log", "1-2.wal.3.tmp", "+1-2.wal", "-1.wal"] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }
}
