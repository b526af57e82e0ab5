//! Keeps one value as one encoded object, or inline when it is small.
//!
//! The data version is the fingerprint of the encoded bytes, header included, so a value has the same one wherever it
//! lies, and every load checks what it read against it.

use std::any::TypeId;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use flowstone_core::codec::{self, Codec};
use flowstone_core::io::{Address, IoManager, Listing, Slot, Stored};
use flowstone_core::{AssetId, DataVersion, Error, ErrorKind, Result, TypeInfo, Value};

use crate::error::{stopped, wrong_checksum, wrong_len};
use crate::object::check;
use crate::{ObjectArea, ObjectPath};

/// Values whose encoding is longer are coded beside the executor, so that they hold up nothing else.
const CODED_IN_PLACE_LEN_MAX: usize = 64 << 10;

/// The same for every codec: the bytes behind the header say how to read them.
const EXTENSION: &str = "object";

pub(crate) struct ObjectManager {
    area: ObjectArea,
    codec: Arc<dyn Codec>,
    inline_len_max: usize,
    /// Types of which a value was long before.
    long: Mutex<HashSet<TypeId>>,
}

impl ObjectManager {
    pub(crate) fn new(area: ObjectArea, codec: Arc<dyn Codec>, inline_len_max: usize) -> Self {
        Self {
            area,
            codec,
            inline_len_max,
            long: Mutex::default(),
        }
    }

    async fn encode(&self, value: &Value) -> Result<Bytes> {
        let id = value.ty().id();
        if self.long().contains(&id) {
            let (codec, value) = (Arc::clone(&self.codec), value.clone());
            return tokio::task::spawn_blocking(move || codec.encode(&value))
                .await
                .map_err(|_| stopped())?;
        }
        let bytes = self.codec.encode(value)?;
        if bytes.len() > CODED_IN_PLACE_LEN_MAX {
            self.long().insert(id);
        }
        Ok(bytes)
    }

    fn long(&self) -> std::sync::MutexGuard<'_, HashSet<TypeId>> {
        self.long.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl IoManager for ObjectManager {
    fn accepts(&self, ty: TypeInfo) -> Result<()> {
        check(&*self.codec, ty)
    }

    async fn store(&self, slot: Slot, value: &Value) -> Result<Stored> {
        let encoded = self.encode(value).await?;
        let data_version = DataVersion::of(&encoded);
        let bytes = encoded.len() as u64;
        let address = if encoded.len() <= self.inline_len_max {
            Address::Inline(encoded)
        } else {
            let path = self.area.put(slot, EXTENSION, encoded).await?;
            Address::Location(path.to_string())
        };
        Ok(Stored {
            address,
            data_version,
            bytes,
            rows: None,
        })
    }

    async fn load(&self, stored: &Stored, ty: TypeInfo) -> Result<Value> {
        let (bytes, subject) = match &stored.address {
            Address::Inline(bytes) => (bytes.clone(), "an inline value".to_owned()),
            Address::Location(_) => {
                let path = ObjectPath::of_address(&stored.address)?;
                (self.area.get(&path).await?, self.area.locate(&path))
            }
        };
        if bytes.len() <= CODED_IN_PLACE_LEN_MAX {
            return decode(&*self.codec, &bytes, stored, ty, subject);
        }
        let (codec, stored) = (Arc::clone(&self.codec), stored.clone());
        let decoded = tokio::task::spawn_blocking(move || decode(&*codec, &bytes, &stored, ty, subject));
        decoded.await.map_err(|_| stopped())?
    }

    async fn delete(&self, address: &Address) -> Result<()> {
        match address {
            Address::Inline(_) => Ok(()),
            Address::Location(_) => self.area.delete(&ObjectPath::of_address(address)?).await,
        }
    }

    fn lists(&self) -> bool {
        true
    }

    fn list(&self, asset: AssetId) -> Result<Listing<'_>> {
        Ok(self.area.list_values(asset))
    }
}

fn decode(codec: &dyn Codec, bytes: &[u8], stored: &Stored, ty: TypeInfo, subject: String) -> Result<Value> {
    let found = bytes.len() as u64;
    if found != stored.bytes {
        return Err(wrong_len(found, stored.bytes, subject).during("load"));
    }
    if DataVersion::of(bytes) != stored.data_version {
        return Err(wrong_checksum(subject).during("load"));
    }
    // Bytes say which codec wrote them, so a changed default strands nothing.
    let codec = if bytes.first() == Some(&codec.tag()) {
        codec
    } else {
        codec::by_tag(bytes)?
    };
    codec.decode(bytes, ty).map_err(|error| match error.kind() {
        // The bytes are those that were stored, so it is the type that does not fit them.
        ErrorKind::Corrupt => Error::new(ErrorKind::TypeMismatch, error.message())
            .code("object_type")
            .during("load")
            .about(subject)
            .fix("the type changed since this was stored: materialize the asset again"),
        _ => error.during("load").about(subject),
    })
}
