//! The bytes of a state file: a header, then pieces, each with its length and checksum.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_core::{Error, Result};

use super::manifest::kind_code;
use super::{Lease, StateFile, StateHeader, valid_name};
use crate::bytes::{FRAME_BYTES, Fields, frame, put_text, unframe};
use crate::disk::{self, Disk, DiskReader, Unpublished};

const MAGIC: [u8; 4] = *b"TMST";
const VERSION: u16 = 1;
const MAX_HEADER_BODY_BYTES: u32 = 16 << 10;

/// The most bytes of one piece: 32 MiB.
const MAX_PIECE_BYTES: u32 = 32 << 20;
const PIECE_HEADER_BYTES: usize = 8;

/// Writes a state file under `path`; it is there for good, or not at all.
pub(super) fn write(
    lease: &Lease,
    path: &Path,
    header: &StateHeader,
    pieces: &mut dyn Iterator<Item = Vec<u8>>,
) -> Result<StateFile> {
    valid_name(&header.operator)?;
    let mut file = Unpublished::create(lease.disk(), path, "new")?;
    match append(lease, &mut file, header, pieces) {
        Ok((num_bytes, checksum)) => file.publish().map(|_| StateFile {
            name: path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            kind: header.kind,
            type_fingerprint: header.type_fingerprint,
            num_bytes,
            checksum,
        }),
        Err(error) => {
            file.abandon();
            Err(error)
        }
    }
}

/// The file's length and the checksum of all its bytes.
fn append(
    lease: &Lease,
    file: &mut Unpublished,
    header: &StateHeader,
    pieces: &mut dyn Iterator<Item = Vec<u8>>,
) -> Result<(u64, u32)> {
    let mut body = Vec::new();
    put_text(&mut body, lease.application());
    body.extend(lease.epoch().to_le_bytes());
    put_text(&mut body, &header.operator);
    body.push(kind_code(header.kind));
    body.extend(header.type_fingerprint.to_le_bytes());
    body.extend(header.batch_time.as_ms().to_le_bytes());
    let head = frame(MAGIC, VERSION, &body);
    let (mut num_bytes, mut checksum) = (0, 0);
    let mut put = |bytes: &[u8]| {
        num_bytes += bytes.len() as u64;
        checksum = crc32c::crc32c_append(checksum, bytes);
        file.append(bytes)
    };
    put(&head)?;
    for piece in pieces {
        let length = u32::try_from(piece.len())
            .ok()
            .filter(|length| *length <= MAX_PIECE_BYTES)
            .ok_or_else(|| {
                Error::invalid("piece of state is too long, cut it into several")
                    .with("operator", &header.operator)
                    .with("bytes", piece.len())
                    .with("most", MAX_PIECE_BYTES)
            })?;
        put(&length.to_le_bytes())?;
        put(&crc32c::crc32c(&piece).to_le_bytes())?;
        put(&piece)?;
    }
    Ok((num_bytes, checksum))
}

/// Reads a state file and compares every byte with what was written.
pub(super) fn read(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    expected: &StateFile,
    take: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let path = dir.join(&expected.name);
    let reader = match disk.open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged(&path, 0, "file is missing"));
        }
        opened => {
            opened.map_err(|error| disk::failed("state file cannot be read", &path, error))?
        }
    };
    let mut pieces = Pieces {
        path,
        reader,
        offset: 0,
        num_bytes: expected.num_bytes,
        checksum: 0,
        buffer: Vec::new(),
    };
    pieces.skip_header()?;
    while pieces.offset < pieces.num_bytes {
        pieces.next()?;
        take(&pieces.buffer)?;
    }
    if pieces.checksum == expected.checksum {
        Ok(())
    } else {
        Err(pieces.damaged("file is not the one that the checkpoint names"))
    }
}

struct Pieces {
    path: PathBuf,
    reader: Box<dyn DiskReader>,
    offset: u64,
    num_bytes: u64,
    /// Of all bytes so far.
    checksum: u32,
    buffer: Vec<u8>,
}

impl Pieces {
    fn skip_header(&mut self) -> Result<()> {
        let path = &self.path;
        let num_bytes = self
            .reader
            .num_bytes()
            .map_err(|error| disk::failed("state file cannot be read", path, error))?;
        if num_bytes != self.num_bytes {
            return Err(damaged(
                path,
                num_bytes.min(self.num_bytes),
                "file has another length",
            ));
        }
        self.fill(FRAME_BYTES as u64)?;
        let length = Fields::new(self.buffer.get(8..).unwrap_or_default()).u32();
        let length = length.filter(|length| *length <= MAX_HEADER_BODY_BYTES);
        let Some(length) = length else {
            return Err(damaged(&self.path, 0, "header is damaged"));
        };
        let mut head = self.buffer.clone();
        self.fill(u64::from(length))?;
        head.append(&mut self.buffer);
        unframe(MAGIC, VERSION, MAX_HEADER_BODY_BYTES, &head)
            .map(drop)
            .map_err(|fault| damaged(&self.path, 0, &fault.to_string()))
    }

    /// Reads the next piece into the buffer.
    fn next(&mut self) -> Result<()> {
        let begin = self.offset;
        self.fill(PIECE_HEADER_BYTES as u64)?;
        let mut fields = Fields::new(&self.buffer);
        let (length, checksum) = (fields.u32(), fields.u32());
        match length.filter(|length| *length <= MAX_PIECE_BYTES) {
            Some(length) => self.fill(u64::from(length))?,
            None => {
                return Err(damaged(
                    &self.path,
                    begin,
                    "piece is longer than any can be",
                ));
            }
        }
        if checksum == Some(crc32c::crc32c(&self.buffer)) {
            Ok(())
        } else {
            Err(damaged(
                &self.path,
                begin,
                "piece's checksum does not match",
            ))
        }
    }

    /// Reads so many bytes into the buffer, once it is known that there are so many.
    fn fill(&mut self, num_bytes: u64) -> Result<()> {
        if num_bytes > self.num_bytes - self.offset {
            return Err(self.damaged("file ends too early"));
        }
        self.buffer = vec![0; usize::try_from(num_bytes).unwrap_or(0)];
        let filled = disk::read_full(&mut *self.reader, self.offset, &mut self.buffer)
            .map_err(|error| disk::failed("state file cannot be read", &self.path, error))?;
        if filled < self.buffer.len() {
            return Err(self.damaged("file ends too early"));
        }
        self.offset += num_bytes;
        self.checksum = crc32c::crc32c_append(self.checksum, &self.buffer);
        Ok(())
    }

    fn damaged(&self, reason: &str) -> Error {
        damaged(&self.path, self.offset, reason)
    }
}

fn damaged(path: &Path, offset: u64, reason: &str) -> Error {
    Error::data("state is damaged")
        .with("file", path.display())
        .with("offset", offset)
        .with("reason", reason)
}
