//! Values kept as they are, in a map.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::IdMap;
use crate::io::{Address, IoEnv, IoFactory, IoManager, Slot, Stored};
use crate::{DataVersion, Error, ErrorKind, Result, TypeInfo, Value};

/// Keeps values in memory, without encoding them. The data version is the fingerprint of the value in postcard.
#[derive(Debug, Default)]
pub struct MemoryIo {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    /// By the number that is their location.
    values: IdMap<u64, Value>,
}

impl MemoryIo {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of values that are kept.
    pub fn len(&self) -> usize {
        self.kept().values.len()
    }

    /// True when nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[async_trait]
impl IoManager for MemoryIo {
    fn accepts(&self, _: TypeInfo) -> Result<()> {
        Ok(())
    }

    async fn store(&self, _: Slot, value: &Value) -> Result<Stored> {
        let encoded = postcard::to_stdvec(value.as_serialize()).map_err(|error| {
            let name = value.ty().name();
            Error::new(ErrorKind::Invalid, format!("a `{name}` cannot be written: {error}")).during("store a value")
        })?;
        let mut kept = self.kept();
        kept.next += 1;
        let number = kept.next;
        kept.values.insert(number, value.clone());
        Ok(Stored {
            address: Address::Location(number.to_string().into()),
            data_version: DataVersion::of(&encoded),
            bytes: encoded.len() as u64,
            rows: None,
            manifest: None,
        })
    }

    async fn load(&self, stored: &Stored, ty: TypeInfo) -> Result<Value> {
        let Address::Location(location) = &stored.address else {
            return Err(Error::new(ErrorKind::Unsupported, "memory keeps no inline values"));
        };
        let found = location
            .parse()
            .ok()
            .and_then(|number: u64| self.kept().values.get(&number).cloned());
        let value = found.ok_or_else(|| Error::new(ErrorKind::NotFound, "the value is gone").about(location))?;
        if value.ty() == ty {
            return Ok(value);
        }
        let (found, wanted) = (value.ty().name(), ty.name());
        Err(Error::new(
            ErrorKind::TypeMismatch,
            format!("the value is a `{found}`, not a `{wanted}`"),
        )
        .code("value_type"))
    }

    async fn delete(&self, address: &Address) -> Result<()> {
        if let Address::Location(location) = address
            && let Ok(number) = location.parse()
        {
            self.kept().values.remove::<u64>(&number);
        }
        Ok(())
    }
}

/// Makes [`MemoryIo`] managers.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryIoFactory;

impl IoFactory for MemoryIoFactory {
    fn accepts(&self, _: TypeInfo) -> Result<()> {
        Ok(())
    }

    fn open(&self, _: &IoEnv) -> Result<Arc<dyn IoManager>> {
        Ok(Arc::new(MemoryIo::default()))
    }
}
