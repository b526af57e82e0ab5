//! What a pipeline names when it wants its values kept as encoded objects.
//!
//! Options and registration only; the storing is the manager's.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use flowstone_core::codec::{Bincode, Codec, Json, JsonLines, Postcard};
use flowstone_core::io::{INLINE_LEN_MAX, IoEnv, IoFactory, IoManager};
use flowstone_core::registry::{CONTRACT_VERSION, Plugin, Registry};
use flowstone_core::{Error, ErrorKind, Result, TypeInfo};

use crate::ObjectArea;
use crate::manager::ObjectManager;

/// Keeps any serde value as one encoded object; values of at most [`INLINE_LEN_MAX`] encoded bytes stay inline.
///
/// As a plugin it registers itself under its name.
///
/// | constructor | name | when |
/// |---|---|---|
/// | [`Object::json`] | `json` | the default: readable, and it tells a changed type by its field names |
/// | [`Object::json_lines`] | `jsonl` | sequences of rows that other programs read too: a file with a line for each row |
/// | [`Object::bincode`], [`Object::postcard`] | `bincode`, `postcard` | compact, for large values of types that rarely change |
///
/// Equal values have equal data versions as far as their type writes them in one order: prefer `BTreeMap` to `HashMap`.
#[derive(Clone)]
pub struct Object {
    name: Cow<'static, str>,
    codec: Arc<dyn Codec>,
    area: Option<ObjectArea>,
    inline_len_max: usize,
}

impl Object {
    /// What the engine uses when a pipeline names no IO manager: JSON in the state folder, under the name `object`.
    pub fn embedded() -> Self {
        Self::json().named("object")
    }

    /// Values as JSON.
    pub fn json() -> Self {
        Self::with_codec(Json)
    }

    /// Sequences of rows as JSON lines: always an object, whose extension is `jsonl`, with nothing in it but the lines.
    pub fn json_lines() -> Self {
        Self::with_codec(JsonLines).never_inline()
    }

    /// Values in bincode, with the fingerprint of their type.
    pub fn bincode() -> Self {
        Self::with_codec(Bincode)
    }

    /// Values in postcard, with the fingerprint of their type.
    pub fn postcard() -> Self {
        Self::with_codec(Postcard)
    }

    /// Values in a format of your own, under the codec's name.
    pub fn with_codec(codec: impl Codec) -> Self {
        let name = Cow::Borrowed(codec.name());
        Self {
            name,
            codec: Arc::new(codec),
            area: None,
            inline_len_max: INLINE_LEN_MAX,
        }
    }

    /// The name under which assets ask for it.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Cow::Owned(name.into());
        self
    }

    /// Keeps objects in `area` instead of the state folder.
    #[must_use]
    pub fn in_area(mut self, area: ObjectArea) -> Self {
        self.area = Some(area);
        self
    }

    /// Makes an object of every value, however small, so that other programs find them all.
    #[must_use]
    pub fn never_inline(mut self) -> Self {
        // No encoding is empty: it has at least its header.
        self.inline_len_max = 0;
        self
    }
}

impl Default for Object {
    fn default() -> Self {
        Self::embedded()
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("name", &self.name)
            .field("codec", &self.codec.name())
            .field("area", &self.area)
            .finish_non_exhaustive()
    }
}

impl IoFactory for Object {
    fn accepts(&self, ty: TypeInfo) -> Result<()> {
        check(&*self.codec, ty)
    }

    fn open(&self, env: &IoEnv) -> Result<Arc<dyn IoManager>> {
        let area = match &self.area {
            Some(area) => area.clone(),
            None => ObjectArea::open(env)?,
        };
        Ok(Arc::new(ObjectManager::new(
            area,
            Arc::clone(&self.codec),
            self.inline_len_max,
        )))
    }
}

impl Plugin for Object {
    fn name(&self) -> &str {
        "object"
    }

    fn contract(&self) -> u32 {
        CONTRACT_VERSION
    }

    fn register(self: Box<Self>, registry: &mut Registry) -> Result<()> {
        registry.io(self.name.clone(), Arc::new(*self))
    }
}

/// Registers [`Object`] for every built-in format: `object` and `json`, `jsonl`, `bincode`, `postcard`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ObjectFormats;

impl Plugin for ObjectFormats {
    fn name(&self) -> &str {
        "object formats"
    }

    fn contract(&self) -> u32 {
        CONTRACT_VERSION
    }

    fn register(self: Box<Self>, registry: &mut Registry) -> Result<()> {
        for object in [
            Object::embedded(),
            Object::json(),
            Object::json_lines(),
            Object::bincode(),
            Object::postcard(),
        ] {
            Box::new(object).register(registry)?;
        }
        Ok(())
    }
}

/// The answer to whether `codec` can hold values of `ty`, as far as it shows before there is one.
pub(crate) fn check(codec: &dyn Codec, ty: TypeInfo) -> Result<()> {
    let (format, name) = (codec.name(), ty.name());
    codec.accepts(ty).map_err(|error| {
        let sorted = Error::new(
            ErrorKind::TypeMismatch,
            format!("{format} cannot hold a `{name}`: {}", error.message()),
        )
        .code("object_type");
        match error.advice() {
            Some(fix) => sorted.fix(fix.to_owned()),
            None => sorted,
        }
    })
}
