//! Everything that is written: data on stdout, talk on stderr.
//!
//! A closed stdout ends nothing: what is still to be said is dropped, and the work goes on. Names come from users and
//! from data, so control characters in them are shown and never sent to the terminal.

use std::fmt;
use std::io::{self, IsTerminal as _, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use flowstone_core::{Error, ErrorKind, ErrorRecord, Result};
use indicatif::MultiProgress;
use serde::Serialize;

use crate::args::OutputFormat;
use crate::exit::Failure;

/// Where a command writes. Clones write to the same place.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    format: OutputFormat,
    bars: MultiProgress,
}

/// An error as programs read it.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorJson<'a> {
    kind: ErrorKind,
    code: &'a str,
    pub(crate) message: String,
    pub(crate) fix: Option<&'a str>,
}

impl<'a> From<&'a Error> for ErrorJson<'a> {
    fn from(error: &'a Error) -> Self {
        Self {
            kind: error.kind(),
            code: error.stable_code(),
            message: error.to_string(),
            fix: error.advice(),
        }
    }
}

impl<'a> From<&'a ErrorRecord> for ErrorJson<'a> {
    fn from(error: &'a ErrorRecord) -> Self {
        Self {
            kind: error.kind,
            code: &error.code,
            message: error.message.clone(),
            fix: error.fix.as_deref(),
        }
    }
}

/// What every answer carries, so that a program knows what it reads.
#[derive(Serialize)]
struct Tagged<'a, T> {
    schema: &'a str,
    #[serde(flatten)]
    body: T,
}

impl Output {
    pub(crate) fn new(format: OutputFormat) -> Self {
        Self {
            format,
            bars: MultiProgress::new(),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == OutputFormat::Json
    }

    /// Progress bars, to be drawn on stderr; everything else that is said on stderr goes around them.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Writes `body` under its tag, for programs, or what `text` makes of it, for people.
    ///
    /// The tag reads `flowstone.<what>/<version>`; fields may be added to a version, and nothing else may change.
    pub(crate) fn data<T: Serialize>(&self, schema: &str, body: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        if self.is_json() {
            self.json(schema, body)
        } else {
            self.text(&text(body))
        }
    }

    fn json<T: Serialize>(&self, schema: &str, body: &T) -> Result<()> {
        let text = serde_json::to_string_pretty(&Tagged { schema, body }).map_err(|error| {
            Error::new(ErrorKind::Internal, error.to_string())
                .during("write")
                .about(schema)
        })?;
        self.text(&text)
    }

    /// Writes text to stdout as it is, and ends it with a line break.
    pub(crate) fn text(&self, text: &str) -> Result<()> {
        let written = self.bars.suspend(|| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(text.as_bytes())?;
            if !text.ends_with('\n') && !text.is_empty() {
                stdout.write_all(b"\n")?;
            }
            stdout.flush()
        });
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let kind = match error.kind() {
                    io::ErrorKind::StorageFull => ErrorKind::StorageFull,
                    _ => ErrorKind::Unavailable,
                };
                Err(Error::new(kind, error.to_string()).during("write to stdout"))
            }
            _ => Ok(()),
        }
    }

    /// Says something to the person who is watching.
    pub(crate) fn say(&self, text: impl fmt::Display) {
        // There is nobody to tell when stderr is gone.
        drop(self.bars.suspend(|| writeln!(io::stderr().lock(), "{text}")));
    }

    /// Says why the command did not get to its end.
    pub(crate) fn failure(&self, failure: &Failure) {
        let (Failure::Usage(error) | Failure::Failed(error)) = failure else {
            return;
        };
        self.say(format_args!("error: {}", readable(&error.to_string())));
        if let Some(fix) = error.advice() {
            self.say(format_args!("  fix: {}", readable(fix)));
        }
        if self.is_json() {
            #[derive(Serialize)]
            struct Failed<'a> {
                error: ErrorJson<'a>,
            }
            drop(self.json("flowstone.error/1", &Failed { error: error.into() }));
        }
    }
}

/// `text` with its control characters shown instead of sent; line breaks stay.
pub(crate) fn readable(text: &str) -> String {
    escape(text, |c| c.is_control() && c != '\n')
}

/// `text` on one line, with its control characters shown instead of sent.
pub(crate) fn one_line(text: &str) -> String {
    escape(text, char::is_control)
}

fn escape(text: &str, is_unsafe: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) || is_invisible_order(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Characters that reverse the order in which a terminal shows what follows.
fn is_invisible_order(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A table without lines, which is read as easily by a person as by `awk`.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    aligned(header, &[], rows)
}

/// The same, with the columns in `numbers` aligned to the right.
pub(crate) fn aligned<const N: usize>(
    header: [&str; N],
    numbers: &[usize],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    // Lines are not broken to fit a terminal: a row is a line.
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.map(str::to_uppercase));
    for row in rows {
        table.add_row(row.map(|cell| one_line(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for number in numbers {
        if let Some(column) = table.column_mut(*number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// A number of things, as in `1 asset` and `2 assets`.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    if count == 1 {
        format!("1 {thing}")
    } else {
        format!("{count} {thing}s")
    }
}

/// A size in the words of a person.
pub(crate) fn size(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = count as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} B")
    } else {
        format!("{amount:.1} {}", UNITS[unit])
    }
}

/// True when stderr is a terminal, so that a line on it may be drawn over.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(readable("a\u{202e}b\nc"), "a\\u{202e}b\nc");
        assert_eq!(one_line("zürich 東京"), "zürich 東京");
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(
            [0, 1023, 1024, 1_572_864, u64::MAX].map(size),
            ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "16777216.0 TiB"]
        );
    }

    #[test]
    fn a_row_is_a_line_and_numbers_align() {
        let text = aligned(
            ["asset", "steps"],
            &[1],
            [["a\nb".into(), "7".into()], ["c".into(), "1024".into()]],
        );

        assert_eq!(text, "ASSET  STEPS\na\\nb       7\nc       1024");
    }
}
