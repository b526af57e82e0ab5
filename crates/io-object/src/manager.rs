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
use flowstone_core::io::{Address, IoManager, Listing, RowParts, Rows, Slot, Stored, in_one_part};
use flowstone_core::{AssetId, DataVersion, Error, ErrorKind, Result, TypeInfo, Value};

use crate::error::{not_coded, wrong_checksum, wrong_len};
use crate::object::check;
use crate::{ObjectArea, ObjectPath, parts, sequence};

/// Values whose encoding is longer are coded beside the executor, so that they hold up nothing else.
const CODED_IN_PLACE_LEN_MAX: usize = 64 << 10;

/// Of objects whose bytes say themselves, by their header, how to read them.
const EXTENSION: &str = "object";

/// The extension of the objects that `codec` writes.
pub(crate) fn extension_of(codec: &dyn Codec) -> &'static str {
    codec.plain().unwrap_or(EXTENSION)
}

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
                .map_err(not_coded)?;
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
        let (address, bytes) = if encoded.len() <= self.inline_len_max {
            let bytes = encoded.len();
            (Address::Inline(encoded), bytes)
        } else {
            let object = match self.codec.plain() {
                Some(_) => codec::unframed(encoded),
                None => encoded,
            };
            let bytes = object.len();
            let path = self.area.put(slot, extension_of(&*self.codec), object).await?;
            (Address::Location(path.to_string().into()), bytes)
        };
        Ok(Stored {
            address,
            data_version,
            bytes: bytes as u64,
            rows: None,
            manifest: None,
        })
    }

    async fn store_rows(&self, slot: Slot, rows: Rows) -> Result<Stored> {
        match self.codec.sequence(rows.ty(), rows.len())? {
            Some(encoder) => {
                sequence::store((&self.area, &*self.codec, self.inline_len_max), slot, rows, encoder).await
            }
            None => self.store(slot, &rows.collect().await?).await,
        }
    }

    async fn load(&self, stored: &Stored, ty: TypeInfo) -> Result<Value> {
        let found = match &stored.address {
            Address::Inline(bytes) => Found {
                bytes: bytes.clone(),
                path: None,
                subject: "an inline value".to_owned(),
            },
            Address::Location(_) => {
                let path = ObjectPath::of_address(&stored.address)?;
                Found {
                    bytes: self.area.get(&path).await?,
                    subject: self.area.locate(&path),
                    path: Some(path),
                }
            }
        };
        if found.bytes.len() <= CODED_IN_PLACE_LEN_MAX {
            return found.decode(&*self.codec, stored, ty);
        }
        let (codec, stored) = (Arc::clone(&self.codec), stored.clone());
        let decoded = tokio::task::spawn_blocking(move || found.decode(&*codec, &stored, ty));
        decoded.await.map_err(not_coded)?
    }

    async fn load_rows(&self, stored: &Stored, ty: TypeInfo) -> Result<RowParts> {
        if stored.bytes > parts::PIECE_LEN && stored.address.place().is_some() {
            let path = ObjectPath::of_address(&stored.address)?;
            if let Some(parts) = parts::load(&self.area, path, &*self.codec, stored, ty).await? {
                return Ok(parts);
            }
        }
        self.load(stored, ty).await.map(in_one_part)
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

/// What lies where a value was stored.
struct Found {
    bytes: Bytes,
    /// Where; none when it is inline.
    path: Option<ObjectPath>,
    subject: String,
}

impl Found {
    fn decode(self, codec: &dyn Codec, stored: &Stored, ty: TypeInfo) -> Result<Value> {
        let len = self.bytes.len() as u64;
        if len != stored.bytes {
            return Err(wrong_len(len, stored.bytes, self.subject).during("load"));
        }
        let plain = plain(codec, self.path.as_ref(), &self.subject)?;
        let bytes = plain.map_or_else(|| self.bytes.clone(), |codec| codec::framed(codec, &self.bytes));
        if DataVersion::of(&bytes) != stored.data_version {
            return Err(wrong_checksum(self.subject).during("load"));
        }
        let codec = match plain {
            Some(codec) => codec,
            None => by_header(codec, &bytes)?,
        };
        codec.decode(&bytes, ty).map_err(|error| of_type(error, &self.subject))
    }
}

/// The codec that wrote `bytes`: they say which, so a changed default strands nothing.
pub(crate) fn by_header<'c>(codec: &'c dyn Codec, bytes: &[u8]) -> Result<&'c dyn Codec> {
    if bytes.first() == Some(&codec.tag()) {
        return Ok(codec);
    }
    codec::by_tag(bytes).map(|codec| codec as _)
}

/// The codec of a file without tag and version, if it is one.
pub(crate) fn plain<'c>(
    codec: &'c dyn Codec,
    path: Option<&ObjectPath>,
    subject: &str,
) -> Result<Option<&'c dyn Codec>> {
    let extension = path.map_or(EXTENSION, ObjectPath::extension);
    if extension == EXTENSION {
        return Ok(None);
    }
    let ours = (codec.plain() == Some(extension)).then_some(codec);
    ours.or_else(|| codec::by_extension(extension).map(|codec| codec as _))
        .map(Some)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("no codec of this build reads {extension:?}"),
            )
            .code("codec_unknown_extension")
            .during("load")
            .about(subject)
        })
}

/// The error of a codec about bytes that are those that were stored: it is the type that does not fit them.
pub(crate) fn of_type(error: Error, subject: &str) -> Error {
    match error.kind() {
        ErrorKind::Corrupt => Error::new(ErrorKind::TypeMismatch, error.message())
            .code("object_type")
            .during("load")
            .about(subject)
            .fix("the type changed since this was stored: materialize the asset again"),
        _ => error.during("load").about(subject),
    }
}
