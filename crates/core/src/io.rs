//! What an IO manager is: the place where an asset's values lie.
//!
//! It stores a value under an address of its own making and loads it again. It knows nothing of runs, versions or
//! heads: which address is current is the ledger's to say, and until the ledger says so nobody reads it.

mod manifest;
mod rows;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::{AssetId, DataVersion, Error, ErrorKind, Result, RunId, TypeInfo, Value};

pub use manifest::{MANIFEST_LEN_MAX, Manifest};
pub use rows::Rows;

/// The longest value that may be kept inside the ledger, in encoded bytes.
pub const INLINE_LEN_MAX: usize = 1024;

/// Where a value lies, as its IO manager understands it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// The encoded value itself, kept in the ledger; at most [`INLINE_LEN_MAX`] bytes.
    Inline(Bytes),
    /// A location that the IO manager made from ids, for example an object's path below its root. What it remembers
    /// besides stands behind a `#`, which no place contains.
    Location(Arc<str>),
}

impl Address {
    /// The place where the value lies; `None` when it lies in the ledger.
    pub fn place(&self) -> Option<&str> {
        match self {
            Self::Inline(_) => None,
            Self::Location(location) => Some(location.split_once('#').map_or(location, |(place, _)| place)),
        }
    }
}

/// The one attempt for which a value is stored. Made of ids only, so that no user text reaches a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The asset.
    pub asset: AssetId,
    /// The partition's index in its space.
    pub partition: u64,
    /// The run.
    pub run: RunId,
    /// The fence under which the attempt works; no two attempts at one partition in one run share it.
    pub fence: u64,
    /// The attempt, from 1.
    pub attempt: u32,
}

/// What was stored and verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Where it lies.
    pub address: Address,
    /// The fingerprint of the content. Equal values have equal data versions, wherever they lie.
    pub data_version: DataVersion,
    /// The size as stored, in bytes.
    pub bytes: u64,
    /// The number of rows, where the format has rows or they came in parts.
    pub rows: Option<u64>,
    /// What whoever made the value says about it; nothing that an IO manager knows.
    pub manifest: Option<Manifest>,
}

/// Something that an attempt stored, as [`IoManager::list`] finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Where it lies; the [`place`](Address::place) of the value's address, if it became one.
    pub place: String,
    /// The attempt that stored it.
    pub slot: Slot,
    /// Its size, in bytes.
    pub bytes: u64,
}

/// What was found, in no order.
pub type Listing<'a> = BoxStream<'a, Result<Listed>>;

/// A sequence that is loaded as its rows are asked for, in parts: each a value of the type of the whole, one after the other
/// the whole. A part may have no rows.
pub type RowParts = BoxStream<'static, Result<Value>>;

/// The parts of a sequence that is in memory.
pub fn in_one_part(whole: Value) -> RowParts {
    futures::stream::once(std::future::ready(Ok(whole))).boxed()
}

/// Stores and loads the values of assets.
///
/// Implementors promise:
/// * when `store` or `store_rows` returns, the value is durable and has been verified by what the medium reports (size, checksum); a
///   crash before that leaves nothing that `load` could take for a value;
/// * `store_rows` stores what `store` would of the whole: what is loaded is the same, and so is the data version;
/// * every call of either writes to an address of its own, so attempts never see each other's leftovers;
/// * `load` returns exactly the value that was stored there, or an error of kind `Corrupt` or `NotFound`;
/// * the parts that `load_rows` gives are what `load` does, and no part is given of anything else than what was stored: they may
///   end with an error, but not with rows that never were;
/// * `delete` of what is gone already succeeds;
/// * a manager that [`lists`](Self::lists) finds everything that attempts left behind, whole or not, and nothing that was
///   put there by others; one that does not refuses to;
/// * dropping a future of any method half-way is safe.
#[async_trait]
pub trait IoManager: Send + Sync + 'static {
    /// Checks at build time that values of `ty` can be stored.
    ///
    /// # Errors
    /// `TypeMismatch` with what would fit.
    fn accepts(&self, ty: TypeInfo) -> Result<()>;

    /// Stores `value` for the attempt in `slot`.
    ///
    /// # Errors
    /// `StorageFull`, `PermissionDenied`, `Unavailable` for the medium; `Invalid` when the format cannot hold it.
    async fn store(&self, slot: Slot, value: &Value) -> Result<Stored>;

    /// Stores a sequence of rows that comes in parts, for the attempt in `slot`. A manager that does not say how holds all
    /// of it in memory.
    ///
    /// # Errors
    /// As [`store`](Self::store), and what reading the rows gives.
    async fn store_rows(&self, slot: Slot, rows: Rows) -> Result<Stored> {
        self.store(slot, &rows.collect().await?).await
    }

    /// Loads the value that lies at `stored.address`.
    ///
    /// # Errors
    /// `NotFound` when it is gone, `Corrupt` when it is not what was stored, `TypeMismatch` for another type.
    async fn load(&self, stored: &Stored, ty: TypeInfo) -> Result<Value>;

    /// Loads the sequence that lies at `stored.address` part by part. A manager that does not say how has all of it in memory;
    /// so may others, where the type or the format has no parts.
    ///
    /// # Errors
    /// As [`load`](Self::load), at once or from the stream.
    async fn load_rows(&self, stored: &Stored, ty: TypeInfo) -> Result<RowParts> {
        self.load(stored, ty).await.map(in_one_part)
    }

    /// Removes what lies at `address`.
    ///
    /// # Errors
    /// `PermissionDenied`, `Unavailable` for the medium.
    async fn delete(&self, address: &Address) -> Result<()>;

    /// True when it can tell what lies where; what crashed attempts left behind is then found and removed.
    fn lists(&self) -> bool {
        false
    }

    /// Everything that lies here for `asset`: current or not, whole or not. What an attempt stores meanwhile may be there
    /// or not.
    ///
    /// # Errors
    /// `Unsupported` from a manager that does not [`list`](Self::lists); the stream gives `PermissionDenied`,
    /// `Unavailable` for the medium.
    fn list(&self, asset: AssetId) -> Result<Listing<'_>> {
        Err(
            Error::new(ErrorKind::Unsupported, "this IO manager cannot tell what it keeps")
                .code("io_cannot_list")
                .during("list the values of asset")
                .about(asset),
        )
    }
}

/// What a plugin's IO manager is opened with.
#[derive(Debug, Clone, Default)]
pub struct IoEnv {
    /// The folder for data, or `None` to keep all data in memory.
    pub data_dir: Option<PathBuf>,
}

/// Makes an IO manager once the state folder is known. Registered by plugins under a name.
pub trait IoFactory: Send + Sync + 'static {
    /// Checks at build time that values of `ty` can be stored; the answer of the manager that `open` makes.
    ///
    /// # Errors
    /// `TypeMismatch` with what would fit.
    fn accepts(&self, ty: TypeInfo) -> Result<()>;

    /// Opens the manager.
    ///
    /// # Errors
    /// `PermissionDenied`, `Unavailable`, `NotFound` when the place cannot be used.
    fn open(&self, env: &IoEnv) -> Result<Arc<dyn IoManager>>;
}
