//! Files of pieces, each with its length and a digest: what damage cannot pass off as data.
//!
//! A file is a magic and then pieces: the length of the payload, a number of records, a digest
//! over both and the payload, and the payload. All numbers are 8 bytes, little-endian.

use std::io::{Read, Write};

use crate::error::{Error, Result};
use crate::travel::stable_hash;

const MAGIC: [u8; 8] = *b"tmpiece1";

/// Bytes before the payload of a piece.
const HEAD_BYTES: u64 = 24;

/// Begins a file.
pub(crate) fn write_head(file: &mut impl Write) -> std::io::Result<()> {
    file.write_all(&MAGIC)
}

/// Adds a piece to a file.
pub(crate) fn write_piece(
    file: &mut impl Write,
    num_records: u64,
    payload: &[u8],
) -> std::io::Result<()> {
    file.write_all(&(payload.len() as u64).to_le_bytes())?;
    file.write_all(&num_records.to_le_bytes())?;
    file.write_all(&digest(num_records, payload).to_le_bytes())?;
    file.write_all(payload)
}

fn digest(num_records: u64, payload: &[u8]) -> u64 {
    stable_hash(&(num_records, payload))
}

/// Reads the pieces of a file.
#[derive(Debug)]
pub(crate) struct PieceReader<R> {
    file: R,
    /// Bytes that the file still has: no length is believed beyond them.
    bytes_left: u64,
}

impl<R: Read> PieceReader<R> {
    /// Reads the head of a file of `num_bytes`.
    pub(crate) fn open(mut file: R, num_bytes: u64) -> Result<Self> {
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).map_err(unreadable)?;
        if magic != MAGIC {
            return Err(Error::data("file is of another format"));
        }
        let bytes_left = num_bytes.saturating_sub(MAGIC.len() as u64);
        Ok(Self { file, bytes_left })
    }

    /// The next piece: its number of records and its payload. `None` at the file's end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>> {
        if self.bytes_left == 0 {
            return Ok(None);
        }
        let mut number = || {
            let mut bytes = [0; 8];
            self.file.read_exact(&mut bytes).map_err(unreadable)?;
            Ok::<u64, Error>(u64::from_le_bytes(bytes))
        };
        let (len, num_records, expected) = (number()?, number()?, number()?);
        let left = self.bytes_left.checked_sub(HEAD_BYTES);
        let left = left.and_then(|left| left.checked_sub(len));
        self.bytes_left = left.ok_or_else(|| Error::data("file is cut short or damaged"))?;
        let mut payload = Vec::new();
        let read = (&mut self.file).take(len).read_to_end(&mut payload);
        read.map_err(unreadable)?;
        if payload.len() as u64 != len || digest(num_records, &payload) != expected {
            return Err(Error::data("file is damaged"));
        }
        Ok(Some((num_records, payload)))
    }
}

fn unreadable(error: std::io::Error) -> Error {
    Error::data("file cannot be read").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8]) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut reader = PieceReader::open(bytes, bytes.len() as u64)?;
        let mut pieces = Vec::new();
        while let Some(piece) = reader.next()? {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    #[test]
    fn every_flipped_bit_and_every_torn_piece_is_noticed() {
        let mut file = Vec::new();
        write_head(&mut file).unwrap();
        write_piece(&mut file, 2, b"ab").unwrap();
        let first = file.len();
        write_piece(&mut file, 0, b"").unwrap();
        let whole = vec![(2, b"ab".to_vec()), (0, Vec::new())];
        assert_eq!(pieces(&file).unwrap(), whole);
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut file = file.clone();
                file[at] ^= 1 << bit;
                assert!(pieces(&file).is_err(), "byte {at} bit {bit}");
            }
            // A file that ends between two pieces is whole: whoever reads it knows how many.
            let torn = pieces(&file[..at]);
            assert!(torn.is_err() || at == first || at == 8, "cut at {at}");
        }
    }
}
