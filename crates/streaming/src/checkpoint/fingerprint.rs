//! The shape of a type as serde sees it: names and order of fields, kinds of values.
//!
//! The type is asked to read itself from a deserializer that makes its values up and writes down
//! what it was asked for. One reading shows one variant of each enum, so it is repeated until
//! nothing new is seen. A type inside itself is noted and then built as small as it can be.

mod tracer;

use serde::de::DeserializeOwned;

use tracer::Tracer;

/// A number for the serialised shape of `T`, the same in every build and on every machine.
///
/// It changes when a field or variant is added, removed, renamed or moved, and when a value
/// becomes another kind of value (another width of integer, an `Option`, a list). It does not
/// change when a type is renamed or moved to another module, nor when a value is wrapped in a
/// newtype or a `Box`: what was stored still reads as it was meant. That a value *means* something
/// else (seconds become milliseconds) nobody can see.
///
/// A type that checks its values (an address, a version) is asked with a few likely ones; if it
/// takes none, its shape ends there and what comes behind in the same variant is not seen.
///
/// *Cost*: microseconds for small types; once at the start of a stream.
///
/// ```
/// use serde::Deserialize;
/// use tidemill_streaming::checkpoint::fingerprint;
///
/// #[derive(Deserialize)]
/// struct Count { word: String, times: u64 }
/// #[derive(Deserialize)]
/// struct Renamed { word: String, times: u64 }
/// #[derive(Deserialize)]
/// struct Narrower { word: String, times: u32 }
///
/// assert_eq!(fingerprint::<Count>(), fingerprint::<Renamed>());
/// assert_ne!(fingerprint::<Count>(), fingerprint::<Narrower>());
/// ```
#[must_use]
pub fn fingerprint<T: DeserializeOwned>() -> u64 {
    // FNV-1a: part of the format, so it never changes.
    shape::<T>()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

/// The shape that [`fingerprint`] is made of, a line for each place: for people to compare.
///
/// ```
/// use tidemill_streaming::checkpoint::shape;
///
/// assert_eq!(shape::<Vec<(u8, bool)>>(), "$ list\n$[] tuple of 2\n$[].0 u8\n$[].1 bool\n");
/// ```
#[must_use]
pub fn shape<T: DeserializeOwned>() -> String {
    let mut tracer = Tracer::new();
    while {
        let is_refused = T::deserialize(tracer.root()).is_err();
        tracer.has_more(is_refused)
    } {}
    tracer.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::net::IpAddr;
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use serde::Deserialize;
    use tidemill_core::Text;

    use super::*;

    /// Each shape of `items` is another one.
    fn all_differ(shapes: &[String]) {
        let different: HashSet<&String> = shapes.iter().collect();
        assert_eq!(different.len(), shapes.len(), "{shapes:#?}");
    }

    #[derive(Deserialize)]
    struct User {
        _id: u64,
        _name: String,
    }

    #[test]
    fn fields_are_part_of_the_shape() {
        #[derive(Deserialize)]
        struct Renamed {
            _number: u64,
            _name: String,
        }
        #[derive(Deserialize)]
        struct Added {
            _id: u64,
            _name: String,
            _age: u8,
        }
        #[derive(Deserialize)]
        struct Moved {
            _name: String,
            _id: u64,
        }
        #[derive(Deserialize)]
        struct Narrow {
            _id: u32,
            _name: String,
        }
        #[derive(Deserialize)]
        struct Signed {
            _id: i64,
            _name: String,
        }
        all_differ(&[
            shape::<User>(),
            shape::<Renamed>(),
            shape::<Added>(),
            shape::<Moved>(),
            shape::<Narrow>(),
            shape::<Signed>(),
            shape::<(u64, String)>(),
            shape::<Option<User>>(),
            shape::<Vec<User>>(),
        ]);
    }

    #[test]
    fn names_of_types_and_wrappers_are_not() {
        #[derive(Deserialize)]
        #[serde(rename = "Quite another name")]
        struct Person {
            _id: Wrapped,
            _name: Text,
        }
        #[derive(Deserialize)]
        struct Wrapped(#[expect(dead_code, reason = "only its shape matters")] Arc<u64>);
        assert_eq!(shape::<User>(), shape::<Person>());
        assert_eq!(shape::<Box<User>>(), shape::<User>());
        assert_eq!(
            fingerprint::<User>(),
            0xdf68_fdcc_e258_7ad4,
            "part of the format: it must never change\n{}",
            shape::<User>()
        );
    }

    #[expect(dead_code, reason = "only their shapes matter")]
    mod enums {
        use serde::Deserialize;

        #[derive(Deserialize)]
        pub(super) enum Event {
            Login,
            Click(u32, u32),
            Buy { what: String, price: Price },
        }
        #[derive(Deserialize)]
        pub(super) enum Price {
            Free,
            Euros(u64),
        }
        #[derive(Deserialize)]
        pub(super) enum Moved {
            Click(u32, u32),
            Login,
            Buy { what: String, price: Price },
        }
        #[derive(Deserialize)]
        pub(super) enum Deep {
            Login,
            Click(u32, u32),
            Buy { what: String, price: Cents },
        }
        #[derive(Deserialize)]
        pub(super) enum Cents {
            Free,
            Euros(u32),
        }

        #[derive(Deserialize)]
        pub(super) enum Tree {
            Node(Box<Self>, Box<Self>),
            Leaf(u8),
        }
        #[derive(Deserialize)]
        pub(super) enum OtherTree {
            Node(Box<Self>, Box<Self>),
            Leaf(u16),
        }
        #[derive(Deserialize)]
        pub(super) struct List {
            pub(super) next: Option<Box<Self>>,
            pub(super) value: u8,
        }
        #[derive(Deserialize)]
        pub(super) struct Group {
            pub(super) members: Vec<Member>,
        }
        #[derive(Deserialize)]
        pub(super) struct Member {
            pub(super) groups: Vec<Group>,
            pub(super) name: String,
        }
        #[derive(Deserialize)]
        pub(super) struct Endless {
            pub(super) me: Box<Self>,
        }
    }

    #[test]
    fn every_variant_is_seen_however_deep() {
        use enums::{Deep, Event, Moved};
        let text = shape::<Event>();
        for part in [
            "$::Login",
            "$::Click.1 u32",
            "$::Buy.what",
            "$::Buy.price::Euros u64",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        all_differ(&[text, shape::<Moved>(), shape::<Deep>()]);
    }

    #[test]
    fn a_type_inside_itself_ends() {
        use enums::{Endless, Group, List, OtherTree, Tree};
        assert_eq!(
            shape::<List>(),
            "$ struct next,value\n$.next option\n$.next? itself 1 up\n$.value u8\n"
        );
        assert!(shape::<Group>().contains("$.members[].groups[] itself 2 up"));
        assert!(shape::<Group>().contains("$.members[].name string"));
        assert!(
            shape::<Tree>().contains("$::Leaf u8"),
            "{}",
            shape::<Tree>()
        );
        all_differ(&[shape::<Tree>(), shape::<OtherTree>(), shape::<Endless>()]);
    }

    #[test]
    fn values_that_are_checked_are_passed() {
        #[derive(Deserialize)]
        struct Checked {
            _count: NonZeroU32,
            _from: IpAddr,
            _letter: char,
            _map: BTreeMap<String, Option<NonZeroU32>>,
            _last: i128,
        }
        #[derive(Deserialize)]
        #[serde(try_from = "String")]
        struct Picky;
        impl TryFrom<String> for Picky {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                Err(format!("`{text}` is not what I want"))
            }
        }
        let text = shape::<Checked>();
        assert!(text.contains("$._map{value}? u32"), "{text}");
        assert!(
            text.ends_with("$._map{value} option\n$._map{value}? u32\n"),
            "{text}"
        );
        assert!(text.contains("$._last i128"), "{text}");
        assert_eq!(
            shape::<(Picky, u8)>(),
            "$ tuple of 2\n$.0 not taken\n$.0 string\n"
        );
    }
}
