//! `StorageLevel`: where the records of an RDD are kept, and in what form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where the records of an RDD are kept once they were computed, and in what form.
///
/// *Memory only*: what does not fit, or is evicted, is computed again. *And disk*: it is written
/// to the context's folder instead and read from there. *Ser*: kept as bytes, which takes less
/// memory and holds on to nothing else (a long [`Text`](crate::Text) otherwise keeps the received
/// block it was cut from), and is decoded at each use.
///
/// The levels with a number ask for so many replicas. There is one copy as long as there is one
/// process to keep it in: the number is remembered and shown, and nothing more.
///
/// ```
/// use tidemill_core::StorageLevel;
///
/// let level: StorageLevel = "MEMORY_AND_DISK".parse()?;
/// assert_eq!(level, StorageLevel::MemoryAndDisk);
/// assert_eq!(level.to_string(), "Disk Memory Deserialized 1x Replicated");
/// # Ok::<(), tidemill_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StorageLevel {
    /// Nowhere: computed each time.
    #[default]
    None,
    /// As values in memory.
    MemoryOnly,
    /// As values in memory; two replicas.
    MemoryOnly2,
    /// As bytes in memory.
    MemoryOnlySer,
    /// As bytes in memory; two replicas.
    MemoryOnlySer2,
    /// As values in memory, else on disk.
    MemoryAndDisk,
    /// As values in memory, else on disk; two replicas.
    MemoryAndDisk2,
    /// As bytes in memory, else on disk.
    MemoryAndDiskSer,
    /// As bytes in memory, else on disk; two replicas.
    MemoryAndDiskSer2,
    /// On disk.
    DiskOnly,
    /// On disk; two replicas.
    DiskOnly2,
    /// On disk; three replicas.
    DiskOnly3,
}

/// Level, Spark's name, and whether it is on disk, in memory, as values; and how many replicas.
type Row = (StorageLevel, &'static str, bool, bool, bool, u8);

/// In the order of the variants.
const ROWS: [Row; 12] = {
    use StorageLevel as L;
    [
        (L::None, "NONE", false, false, false, 1),
        (L::MemoryOnly, "MEMORY_ONLY", false, true, true, 1),
        (L::MemoryOnly2, "MEMORY_ONLY_2", false, true, true, 2),
        (L::MemoryOnlySer, "MEMORY_ONLY_SER", false, true, false, 1),
        (
            L::MemoryOnlySer2,
            "MEMORY_ONLY_SER_2",
            false,
            true,
            false,
            2,
        ),
        (L::MemoryAndDisk, "MEMORY_AND_DISK", true, true, true, 1),
        (L::MemoryAndDisk2, "MEMORY_AND_DISK_2", true, true, true, 2),
        (
            L::MemoryAndDiskSer,
            "MEMORY_AND_DISK_SER",
            true,
            true,
            false,
            1,
        ),
        (
            L::MemoryAndDiskSer2,
            "MEMORY_AND_DISK_SER_2",
            true,
            true,
            false,
            2,
        ),
        (L::DiskOnly, "DISK_ONLY", true, false, false, 1),
        (L::DiskOnly2, "DISK_ONLY_2", true, false, false, 2),
        (L::DiskOnly3, "DISK_ONLY_3", true, false, false, 3),
    ]
};

impl StorageLevel {
    /// Spark's name, for example `MEMORY_AND_DISK_2`. Parses back.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Whether records may be on disk.
    #[must_use]
    pub fn uses_disk(self) -> bool {
        self.row().2
    }

    /// Whether records may be in memory.
    #[must_use]
    pub fn uses_memory(self) -> bool {
        self.row().3
    }

    /// Whether records in memory are values rather than bytes.
    #[must_use]
    pub fn is_deserialized(self) -> bool {
        self.row().4
    }

    /// How many copies were asked for.
    #[must_use]
    pub fn replication(self) -> u8 {
        self.row().5
    }

    /// The number that [`from_code`](Self::from_code) knows it by.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_code(code: u8) -> Self {
        ROWS.get(usize::from(code)).map_or(Self::None, |row| row.0)
    }

    fn row(self) -> Row {
        let row = ROWS.get(usize::from(self.code())).copied();
        row.unwrap_or((Self::None, "NONE", false, false, false, 1))
    }
}

impl fmt::Display for StorageLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, _, on_disk, in_memory, deserialized, replication) = self.row();
        let say = |yes: bool, word: &'static str| if yes { word } else { "" };
        write!(
            f,
            "{}{}{} {replication}x Replicated",
            say(on_disk, "Disk "),
            say(in_memory, "Memory "),
            if deserialized {
                "Deserialized"
            } else {
                "Serialized"
            },
        )
    }
}

impl FromStr for StorageLevel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = ROWS.iter().find(|row| row.1 == name);
        found.map(|row| row.0).ok_or_else(|| {
            let known: Vec<&str> = ROWS.iter().map(|row| row.1).collect();
            Error::invalid("no such storage level")
                .with("name", name)
                .with("known", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_found_by_its_name_and_its_code() {
        for (at, row) in ROWS.into_iter().enumerate() {
            assert_eq!(usize::from(row.0.code()), at);
            assert_eq!(StorageLevel::from_code(row.0.code()), row.0);
            assert_eq!(row.1.parse::<StorageLevel>().unwrap(), row.0);
            assert_eq!(row.0.name(), row.1);
        }
        let error = "MEMORY".parse::<StorageLevel>().unwrap_err();
        assert!(error.to_string().contains("DISK_ONLY_3"), "{error}");
    }

    // C-186
    #[test]
    fn a_level_says_where_and_in_what_form() {
        let text = |level: StorageLevel| level.to_string();
        assert_eq!(
            text(StorageLevel::MemoryOnlySer),
            "Memory Serialized 1x Replicated"
        );
        let both = "Disk Memory Deserialized 2x Replicated";
        assert_eq!(text(StorageLevel::MemoryAndDisk2), both);
        assert_eq!(
            text(StorageLevel::DiskOnly3),
            "Disk Serialized 3x Replicated"
        );
        assert_eq!(text(StorageLevel::None), "Serialized 1x Replicated");
    }
}
