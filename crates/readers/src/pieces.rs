//! The bytes of a file from any offset on, piece by piece.
//!
//! Knows nothing of what stands in the file. A file on the local disk is read in large pieces on a blocking thread.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use flowstone_core::Result;

use crate::error::{sort_io, stopped};
use crate::place::Place;

#[cfg(feature = "object")]
use {
    crate::error::{changed, sort_object},
    futures::{StreamExt, stream::BoxStream},
    object_store::{GetOptions, GetRange, ObjectStoreExt},
};

/// So much of a file on disk is read at once.
const PIECE_LEN: usize = 256 << 10;

impl Place {
    /// The end of its name, without `.gz`.
    #[cfg(feature = "csv")]
    pub(crate) fn extension(&self) -> Option<String> {
        let name = self.to_string();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let (_, extension) = name.rsplit_once('.')?;
        Some(extension.to_ascii_lowercase())
    }

    pub(crate) fn is_gzip(&self) -> bool {
        self.to_string().ends_with(".gz")
    }

    /// Its bytes from `offset` on, which is 0 or lies before its end.
    pub(crate) async fn open(&self, offset: u64) -> Result<Pieces> {
        match self {
            Self::Disk(path) => {
                let opened = path.clone();
                let file = tokio::task::spawn_blocking(move || {
                    let mut file = File::open(opened)?;
                    file.seek(SeekFrom::Start(offset))?;
                    Ok(file)
                });
                let file = file.await.map_err(stopped)?.map_err(|error| sort_io(error, self))?;
                Ok(Pieces::Disk(Arc::new(file)))
            }
            #[cfg(feature = "object")]
            Self::Store(store, path) => {
                // An object without bytes has no range at all.
                let range = (offset > 0).then_some(GetRange::Offset(offset));
                match store.get_opts(path, GetOptions::new().with_range(range)).await {
                    Ok(found) => Ok(Pieces::Store(found.into_stream())),
                    Err(error) => match store.head(path).await {
                        Ok(found) if found.size <= offset => Err(changed(self, "it is shorter")),
                        _ => Err(sort_object(error).about(self)),
                    },
                }
            }
        }
    }
}

/// The bytes of a file, piece by piece.
pub(crate) enum Pieces {
    Disk(Arc<File>),
    #[cfg(feature = "object")]
    Store(BoxStream<'static, object_store::Result<Bytes>>),
}

impl Pieces {
    /// The next piece, which is not empty, or `None` at the end.
    pub(crate) async fn next(&mut self, place: &Place) -> Result<Option<Bytes>> {
        match self {
            Self::Disk(file) => {
                let file = Arc::clone(file);
                let piece = tokio::task::spawn_blocking(move || read_piece(&file));
                let piece = piece.await.map_err(stopped)?;
                piece.map_err(|error| sort_io(error, place))
            }
            #[cfg(feature = "object")]
            Self::Store(stream) => loop {
                match stream.next().await.transpose() {
                    Ok(Some(piece)) if piece.is_empty() => {}
                    Ok(piece) => return Ok(piece),
                    Err(error) => return Err(sort_object(error).about(place)),
                }
            },
        }
    }
}

fn read_piece(mut file: &File) -> std::io::Result<Option<Bytes>> {
    let mut piece = vec![0; PIECE_LEN];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(None),
            Ok(len) => {
                piece.truncate(len);
                return Ok(Some(piece.into()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
