//! One log file, record by record, and what to think of bytes that are none.

use std::ops::ControlFlow;

use tidemill_core::{Error, Result};

use super::entry::{Kind, RECORD_HEADER_BYTES, RecordHeader};
use super::window::Window;
use super::{Cut, OnDamage, Record, Skipped};

/// Takes each record that is found.
pub(super) type Visitor<'a> = &'a mut dyn FnMut(Record<'_>) -> Result<()>;

/// What one file was found to hold.
#[derive(Debug)]
pub(super) struct Scanned {
    /// The number behind its last record.
    pub(super) next: u64,
    /// Where its last record ends: what is behind is a footer, torn, or nothing.
    pub(super) end: u64,
    pub(super) cut: Option<Cut>,
    pub(super) skipped: Vec<Skipped>,
}

/// Reads the records of one file.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    pub(super) window: &'a mut Window,
    pub(super) seed: u32,
    /// No file follows: its end may be torn.
    pub(super) is_last: bool,
    pub(super) on_damage: OnDamage,
}

/// What the bytes at an offset are.
enum Found {
    Data(RecordHeader),
    Footer(RecordHeader),
    Nothing,
    Broken(Broken),
}

/// Why bytes are not the record that should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    CutHeader,
    Header,
    CutBody,
    Body,
    Misnumbered,
    Unsealed,
}

impl Broken {
    fn reason(self) -> &'static str {
        match self {
            Self::CutHeader => "file ends inside a record's header",
            Self::Header => "record's header is damaged",
            Self::CutBody => "file ends inside a record",
            Self::Body => "record's checksum does not match",
            Self::Misnumbered => "record has a wrong number",
            Self::Unsealed => "file ends without a footer, and another follows",
        }
    }
}

/// What lies behind bytes that are no record.
#[derive(Default)]
struct Behind {
    /// A record of a group that was begun after the broken one had been synced.
    is_later_group: bool,
    /// Whole records of the broken one's own group.
    num_records: u64,
    /// The number behind the highest that was seen.
    next: u64,
    /// The first whole record, to go on with if damage is skipped.
    resume: Option<(u64, u64)>,
}

impl Scan<'_> {
    /// Reads from `offset`, where record `next` should begin.
    pub(super) fn run(mut self, offset: u64, next: u64, visit: Visitor<'_>) -> Result<Scanned> {
        let mut state = Scanned {
            next,
            end: offset,
            cut: None,
            skipped: Vec::new(),
        };
        while self.step(&mut state, visit)?.is_continue() {}
        Ok(state)
    }

    fn step(&mut self, state: &mut Scanned, visit: Visitor<'_>) -> Result<ControlFlow<()>> {
        match self.found_at(state.end)? {
            Found::Data(header) if header.lsn == state.next => {
                let (offset, length) = body_of(state.end, header);
                let body = self.window.at(offset, length)?.unwrap_or_default();
                visit(Record {
                    lsn: header.lsn,
                    body,
                })?;
                state.next += 1;
                state.end = offset + length;
                Ok(ControlFlow::Continue(()))
            }
            Found::Footer(header) if header.lsn == state.next => {
                let behind = state.end + RECORD_HEADER_BYTES as u64;
                let num_bytes = self.window.num_bytes() - behind;
                if num_bytes > 0 {
                    let broken = self.damage(behind, "bytes behind the footer")?;
                    state.skipped.push(broken.skipped(num_bytes, 0));
                }
                Ok(ControlFlow::Break(()))
            }
            Found::Data(_) | Found::Footer(_) => self.broken(state, Broken::Misnumbered),
            Found::Nothing if self.is_last => Ok(ControlFlow::Break(())),
            Found::Nothing => self.broken(state, Broken::Unsealed),
            Found::Broken(broken) => self.broken(state, broken),
        }
    }

    fn found_at(&mut self, offset: u64) -> Result<Found> {
        if offset == self.window.num_bytes() {
            return Ok(Found::Nothing);
        }
        let seed = self.seed;
        let Some(bytes) = self.window.at(offset, RECORD_HEADER_BYTES as u64)? else {
            return Ok(Found::Broken(Broken::CutHeader));
        };
        let Some(header) = RecordHeader::decode(seed, bytes) else {
            return Ok(Found::Broken(Broken::Header));
        };
        let (offset, length) = body_of(offset, header);
        let Some(body) = self.window.at(offset, length)? else {
            return Ok(Found::Broken(Broken::CutBody));
        };
        Ok(match header.kind {
            _ if crc32c::crc32c(body) != header.body_checksum => Found::Broken(Broken::Body),
            Kind::Data => Found::Data(header),
            Kind::Footer => Found::Footer(header),
        })
    }

    /// At `state.end` there is no record: is that the trace of a crash?
    fn broken(&mut self, state: &mut Scanned, broken: Broken) -> Result<ControlFlow<()>> {
        let (offset, expected) = (state.end, state.next);
        let behind = self.look_behind(offset, expected)?;
        let num_bytes = self.window.num_bytes() - offset;
        // A whole record with another number is no torn write, wherever it stands.
        let is_torn = !behind.is_later_group && broken != Broken::Misnumbered;
        if self.is_last && is_torn {
            state.cut = Some(Cut {
                file: self.window.path().to_owned(),
                offset,
                num_bytes,
                num_records: behind.num_records,
            });
            return Ok(ControlFlow::Break(()));
        }
        let damage = self.damage(offset, broken.reason())?;
        let Some((resume, lsn)) = behind.resume else {
            // The numbers that were given away are not given again.
            (state.end, state.next) = (self.window.num_bytes(), behind.next.max(expected));
            let num_records = state.next - expected;
            state.skipped.push(damage.skipped(num_bytes, num_records));
            return Ok(ControlFlow::Break(()));
        };
        state
            .skipped
            .push(damage.skipped(resume - offset, lsn - expected));
        (state.end, state.next) = (resume, lsn);
        Ok(ControlFlow::Continue(()))
    }

    fn look_behind(&mut self, offset: u64, expected: u64) -> Result<Behind> {
        let mut behind = Behind::default();
        let mut from = offset + 1;
        while let Some(at) = self.window.find_magic(from)? {
            from = at + 1;
            let seed = self.seed;
            let Some(bytes) = self.window.at(at, RECORD_HEADER_BYTES as u64)? else {
                break;
            };
            let Some(header) = RecordHeader::decode(seed, bytes) else {
                continue;
            };
            if header.lsn < expected {
                continue;
            }
            // The header alone proves that the group before it had been synced.
            behind.is_later_group |= header.group > expected;
            behind.next = header.lsn + u64::from(header.kind == Kind::Data);
            if let Found::Data(_) | Found::Footer(_) = self.found_at(at)? {
                behind.num_records += u64::from(header.kind == Kind::Data);
                behind.resume.get_or_insert((at, header.lsn));
            }
            if behind.is_later_group && behind.resume.is_some() {
                break;
            }
        }
        Ok(behind)
    }

    /// Refuses, or says what is about to be skipped.
    fn damage(&self, offset: u64, reason: &str) -> Result<Damage> {
        let damage = Damage {
            file: self.window.path().to_owned(),
            offset,
            reason: reason.to_owned(),
        };
        damage.refuse_unless(self.on_damage)
    }
}

fn body_of(offset: u64, header: RecordHeader) -> (u64, u64) {
    let begin = offset + RECORD_HEADER_BYTES as u64;
    (begin, u64::from(header.num_body_bytes))
}

/// Something that no crash explains.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) file: std::path::PathBuf,
    pub(super) offset: u64,
    pub(super) reason: String,
}

impl Damage {
    /// The damage, if it may be skipped.
    pub(super) fn refuse_unless(self, on_damage: OnDamage) -> Result<Self> {
        match on_damage {
            OnDamage::Skip => Ok(self),
            OnDamage::Refuse => Err(Error::data(
                "log is damaged: restore it from a copy, or skip what is lost with OnDamage::Skip",
            )
            .with("file", self.file.display())
            .with("offset", self.offset)
            .with("reason", self.reason)),
        }
    }

    pub(super) fn skipped(self, num_bytes: u64, num_records: u64) -> Skipped {
        Skipped {
            file: self.file,
            offset: self.offset,
            num_bytes,
            num_records,
            reason: self.reason,
        }
    }
}
