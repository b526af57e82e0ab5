//! An IO manager with something between it and those who store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use flowstone_core::io::{Address, IoEnv, IoFactory, IoManager, Listing, RowParts, Rows, Slot, Stored};
use flowstone_core::{AssetId, Result, TypeInfo, Value};

/// Stands between an IO manager and those who store and load.
#[async_trait]
pub trait AroundIo: Send + Sync + 'static {
    /// Stores `value` by `io`, or does whatever it is there for.
    ///
    /// # Errors
    /// What [`IoManager::store`] may say.
    async fn store(&self, io: &dyn IoManager, slot: Slot, value: &Value) -> Result<Stored>;

    /// Stores rows by `io`, or does whatever it is there for.
    ///
    /// # Errors
    /// What [`IoManager::store_rows`] may say.
    async fn store_rows(&self, io: &dyn IoManager, slot: Slot, rows: Rows) -> Result<Stored>;

    /// Loads a value by `io`, or does whatever it is there for.
    ///
    /// # Errors
    /// What [`IoManager::load`] may say.
    async fn load(&self, io: &dyn IoManager, stored: &Stored, ty: TypeInfo) -> Result<Value> {
        io.load(stored, ty).await
    }

    /// Loads rows by `io`, or does whatever it is there for.
    ///
    /// # Errors
    /// What [`IoManager::load_rows`] may say.
    async fn load_rows(&self, io: &dyn IoManager, stored: &Stored, ty: TypeInfo) -> Result<RowParts> {
        io.load_rows(stored, ty).await
    }
}

/// An IO manager whose calls go through an [`AroundIo`].
pub struct IoAround<A> {
    io: Arc<dyn IoManager>,
    around: Arc<A>,
}

impl<A> IoAround<A> {
    /// Puts `around` in front of `io`.
    pub fn new(io: Arc<dyn IoManager>, around: Arc<A>) -> Self {
        Self { io, around }
    }
}

impl<A> fmt::Debug for IoAround<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoAround").finish_non_exhaustive()
    }
}

#[async_trait]
impl<A: AroundIo> IoManager for IoAround<A> {
    fn accepts(&self, ty: TypeInfo) -> Result<()> {
        self.io.accepts(ty)
    }

    async fn store(&self, slot: Slot, value: &Value) -> Result<Stored> {
        self.around.store(&*self.io, slot, value).await
    }

    async fn store_rows(&self, slot: Slot, rows: Rows) -> Result<Stored> {
        self.around.store_rows(&*self.io, slot, rows).await
    }

    async fn load(&self, stored: &Stored, ty: TypeInfo) -> Result<Value> {
        self.around.load(&*self.io, stored, ty).await
    }

    async fn load_rows(&self, stored: &Stored, ty: TypeInfo) -> Result<RowParts> {
        self.around.load_rows(&*self.io, stored, ty).await
    }

    async fn delete(&self, address: &Address) -> Result<()> {
        self.io.delete(address).await
    }

    fn lists(&self) -> bool {
        self.io.lists()
    }

    fn list(&self, asset: AssetId) -> Result<Listing<'_>> {
        self.io.list(asset)
    }
}

/// A factory whose managers go through an [`AroundIo`].
pub struct IoFactoryAround<A> {
    factory: Arc<dyn IoFactory>,
    around: Arc<A>,
}

impl<A> IoFactoryAround<A> {
    /// Puts `around` in front of every manager that `factory` opens.
    pub fn new(factory: Arc<dyn IoFactory>, around: Arc<A>) -> Self {
        Self { factory, around }
    }
}

impl<A> fmt::Debug for IoFactoryAround<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoFactoryAround").finish_non_exhaustive()
    }
}

impl<A: AroundIo> IoFactory for IoFactoryAround<A> {
    fn accepts(&self, ty: TypeInfo) -> Result<()> {
        self.factory.accepts(ty)
    }

    fn open(&self, env: &IoEnv) -> Result<Arc<dyn IoManager>> {
        let io = self.factory.open(env)?;
        Ok(Arc::new(IoAround::new(io, Arc::clone(&self.around))))
    }
}
