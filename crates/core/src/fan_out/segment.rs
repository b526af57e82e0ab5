//! What items gave, as it is kept: many values in one piece.

use bytes::Bytes;

use super::page::{corrupt, put, take, versioned};
use crate::Result;
use crate::partition::PartitionSet;

/// The version of the stored form.
const VERSION: u8 = 1;

/// The values of items that succeeded, in the order of their numbers.
#[derive(Debug, Clone, Default)]
pub struct SegmentBody(Vec<u8>);

impl SegmentBody {
    /// Adds the value of the next item.
    pub fn push(&mut self, value: &[u8]) {
        if self.0.is_empty() {
            self.0.push(VERSION);
        }
        put(&mut self.0, value);
    }

    /// The stored form: a version, then each value with its length as LEB128 in front.
    pub fn finish(self) -> Bytes {
        self.0.into()
    }

    /// The values of the items in `succeeded`, by number.
    ///
    /// # Errors
    /// `Corrupt` unless there are exactly as many, `Unsupported` for another version.
    pub fn read(succeeded: &PartitionSet, body: &Bytes) -> Result<Vec<(u64, Bytes)>> {
        if succeeded.is_empty() {
            return Ok(Vec::new());
        }
        let mut rest = versioned(body, VERSION, "a segment of results")?;
        let values = succeeded
            .iter()
            .map(|index| Ok((index, take(&mut rest)?)))
            .collect::<Result<Vec<_>>>()?;
        if rest.is_empty() {
            Ok(values)
        } else {
            Err(corrupt("a segment holds more values than items"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_back_by_number_and_a_missing_one_is_noticed() {
        let mut body = SegmentBody::default();
        body.push(b"a");
        body.push(b"");
        let body = body.finish();
        let two: PartitionSet = [3, 9].into_iter().collect();

        let read = SegmentBody::read(&two, &body).expect("it was just written");

        assert_eq!(read, [(3, Bytes::from_static(b"a")), (9, Bytes::new())]);
        assert!(SegmentBody::read(&PartitionSet::full(3), &body).is_err());
        assert!(SegmentBody::read(&PartitionSet::single(3), &body).is_err());
        assert!(SegmentBody::read(&PartitionSet::new(), &Bytes::new()).is_ok());
    }
}
