//! Values to bytes and back, behind a tag.
//!
//! Every encoded value starts with the codec's tag and format version, so that bytes say how to read themselves and
//! changing a default never strands what is stored. Where the bytes lie is not decided here.

mod fingerprint;
mod finite;
mod lines;
mod pieces;
mod room;
pub mod rows;
mod sequence;

use bytes::Bytes;

use self::pieces::{Counted, CountedPieces, JsonPieces};
use self::room::Room;
use self::sequence::{CountedSequence, JsonSequence};
use crate::{Error, ErrorKind, Result, TypeInfo, Value};

pub use fingerprint::TypeFingerprint;
pub use pieces::SequenceDecoder;
pub use sequence::SequenceEncoder;

/// The largest value that [`Bincode`] decodes, in bytes, every number counted at its full width; more is refused before memory is
/// taken, and not written either. The other formats take memory only for bytes that are there.
pub const DECODED_LEN_MAX: usize = 1 << 30;

/// The length of tag and version, with which everything encoded begins.
pub const HEADER_LEN: usize = 2;

/// Every codec that comes with Flowstone.
const BUILT_IN: [&dyn Codec; 4] = [&Json, &JsonLines, &Bincode, &Postcard];

/// Turns values into bytes and back.
///
/// Implementors promise that `decode(encode(v))` equals `v`, that equal values give equal bytes, that hostile bytes
/// give an error and never a panic or an unbounded allocation, and that a tag is never reused for another format.
pub trait Codec: Send + Sync + 'static {
    /// The name by which an asset or an IO manager asks for this codec.
    fn name(&self) -> &'static str;

    /// The first byte of everything that this codec writes.
    fn tag(&self) -> u8;

    /// The second byte: the version of the format.
    fn version(&self) -> u8;

    /// The extension of files in this format that other programs read; they have no tag and no version then, for which
    /// the extension stands. `None` when there are no such files.
    fn plain(&self) -> Option<&'static str> {
        None
    }

    /// Checks that values of `ty` can be written, as far as it shows before there is one.
    ///
    /// # Errors
    /// `TypeMismatch` or `Unsupported`, with what would fit.
    fn accepts(&self, _ty: TypeInfo) -> Result<()> {
        Ok(())
    }

    /// Encodes `value`, tag and version first.
    ///
    /// # Errors
    /// `Invalid` when the value cannot be written in this format.
    fn encode(&self, value: &Value) -> Result<Bytes>;

    /// Decodes what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are not such a value; `TypeMismatch` when they were written for another type;
    /// `Unsupported` when tag or version belong to another codec.
    fn decode(&self, bytes: &[u8], ty: TypeInfo) -> Result<Value>;

    /// Encodes a sequence of type `ty` with `len` elements that comes in parts; `None` when the format needs all of it.
    ///
    /// # Errors
    /// As [`accepts`](Self::accepts).
    fn sequence(&self, _ty: TypeInfo, _len: u64) -> Result<Option<Box<dyn SequenceEncoder>>> {
        Ok(None)
    }

    /// Decodes a sequence of type `ty` whose bytes come in pieces; `None` when the format needs all of them, or `ty` is no
    /// sequence.
    ///
    /// # Errors
    /// As [`accepts`](Self::accepts).
    fn sequence_decoder(&self, _ty: TypeInfo) -> Result<Option<Box<dyn SequenceDecoder>>> {
        Ok(None)
    }
}

/// Human-readable JSON: the default for small values.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

/// JSON lines: a sequence with one row a line, for other programs to read too. Only sequences are written.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonLines;

/// Bincode 2: compact, by explicit choice. It does not describe itself, so the type's fingerprint is stored with the
/// value and checked before it is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bincode;

/// Postcard: compact like [`Bincode`], with the same check; the tested way out of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Postcard;

impl Codec for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn tag(&self) -> u8 {
        b'J'
    }

    fn version(&self) -> u8 {
        1
    }

    fn encode(&self, value: &Value) -> Result<Bytes> {
        finite::check(value.as_serialize()).map_err(|refusal| finite::refused(self, value, &refusal))?;
        let mut bytes = header(self);
        serde_json::to_writer(&mut bytes, value.as_serialize()).map_err(|error| unwritable(self, value, &error))?;
        Ok(bytes.into())
    }

    fn decode(&self, bytes: &[u8], ty: TypeInfo) -> Result<Value> {
        let mut json = serde_json::Deserializer::from_slice(body(self, bytes)?);
        let value = ty
            .read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut json))
            .map_err(|error| unreadable(self, ty, &error))?;
        json.end().map_err(|error| unreadable(self, ty, &error))?;
        Ok(value)
    }

    fn sequence(&self, _: TypeInfo, _: u64) -> Result<Option<Box<dyn SequenceEncoder>>> {
        Ok(Some(Box::new(JsonSequence::new())))
    }

    fn sequence_decoder(&self, ty: TypeInfo) -> Result<Option<Box<dyn SequenceDecoder>>> {
        Ok(rows::fit(ty).then(|| Box::new(JsonPieces::new(ty)) as _))
    }
}

impl Codec for Bincode {
    fn name(&self) -> &'static str {
        "bincode"
    }

    fn tag(&self) -> u8 {
        b'B'
    }

    fn version(&self) -> u8 {
        1
    }

    fn accepts(&self, ty: TypeInfo) -> Result<()> {
        TypeFingerprint::of(ty).map(drop)
    }

    fn encode(&self, value: &Value) -> Result<Bytes> {
        let mut bytes = fingerprinted(self, value.ty())?;
        bincode::serde::encode_into_std_write(value.as_serialize(), &mut bytes, bincode::config::standard())
            .map_err(|error| unwritable(self, value, &error))?;
        room::check(value, bytes.len())?;
        Ok(bytes.into())
    }

    fn decode(&self, bytes: &[u8], ty: TypeInfo) -> Result<Value> {
        let body = TypeFingerprint::of(ty)?.check(body(self, bytes)?, ty)?;
        let config = bincode::config::standard().with_limit::<DECODED_LEN_MAX>();
        let mut decoder = bincode::serde::BorrowedSerdeDecoder::from_slice(body, config, ());
        let value = ty
            .read(&mut <dyn erased_serde::Deserializer<'_>>::erase(
                decoder.as_deserializer(),
            ))
            .map_err(|error| unreadable(self, ty, &error))?;
        Ok(value)
    }

    fn sequence(&self, ty: TypeInfo, len: u64) -> Result<Option<Box<dyn SequenceEncoder>>> {
        let config = bincode::config::standard();
        let mut head = fingerprinted(self, ty)?;
        let count_at = head.len();
        bincode::encode_into_std_write(len, &mut head, config).expect("a count fits into memory");
        Ok(Some(Box::new(CountedSequence {
            codec: *self,
            head,
            room: Some(Room::default()),
            count_at,
            count_len: |bytes| {
                let count = bincode::decode_from_slice::<u64, _>(bytes, bincode::config::standard());
                count.ok().map(|(_, len)| len)
            },
        })))
    }

    fn sequence_decoder(&self, ty: TypeInfo) -> Result<Option<Box<dyn SequenceDecoder>>> {
        Ok(rows::fit(ty).then(|| Box::new(CountedPieces::new(ty, Counted::Bincode)) as _))
    }
}

impl Codec for Postcard {
    fn name(&self) -> &'static str {
        "postcard"
    }

    fn tag(&self) -> u8 {
        b'P'
    }

    fn version(&self) -> u8 {
        1
    }

    fn accepts(&self, ty: TypeInfo) -> Result<()> {
        TypeFingerprint::of(ty).map(drop)
    }

    fn encode(&self, value: &Value) -> Result<Bytes> {
        let bytes = fingerprinted(self, value.ty())?;
        let bytes =
            postcard::to_extend(value.as_serialize(), bytes).map_err(|error| unwritable(self, value, &error))?;
        Ok(bytes.into())
    }

    fn decode(&self, bytes: &[u8], ty: TypeInfo) -> Result<Value> {
        let body = TypeFingerprint::of(ty)?.check(body(self, bytes)?, ty)?;
        let mut decoder = postcard::Deserializer::from_bytes(body);
        let value = ty
            .read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut decoder))
            .map_err(|error| unreadable(self, ty, &error))?;
        match decoder.finalize() {
            Ok([]) => Ok(value),
            _ => Err(unreadable(self, ty, &"bytes are left over")),
        }
    }

    fn sequence(&self, ty: TypeInfo, len: u64) -> Result<Option<Box<dyn SequenceEncoder>>> {
        let head = fingerprinted(self, ty)?;
        let count_at = head.len();
        Ok(Some(Box::new(CountedSequence {
            codec: *self,
            head: postcard::to_extend(&len, head).expect("a count fits into memory"),
            room: None,
            count_at,
            count_len: |bytes| {
                let count = postcard::take_from_bytes::<u64>(bytes);
                count.ok().map(|(_, rest)| bytes.len() - rest.len())
            },
        })))
    }

    fn sequence_decoder(&self, ty: TypeInfo) -> Result<Option<Box<dyn SequenceDecoder>>> {
        Ok(rows::fit(ty).then(|| Box::new(CountedPieces::new(ty, Counted::Postcard)) as _))
    }
}

/// The built-in codec that wrote `bytes`.
///
/// # Errors
/// `Unsupported` when no built-in codec has that tag, `Corrupt` when there is no header.
pub fn by_tag(bytes: &[u8]) -> Result<&'static dyn Codec> {
    let tag = *bytes
        .first()
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "a stored value has no format tag"))?;
    BUILT_IN.into_iter().find(|codec| codec.tag() == tag).ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            format!("no codec of this build has the format tag {tag:#04x}"),
        )
        .code("codec_unknown_tag")
    })
}

/// The built-in codec of files with this extension; see [`Codec::plain`].
pub fn by_extension(extension: &str) -> Option<&'static dyn Codec> {
    BUILT_IN.into_iter().find(|codec| codec.plain() == Some(extension))
}

/// The bytes of a file without tag and version as `codec` decodes them.
pub fn framed(codec: &dyn Codec, plain: &[u8]) -> Bytes {
    let mut bytes = header(codec);
    bytes.extend_from_slice(plain);
    bytes.into()
}

/// Encoded bytes as they stand in a file without tag and version.
pub fn unframed(mut encoded: Bytes) -> Bytes {
    encoded.split_off(HEADER_LEN.min(encoded.len()))
}

/// What stands before a value in a format that does not describe itself.
fn fingerprinted(codec: &dyn Codec, ty: TypeInfo) -> Result<Vec<u8>> {
    let mut bytes = header(codec);
    bytes.extend_from_slice(&TypeFingerprint::of(ty)?.to_bytes());
    Ok(bytes)
}

fn header(codec: &dyn Codec) -> Vec<u8> {
    vec![codec.tag(), codec.version()]
}

fn body<'a>(codec: &dyn Codec, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let name = codec.name();
    if bytes.len() < HEADER_LEN {
        return Err(Error::new(ErrorKind::Corrupt, "a stored value is shorter than its header").about(name));
    }
    let (tag, version) = (bytes[0], bytes[1]);
    if tag != codec.tag() || version != codec.version() {
        let known = codec.version();
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("the bytes carry tag {tag:#04x} version {version}, codec `{name}` reads version {known}"),
        )
        .code("codec_version")
        .fix("read it with the build of Flowstone that wrote it, or materialize it again"));
    }
    Ok(&bytes[HEADER_LEN..])
}

fn unwritable(codec: &dyn Codec, value: &Value, error: &dyn std::fmt::Display) -> Error {
    let (format, ty) = (codec.name(), value.ty().name());
    Error::new(ErrorKind::Invalid, format!("{format} cannot hold this `{ty}`: {error}")).during("encode a value")
}

fn unreadable(codec: &dyn Codec, ty: TypeInfo, error: &dyn std::fmt::Display) -> Error {
    let (format, ty) = (codec.name(), ty.name());
    Error::new(
        ErrorKind::Corrupt,
        format!("the bytes are not a `{ty}` in {format}: {error}"),
    )
    .during("decode a value")
    .fix("if the type changed since it was stored, materialize the asset again")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;

    const ALL: [&dyn Codec; 3] = [&Json, &Bincode, &Postcard];

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Row {
        id: u64,
        name: Option<String>,
        share: f64,
        tags: Vec<(String, i32)>,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct OtherRow {
        id: u64,
        renamed: Option<String>,
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(id: u64, name: Option<String>, share in -1e300..1e300f64, tags: Vec<(String, i32)>) {
            let row = Row { id, name, share, tags };

            for codec in ALL {
                let bytes = codec.encode(&Value::new(row.clone())).unwrap();
                let read = codec.decode(&bytes, TypeInfo::of::<Row>()).unwrap();
                prop_assert_eq!(read.downcast_ref::<Row>(), Some(&row));
                prop_assert_eq!(by_tag(&bytes).unwrap().name(), codec.name());
            }
        }

        #[test]
        fn hostile_bytes_are_refused_and_never_panic(mut bytes: Vec<u8>) {
            for codec in ALL {
                let mut framed = codec.encode(&Value::new(0_u8)).unwrap().to_vec();
                framed.truncate(18.min(framed.len() - 1));
                framed.append(&mut bytes.clone());
                drop(codec.decode(&framed, TypeInfo::of::<Row>()));
                drop(codec.decode(&framed, TypeInfo::of::<Vec<String>>()));
            }
            bytes.insert(0, 0xff);
            prop_assert!(by_tag(&bytes).is_err());
        }
    }

    #[test]
    fn a_format_that_does_not_describe_itself_refuses_another_type() {
        for codec in [&Bincode as &dyn Codec, &Postcard] {
            let bytes = codec.encode(&Value::new(OtherRow { id: 1, renamed: None })).unwrap();

            let refused = codec.decode(&bytes, TypeInfo::of::<Row>()).unwrap_err();

            assert_eq!(refused.kind(), ErrorKind::TypeMismatch);
        }
    }

    #[test]
    fn json_refuses_a_number_that_it_would_turn_into_null() {
        for value in [
            Value::new(f64::NAN),
            Value::new(Some(f32::INFINITY)),
            Value::new(vec![(1, f64::NEG_INFINITY)]),
        ] {
            assert_eq!(Json.encode(&value).unwrap_err().kind(), ErrorKind::Invalid);
            assert!(Bincode.encode(&value).is_ok());
        }
    }

    #[test]
    fn a_newer_format_version_is_refused() {
        let mut bytes = Json.encode(&Value::new(1_u8)).unwrap().to_vec();
        bytes[1] = 9;

        assert_eq!(
            Json.decode(&bytes, TypeInfo::of::<u8>()).unwrap_err().kind(),
            ErrorKind::Unsupported
        );
    }
}
