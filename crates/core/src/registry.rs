//! Implementations by name, as plugins register them.
//!
//! A registry is filled while a pipeline is being built and never changes afterwards. Nothing registers itself.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::io::IoFactory;
use crate::{Error, ErrorKind, Result};

/// The version of the contract between this crate and its plugins. A plugin states the one it was written for.
pub const CONTRACT_VERSION: u32 = 1;

/// A crate that registers implementations.
///
/// Implementors promise that `register` only registers: it opens nothing and reads no environment, since building a
/// pipeline must not depend on the machine.
pub trait Plugin: Send + Sync + 'static {
    /// The name under which the plugin is known, for complaints.
    fn name(&self) -> &str;

    /// The contract that the plugin was written for; return [`CONTRACT_VERSION`].
    fn contract(&self) -> u32;

    /// Registers what the plugin offers.
    ///
    /// # Errors
    /// `Conflict` when a name is taken.
    fn register(self: Box<Self>, registry: &mut Registry) -> Result<()>;
}

/// Implementations by name.
#[derive(Default, Clone)]
pub struct Registry {
    io: BTreeMap<String, Arc<dyn IoFactory>>,
}

impl Registry {
    /// Offers `factory` as the IO manager called `name`.
    ///
    /// # Errors
    /// `Conflict` when the name is taken.
    pub fn io(&mut self, name: impl Into<String>, factory: Arc<dyn IoFactory>) -> Result<()> {
        let name = name.into();
        if self.io.contains_key(&name) {
            return Err(
                Error::new(ErrorKind::Conflict, format!("two IO managers are called {name:?}"))
                    .code("io_name_taken")
                    .fix("give one of them another name"),
            );
        }
        self.io.insert(name, factory);
        Ok(())
    }

    /// The IO manager called `name`.
    pub fn io_named(&self, name: &str) -> Option<&Arc<dyn IoFactory>> {
        self.io.get(name)
    }

    /// The names of all IO managers, in order.
    pub fn io_names(&self) -> impl Iterator<Item = &str> {
        self.io.keys().map(String::as_str)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("io", &self.io.keys()).finish()
    }
}

/// Shared things that functions of assets take as [`Res`](crate::asset::Res), one per type.
#[derive(Default, Clone)]
pub struct Resources {
    by_type: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl Resources {
    /// Adds `resource`; false when there is one of its type already.
    pub fn insert<T: Send + Sync + 'static>(&mut self, resource: T) -> bool {
        self.by_type.insert(TypeId::of::<T>(), Arc::new(resource)).is_none()
    }

    /// True when there is a resource of the type `id`.
    pub fn contains(&self, id: TypeId) -> bool {
        self.by_type.contains_key(&id)
    }

    /// The resource of type `T`.
    ///
    /// # Errors
    /// `NotFound` when the pipeline has none; `build` rules that out for declared arguments.
    pub fn get<T: Send + Sync + 'static>(&self) -> Result<Arc<T>> {
        let found = self
            .by_type
            .get(&TypeId::of::<T>())
            .cloned()
            .and_then(|any| any.downcast().ok());
        found.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("no resource of type `{}`", std::any::type_name::<T>()),
            )
            .code("resource_missing")
        })
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resources({})", self.by_type.len())
    }
}
