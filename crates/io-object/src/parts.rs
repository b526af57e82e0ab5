//! A sequence that is read as its object comes.
//!
//! The object is read twice. First all of it is checked, as for every other load, and each piece of it gets a checksum of
//! its own; then it comes again, and each piece is compared with that before anything is made of it. So no row is given of
//! an object that is not what was stored.

use std::collections::VecDeque;
use std::ops::Range;

use blake3::{Hash, Hasher};
use bytes::Bytes;
use flowstone_core::codec::{self, Codec, SequenceDecoder, rows};
use flowstone_core::io::{RowParts, Stored};
use flowstone_core::{DataVersion, Result, TypeInfo, Value};
use futures::{StreamExt, stream};
use tokio::task::spawn_blocking;

use crate::error::{not_coded, wrong_checksum, wrong_len};
use crate::manager::{by_header, of_type, plain};
use crate::{ObjectArea, ObjectPath};

/// What is read at a time. Objects that are no longer are loaded whole.
pub(crate) const PIECE_LEN: u64 = 1 << 20;

/// The rows of the object at `path`; `None` when its format or its type needs all of it.
pub(crate) async fn load(
    area: &ObjectArea,
    path: ObjectPath,
    codec: &dyn Codec,
    stored: &Stored,
    ty: TypeInfo,
) -> Result<Option<RowParts>> {
    if !rows::fit(ty) {
        return Ok(None);
    }
    let subject = area.locate(&path);
    let during = |error: flowstone_core::Error| error.during("load");
    let found = area.len(&path).await.map_err(during)?;
    if found != stored.bytes {
        return Err(wrong_len(found, stored.bytes, subject).during("load"));
    }
    let plain = plain(codec, Some(&path), &subject)?;
    let header = plain.map_or_else(Bytes::new, |codec| codec::framed(codec, b""));
    let mut hasher = Hasher::new();
    hasher.update(&header);
    let mut pieces = VecDeque::new();
    let mut start = 0;
    while start < found {
        let range = start..found.min(start + PIECE_LEN);
        start = range.end;
        let piece = area.get_range(&path, range.clone()).await.map_err(during)?;
        let hash = move || {
            hasher.update(&piece);
            (blake3::hash(&piece), hasher)
        };
        let hash_of_piece;
        (hash_of_piece, hasher) = spawn_blocking(hash).await.map_err(not_coded)?;
        pieces.push_back((range, hash_of_piece));
    }
    if DataVersion::from_hash(&hasher.finalize()) != stored.data_version {
        return Err(wrong_checksum(subject).during("load"));
    }
    let codec = match plain {
        Some(codec) => codec,
        None => by_header(codec, &area.get_range(&path, 0..1).await.map_err(during)?)?,
    };
    let decoder = codec.sequence_decoder(ty);
    let Some(decoder) = decoder.map_err(|error| of_type(error, &subject))? else {
        return Ok(None);
    };
    let reading = Reading {
        area: area.clone(),
        path,
        subject,
        pieces,
        ahead: 1,
        bytes: header.to_vec(),
        decoder,
    };
    let parts = stream::try_unfold(reading, |reading| async move {
        if reading.pieces.is_empty() {
            return Ok(None);
        }
        reading.next().await.map(Some)
    });
    Ok(Some(parts.boxed()))
}

/// Where reading has come to.
struct Reading {
    area: ObjectArea,
    path: ObjectPath,
    subject: String,
    /// Those that have not come, with their checksums.
    pieces: VecDeque<(Range<u64>, Hash)>,
    /// How many are read for the next part: more where a single row is longer.
    ahead: usize,
    /// What has come and was not taken.
    bytes: Vec<u8>,
    decoder: Box<dyn SequenceDecoder>,
}

impl Reading {
    /// The next part, which may have no rows.
    async fn next(mut self) -> Result<(Value, Self)> {
        for _ in 0..self.ahead {
            let Some((range, hash)) = self.pieces.pop_front() else {
                break;
            };
            let piece = self.area.get_range(&self.path, range).await;
            let piece = piece.map_err(|error| error.during("load"))?;
            let subject = self.subject.clone();
            let check = move || {
                if blake3::hash(&piece) != hash {
                    return Err(wrong_checksum(subject).during("load"));
                }
                self.bytes.extend_from_slice(&piece);
                Ok(self)
            };
            self = spawn_blocking(check).await.map_err(not_coded)??;
        }
        let decode = move || {
            let is_last = self.pieces.is_empty();
            let (part, taken) = self
                .decoder
                .part(&self.bytes, is_last)
                .map_err(|error| of_type(error, &self.subject))?;
            self.bytes.drain(..taken);
            self.ahead = if taken == 0 { 2 * self.ahead } else { 1 };
            Ok((part, self))
        };
        spawn_blocking(decode).await.map_err(not_coded)?
    }
}
