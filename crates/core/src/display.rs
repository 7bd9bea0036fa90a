//! Records as `print` and `save` write them: what Apache Spark's Scala API shows for the like.
//!
//! Tuples are `(a,b)`, text is bare, `Option`s are `Some(x)` and `None`, lists `List(a, b)`, maps
//! `Map(k -> v)`, structs `Name(a,b)`, a float always has a point or an exponent.

use std::fmt;

use serde::ser::{self, Serialize, Serializer};

/// A record rendered for people.
///
/// ```
/// assert_eq!(tidemill_core::render(&("hello", 3)), "(hello,3)");
/// ```
#[must_use]
pub fn render<T: Serialize + ?Sized>(record: &T) -> String {
    let mut out = String::new();
    render_into(record, &mut out);
    out
}

/// Appends a rendered record. A record whose `Serialize` gives up says so in its place.
pub fn render_into<T: Serialize + ?Sized>(record: &T, out: &mut String) {
    if let Err(error) = try_render_into(record, out) {
        out.push_str("<cannot be shown: ");
        out.push_str(&error.to_string());
        out.push('>');
    }
}

/// Appends a rendered record; where its `Serialize` gives up, `out` ends in part of it.
pub(crate) fn try_render_into<T: Serialize + ?Sized>(
    record: &T,
    out: &mut String,
) -> Result<(), Refused> {
    record.serialize(Renderer { out })
}

struct Renderer<'a> {
    out: &'a mut String,
}

/// A type whose `Serialize` gives up.
#[derive(Debug)]
pub(crate) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl Renderer<'_> {
    fn text(self, text: impl fmt::Display) -> Result<(), Refused> {
        use fmt::Write;
        write!(self.out, "{text}").map_err(ser::Error::custom)
    }

    fn float(self, value: f64) -> Result<(), Refused> {
        let text = if value.is_infinite() {
            if value > 0.0 {
                "Infinity".to_owned()
            } else {
                "-Infinity".to_owned()
            }
        } else if value != 0.0 && value.is_finite() && !(1e-3..1e7).contains(&value.abs()) {
            let text = format!("{value:E}");
            match text.split_once('E') {
                Some((digits, exponent)) if !digits.contains('.') => {
                    format!("{digits}.0E{exponent}")
                }
                _ => text,
            }
        } else {
            format!("{value:?}")
        };
        self.text(text)
    }
}

/// The parts of something between brackets.
struct Parts<'a> {
    out: &'a mut String,
    separator: &'static str,
    close: &'static str,
    any: bool,
}

impl<'a> Parts<'a> {
    fn open(out: &'a mut String, open: &str, separator: &'static str, close: &'static str) -> Self {
        out.push_str(open);
        Self {
            out,
            separator,
            close,
            any: false,
        }
    }

    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        if self.any {
            self.out.push_str(self.separator);
        }
        self.any = true;
        value.serialize(Renderer { out: self.out })
    }

    fn close(self) -> Result<(), Refused> {
        self.out.push_str(self.close);
        Ok(())
    }
}

impl<'a> Serializer for Renderer<'a> {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = Parts<'a>;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Parts<'a>;

    fn serialize_bool(self, value: bool) -> Result<(), Refused> {
        self.text(value)
    }

    fn serialize_i8(self, value: i8) -> Result<(), Refused> {
        self.text(value)
    }

    fn serialize_i16(self, value: i16) -> Result<(), Refused> {
        self.text(value)
    }

    fn serialize_i32(self, value: i32) -> Result<(), Refused> {
        self.text(value)
    }

    fn serialize_i64(self, value: i64) -> Result<(), Refused> {
        self.text(value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), Refused> {
        self.text(value)
    }

    fn serialize_u16(self, value: u16) -> Result<(), Refused> {
        self.text(value)
    }

    fn serialize_u32(self, value: u32) -> Result<(), Refused> {
        self.text(value)
    }

    fn serialize_u64(self, value: u64) -> Result<(), Refused> {
        self.text(value)
    }

    fn serialize_f32(self, value: f32) -> Result<(), Refused> {
        // Through text, so that 0.1_f32 stays 0.1.
        self.float(value.to_string().parse().unwrap_or(f64::from(value)))
    }

    fn serialize_f64(self, value: f64) -> Result<(), Refused> {
        self.float(value)
    }

    fn serialize_char(self, value: char) -> Result<(), Refused> {
        self.text(value)
    }

    fn serialize_str(self, value: &str) -> Result<(), Refused> {
        self.out.push_str(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_none(self) -> Result<(), Refused> {
        self.text("None")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        let mut parts = Parts::open(self.out, "Some(", ",", ")");
        parts.part(value)?;
        parts.close()
    }

    fn serialize_unit(self) -> Result<(), Refused> {
        self.text("()")
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Refused> {
        self.text(name)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<(), Refused> {
        self.text(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        self.serialize_newtype_variant(name, 0, name, value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        self.out.push_str(name);
        let mut parts = Parts::open(self.out, "(", ",", ")");
        parts.part(value)?;
        parts.close()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'a>, Refused> {
        Ok(Parts::open(self.out, "List(", ", ", ")"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'a>, Refused> {
        Ok(Parts::open(self.out, "(", ",", ")"))
    }

    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Parts<'a>, Refused> {
        self.out.push_str(name);
        self.serialize_tuple(len)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        len: usize,
    ) -> Result<Parts<'a>, Refused> {
        self.serialize_tuple_struct(name, len)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts<'a>, Refused> {
        Ok(Parts::open(self.out, "Map(", ", ", ")"))
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Parts<'a>, Refused> {
        self.serialize_tuple_struct(name, len)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        len: usize,
    ) -> Result<Parts<'a>, Refused> {
        self.serialize_tuple_struct(name, len)
    }
}

impl ser::SerializeSeq for Parts<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.part(value)
    }

    fn end(self) -> Result<(), Refused> {
        self.close()
    }
}

impl ser::SerializeTuple for Parts<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.part(value)
    }

    fn end(self) -> Result<(), Refused> {
        self.close()
    }
}

impl ser::SerializeTupleStruct for Parts<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.part(value)
    }

    fn end(self) -> Result<(), Refused> {
        self.close()
    }
}

impl ser::SerializeTupleVariant for Parts<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.part(value)
    }

    fn end(self) -> Result<(), Refused> {
        self.close()
    }
}

impl ser::SerializeMap for Parts<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        self.part(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.out.push_str(" -> ");
        value.serialize(Renderer { out: self.out })
    }

    fn end(self) -> Result<(), Refused> {
        self.close()
    }
}

impl ser::SerializeStruct for Parts<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        self.part(value)
    }

    fn end(self) -> Result<(), Refused> {
        self.close()
    }
}

impl ser::SerializeStructVariant for Parts<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        self.part(value)
    }

    fn end(self) -> Result<(), Refused> {
        self.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;
    use std::collections::BTreeMap;

    #[derive(Serialize)]
    struct Click {
        user: String,
        at: u32,
    }

    #[test]
    fn records_look_as_in_scala() {
        assert_eq!(render(&("hello", 3)), "(hello,3)");
        assert_eq!(render(&("a", (1.0, None::<i32>))), "(a,(1.0,None))");
        assert_eq!(render(&(vec![1, 2], Some('x'))), "(List(1, 2),Some(x))");
        assert_eq!(
            render(&BTreeMap::from([("k", 1), ("l", 2)])),
            "Map(k -> 1, l -> 2)"
        );
        assert_eq!(
            render(&Click {
                user: "u".into(),
                at: 7
            }),
            "Click(u,7)"
        );
        assert_eq!(render(&()), "()");
    }

    #[test]
    fn floats_look_as_on_the_jvm() {
        for (value, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e7, "1.0E7"),
            (1.5e-4, "1.5E-4"),
            (-0.0, "-0.0"),
        ] {
            assert_eq!(render(&value), text);
        }
        assert_eq!(render(&f64::INFINITY), "Infinity");
        assert_eq!(render(&f64::NAN), "NaN");
        assert_eq!(render(&0.1_f32), "0.1");
    }
}
