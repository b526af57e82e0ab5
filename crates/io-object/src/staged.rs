//! An object that is being written piece by piece.
//!
//! Pieces go to the medium as they come, so memory is bounded whatever the object's size. The object exists under its
//! path once [`StagedObject::publish`] has returned, and not before; dropped earlier, it leaves nothing that a reader
//! could find.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use flowstone_core::Result;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use crate::disk::StagedFile;
use crate::error::{sort, stopped, wrong_len};
use crate::{ObjectArea, ObjectPath};

/// Object stores want parts of at least 5 MiB, some of them all of one size.
const PART_LEN: usize = 8 << 20;

/// An object that is being written; see [`ObjectArea::stage`].
#[derive(Debug)]
pub struct StagedObject(Target);

#[derive(Debug)]
enum Target {
    /// Taken out while a blocking thread writes to it; lost with a write that failed or was dropped.
    File(Option<StagedFile>),
    Upload(Upload),
}

#[derive(Debug)]
struct Upload {
    store: Arc<dyn ObjectStore>,
    path: ObjectPath,
    buffered: BytesMut,
    parts: Option<Box<dyn MultipartUpload>>,
    len: u64,
}

impl StagedObject {
    pub(crate) fn of_file(file: StagedFile) -> Self {
        Self(Target::File(Some(file)))
    }

    pub(crate) fn of_store(store: Arc<dyn ObjectStore>, path: ObjectPath) -> Self {
        let buffered = BytesMut::new();
        Self(Target::Upload(Upload {
            store,
            path,
            buffered,
            parts: None,
            len: 0,
        }))
    }

    /// Adds `bytes` at the end.
    ///
    /// # Errors
    /// `StorageFull`, `PermissionDenied`, `Unavailable` for the medium; the object cannot be written to any more.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match &mut self.0 {
            Target::File(held) => {
                let mut file = held.take().ok_or_else(stopped)?;
                let written = tokio::task::spawn_blocking(move || file.write(&bytes).map(|()| file));
                *held = Some(written.await.map_err(|_| stopped())??);
                Ok(())
            }
            Target::Upload(upload) => upload.write(bytes).await,
        }
    }

    /// Makes the object durable under its path, and compares the size that the medium reports.
    ///
    /// # Errors
    /// As [`write`](Self::write); `Corrupt` when the medium reports another size than was written.
    pub async fn publish(self) -> Result<ObjectPath> {
        match self.0 {
            Target::File(held) => {
                let file = held.ok_or_else(stopped)?;
                tokio::task::spawn_blocking(|| file.publish())
                    .await
                    .map_err(|_| stopped())?
            }
            Target::Upload(upload) => upload.publish().await,
        }
    }
}

impl Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.len += bytes.len() as u64;
        self.buffered.extend_from_slice(&bytes);
        while self.buffered.len() >= PART_LEN {
            let part = self.buffered.split_to(PART_LEN).freeze();
            self.put_part(part).await?;
        }
        Ok(())
    }

    async fn put_part(&mut self, part: Bytes) -> Result<()> {
        if self.parts.is_none() {
            self.path = free_path(&*self.store, self.path.clone()).await?;
            let begun = self.store.put_multipart(&self.path.to_store_path()).await;
            self.parts = Some(begun.map_err(|error| sort(error, &self.path))?);
        }
        let parts = self.parts.as_mut().expect("the upload was begun above");
        parts
            .put_part(part.into())
            .await
            .map_err(|error| sort(error, &self.path))
    }

    async fn publish(mut self) -> Result<ObjectPath> {
        let rest = self.buffered.split().freeze();
        let (path, len) = if self.parts.is_none() {
            (put_new(&*self.store, self.path, rest).await?, self.len)
        } else {
            if !rest.is_empty() {
                self.put_part(rest).await?;
            }
            let mut parts = self.parts.take().expect("the upload was begun");
            if let Err(error) = parts.complete().await {
                // The first error is the one to report; what the abort leaves is the store's to expire.
                drop(parts.abort().await);
                return Err(sort(error, &self.path));
            }
            (self.path, self.len)
        };
        verify_len(&*self.store, &path, len).await?;
        Ok(path)
    }
}

/// Puts `bytes` at `path`, or at the first call after it that is free.
async fn put_new(store: &dyn ObjectStore, mut path: ObjectPath, bytes: Bytes) -> Result<ObjectPath> {
    loop {
        let payload = PutPayload::from_bytes(bytes.clone());
        match store
            .put_opts(&path.to_store_path(), payload, PutMode::Create.into())
            .await
        {
            Ok(_) => return Ok(path),
            Err(object_store::Error::AlreadyExists { .. }) => path = path.next_call(),
            Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {
                // Without conditional writes, the attempt's own ids keep its path apart from all others.
                path = free_path(store, path).await?;
                let put = store.put(&path.to_store_path(), bytes.into()).await;
                return put.map(|_| path.clone()).map_err(|error| sort(error, &path));
            }
            Err(error) => return Err(sort(error, &path)),
        }
    }
}

async fn free_path(store: &dyn ObjectStore, mut path: ObjectPath) -> Result<ObjectPath> {
    loop {
        match ObjectArea::head(store, &path).await {
            Ok(_) => path = path.next_call(),
            Err(error) if error.kind() == flowstone_core::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        }
    }
}

async fn verify_len(store: &dyn ObjectStore, path: &ObjectPath, expected: u64) -> Result<()> {
    let found = ObjectArea::head(store, path).await?;
    if found == expected {
        Ok(())
    } else {
        Err(wrong_len(found, expected, path))
    }
}
