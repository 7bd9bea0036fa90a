//! The bytes of a checkpoint file.

use std::collections::BTreeMap;

use tidemill_core::{Error, Result};

use super::{Checkpoint, Section, StateFile, StateKind};
use crate::bytes::{FRAME_BYTES, Fields, FrameFault, frame, number_pair, put_text, unframe};
use crate::time::Time;

const MAGIC: [u8; 4] = *b"TMCK";
const VERSION: u16 = 1;

/// A checkpoint holds what is small; state has files of its own.
const MAX_BODY_BYTES: u32 = 24 << 20;

/// The most bytes a checkpoint file can have.
pub(super) const MAX_BYTES: u64 = FRAME_BYTES as u64 + MAX_BODY_BYTES as u64;

/// A checkpoint, and who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) application: String,
    pub(super) epoch: u64,
    pub(super) number: u64,
    pub(super) checkpoint: Checkpoint,
}

impl Manifest {
    /// The name of the file: sorted by name is sorted by age.
    pub(super) fn file_name(&self) -> String {
        format!("{:010}-{:020}.checkpoint", self.epoch, self.number)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        let checkpoint = &self.checkpoint;
        put_text(&mut body, &self.application);
        for field in [self.epoch, self.number] {
            body.extend(field.to_le_bytes());
        }
        body.extend(checkpoint.batch_time.as_ms().to_le_bytes());
        for field in [
            checkpoint.graph_fingerprint,
            checkpoint.log_position,
            checkpoint.log_known_to,
        ] {
            body.extend(field.to_le_bytes());
        }
        put_count(&mut body, checkpoint.sections.len());
        for (operator, section) in &checkpoint.sections {
            put_section(&mut body, operator, section);
        }
        put_count(&mut body, checkpoint.state.len());
        for (operator, files) in &checkpoint.state {
            put_text(&mut body, operator);
            put_count(&mut body, files.len());
            files.iter().for_each(|file| put_file(&mut body, file));
        }
        if body.len() > MAX_BODY_BYTES as usize {
            return Err(Error::invalid(
                "checkpoint is too large: what an operator remembers has to be state",
            )
            .with("bytes", body.len())
            .with("most", MAX_BODY_BYTES));
        }
        Ok(frame(MAGIC, VERSION, &body))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FrameFault> {
        let (body, _) = unframe(MAGIC, VERSION, MAX_BODY_BYTES, bytes)?;
        if bytes.len() != FRAME_BYTES + body.len() {
            return Err(FrameFault::Checksum);
        }
        take_manifest(&mut Fields::new(body)).ok_or(FrameFault::Checksum)
    }
}

/// Epoch and number of a checkpoint by its name; `None` when it is not one.
pub(super) fn parse_file_name(name: &str) -> Option<(u64, u64)> {
    number_pair(name.strip_suffix(".checkpoint")?)
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_section(bytes: &mut Vec<u8>, operator: &str, section: &Section) {
    put_text(bytes, operator);
    bytes.extend(section.type_fingerprint.to_le_bytes());
    put_count(bytes, section.bytes.len());
    bytes.extend(crc32c::crc32c(&section.bytes).to_le_bytes());
    bytes.extend(&section.bytes);
}

fn put_file(bytes: &mut Vec<u8>, file: &StateFile) {
    bytes.push(kind_code(file.kind));
    put_text(bytes, &file.name);
    bytes.extend(file.type_fingerprint.to_le_bytes());
    bytes.extend(file.num_bytes.to_le_bytes());
    bytes.extend(file.checksum.to_le_bytes());
}

/// How a kind is written.
pub(super) fn kind_code(kind: StateKind) -> u8 {
    match kind {
        StateKind::Snapshot => 1,
        StateKind::Delta => 2,
    }
}

fn take_manifest(fields: &mut Fields<'_>) -> Option<Manifest> {
    let application = fields.text()?.to_owned();
    let (epoch, number) = (fields.u64()?, fields.u64()?);
    let mut checkpoint = Checkpoint::at(Time::from_ms(fields.i64()?));
    checkpoint.graph_fingerprint = fields.u64()?;
    checkpoint.log_position = fields.u64()?;
    checkpoint.log_known_to = fields.u64()?;
    checkpoint.sections = take_map(fields, take_section)?;
    checkpoint.state = take_map(fields, take_chain)?;
    fields.is_empty().then_some(Manifest {
        application,
        epoch,
        number,
        checkpoint,
    })
}

/// Entries under names, each once. The count reserves nothing: it may be wrong.
fn take_map<V>(
    fields: &mut Fields<'_>,
    take: impl Fn(&mut Fields<'_>) -> Option<V>,
) -> Option<BTreeMap<String, V>> {
    let mut map = BTreeMap::new();
    for _ in 0..fields.u32()? {
        let name = fields.text()?.to_owned();
        let value = take(fields)?;
        if map.insert(name, value).is_some() {
            return None;
        }
    }
    Some(map)
}

fn take_section(fields: &mut Fields<'_>) -> Option<Section> {
    let type_fingerprint = fields.u64()?;
    let (length, checksum) = (fields.u32()?, fields.u32()?);
    let bytes = fields.take(length as usize)?;
    (crc32c::crc32c(bytes) == checksum).then(|| Section {
        type_fingerprint,
        bytes: bytes.to_vec(),
    })
}

fn take_chain(fields: &mut Fields<'_>) -> Option<Vec<StateFile>> {
    (0..fields.u32()?)
        .map_while(|_| Some(take_file(fields)))
        .collect()
}

fn take_file(fields: &mut Fields<'_>) -> Option<StateFile> {
    let kind = match fields.u8()? {
        1 => StateKind::Snapshot,
        2 => StateKind::Delta,
        _ => return None,
    };
    Some(StateFile {
        kind,
        name: fields.text()?.to_owned(),
        type_fingerprint: fields.u64()?,
        num_bytes: fields.u64()?,
        checksum: fields.u32()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let mut checkpoint = Checkpoint::at(Time::from_ms(-5));
        checkpoint.graph_fingerprint = 7;
        checkpoint.log_position = 20;
        checkpoint.log_known_to = 30;
        for operator in ["lines", "counts"] {
            let section = Section {
                type_fingerprint: 99,
                bytes: operator.repeat(3).into_bytes(),
            };
            checkpoint.sections.insert(operator.to_owned(), section);
        }
        let file = |kind, name: &str| StateFile {
            name: name.to_owned(),
            kind,
            type_fingerprint: 98,
            num_bytes: 1 << 40,
            checksum: 3,
        };
        let chain = vec![file(StateKind::Snapshot, "a"), file(StateKind::Delta, "b")];
        checkpoint.state.insert(String::from("counts"), chain);
        Manifest {
            application: String::from("wordcount"),
            epoch: 2,
            number: 3,
            checkpoint,
        }
    }

    #[test]
    fn a_manifest_is_read_as_written() {
        let bytes = manifest().encode().unwrap();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest()));
        assert_eq!(parse_file_name(&manifest().file_name()), Some((2, 3)));
    }

    #[test]
    fn a_count_that_lies_is_found_out_however_right_the_checksum() {
        let whole = manifest().encode().unwrap();
        let body = whole[FRAME_BYTES..].to_vec();
        for at in 0..body.len() {
            let mut wrong = body.clone();
            wrong[at] = 0xff;
            // Fields of fixed size may hold anything; none may be taken for another.
            let _ = Manifest::decode(&frame(MAGIC, VERSION, &wrong));
        }
        let cut = frame(MAGIC, VERSION, &body[..body.len() - 1]);
        assert_eq!(Manifest::decode(&cut), Err(FrameFault::Checksum));
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_written() {
        let mut large = manifest();
        large.checkpoint.sections.insert(
            String::from("large"),
            Section::new(&vec![0; MAX_BODY_BYTES as usize]),
        );
        assert!(large.encode().is_err());
    }
}
