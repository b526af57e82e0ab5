//! Values of user types, carried through the engine without knowing them.
//!
//! A [`Value`] is shared, never copied. Its [`TypeInfo`] knows how to read another one of the same type from any serde
//! format; how it is written is the codec's and the IO manager's affair.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, ErrorKind, Result};

/// What an asset's function may return: anything that serde can write and read back.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the value of an asset",
    label = "an asset's value must be stored and loaded again",
    note = "derive `Clone`, `serde::Serialize` and `serde::Deserialize` for `{Self}`, and own all of its data"
)]
pub trait AssetValue: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> AssetValue for T {}

/// What the engine knows of a user type: its identity, its name, and how to read one.
#[derive(Clone, Copy)]
pub struct TypeInfo {
    id: fn() -> TypeId,
    name: fn() -> &'static str,
    read: fn(&mut dyn erased_serde::Deserializer<'_>) -> Result<Value, erased_serde::Error>,
}

impl TypeInfo {
    /// The description of `T`.
    pub const fn of<T: AssetValue>() -> Self {
        Self {
            id: TypeId::of::<T>,
            name: std::any::type_name::<T>,
            read: |deserializer| erased_serde::deserialize::<T>(deserializer).map(Value::new),
        }
    }

    /// True when this describes `T`.
    pub fn is<T: 'static>(&self) -> bool {
        (self.id)() == TypeId::of::<T>()
    }

    /// The identity of the type within this process.
    pub fn id(&self) -> TypeId {
        (self.id)()
    }

    /// The Rust path of the type, for people.
    pub fn name(&self) -> &'static str {
        (self.name)()
    }

    /// Reads a value of this type from any serde format.
    ///
    /// # Errors
    /// What the format says; the caller sorts it.
    pub fn read(&self, deserializer: &mut dyn erased_serde::Deserializer<'_>) -> Result<Value, erased_serde::Error> {
        (self.read)(deserializer)
    }
}

impl PartialEq for TypeInfo {
    fn eq(&self, other: &Self) -> bool {
        (self.id)() == (other.id)()
    }
}

impl Eq for TypeInfo {}

impl fmt::Debug for TypeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A shared value of a user type.
#[derive(Clone)]
pub struct Value {
    ty: TypeInfo,
    inner: Arc<dyn Carried>,
}

trait Carried: Send + Sync {
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    fn as_serialize(&self) -> &dyn erased_serde::Serialize;
    fn as_ref_any(&self) -> &dyn Any;
}

impl<T: AssetValue> Carried for T {
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn as_serialize(&self) -> &dyn erased_serde::Serialize {
        self
    }

    fn as_ref_any(&self) -> &dyn Any {
        self
    }
}

impl Value {
    /// Carries `value`.
    pub fn new<T: AssetValue>(value: T) -> Self {
        Self {
            ty: TypeInfo::of::<T>(),
            inner: Arc::new(value),
        }
    }

    /// The type of the value.
    pub fn ty(&self) -> TypeInfo {
        self.ty
    }

    /// The value as a `T`, shared.
    ///
    /// # Errors
    /// `TypeMismatch` when it is of another type.
    pub fn shared<T: AssetValue>(&self) -> Result<Arc<T>> {
        Arc::clone(&self.inner)
            .as_any()
            .downcast()
            .map_err(|_| mismatch::<T>(self.ty))
    }

    /// The value as a `T`: moved out when this is the only holder, else cloned.
    ///
    /// # Errors
    /// `TypeMismatch` when it is of another type.
    pub fn take<T: AssetValue>(self) -> Result<T> {
        let ty = self.ty;
        let shared: Arc<T> = self.inner.as_any().downcast().map_err(|_| mismatch::<T>(ty))?;
        Ok(Arc::unwrap_or_clone(shared))
    }

    /// Borrows the value as a `T`, if it is one.
    pub fn downcast_ref<T: 'static>(&self) -> Option<&T> {
        self.inner.as_ref_any().downcast_ref()
    }

    /// The value as something that any serde format can write.
    pub fn as_serialize(&self) -> &dyn erased_serde::Serialize {
        self.inner.as_serialize()
    }
}

fn mismatch<T>(found: TypeInfo) -> Error {
    let (wanted, found) = (std::any::type_name::<T>(), found.name());
    Error::new(
        ErrorKind::TypeMismatch,
        format!("the value is a `{found}`, not a `{wanted}`"),
    )
    .code("value_type")
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value<{}>", self.ty.name())
    }
}
