//! How many rows travel to SQLite in few values: numbers as one JSON text for each table, all bytes in one heap.
//!
//! Statements read the rows with `jsonb_each` and cut bytes out of the heap with `substr`, so nothing that is stored is
//! ever part of a statement's text.

use std::fmt::Write;

/// The bytes of all rows of a commit, one after another.
#[derive(Debug)]
pub(super) struct Heap {
    bytes: Vec<u8>,
}

impl Heap {
    pub(super) fn new() -> Self {
        // An empty value would be NULL to `substr`.
        Self { bytes: vec![0] }
    }

    /// Where `part` lies from now on: first byte, counted from 1 as SQL does, and length.
    fn push(&mut self, part: &[u8]) -> (usize, usize) {
        let first = self.bytes.len() + 1;
        self.bytes.extend_from_slice(part);
        (first, part.len())
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The rows for one statement.
#[derive(Debug, Default)]
pub(super) struct Rows {
    json: String,
}

impl Rows {
    /// Starts a row; its columns follow in order.
    pub(super) fn row(&mut self) -> &mut Self {
        self.json.push_str(if self.json.is_empty() { "[[" } else { "],[" });
        self
    }

    pub(super) fn int(&mut self, number: i64) -> &mut Self {
        self.comma();
        write!(self.json, "{number}").expect("a string takes all text");
        self
    }

    /// A number that was checked to fit when the record was staged.
    pub(super) fn uint(&mut self, number: u64) -> &mut Self {
        self.int(i64::try_from(number).expect("staging has checked that numbers fit"))
    }

    pub(super) fn uint_or_null(&mut self, number: Option<u64>) -> &mut Self {
        match number {
            Some(number) => self.uint(number),
            None => self.null(),
        }
    }

    pub(super) fn int_or_null(&mut self, number: Option<i64>) -> &mut Self {
        match number {
            Some(number) => self.int(number),
            None => self.null(),
        }
    }

    /// Two columns: first byte and length in the heap.
    pub(super) fn bytes(&mut self, heap: &mut Heap, part: &[u8]) -> &mut Self {
        let (first, len) = heap.push(part);
        self.comma();
        write!(self.json, "{first},{len}").expect("a string takes all text");
        self
    }

    /// Two columns, as for [`bytes`](Self::bytes).
    pub(super) fn bytes_or_null(&mut self, heap: &mut Heap, part: Option<&[u8]>) -> &mut Self {
        match part {
            Some(part) => self.bytes(heap, part),
            None => self.null().int(0),
        }
    }

    /// One column: first byte in the heap, where the statement knows the length.
    pub(super) fn fixed(&mut self, heap: &mut Heap, part: &[u8]) -> &mut Self {
        let (first, _) = heap.push(part);
        self.uint(first as u64)
    }

    fn null(&mut self) -> &mut Self {
        self.comma();
        self.json.push_str("null");
        self
    }

    fn comma(&mut self) {
        if !self.json.ends_with('[') {
            self.json.push(',');
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.json.is_empty()
    }

    /// The JSON text; `None` without rows.
    pub(super) fn into_json(mut self) -> Option<String> {
        if self.json.is_empty() {
            return None;
        }
        self.json.push_str("]]");
        Some(self.json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_arrays_and_bytes_are_places_in_the_heap() {
        let (mut heap, mut rows) = (Heap::new(), Rows::default());

        rows.row().int(-1).bytes(&mut heap, b"ab").uint_or_null(None);
        rows.row().uint(7).bytes_or_null(&mut heap, None).fixed(&mut heap, b"c");

        assert_eq!(rows.into_json().unwrap(), "[[-1,2,2,null],[7,null,0,4]]");
        assert_eq!(heap.into_bytes(), b"\0abc");
    }
}
