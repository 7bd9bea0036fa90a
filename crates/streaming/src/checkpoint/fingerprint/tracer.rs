//! The deserializer that makes values up and writes down what it was asked for.

use std::any::type_name;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

/// So many readings at most; each shows something new.
const MAX_READINGS: usize = 10_000;

/// A type that is still deeper inside itself has no smallest value this way.
const MAX_DEPTH: usize = 64;

/// Text that is asked for may have to be an address, a date, a version, …
const TEXTS: [&str; 8] = [
    "a",
    "",
    "1",
    "127.0.0.1",
    "127.0.0.1:80",
    "2020-01-01",
    "2020-01-01T00:00:00Z",
    "00000000-0000-4000-8000-000000000000",
];

/// Numbers that are asked for may have to be positive, or small.
const NUMBERS: [u8; 2] = [1, 0];

/// What has been seen so far.
#[derive(Debug)]
pub(super) struct Tracer {
    /// What each place is; a place has several lines only where its type refused a value.
    seen: BTreeSet<(String, String)>,
    /// The variant of the enum at a place that the next reading takes.
    variants: BTreeMap<String, usize>,
    /// The variant that makes a type inside itself end.
    smallest: BTreeMap<&'static str, usize>,
    /// Which of the likely values a place is at.
    likely: BTreeMap<String, usize>,
    num_readings: usize,
    reading: Reading,
}

/// One reading.
#[derive(Debug, Default)]
struct Reading {
    /// The place of the last value that was made up.
    last_value: Option<(String, usize)>,
    /// The enum type that went too deep, and how many variants it has.
    too_deep: Option<(&'static str, usize)>,
    /// The enums on the way, with the number of their variants.
    enums: Vec<(String, usize)>,
}

impl Tracer {
    pub(super) fn new() -> Self {
        Self {
            seen: BTreeSet::new(),
            variants: BTreeMap::new(),
            smallest: BTreeMap::new(),
            likely: BTreeMap::new(),
            num_readings: 0,
            reading: Reading::default(),
        }
    }

    /// The deserializer of one reading.
    pub(super) fn root(&mut self) -> Place<'_> {
        Place {
            tracer: self,
            path: String::from("$"),
            inside: Vec::new(),
            building: 0,
            smallest: None,
        }
    }

    /// Takes note of how a reading ended; whether another one may show more.
    pub(super) fn has_more(&mut self, is_refused: bool) -> bool {
        self.num_readings += 1;
        let reading = std::mem::take(&mut self.reading);
        if self.num_readings >= MAX_READINGS {
            return false;
        }
        if is_refused && self.can_repeat(&reading) {
            return true;
        }
        // The innermost enum first: those around it are left only when it has shown everything.
        for (place, num_variants) in reading.enums.into_iter().rev() {
            let variant = self.variants.entry(place).or_insert(0);
            if *variant + 1 < num_variants {
                *variant += 1;
                return true;
            }
        }
        false
    }

    /// Whether the same reading may go further with another value.
    fn can_repeat(&mut self, reading: &Reading) -> bool {
        if let Some((name, num_variants)) = reading.too_deep {
            let variant = self.smallest.entry(name).or_insert(0);
            *variant += 1;
            return *variant < num_variants;
        }
        let Some((place, num_likely)) = &reading.last_value else {
            return false;
        };
        let likely = self.likely.entry(place.clone()).or_insert(0);
        *likely += 1;
        if *likely < *num_likely {
            return true;
        }
        self.seen.insert((place.clone(), String::from("not taken")));
        false
    }

    /// The shape, a line for each place.
    pub(super) fn finish(self) -> String {
        self.seen
            .into_iter()
            .map(|(place, what)| format!("{place} {what}\n"))
            .collect()
    }
}

/// Why a reading ended early; what for is in the tracer.
#[derive(Debug)]
pub(super) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("value was refused")
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// A place where a value is asked for.
#[derive(Debug)]
pub(super) struct Place<'t> {
    tracer: &'t mut Tracer,
    path: String,
    /// The structs and enums around it.
    inside: Vec<&'static str>,
    /// How deep below a type inside itself: there, values are made as small as possible and
    /// nothing is written down. 0 everywhere else.
    building: usize,
    /// The innermost enum that is being built, and how many variants it has.
    smallest: Option<(&'static str, usize)>,
}

impl Place<'_> {
    fn is_building(&self) -> bool {
        self.building > 0
    }

    fn note(&mut self, what: &str) {
        if !self.is_building() {
            let line = (self.path.clone(), what.to_owned());
            self.tracer.seen.insert(line);
        }
    }

    fn child(&mut self, step: &str) -> Place<'_> {
        Place {
            path: format!("{}{step}", self.path),
            inside: self.inside.clone(),
            building: self.building + usize::from(self.is_building()),
            smallest: self.smallest,
            tracer: self.tracer,
        }
    }

    /// Enters a struct or enum; from the second time on it is inside itself.
    fn enter(&mut self, name: &'static str, what: &str) -> Result<(), Refused> {
        if self.is_building() {
            if self.building > MAX_DEPTH {
                self.tracer.reading.too_deep = self.smallest;
                return Err(Refused);
            }
        } else if let Some(up) = self.inside.iter().rev().position(|around| *around == name) {
            self.note(&format!("itself {} up", up + 1));
            self.building = 1;
        } else {
            self.note(what);
        }
        self.inside.push(name);
        Ok(())
    }

    /// Which of so many likely values to give.
    fn choose(&mut self, num_likely: usize) -> usize {
        self.tracer.reading.last_value = Some((self.path.clone(), num_likely));
        self.tracer.likely.get(&self.path).copied().unwrap_or(0)
    }

    fn number(&mut self, what: &str) -> u8 {
        self.note(what);
        let choice = self.choose(NUMBERS.len());
        NUMBERS.get(choice).copied().unwrap_or(0)
    }

    fn text(&mut self, what: &str) -> &'static str {
        self.note(what);
        let choice = self.choose(TEXTS.len());
        TEXTS.get(choice).copied().unwrap_or_default()
    }

    fn variant(&mut self, name: &'static str, num_variants: usize) -> usize {
        if self.is_building() {
            self.smallest = Some((name, num_variants));
            return self.tracer.smallest.get(name).copied().unwrap_or(0);
        }
        let place = (self.path.clone(), num_variants);
        self.tracer.reading.enums.push(place);
        self.tracer.variants.get(&self.path).copied().unwrap_or(0)
    }
}

/// A kind of number: what it is called, and how it is given.
macro_rules! number {
    ($method:ident, $visit:ident, $type:ty) => {
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
            let value = self.number(stringify!($type));
            visitor.$visit(<$type>::from(value))
        }
    };
}

impl<'de> de::Deserializer<'de> for Place<'_> {
    type Error = Refused;

    number!(deserialize_u8, visit_u8, u8);
    number!(deserialize_u16, visit_u16, u16);
    number!(deserialize_u32, visit_u32, u32);
    number!(deserialize_u64, visit_u64, u64);
    number!(deserialize_u128, visit_u128, u128);
    number!(deserialize_i16, visit_i16, i16);
    number!(deserialize_i32, visit_i32, i32);
    number!(deserialize_i64, visit_i64, i64);
    number!(deserialize_i128, visit_i128, i128);
    number!(deserialize_f32, visit_f32, f32);
    number!(deserialize_f64, visit_f64, f64);

    fn deserialize_i8<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        let value = self.number("i8");
        visitor.visit_i8(i8::try_from(value).unwrap_or(0))
    }

    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        self.note("bool");
        visitor.visit_bool(false)
    }

    fn deserialize_char<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        self.note("char");
        visitor.visit_char('a')
    }

    fn deserialize_str<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        let text = self.text("string");
        visitor.visit_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        let text = self.text("bytes");
        visitor.visit_bytes(text.as_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        if self.is_building() {
            return visitor.visit_none();
        }
        self.note("option");
        visitor.visit_some(self.child("?"))
    }

    fn deserialize_unit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        self.note("unit");
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        self.note("list");
        let num_items = usize::from(!self.is_building());
        let steps = std::iter::repeat_n(String::from("[]"), num_items);
        visitor.visit_seq(Items::new(&mut self, steps.collect()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        mut self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.note(&format!("tuple of {length}"));
        let steps = (0..length).map(|index| format!(".{index}"));
        visitor.visit_seq(Items::new(&mut self, steps.collect()))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let what = format!("tuple of {length}");
        self.enter(type_name::<V::Value>(), &what)?;
        let steps = (0..length).map(|index| format!(".{index}"));
        visitor.visit_seq(Items::new(&mut self, steps.collect()))
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        self.note("map");
        let num_items = usize::from(!self.is_building());
        let steps = std::iter::repeat_n(String::from("{key}"), num_items);
        visitor.visit_map(Items::new(&mut self, steps.collect()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let what = format!("struct {}", fields.join(","));
        self.enter(type_name::<V::Value>(), &what)?;
        let steps = fields.iter().map(|field| format!(".{field}"));
        visitor.visit_seq(Items::new(&mut self, steps.collect()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let name = type_name::<V::Value>();
        self.enter(name, &format!("enum {}", variants.join(",")))?;
        let index = self.variant(name, variants.len());
        let label = variants.get(index).copied().ok_or(Refused)?;
        visitor.visit_enum(Variant {
            place: self.child(&format!("::{label}")),
            index: u32::try_from(index).map_err(|_| Refused)?,
        })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_str(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(mut self, _: V) -> Result<V::Value, Refused> {
        // The bytes of a state do not say what they are: such a type cannot be read from them.
        self.note("anything");
        Err(Refused)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The parts of a list, a tuple, a struct or a map, one for each step that is left.
struct Items<'p, 't> {
    place: &'p mut Place<'t>,
    steps: std::vec::IntoIter<String>,
}

impl<'p, 't> Items<'p, 't> {
    fn new(place: &'p mut Place<'t>, steps: Vec<String>) -> Self {
        let steps = steps.into_iter();
        Self { place, steps }
    }
}

impl<'de> de::SeqAccess<'de> for Items<'_, '_> {
    type Error = Refused;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        let Some(step) = self.steps.next() else {
            return Ok(None);
        };
        seed.deserialize(self.place.child(&step)).map(Some)
    }
}

impl<'de> de::MapAccess<'de> for Items<'_, '_> {
    type Error = Refused;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        de::SeqAccess::next_element_seed(self, seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        seed.deserialize(self.place.child("{value}"))
    }
}

/// One variant of an enum.
struct Variant<'t> {
    place: Place<'t>,
    index: u32,
}

impl<'de, 't> de::EnumAccess<'de> for Variant<'t> {
    type Error = Refused;
    type Variant = Place<'t>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Place<'t>), Refused> {
        let index: de::value::U32Deserializer<Refused> = self.index.into_deserializer();
        Ok((seed.deserialize(index)?, self.place))
    }
}

impl<'de> de::VariantAccess<'de> for Place<'_> {
    type Error = Refused;

    fn unit_variant(mut self) -> Result<(), Refused> {
        self.note("unit");
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refused> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        de::Deserializer::deserialize_tuple(self, length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        mut self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.note(&format!("struct {}", fields.join(",")));
        let steps = fields.iter().map(|field| format!(".{field}"));
        visitor.visit_seq(Items::new(&mut self, steps.collect()))
    }
}
