//! What items gave, as it is kept: many values in one piece.

use bytes::Bytes;

use super::body::ItemResult;
use super::page::{corrupt, put, take, versioned};
use crate::Result;
use crate::partition::PartitionSet;

/// The version of the stored form.
const VERSION: u8 = 1;

/// What items gave: the values of those that succeeded in the order of their numbers, and then why others were skipped, in
/// that order too.
#[derive(Debug, Clone, Default)]
pub struct SegmentBody {
    values: Vec<u8>,
    reasons: Vec<u8>,
}

impl SegmentBody {
    /// Adds the value of the next item that succeeded.
    pub fn push(&mut self, value: &[u8]) {
        if self.values.is_empty() {
            self.values.push(VERSION);
        }
        put(&mut self.values, value);
    }

    /// Adds why the next item that was skipped was.
    pub fn push_skipped(&mut self, reason: &str) {
        put(&mut self.reasons, reason.as_bytes());
    }

    /// The stored form: a version, then each value and each reason with its length as LEB128 in front.
    pub fn finish(self) -> Bytes {
        let Self { mut values, reasons } = self;
        if values.is_empty() && !reasons.is_empty() {
            values.push(VERSION);
        }
        values.extend_from_slice(&reasons);
        values.into()
    }

    /// What the items in `succeeded` and in `skipped` gave, by number.
    ///
    /// # Errors
    /// `Corrupt` unless there are exactly as many, `Unsupported` for another version.
    pub fn read(succeeded: &PartitionSet, skipped: &PartitionSet, body: &Bytes) -> Result<Vec<(u64, ItemResult)>> {
        if succeeded.is_empty() && skipped.is_empty() {
            return Ok(Vec::new());
        }
        let mut rest = versioned(body, VERSION, "a segment of results")?;
        let mut results = Vec::with_capacity((succeeded.len() + skipped.len()) as usize);
        for index in succeeded.iter() {
            results.push((index, ItemResult::Value(take(&mut rest)?)));
        }
        for index in skipped.iter() {
            let reason = take(&mut rest)?;
            let reason = std::str::from_utf8(&reason).map_err(|_| corrupt("a reason is not text"))?;
            results.push((index, ItemResult::Skipped(reason.to_owned())));
        }
        if rest.is_empty() {
            Ok(results)
        } else {
            Err(corrupt("a segment holds more values than items"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_items_gave_is_read_back_by_number_and_what_is_missing_is_noticed() {
        let mut body = SegmentBody::default();
        body.push(b"a");
        body.push_skipped("no rows");
        body.push(b"");
        let body = body.finish();
        let (two, one): (PartitionSet, _) = ([3, 9].into_iter().collect(), PartitionSet::single(5));

        let read = SegmentBody::read(&two, &one, &body).expect("it was just written");

        let value = |bytes| ItemResult::Value(Bytes::from_static(bytes));
        assert_eq!(
            read,
            [
                (3, value(b"a")),
                (9, value(b"")),
                (5, ItemResult::Skipped("no rows".to_owned()))
            ]
        );
        assert!(SegmentBody::read(&PartitionSet::full(4), &one, &body).is_err());
        assert!(SegmentBody::read(&two, &PartitionSet::new(), &body).is_err());
        assert!(SegmentBody::read(&PartitionSet::new(), &PartitionSet::new(), &Bytes::new()).is_ok());
    }

    #[test]
    fn a_segment_may_hold_reasons_alone() {
        let mut body = SegmentBody::default();
        body.push_skipped("");

        let read = SegmentBody::read(&PartitionSet::new(), &PartitionSet::single(0), &body.finish());

        assert_eq!(
            read.expect("it was just written"),
            [(0, ItemResult::Skipped(String::new()))]
        );
    }
}
