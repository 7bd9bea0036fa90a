//! Functions that travel: how a node's type, and the closures in it, are named to another process
//! of the same executable. The only module with `unsafe`; design note 0001 has the whole story.
//!
//! # Soundness
//!
//! Two operations need `unsafe`.
//!
//! **Reading a [`Descriptor`] at an address that came over the wire** ([`Image::resolve`]). The
//! address is accepted only when the whole descriptor lies in memory that the kernel maps
//! read-only from this very executable file, and is aligned. Such memory is initialised and never
//! changes, so reading the two leading integers is defined whatever they are. Only when these 128
//! random bits and the identity of the type match is a `&'static Descriptor` formed and anything in
//! it called. Frames reach this point only from peers that proved the
//! same build id and the run's secret, so a match by malice needs the secret.
//!
//! **Making a closure from nothing** (`remake`). Only for types of size zero without drop glue:
//! a value of such a type has no bytes, so reading it from a dangling aligned pointer is defined.
//! The descriptor was instantiated by a process that had a value of the type in its hands.
//!
//! # Documented limits
//!
//! * A zero-sized *capability token* (a type whose mere existence proves something, such as "the
//!   GPU is initialised") would be re-made without its proof. Do not capture one.
//! * [`Portable`] is for the engine's own crates: its `decode` makes values of stateless types, and
//!   must not be called for a type without values, which no closure that exists has captured.
//! * A closure that reads a `static` sees the static of the process it runs in.
//! * Closures in another shared object than the executable are refused: their descriptors do not
//!   lie in the executable's file.
//! * Only Linux has the read-only map this module asks for; elsewhere jobs stay in one process.
#![expect(
    unsafe_code,
    reason = "descriptors by address, zero-sized closures; argued above"
)]

use std::any::TypeId;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::codec::{Built, Decoder, Encoder};
use crate::error::{Error, ErrorKind, Result};

/// The first words of every descriptor: random, so that no other data begins with them.
const MAGIC: [u64; 2] = [0x7469_6465_6d69_6c6c, 0x9b1c_47e2_d05a_836f];

/// What one monomorphic type of node, receiver, partitioner, … is, and how to rebuild it.
///
/// One promoted constant a type: `const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(…)`.
/// Its address relative to the executable names the type on the wire.
#[repr(C)]
#[derive(Debug)]
pub struct Descriptor {
    magic: [u64; 2],
    type_id: TypeId,
    name: fn() -> &'static str,
    build: fn(&mut Decoder<'_>) -> Result<Built>,
}

impl Descriptor {
    /// The descriptor of `T`, whose values `build` makes from a payload.
    #[must_use]
    pub const fn of<T: 'static>(build: fn(&mut Decoder<'_>) -> Result<Built>) -> Self {
        Self {
            magic: MAGIC,
            type_id: TypeId::of::<T>(),
            name: std::any::type_name::<T>,
            build,
        }
    }

    /// The Rust name of the type, for messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        (self.name)()
    }

    /// Rebuilds a value from its payload.
    ///
    /// # Errors
    /// `Data` when the payload or the parents do not fit the type.
    pub fn build(&self, decoder: &mut Decoder<'_>) -> Result<Built> {
        (self.build)(decoder)
    }
}

/// How a descriptor is written: where it lies relative to the executable, and what it must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DescriptorName {
    offset: i64,
    type_hash: u64,
}

/// The executable as this process sees it: its build id and its read-only memory.
#[derive(Debug, Clone)]
pub struct Image {
    build_id: BuildId,
    read_only: Vec<Range<usize>>,
}

/// Digest of what is mapped of the executable file, and the file's length. Two processes understand each other's tasks only when
/// theirs are equal. Tells builds apart, not friend from foe: that is what the secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildId(u64, u64);

static ANCHOR: u64 = 0;

fn anchor() -> usize {
    (&raw const ANCHOR).expose_provenance()
}

impl Image {
    /// The running executable. Reads what the file's mappings show of it, once in a process (about
    /// 1 ms per 10 MB; debug information is not mapped).
    ///
    /// # Errors
    /// `Unsupported` where the kernel cannot tell which memory is read-only (not Linux).
    pub fn current() -> Result<Self> {
        static CURRENT: OnceLock<Image> = OnceLock::new();
        if let Some(known) = CURRENT.get() {
            return Ok(known.clone());
        }
        let image = Self::read()?;
        Ok(CURRENT.get_or_init(|| image).clone())
    }

    fn read() -> Result<Self> {
        let unsupported = |what: &str| Error::new(ErrorKind::Unsupported, what.to_owned());
        let maps = std::fs::read_to_string("/proc/self/maps")
            .map_err(|e| unsupported("tasks can leave the process on Linux only").caused_by(e))?;
        let maps: Vec<Mapping<'_>> = maps.lines().filter_map(Mapping::parse).collect();
        let file = maps
            .iter()
            .find(|map| map.range.contains(&anchor()))
            .map(|map| map.file)
            .ok_or_else(|| unsupported("the executable is not in its own memory map"))?;
        let read_only = maps
            .iter()
            .filter(|map| map.file == file && map.permissions.starts_with("r--"))
            .map(|map| map.range.clone())
            .collect();
        let mapped = maps.iter().filter(|map| map.file == file);
        let build_id = BuildId::of(mapped)
            .map_err(|e| unsupported("the executable cannot be read").caused_by(e))?;
        Ok(Self {
            build_id,
            read_only,
        })
    }

    /// Digest of the executable.
    #[must_use]
    pub fn build_id(&self) -> BuildId {
        self.build_id
    }

    /// The name under which `descriptor` goes over the wire.
    #[must_use]
    pub fn name_of(&self, descriptor: &'static Descriptor) -> DescriptorName {
        let address = std::ptr::from_ref(descriptor).expose_provenance();
        let offset = (address as i64).wrapping_sub(anchor() as i64);
        DescriptorName {
            offset,
            type_hash: stable_hash(&descriptor.type_id),
        }
    }

    /// The descriptor a name stands for, checked before anything in it is called.
    ///
    /// # Errors
    /// `Data` when the name does not stand for a descriptor of this executable: it was damaged,
    /// comes from another build, or from code in another shared object.
    pub fn resolve(&self, name: DescriptorName) -> Result<&'static Descriptor> {
        let refuse = |why: &str| {
            Err(
                Error::data("task names a function that is not in this executable")
                    .with("why", why)
                    .with("offset", name.offset)
                    .with("build_id", self.build_id),
            )
        };
        let address = (anchor() as i64).wrapping_add(name.offset) as usize;
        let Some(end) = address.checked_add(size_of::<Descriptor>()) else {
            return refuse("address overflows");
        };
        if !self
            .read_only
            .iter()
            .any(|range| range.start <= address && end <= range.end)
        {
            return refuse("address is not in the executable's read-only memory");
        }
        if !address.is_multiple_of(align_of::<Descriptor>()) {
            return refuse("address is not aligned");
        }
        let words = std::ptr::with_exposed_provenance::<[u64; 2]>(address);
        // SAFETY: the address is aligned and lies in initialised memory that never changes.
        let magic = unsafe { words.read() };
        if magic != MAGIC {
            return refuse("no descriptor there");
        }
        let descriptor = std::ptr::with_exposed_provenance::<Descriptor>(address);
        // SAFETY: as above; a `TypeId` is plain bits.
        let type_id = unsafe { (&raw const (*descriptor).type_id).read() };
        if stable_hash(&type_id) != name.type_hash {
            return refuse("descriptor of another type there");
        }
        // SAFETY: the memory is read-only and static, and magic and type say that
        // `Descriptor::of` wrote it; see the module's soundness argument.
        let descriptor = unsafe { &*descriptor };
        Ok(descriptor)
    }
}

impl BuildId {
    /// Reads the mapped parts of the running executable from its file, where no relocation has
    /// changed them. How the kernel has cut the mappings makes no difference.
    fn of<'a>(mapped: impl Iterator<Item = &'a Mapping<'a>>) -> std::io::Result<Self> {
        use std::os::unix::fs::FileExt as _;
        let mut parts: Vec<Range<usize>> = mapped
            .map(|map| map.offset..map.offset + map.range.len())
            .collect();
        parts.sort_by_key(|part| part.start);
        let executable = std::fs::File::open("/proc/self/exe")?;
        let len = executable.metadata()?.len();
        let (mut bytes, mut end) = (Vec::new(), 0);
        for part in parts {
            let part_end = part.end.min(usize::try_from(len).unwrap_or(usize::MAX));
            let start = part.start.max(end);
            let before = bytes.len();
            bytes.resize(before + part_end.saturating_sub(start), 0);
            if let Some(fresh) = bytes.get_mut(before..) {
                executable.read_exact_at(fresh, start as u64)?;
            }
            end = end.max(part_end);
        }
        Ok(Self(rapidhash::v3::rapidhash_v3(&bytes), len))
    }
}

impl std::fmt::Display for BuildId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

/// One line of the kernel's memory map.
struct Mapping<'a> {
    range: Range<usize>,
    permissions: &'a str,
    /// Where in the file the range begins.
    offset: usize,
    file: &'a str,
}

impl<'a> Mapping<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let hex = |text| usize::from_str_radix(text, 16).ok();
        let range = hex(start)?..hex(end)?;
        let permissions = fields.next()?;
        let offset = hex(fields.next()?)?;
        let file = fields.nth(2)?.trim_start();
        Some(Self {
            range,
            permissions,
            offset,
            file,
        })
    }
}

/// Whether a value of `F` is nothing but its type.
pub(crate) const fn is_stateless<F>() -> bool {
    size_of::<F>() == 0 && !std::mem::needs_drop::<F>()
}

/// A value of a stateless type, from nothing. `None` for every other type.
pub(crate) fn remake<F>() -> Option<F> {
    if !is_stateless::<F>() {
        return None;
    }
    // SAFETY: the type has size zero and no drop glue; a dangling aligned pointer is valid for it.
    Some(unsafe { std::ptr::dangling::<F>().read() })
}

/// A hash that is the same in every process of a run, of every build: the partitioning hash.
#[inline]
pub(crate) fn stable_hash<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = rapidhash::quality::RapidHasher::default_const();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Something whose value can be written down and made again in another process.
///
/// Implemented by the function objects of [`function`](crate::function).
pub trait Portable: Sized + Send + Sync + 'static {
    /// Writes the value down.
    ///
    /// # Errors
    /// `Invalid` when the value cannot leave the process; names the operator and its line.
    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()>;

    /// Makes the value again.
    ///
    /// # Errors
    /// `Data` when the payload is damaged.
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self>;
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Node<F>(F);

    impl<F: 'static> Node<F> {
        const DESCRIPTOR: &'static Descriptor = &Descriptor::of::<Self>(|_| Ok(Box::new(7_u32)));
    }

    fn descriptor_of<F: Fn(u32) -> u32 + 'static>(f: F) -> &'static Descriptor {
        let _ = Node(f).0;
        Node::<F>::DESCRIPTOR
    }

    #[test]
    fn a_descriptor_is_found_again_under_its_name() {
        let image = Image::current().unwrap();
        let descriptor = descriptor_of(|x| x + 1);
        let found = image.resolve(image.name_of(descriptor)).unwrap();
        assert_eq!(found.type_name(), descriptor.type_name());
    }

    #[test]
    fn a_name_that_was_changed_is_refused() {
        let image = Image::current().unwrap();
        let name = image.name_of(descriptor_of(|x| x + 2));
        let other = image.name_of(descriptor_of(|x| x + 3));
        assert_ne!(name, other);
        let mut refused = 0;
        for offset in [
            -8,
            -1,
            1,
            4,
            8,
            16,
            1 << 12,
            1 << 30,
            i64::MAX / 2,
            i64::MIN / 2,
        ] {
            let moved = DescriptorName {
                offset: name.offset.wrapping_add(offset),
                ..name
            };
            assert_eq!(image.resolve(moved).unwrap_err().kind(), ErrorKind::Data);
            refused += 1;
        }
        let swapped = DescriptorName {
            type_hash: other.type_hash,
            ..name
        };
        let error = image.resolve(swapped).unwrap_err();
        assert_eq!(error.fact("why"), Some("descriptor of another type there"));
        assert_eq!(refused, 10);
    }

    #[test]
    fn memory_that_can_change_is_refused() {
        let image = Image::current().unwrap();
        let copy = Box::new(Descriptor::of::<u8>(|_| Ok(Box::new(0_u8))));
        let offset =
            (std::ptr::from_ref(&*copy).expose_provenance() as i64).wrapping_sub(anchor() as i64);
        let name = DescriptorName {
            offset,
            type_hash: stable_hash(&TypeId::of::<u8>()),
        };
        let error = image.resolve(name).unwrap_err();
        assert!(error.fact("why").unwrap().contains("read-only"));
    }

    #[test]
    fn only_stateless_closures_are_made_from_nothing() {
        let threshold = std::hint::black_box(3_u32);
        assert!(remake_like(&|x: u32| x + 1).is_some_and(|f| f(1) == 2));
        assert!(remake_like(&move |x: u32| x + threshold).is_none());
    }

    fn remake_like<F: Fn(u32) -> u32>(_: &F) -> Option<F> {
        remake::<F>()
    }

    #[test]
    fn a_build_id_does_not_depend_on_how_mappings_are_cut() {
        let mapping = |offset: usize, len: usize| Mapping {
            range: 0..len,
            permissions: "r--p",
            offset,
            file: "",
        };
        let whole = BuildId::of([mapping(0, 0x3000)].iter()).unwrap();
        let cut = [
            mapping(0x1000, 0x2000),
            mapping(0, 0x1000),
            mapping(0x1000, 0x1000),
        ];
        assert_eq!(BuildId::of(cut.iter()).unwrap(), whole);
        let other = BuildId::of([mapping(0, 0x2000)].iter()).unwrap();
        assert_ne!(other, whole);
        let line = "55d0-65d0 r--p 00001000 08:01 1234                       /bin/a b";
        let parsed = Mapping::parse(line).unwrap();
        assert_eq!((parsed.range, parsed.offset), (0x55d0..0x65d0, 0x1000));
        assert_eq!((parsed.permissions, parsed.file), ("r--p", "/bin/a b"));
    }
}
