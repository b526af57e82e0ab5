//! The values that are bound to a query, and those that keys consist of.

/// A value for a placeholder of a query.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SqlValue {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any number.
    Real(f64),
    /// A text.
    Text(String),
}

impl From<bool> for SqlValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for SqlValue {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<i64> for SqlValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for SqlValue {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<&str> for SqlValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for SqlValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// One column of a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum KeyValue {
    #[cfg(feature = "sqlite")]
    Int(i64),
    #[cfg(feature = "sqlite")]
    Real(f64),
    Text(String),
    #[cfg(feature = "sqlite")]
    Blob(Vec<u8>),
}

impl KeyValue {
    /// As the key of an item tells it.
    pub(super) fn text(&self) -> String {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Int(number) => number.to_string(),
            #[cfg(feature = "sqlite")]
            Self::Real(number) => format!("{number:?}"),
            Self::Text(text) => text.clone(),
            #[cfg(feature = "sqlite")]
            Self::Blob(bytes) => hexadecimal(bytes),
        }
    }

    /// True when both are numbers, texts or bytes: then their texts differ as they do.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.class() == other.class()
    }

    fn class(&self) -> u8 {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Int(_) | Self::Real(_) => b'n',
            Self::Text(_) => b't',
            #[cfg(feature = "sqlite")]
            Self::Blob(_) => b'b',
        }
    }
}

#[cfg(feature = "sqlite")]
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Appends the values of a key, each with its type and length.
pub(super) fn write_all(values: &[KeyValue], position: &mut Vec<u8>) {
    for value in values {
        let (tag, bytes) = match value {
            #[cfg(feature = "sqlite")]
            KeyValue::Int(number) => (b'i', number.to_le_bytes().to_vec()),
            #[cfg(feature = "sqlite")]
            KeyValue::Real(number) => (b'r', number.to_le_bytes().to_vec()),
            KeyValue::Text(text) => (b't', text.clone().into_bytes()),
            #[cfg(feature = "sqlite")]
            KeyValue::Blob(bytes) => (b'b', bytes.clone()),
        };
        position.push(tag);
        position.extend((bytes.len() as u64).to_le_bytes());
        position.extend(bytes);
    }
}

/// Reads what [`write_all`] wrote; `None` when it is something else.
pub(super) fn read_all(mut rest: &[u8]) -> Option<Vec<KeyValue>> {
    let mut values = Vec::new();
    while let Some((tag, after)) = rest.split_first() {
        let (len, after) = after.split_first_chunk()?;
        let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
        let (bytes, after) = after.split_at_checked(len)?;
        values.push(match tag {
            #[cfg(feature = "sqlite")]
            b'i' => KeyValue::Int(i64::from_le_bytes(bytes.try_into().ok()?)),
            #[cfg(feature = "sqlite")]
            b'r' => KeyValue::Real(f64::from_le_bytes(bytes.try_into().ok()?)),
            b't' => KeyValue::Text(String::from_utf8(bytes.to_vec()).ok()?),
            #[cfg(feature = "sqlite")]
            b'b' => KeyValue::Blob(bytes.to_vec()),
            _ => return None,
        });
        rest = after;
    }
    Some(values)
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_from_where_they_were_written() {
        let values = vec![
            KeyValue::Int(-7),
            KeyValue::Real(1.5),
            KeyValue::Text("é".to_owned()),
            KeyValue::Blob(vec![0, 255]),
        ];
        let mut position = Vec::new();
        write_all(&values, &mut position);

        assert_eq!(read_all(&position), Some(values));
        assert_eq!(read_all(&[]), Some(Vec::new()));
        for len in 1..9 {
            assert_eq!(read_all(&position[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn texts_of_keys_tell_numbers_apart() {
        assert_eq!(KeyValue::Int(1).text(), "1");
        assert_eq!(KeyValue::Real(1.0).text(), "1.0");
        assert_eq!(KeyValue::Blob(vec![10, 255]).text(), "0aff");
        assert!(!KeyValue::Int(1).is_like(&KeyValue::Text("1".to_owned())));
    }
}
