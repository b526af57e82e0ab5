//! The fingerprint of a type's serde shape.
//!
//! Formats that do not describe themselves turn a changed type into other values without a word; storing the shape's
//! fingerprint beside the bytes turns that into an error. The shape is traced by `serde-reflection`.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde::Serialize;
use serde_reflection::{Samples, Tracer, TracerConfig};

use crate::{Error, ErrorKind, Result, TypeInfo};

/// The length of a stored fingerprint, in bytes.
pub(super) const LEN: usize = 16;

/// 128 bits over the shape that a type shows to serde: names, fields, order, nesting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeFingerprint(u128);

impl TypeFingerprint {
    /// Traces `ty`, once per type and process.
    ///
    /// # Errors
    /// `Unsupported` when the type cannot be traced, as with hand-written serde code that inspects its input.
    pub fn of(ty: TypeInfo) -> Result<Self> {
        static KNOWN: LazyLock<Mutex<HashMap<TypeId, TypeFingerprint>>> = LazyLock::new(Mutex::default);
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(&ty.id()) {
            return Ok(*found);
        }
        let traced = trace(ty)?;
        known().insert(ty.id(), traced);
        Ok(traced)
    }

    /// The form that is stored.
    pub fn to_bytes(self) -> [u8; LEN] {
        self.0.to_le_bytes()
    }

    /// Splits a stored fingerprint off `bytes` and compares it with this one.
    ///
    /// # Errors
    /// `TypeMismatch` when they differ, `Corrupt` when there is none.
    pub fn check(self, bytes: &[u8], ty: TypeInfo) -> Result<&[u8]> {
        let (stored, body) = bytes.split_first_chunk::<LEN>().ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                "a stored value is shorter than its type's fingerprint",
            )
        })?;
        if *stored == self.to_bytes() {
            return Ok(body);
        }
        let name = ty.name();
        Err(Error::new(
            ErrorKind::TypeMismatch,
            format!("the bytes were written for another shape of `{name}`"),
        )
        .code("type_fingerprint")
        .during("decode a value")
        .fix("materialize the asset again, or store it with a format that describes itself (json, parquet)"))
    }
}

#[derive(Clone)]
struct Seed(TypeInfo);

impl<'de> serde::de::DeserializeSeed<'de> for Seed {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let mut erased = <dyn erased_serde::Deserializer<'_>>::erase(deserializer);
        self.0.read(&mut erased).map(drop).map_err(serde::de::Error::custom)
    }
}

#[derive(Serialize)]
struct Shape<'a> {
    root: &'a serde_reflection::Format,
    containers: &'a serde_reflection::Registry,
}

fn trace(ty: TypeInfo) -> Result<TypeFingerprint> {
    let untraceable = |error: &dyn std::fmt::Display| {
        let name = ty.name();
        Error::new(
            ErrorKind::Unsupported,
            format!("the shape of `{name}` cannot be traced: {error}"),
        )
        .during("fingerprint a type")
        .fix("store it as json, which describes itself")
    };
    // One round of tracing sees one more variant of each enum inside the type, so rounds grow until all are seen.
    let rounds = |count: usize| -> serde_reflection::Result<_> {
        let mut tracer = Tracer::new(TracerConfig::default().is_human_readable(false));
        let samples = Samples::new();
        let (mut root, _) = tracer.trace_type_with_seed(&samples, Seed(ty))?;
        for _ in 1..count {
            (root, _) = tracer.trace_type_with_seed(&samples, Seed(ty))?;
        }
        Ok((root, tracer.registry()?))
    };
    let (root, containers) = rounds(1)
        .or_else(|_| rounds(16))
        .or_else(|_| rounds(256))
        .map_err(|error| untraceable(&error))?;
    let shape = serde_json::to_vec(&Shape {
        root: &root,
        containers: &containers,
    })
    .map_err(|error| untraceable(&error))?;
    let hash = crate::DataVersion::of(&shape);
    Ok(TypeFingerprint(hash.0))
}
