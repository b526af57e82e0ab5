//! What stands in a cursor: which reader wrote it, in which form, and where to go on.
//!
//! A cursor comes back from a store, perhaps to another version of this crate or to another reader than the one that
//! wrote it. Whoever cannot read it refuses it; nobody starts anew because of it.

use flowstone_core::reader::Cursor;
use flowstone_core::{Error, ErrorKind, Result};

const START_ANEW: &str = "read it with the version that wrote it, or start the reading anew";

/// The form in which one reader writes its cursors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CursorFormat {
    /// What it reads, for people.
    pub(crate) reader: &'static str,
    /// The first byte of every position; no two readers share one.
    pub(crate) tag: u8,
    pub(crate) version: u8,
}

impl CursorFormat {
    /// A cursor whose position is what `write` appends.
    pub(crate) fn cursor(self, write: impl FnOnce(&mut Vec<u8>)) -> Cursor {
        let mut position = vec![self.tag];
        write(&mut position);
        Cursor {
            version: self.version,
            position,
        }
    }

    /// What stands in `cursor`.
    ///
    /// # Errors
    /// `Unsupported` when it is of another version or of another reader.
    pub(crate) fn open(self, cursor: &Cursor) -> Result<Position<'_>> {
        if cursor.version != self.version {
            let (found, known) = (cursor.version, self.version);
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the cursor is of version {found}, and version {known} is known"),
            )
            .code("cursor_version")
            .during("go on reading")
            .about(self.reader)
            .fix(START_ANEW));
        }
        match cursor.position.split_first() {
            Some((tag, rest)) if *tag == self.tag => Ok(Position { rest, format: self }),
            _ => Err(
                Error::new(ErrorKind::Unsupported, "another kind of reader wrote the cursor")
                    .code("cursor_reader")
                    .during("go on reading")
                    .about(self.reader)
                    .fix(START_ANEW),
            ),
        }
    }
}

/// Reads the position of a cursor from front to back.
#[derive(Debug)]
pub(crate) struct Position<'a> {
    rest: &'a [u8],
    format: CursorFormat,
}

impl<'a> Position<'a> {
    pub(crate) fn u64(&mut self) -> Result<u64> {
        let (number, rest) = self.rest.split_first_chunk().ok_or_else(|| self.damaged())?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*number))
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Says that nothing is left.
    pub(crate) fn end(self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.damaged())
        }
    }

    pub(crate) fn damaged(&self) -> Error {
        Error::new(ErrorKind::Corrupt, "the cursor is damaged")
            .code("cursor_corrupt")
            .during("go on reading")
            .about(self.format.reader)
            .fix("start the reading anew")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: CursorFormat = CursorFormat {
        reader: "rows",
        tag: b'r',
        version: 2,
    };

    fn at_row(row: u64) -> Cursor {
        ROWS.cursor(|position| position.extend(row.to_le_bytes()))
    }

    #[test]
    fn what_was_written_is_read() {
        let cursor = at_row(7);

        let mut position = ROWS.open(&cursor).unwrap();

        assert_eq!(position.u64().unwrap(), 7);
        position.end().unwrap();
    }

    #[test]
    fn an_older_version_is_refused_with_both_versions_named() {
        let mut older = at_row(7);
        older.version = 1;

        let refused = ROWS.open(&older).unwrap_err();

        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert_eq!(refused.message(), "the cursor is of version 1, and version 2 is known");
        assert!(refused.advice().is_some());
    }

    #[test]
    fn a_cursor_of_another_reader_is_refused() {
        let others = CursorFormat { tag: b'x', ..ROWS }.cursor(|_| {});

        let refused = ROWS.open(&others).unwrap_err();

        assert_eq!(
            (refused.kind(), refused.stable_code()),
            (ErrorKind::Unsupported, "cursor_reader")
        );
    }

    #[test]
    fn a_damaged_cursor_is_corrupt() {
        let mut cut = at_row(7);
        cut.position.pop();
        let mut long = at_row(7);
        long.position.push(0);

        let too_short = ROWS.open(&cut).unwrap().u64().unwrap_err();
        let mut position = ROWS.open(&long).unwrap();
        position.u64().unwrap();
        let too_long = position.end().unwrap_err();

        assert_eq!(too_short.stable_code(), "cursor_corrupt");
        assert_eq!(too_long.stable_code(), "cursor_corrupt");
    }
}
