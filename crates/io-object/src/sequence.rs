//! An object that is written as its rows come, or stays inline when it turns out to be small.

use blake3::Hasher;
use bytes::Bytes;
use flowstone_core::codec::{Codec, HEADER_LEN, SequenceEncoder};
use flowstone_core::io::{Address, Rows, Slot, Stored};
use flowstone_core::{DataVersion, Result, Value};

use crate::error::not_coded;
use crate::manager::extension_of;
use crate::{ObjectArea, StagedObject};

/// Stores `rows` as `encoder` encodes them.
pub(crate) async fn store(
    (area, codec, inline_len_max): (&ObjectArea, &dyn Codec, usize),
    slot: Slot,
    mut rows: Rows,
    encoder: Box<dyn SequenceEncoder>,
) -> Result<Stored> {
    let mut coding = Coding {
        encoder,
        hasher: Hasher::new(),
    };
    let mut writing = Writing {
        area,
        slot,
        codec,
        inline_len_max,
        begun: Vec::new(),
        staged: None,
        len: 0,
    };
    while let Some(part) = rows.next().await? {
        let encode = move || coding.part(&part).map(|bytes| (coding, bytes));
        let encoded = tokio::task::spawn_blocking(encode);
        let bytes;
        (coding, bytes) = encoded.await.map_err(not_coded)??;
        writing.write(bytes).await?;
    }
    let rest = coding.encoder.finish();
    coding.hasher.update(&rest);
    writing.write(rest).await?;
    let (address, bytes) = writing.finish().await?;
    Ok(Stored {
        address,
        data_version: DataVersion::from_hash(&coding.hasher.finalize()),
        bytes,
        rows: Some(rows.len()),
        manifest: None,
    })
}

struct Coding {
    encoder: Box<dyn SequenceEncoder>,
    hasher: Hasher,
}

impl Coding {
    fn part(&mut self, part: &Value) -> Result<Bytes> {
        let bytes = self.encoder.part(part)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }
}

struct Writing<'a> {
    area: &'a ObjectArea,
    slot: Slot,
    codec: &'a dyn Codec,
    inline_len_max: usize,
    /// What came before it was too long to stay inline.
    begun: Vec<u8>,
    staged: Option<StagedObject>,
    /// The length of what is staged.
    len: u64,
}

impl Writing<'_> {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if let Some(staged) = &mut self.staged {
            self.len += bytes.len() as u64;
            return staged.write(bytes).await;
        }
        self.begun.extend_from_slice(&bytes);
        if self.begun.len() <= self.inline_len_max.max(HEADER_LEN) {
            return Ok(());
        }
        self.stage().await
    }

    async fn stage(&mut self) -> Result<()> {
        let mut begun = Bytes::from(std::mem::take(&mut self.begun));
        if self.codec.plain().is_some() {
            begun = flowstone_core::codec::unframed(begun);
        }
        let mut staged = self.area.stage(self.slot, extension_of(self.codec)).await?;
        self.len = begun.len() as u64;
        staged.write(begun).await?;
        self.staged = Some(staged);
        Ok(())
    }

    async fn finish(mut self) -> Result<(Address, u64)> {
        if self.staged.is_none() && self.begun.len() > self.inline_len_max {
            self.stage().await?;
        }
        match self.staged {
            Some(staged) => Ok((Address::Location(staged.publish().await?.to_string().into()), self.len)),
            None => {
                let len = self.begun.len() as u64;
                Ok((Address::Inline(self.begun.into()), len))
            }
        }
    }
}
