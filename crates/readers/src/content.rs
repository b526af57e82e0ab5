//! The text of a file from any place on, unpacked if it is packed, that can be gone back to.
//!
//! Says where it got to as a [`Mark`], and notices when what stood before a mark does not stand there any more. Lines
//! and rows are cut by those who read it.

use std::io::Write;

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use flowstone_core::Result;

use crate::cursor::Position;
use crate::error::{changed, corrupt};
use crate::pieces::Pieces;
use crate::place::Place;

/// A mark remembers so many of the bytes before it.
const BEFORE_LEN: usize = 32;
/// So much of a packed file is unpacked at once; it may become a thousand times as much.
const PACKED_LEN: usize = 8 << 10;

/// A place in the text, and what stands right before it.
///
/// A file that grew at its end still has what stood before the mark; one that was replaced has not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) offset: u64,
    before: Vec<u8>,
}

impl Mark {
    pub(crate) fn write(&self, position: &mut Vec<u8>) {
        position.extend(self.offset.to_le_bytes());
        position.extend(&self.before);
    }

    pub(crate) fn read(mut position: Position<'_>) -> Result<Self> {
        let offset = position.u64()?;
        let damaged = position.damaged();
        let before = position.rest().to_vec();
        if before.len() as u64 != offset.min(BEFORE_LEN as u64) {
            return Err(damaged);
        }
        Ok(Self { offset, before })
    }
}

/// Text that is being read.
pub(crate) struct Content {
    place: Place,
    pieces: Pieces,
    unpacking: Option<Unpacking>,
    /// What is not yet consumed of what was read.
    rest: Bytes,
    /// Where `rest` begins.
    mark: Mark,
}

impl Content {
    /// Opens the text at `mark`.
    ///
    /// # Errors
    /// `NotFound` when there is no such file; `Corrupt` with code `source_changed` when something else stands before
    /// the mark than did.
    pub(crate) async fn open(place: &Place, mark: &Mark) -> Result<Self> {
        let is_gzip = place.is_gzip();
        let start = if is_gzip {
            0
        } else {
            mark.offset - mark.before.len() as u64
        };
        let changed = |how: &str| changed(place, how);
        let pieces = place.open(start).await?;
        let mut content = Self {
            place: place.clone(),
            pieces,
            unpacking: is_gzip.then(Unpacking::default),
            rest: Bytes::new(),
            mark: Mark {
                offset: start,
                before: Vec::new(),
            },
        };
        while content.mark.offset < mark.offset {
            if content.rest.is_empty() && !content.fill().await? {
                return Err(changed("it is shorter"));
            }
            let missing = usize::try_from(mark.offset - content.mark.offset).unwrap_or(usize::MAX);
            content.consume(missing.min(content.rest.len()));
        }
        if content.mark == *mark {
            Ok(content)
        } else {
            Err(changed("other text stands where reading got to"))
        }
    }

    /// Reads on, once nothing is left. False at the end.
    pub(crate) async fn fill(&mut self) -> Result<bool> {
        debug_assert!(self.rest.is_empty(), "what was read is consumed first");
        let next = match &mut self.unpacking {
            None => self.pieces.next(&self.place).await?,
            Some(unpacking) => unpacking.next(&mut self.pieces, &self.place).await?,
        };
        self.rest = next.unwrap_or_default();
        Ok(!self.rest.is_empty())
    }

    /// What was read and not yet consumed.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// Consumes so many bytes of what was read.
    pub(crate) fn consume(&mut self, len: usize) {
        drop(self.take(len));
    }

    /// Consumes so many bytes of what was read, and gives them.
    pub(crate) fn take(&mut self, len: usize) -> Bytes {
        let taken = self.rest.split_to(len);
        let before = &mut self.mark.before;
        if len >= BEFORE_LEN {
            before.clear();
            before.extend(&taken[len - BEFORE_LEN..]);
        } else {
            let surplus = (before.len() + len).saturating_sub(BEFORE_LEN);
            before.drain(..surplus);
            before.extend(&taken);
        }
        self.mark.offset += len as u64;
        taken
    }

    /// Where it got to.
    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

/// What was read of a packed file and is not yet unpacked.
struct Unpacking {
    packed: Bytes,
    decoder: MultiGzDecoder<Vec<u8>>,
    is_over: bool,
}

impl Default for Unpacking {
    fn default() -> Self {
        Self {
            packed: Bytes::new(),
            decoder: MultiGzDecoder::new(Vec::new()),
            is_over: false,
        }
    }
}

impl Unpacking {
    async fn next(&mut self, pieces: &mut Pieces, place: &Place) -> Result<Option<Bytes>> {
        let damaged = |error: std::io::Error| {
            corrupt("gzip_corrupt", place, "it is damaged, or cut off in the middle")
                .fix("copy the file again; `gzip -t` says whether it is whole")
                .caused_by(error)
        };
        while !self.is_over {
            if self.packed.is_empty() {
                self.packed = pieces.next(place).await?.unwrap_or_default();
            }
            if self.packed.is_empty() {
                self.is_over = true;
                self.decoder.try_finish().map_err(damaged)?;
            } else {
                let len = self.packed.len().min(PACKED_LEN);
                self.decoder.write_all(&self.packed[..len]).map_err(damaged)?;
                self.packed.advance(len);
            }
            let unpacked = std::mem::take(self.decoder.get_mut());
            if !unpacked.is_empty() {
                return Ok(Some(unpacked.into()));
            }
        }
        Ok(None)
    }
}
