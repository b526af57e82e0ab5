//! How pages of items and their results are packed: compressed where that helps.
//!
//! The first byte says how, so that another way may follow. What is read is bounded before it is unpacked.

use bytes::Bytes;
use flowstone_core::Result;
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use crate::error::corrupt;

/// The longest body that is stored, and that is unpacked.
pub(super) const BODY_LEN_MAX: usize = 256 << 20;

const AS_IT_IS: u8 = 0;
const SNAPPY: u8 = 1;

/// Packs bodies, one after another.
#[derive(Debug)]
pub(super) struct Packer(Encoder);

impl Packer {
    pub(super) fn new() -> Self {
        Self(Encoder::new())
    }

    /// What is stored of a body; nothing of an empty one.
    pub(super) fn pack(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        if body.is_empty() {
            return None;
        }
        let mut packed = vec![0; 1 + max_compress_len(body.len())];
        match self.0.compress(body, &mut packed[1..]) {
            Ok(len) if len < body.len() => {
                packed[0] = SNAPPY;
                packed.truncate(1 + len);
            }
            _ => {
                packed.clear();
                packed.push(AS_IT_IS);
                packed.extend_from_slice(body);
            }
        }
        Some(packed)
    }
}

/// The body of what was stored.
pub(super) fn unpack(stored: Option<&[u8]>) -> Result<Bytes> {
    const WHAT: &str = "body of items";
    let Some(stored) = stored else {
        return Ok(Bytes::new());
    };
    match stored.split_first() {
        Some((&AS_IT_IS, body)) => Ok(Bytes::copy_from_slice(body)),
        Some((&SNAPPY, packed)) => {
            let len = decompress_len(packed).map_err(|error| corrupt(WHAT, error))?;
            if len > BODY_LEN_MAX {
                return Err(corrupt(WHAT, format!("it claims to have {len} bytes")));
            }
            let body = Decoder::new().decompress_vec(packed);
            body.map(Bytes::from).map_err(|error| corrupt(WHAT, error))
        }
        Some((tag, _)) => Err(corrupt(WHAT, format!("{tag} stands for no way to pack it"))),
        None => Err(corrupt(WHAT, "it is empty")),
    }
}

#[cfg(test)]
mod tests {
    use flowstone_core::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_body_comes_back(body in prop::collection::vec(any::<u8>(), 0..2_000), times in 1..20_usize) {
            let body = body.repeat(times);

            let packed = Packer::new().pack(&body);

            prop_assert!(packed.as_ref().is_none_or(|packed| packed.len() <= body.len() + 1));
            prop_assert_eq!(unpack(packed.as_deref()).unwrap(), body);
        }

        #[test]
        fn any_bytes_are_read_or_refused(stored in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Err(refused) = unpack(Some(&stored)) {
                prop_assert_eq!(refused.kind(), ErrorKind::Corrupt);
            }
        }
    }

    #[test]
    fn what_repeats_takes_less_room() {
        let packed = Packer::new().pack(&vec![7; 10_000]).unwrap();

        assert!(packed.len() < 1_000);
    }

    #[test]
    fn a_body_that_claims_to_be_huge_is_not_unpacked() {
        // The length stands in front, as LEB128: 2³² - 1 here.
        let bomb = [SNAPPY, 0xff, 0xff, 0xff, 0xff, 0x0f, 0];

        let refused = unpack(Some(&bomb)).unwrap_err();

        assert_eq!(refused.kind(), ErrorKind::Corrupt);
        assert!(refused.to_string().contains("claims"), "{refused}");
    }
}
