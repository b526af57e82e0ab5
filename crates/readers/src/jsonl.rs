//! JSON lines: one document a line, each an item.
//!
//! A line is looked at once, to see that it is JSON and to find its key, and then taken as it stands. What its bytes come
//! from is left to `content`, what its key is to `key`.

mod key;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use flowstone_core::reader::{Cursor, ITEM_LEN_MAX, Item, ItemReader, ItemSource, Page};
use flowstone_core::{Error, ErrorKind, Result};

use self::key::{Bad, KeyPath, check, key};
use crate::content::{Content, Mark};
use crate::cursor::CursorFormat;
use crate::error::{corrupt, invalid, no_column};
use crate::page::PageBuilder;
use crate::place::Place;

const FORMAT: CursorFormat = CursorFormat {
    reader: "JSON lines",
    tag: b'l',
    version: 1,
};

/// The lines of a file, each a JSON document, as items.
///
/// The item is the line as it stands. Its key is the number of the line, from 1, unless [`key`](Self::key) says
/// otherwise. Empty lines are passed over; a name that ends in `.gz` is unpacked.
///
/// ```
/// use flowstone_core::reader::ItemSource;
/// use flowstone_readers::Jsonl;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> flowstone_core::Result<()> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("flights.jsonl");
/// std::fs::write(&path, r#"{"id": "UA1", "route": {"from": "EWR"}}
/// {"id": "B62", "route": {"from": "JFK"}}"#)?;
///
/// let flights = Jsonl::file(&path).key("id");
/// let mut reader = flights.open().await?;
/// let page = reader.read(None, 1_000).await?;
/// assert_eq!(page.items[1].key, "B62");
/// # reader.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # When the file changes
/// A cursor is an offset with what stood before it. Lines may be appended while the file is read and are read too; a file
/// that was replaced by another one, or cut, is refused with `source_changed`. A packed file is unpacked from its start to
/// go on after a crash.
///
/// # Errors
/// Opening says `NotFound` when there is no file. Reading says `Corrupt` with code `line_invalid` for a line that is no JSON,
/// with its number; see [`invalid_as_text`](Self::invalid_as_text). `NotFound` with code `column_not_found` is for a line
/// without its key.
#[derive(Debug, Clone)]
pub struct Jsonl {
    place: Place,
    keys: Vec<String>,
    invalid_as_text: bool,
}

impl Jsonl {
    /// Reads a file on the local disk.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::at(Place::Disk(path.into()))
    }

    /// Reads an object of `store`.
    #[cfg(feature = "object")]
    pub fn in_store(store: Arc<dyn object_store::ObjectStore>, path: impl Into<object_store::path::Path>) -> Self {
        Self::at(Place::Store(store, path.into()))
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            keys: Vec::new(),
            invalid_as_text: false,
        }
    }

    /// Takes the key of an item from this field of it, or from what a JSON pointer such as `/route/from` points at: a text,
    /// a number or a truth value. Called again, several fields make up the key.
    #[must_use]
    pub fn key(mut self, field_or_pointer: impl Into<String>) -> Self {
        self.keys.push(field_or_pointer.into());
        self
    }

    /// Makes a line that is no JSON an item too, instead of an error that ends the reading: the line's text under the key
    /// `line 17`. What takes items finds out that it is none of its own, so that it counts as a failed item.
    #[must_use]
    pub fn invalid_as_text(mut self) -> Self {
        self.invalid_as_text = true;
        self
    }
}

#[async_trait]
impl ItemSource for Jsonl {
    async fn open(&self) -> Result<Box<dyn ItemReader>> {
        let keys = self.keys.iter().map(|text| {
            KeyPath::parse(text).ok_or_else(|| {
                invalid(&self.place, format!("{text:?} is no JSON pointer"))
                    .fix("write `~` as `~0` and `/` as `~1`, or give the name of a field")
            })
        });
        let lines = Lines {
            keys: keys.collect::<Result<_>>()?,
            invalid_as_text: self.invalid_as_text,
            place: self.place.clone(),
        };
        Ok(Box::new(JsonlReader {
            state: Some(State::open(&lines.place, &Mark::default(), 0).await?),
            lines: Arc::new(lines),
        }))
    }
}

/// What is to be made of lines.
struct Lines {
    keys: Vec<KeyPath>,
    invalid_as_text: bool,
    place: Place,
}

struct JsonlReader {
    lines: Arc<Lines>,
    /// Taken while a page is read: one that is given up half-way starts again from its cursor.
    state: Option<State>,
}

#[async_trait]
impl ItemReader for JsonlReader {
    fn has_distinct_keys(&self) -> bool {
        self.lines.keys.is_empty()
    }

    async fn read(&mut self, cursor: Option<&Cursor>, items_max: usize) -> Result<Page> {
        let (line, mark) = match cursor {
            None => (0, Mark::default()),
            Some(cursor) => {
                let mut position = FORMAT.open(cursor)?;
                (position.u64()?, Mark::read(position)?)
            }
        };
        let mut state = match self.state.take() {
            Some(state) if state.line == line && *state.content.mark() == mark => state,
            _ => State::open(&self.lines.place, &mark, line).await?,
        };
        let mut page = PageBuilder::new(items_max);
        while !page.is_full() {
            let Some(line) = state.next().await? else {
                return Ok(page.finish(None));
            };
            if let Some(item) = self.lines.item(line, &state)? {
                page.push(item)?;
            }
        }
        let next = FORMAT.cursor(|position| {
            position.extend(state.line.to_le_bytes());
            state.content.mark().write(position);
        });
        self.state = Some(state);
        Ok(page.finish(Some(next)))
    }

    async fn close(&mut self) {
        self.state = None;
    }
}

/// The file, at the beginning of a line.
struct State {
    content: Content,
    /// Lines before this one.
    line: u64,
    /// The last line has no end, so it may have been cut off.
    is_unended: bool,
}

impl State {
    async fn open(place: &Place, mark: &Mark, line: u64) -> Result<Self> {
        Ok(Self {
            content: Content::open(place, mark).await?,
            line,
            is_unended: false,
        })
    }

    /// The next line, without its end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut start = BytesMut::new();
        let line = loop {
            let rest = self.content.rest();
            if let Some(len) = memchr::memchr(b'\n', rest) {
                let end = self.content.take(len + 1).slice(..len);
                break if start.is_empty() {
                    end
                } else {
                    start.extend(end);
                    start.freeze()
                };
            }
            if start.len() + rest.len() > ITEM_LEN_MAX + 1_024 {
                return Err(self.too_long(self.line + 1));
            }
            start.extend_from_slice(rest);
            self.content.consume(rest.len());
            if !self.content.fill().await? {
                if start.is_empty() {
                    return Ok(None);
                }
                self.is_unended = true;
                break start.freeze();
            }
        };
        self.line += 1;
        if self.line == 1
            && let Some(after) = line.strip_prefix(b"\xef\xbb\xbf")
        {
            return Ok(Some(line.slice_ref(after)));
        }
        Ok(Some(line))
    }

    fn too_long(&self, line: u64) -> Error {
        Error::new(
            ErrorKind::LimitExceeded,
            format!("the line is longer than {ITEM_LEN_MAX} bytes"),
        )
        .code("item_too_large")
        .during("read")
        .about(format!("{}, line {line}", self.content.place()))
        .fix("give one JSON document a line; let an item be a short reference to what is large")
    }
}

impl Lines {
    /// The item of a line, unless it is empty.
    fn item(&self, line: Bytes, state: &State) -> Result<Option<Item>> {
        let text = line.trim_ascii();
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > ITEM_LEN_MAX {
            return Err(state.too_long(state.line));
        }
        let found = match &*self.keys {
            [] => check(text).map(|()| state.line.to_string()),
            keys => key(text, keys),
        };
        match found {
            Ok(key) => Ok(Some(Item {
                key,
                json: if text.len() == line.len() {
                    line
                } else {
                    line.slice_ref(text)
                },
            })),
            Err(Bad::Json(_)) if self.invalid_as_text => {
                Item::new(format!("line {}", state.line), &String::from_utf8_lossy(text)).map(Some)
            }
            Err(bad) => Err(self.refusal(bad, text, state)),
        }
    }

    fn refusal(&self, bad: Bad<'_>, text: &[u8], state: &State) -> Error {
        let subject = format!("{}, line {}", self.place, state.line);
        match bad {
            Bad::Json(why) if state.is_unended => {
                corrupt("line_invalid", subject, format!("the file ends within it: {why}"))
                    .fix("the file seems to be cut off: write it again, or remove the rest of its last line")
            }
            Bad::Json(why) => corrupt("line_invalid", subject, format!("it is no JSON: {why}"))
                .fix("mend the line, or make lines that are no JSON failing items by `.invalid_as_text()`"),
            Bad::NoKey(path) => path.missing(text, |name, known| no_column(&subject, name, known)),
            Bad::KeyIs(path, what) => {
                Error::new(ErrorKind::TypeMismatch, format!("its key {:?} is {what}", path.text()))
                    .code("item_key_invalid")
                    .during("read")
                    .about(subject)
                    .fix(
                        "take the key from a text, a number or a truth value; without a key the line's number is taken",
                    )
            }
        }
    }
}
