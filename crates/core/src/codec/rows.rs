//! Takes an erased value that is a sequence apart into its rows, and puts one together of rows.
//!
//! For formats that keep rows apart, such as lines or columns. What is no sequence of rows is refused.

use std::marker::PhantomData;

use serde::de::value::SeqDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::ser::{Impossible, SerializeSeq, SerializeTuple};
use serde::{Deserializer, Serialize, Serializer, forward_to_deserialize_any};

use crate::TypeInfo;

/// Takes the rows of a sequence, one after the other.
pub trait RowSink {
    /// What goes wrong.
    type Error: serde::ser::Error;

    /// There are about as many rows to come.
    fn expect(&mut self, _rows: usize) {}

    /// Takes the next row.
    ///
    /// # Errors
    /// When it does not fit.
    fn take<T: Serialize + ?Sized>(&mut self, row: &T) -> Result<(), Self::Error>;
}

/// Gives the rows of the sequence `value` to `sink`.
///
/// # Errors
/// Those of `sink`, and one when `value` is no sequence.
pub fn write_rows<S: RowSink>(value: &dyn erased_serde::Serialize, sink: &mut S) -> Result<(), S::Error> {
    erased_serde::serialize(value, Writing(sink))
}

/// About how many bytes `row` has; `None` when that is not known before it is written.
pub fn len_of<T: Serialize + ?Sized>(row: &T) -> Option<usize> {
    postcard::serialize_with_flavor(row, postcard::ser_flavors::Size::default()).ok()
}

/// True when a `ty` is a sequence of any number of rows: it reads itself from none.
pub fn fit(ty: TypeInfo) -> bool {
    let none = SeqDeserializer::<_, serde::de::value::Error>::new(std::iter::empty::<()>());
    ty.read(&mut <dyn erased_serde::Deserializer<'_>>::erase(read_rows(none)))
        .is_ok()
}

/// The sequence of the rows that `rows` gives, for a type to read itself from.
pub fn read_rows<'de, A: SeqAccess<'de>>(rows: A) -> impl Deserializer<'de, Error = A::Error> {
    Reading(rows, PhantomData)
}

struct Writing<'a, S>(&'a mut S);

fn no_rows<T, E: serde::ser::Error>() -> Result<T, E> {
    Err(E::custom("the value is not a sequence of rows"))
}

macro_rules! no_rows {
    ($($method:ident($($ty:ty),*);)*) => {
        $(fn $method(self, $(_: $ty),*) -> Result<(), S::Error> {
            no_rows()
        })*
    };
}

impl<S: RowSink> Serializer for Writing<'_, S> {
    type Ok = ();
    type Error = S::Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Impossible<(), S::Error>;
    type SerializeTupleVariant = Impossible<(), S::Error>;
    type SerializeMap = Impossible<(), S::Error>;
    type SerializeStruct = Impossible<(), S::Error>;
    type SerializeStructVariant = Impossible<(), S::Error>;

    no_rows! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self, S::Error> {
        self.0.expect(len.unwrap_or(0));
        Ok(self)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self, S::Error> {
        self.serialize_seq(Some(len))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, rows: &T) -> Result<(), S::Error> {
        rows.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), S::Error> {
        no_rows()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), S::Error> {
        no_rows()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        no_rows()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        no_rows()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        no_rows()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, S::Error> {
        no_rows()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        no_rows()
    }
}

impl<S: RowSink> SerializeSeq for Writing<'_, S> {
    type Ok = ();
    type Error = S::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, row: &T) -> Result<(), S::Error> {
        self.0.take(row)
    }

    fn end(self) -> Result<(), S::Error> {
        Ok(())
    }
}

impl<S: RowSink> SerializeTuple for Writing<'_, S> {
    type Ok = ();
    type Error = S::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, row: &T) -> Result<(), S::Error> {
        self.0.take(row)
    }

    fn end(self) -> Result<(), S::Error> {
        Ok(())
    }
}

struct Reading<'de, A>(A, PhantomData<&'de ()>);

impl<'de, A: SeqAccess<'de>> Deserializer<'de> for Reading<'de, A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_seq(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, A::Error> {
        Err(serde::de::Error::custom("rows are not a struct"))
    }

    fn deserialize_map<V: Visitor<'de>>(self, _: V) -> Result<V::Value, A::Error> {
        Err(serde::de::Error::custom("rows are not a map"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct enum identifier ignored_any
    }
}
