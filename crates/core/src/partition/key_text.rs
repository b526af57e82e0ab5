//! The canonical text of keys: written one way, read strictly.
//!
//! Limits on the value are checked by the caller; this only bounds how deep and how long the text may be.

use std::fmt::{self, Write};

use jiff::Timestamp;
use jiff::civil::Date;

use super::key::{KEY_DEPTH_MAX, PartitionKey, too_deep};
use crate::{Error, ErrorKind, Result};

/// No canonical text of a key within the limits is longer: an escape takes at most eight bytes for one.
const INPUT_BYTES_MAX: usize = 128 * 1024;
const EXCERPT_CHARS: usize = 60;

pub(super) fn write(key: &PartitionKey, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match key {
        PartitionKey::Unit => f.write_str("()"),
        PartitionKey::Bool(value) => write!(f, "{value}"),
        PartitionKey::Int(value) => write!(f, "{value}"),
        PartitionKey::Text(text) => write_quoted(text, f),
        PartitionKey::Date(date) => write!(f, "{date}"),
        PartitionKey::Month { year, month } => {
            write_year(*year, f)?;
            write!(f, "-{month:02}")
        }
        PartitionKey::Year(year) => {
            f.write_char('Y')?;
            write_year(*year, f)
        }
        PartitionKey::Instant(instant) => write!(f, "{instant}"),
        PartitionKey::Tuple(keys) => {
            f.write_char('(')?;
            for (position, key) in keys.iter().enumerate() {
                if position > 0 {
                    f.write_str(", ")?;
                }
                write(key, f)?;
            }
            // The comma keeps the empty tuple apart from unit, and a tuple of one apart from its element.
            if keys.len() < 2 {
                f.write_char(',')?;
            }
            f.write_char(')')
        }
    }
}

fn write_quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

pub(super) fn write_year(year: i16, f: &mut impl Write) -> fmt::Result {
    if year < 0 {
        write!(f, "-{:06}", year.unsigned_abs())
    } else {
        write!(f, "{year:04}")
    }
}

pub(super) fn parse(text: &str) -> Result<PartitionKey> {
    parse_whole(text).map_err(|error| {
        error
            .code("partition_key_invalid")
            .during("parse partition key")
            .about(Excerpt(text))
    })
}

fn parse_whole(text: &str) -> Result<PartitionKey> {
    if text.len() > INPUT_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!(
                "the text takes {} bytes, and the limit is {INPUT_BYTES_MAX} bytes",
                text.len()
            ),
        ));
    }
    let mut parser = Parser { rest: text };
    let key = parser.key(0)?;
    if !parser.rest.is_empty() {
        return Err(invalid(format!("{} follows the key", Excerpt(parser.rest))));
    }
    Ok(key)
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn key(&mut self, depth: usize) -> Result<PartitionKey> {
        if self.take('(') {
            self.tuple(depth)
        } else if self.take('"') {
            self.quoted().map(PartitionKey::Text)
        } else {
            let end = self.rest.find([',', ')']).unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            parse_word(word.trim_end_matches(' '))
        }
    }

    fn tuple(&mut self, depth: usize) -> Result<PartitionKey> {
        self.skip_spaces();
        if self.take(')') {
            return Ok(PartitionKey::Unit);
        }
        if depth == KEY_DEPTH_MAX {
            return Err(too_deep());
        }
        let mut keys = Vec::new();
        if self.take(',') {
            return self.close(keys);
        }
        loop {
            keys.push(self.key(depth + 1)?);
            self.skip_spaces();
            if !self.take(',') {
                if keys.len() == 1 && self.rest.starts_with(')') {
                    return Err(invalid("a tuple of one key needs a comma").fix("write it as (key,)"));
                }
                return self.close(keys);
            }
            self.skip_spaces();
            if keys.len() == 1 && self.rest.starts_with(')') {
                return self.close(keys);
            }
        }
    }

    fn close(&mut self, keys: Vec<PartitionKey>) -> Result<PartitionKey> {
        self.skip_spaces();
        if self.take(')') {
            Ok(PartitionKey::Tuple(keys))
        } else {
            Err(invalid("the tuple is not closed by `)`"))
        }
    }

    fn quoted(&mut self) -> Result<String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, '"')) => text.push('"'),
                    Some((_, '\\')) => text.push('\\'),
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, 't')) => text.push('\t'),
                    Some((at, 'u')) => {
                        let (c, length) = unicode_escape(&self.rest[at + 1..])?;
                        text.push(c);
                        chars.nth(length - 1);
                    }
                    _ => return Err(invalid(r#"escapes are \" \\ \n \r \t and \u{…}"#)),
                },
                c => text.push(c),
            }
        }
        Err(invalid("the quoted text is not closed"))
    }

    fn take(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }
}

/// The character of `{…}` and how many bytes it took, all of them ASCII.
fn unicode_escape(text: &str) -> Result<(char, usize)> {
    text.strip_prefix('{')
        .and_then(|text| text.split_once('}'))
        .filter(|(digits, _)| (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|(digits, _)| Some((char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, digits.len() + 2)))
        .ok_or_else(|| invalid(r"\u needs the hexadecimal number of a character in braces"))
}

fn parse_word(word: &str) -> Result<PartitionKey> {
    if let Some(year) = word.strip_prefix('Y').and_then(parse_year) {
        return Ok(PartitionKey::Year(year));
    }
    match word {
        "true" => return Ok(PartitionKey::Bool(true)),
        "false" => return Ok(PartitionKey::Bool(false)),
        _ => {}
    }
    let digits = word.strip_prefix('-').unwrap_or(word);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return parse_int(word);
    }
    if let Some((year, month)) = parse_month(word) {
        return Ok(PartitionKey::Month { year, month });
    }
    if let Some(date) = parse_date(word) {
        return Ok(PartitionKey::Date(date));
    }
    if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') && word.contains('T') {
        return parse_instant(word).map(PartitionKey::Instant);
    }
    Err(invalid("it is no key").fix(
        "a key is (), true, 1, \"EWR\" in quotes, 2013-01-01, 2013-01, Y2013, 2013-01-01T05:00:00Z or a tuple of keys",
    ))
}

fn parse_int(word: &str) -> Result<PartitionKey> {
    let value: i128 = word.parse().map_err(|_| {
        Error::new(ErrorKind::OutOfRange, "the number is too large").fix("use a text key for larger numbers")
    })?;
    if value.to_string() != word {
        return Err(
            invalid("the number has extra zeros or a sign").fix(format!("write it as {value}, or quote the text"))
        );
    }
    Ok(PartitionKey::Int(value))
}

/// A year in four digits, or in six with a minus sign.
pub(super) fn parse_year(word: &str) -> Option<i16> {
    let year: i16 = word.parse().ok()?;
    let mut canonical = String::new();
    write_year(year, &mut canonical).ok()?;
    (canonical == word && year.unsigned_abs() <= 9999).then_some(year)
}

pub(super) fn parse_month(word: &str) -> Option<(i16, i8)> {
    let (year, month) = word.rsplit_once('-')?;
    let number: i8 = month.parse().ok()?;
    (month.len() == 2 && (1..=12).contains(&number)).then_some((parse_year(year)?, number))
}

pub(super) fn parse_date(word: &str) -> Option<Date> {
    let date: Date = word.parse().ok()?;
    (date.to_string() == word).then_some(date)
}

pub(super) fn parse_instant(word: &str) -> Result<Timestamp> {
    let (date, time) = word.split_once('T').ok_or_else(unreadable_instant)?;
    // Reading a leap second as the second before it would give two moments one key.
    if time.get(6..8) == Some("60") {
        return Err(invalid("an instant has no leap second").fix("use second 59, or second 00 of the next minute"));
    }
    if parse_date(date).is_none() || time.get(2..3) != Some(":") || time.contains('[') {
        return Err(unreadable_instant());
    }
    word.parse().map_err(|_| unreadable_instant())
}

fn unreadable_instant() -> Error {
    invalid("it is no instant with an offset").fix("write it as 2013-01-01T05:00:00Z or 2013-01-01T00:00:00-05:00")
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

/// Text from outside as messages show it: quoted, escaped and short.
pub(super) struct Excerpt<'a>(pub(super) &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(EXCERPT_CHARS) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
        }
    }
}
