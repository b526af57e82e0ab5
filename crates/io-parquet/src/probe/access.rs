//! How the probe hands out what lies inside a value: items, entries, fields, variants.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::{Probe, Stop};

/// The items of a list or tuple, the last one first.
pub(super) struct Items<'a>(pub(super) Vec<Probe<'a>>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        self.0.pop().map(|probe| seed.deserialize(probe)).transpose()
    }
}

/// The one entry of a map.
pub(super) struct Entry<'a> {
    pub(super) key: Option<Probe<'a>>,
    pub(super) value: Option<Probe<'a>>,
}

impl<'de> MapAccess<'de> for Entry<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        self.key.take().map(|probe| seed.deserialize(probe)).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        seed.deserialize(
            self.value
                .take()
                .ok_or_else(|| Stop("a map's value was read twice".to_owned()))?,
        )
    }
}

/// The fields of a struct, the last one first.
pub(super) struct NamedFields<'a> {
    pub(super) fields: Vec<(&'static str, Probe<'a>)>,
    pub(super) current: Option<Probe<'a>>,
}

impl<'de> MapAccess<'de> for NamedFields<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        let Some((name, probe)) = self.fields.pop() else {
            return Ok(None);
        };
        self.current = Some(probe);
        let name: StrDeserializer<'_, Stop> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        seed.deserialize(
            self.current
                .take()
                .ok_or_else(|| Stop("a field was read twice".to_owned()))?,
        )
    }
}

pub(super) struct Variant<'a> {
    pub(super) name: &'static str,
    pub(super) probe: Probe<'a>,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Stop;
    type Variant = Probe<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Probe<'a>), Stop> {
        let name: StrDeserializer<'_, Stop> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self.probe))
    }
}

impl<'de> VariantAccess<'de> for Probe<'_> {
    type Error = Stop;

    fn unit_variant(self) -> Result<(), Stop> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Stop> {
        self.refuse("an enum whose variants hold data; split it into columns")
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Stop> {
        self.refuse("an enum whose variants hold data; split it into columns")
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Stop> {
        self.refuse("an enum whose variants hold data; split it into columns")
    }
}
