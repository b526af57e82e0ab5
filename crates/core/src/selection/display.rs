//! Writes a selection so that it reads back the same.

use std::borrow::Cow;
use std::fmt::{self, Write};

use super::Selection;
use super::pattern::Pattern;
use super::term::{Expression, Reach, Term};

/// The words of the grammar; as names they are quoted.
pub(super) const WORDS: [&str; 3] = ["and", "or", "not"];

/// True for the characters that names may have without quotes.
pub(super) fn is_bare(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/')
}

/// True for text that must be quoted to be a name although its characters need no quotes.
pub(super) fn is_word(text: &str) -> bool {
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// Text without stars, bare where that is enough.
pub(super) fn literal(text: &str) -> Cow<'_, str> {
    // Bare digits before a `+` would be a number of steps.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number && !is_word(text) && text.chars().all(is_bare) {
        return Cow::Borrowed(text);
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // Line and paragraph separators and those that turn the direction of writing would change how the text
            // around the name looks.
            c if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                write!(quoted, "\\u{{{:x}}}", u32::from(c)).expect("writing to a string cannot fail");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Cow::Owned(quoted)
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Term(term) => term.fmt(f),
            Self::Around {
                upstream,
                of,
                downstream,
            } => {
                match upstream {
                    Reach::Steps(0) => {}
                    Reach::Steps(steps) => write!(f, "{steps}+")?,
                    Reach::All => f.write_char('+')?,
                }
                within(of, matches!(**of, Self::Term(_)), f)?;
                match downstream {
                    Reach::Steps(0) => Ok(()),
                    Reach::Steps(steps) => write!(f, "+{steps}"),
                    Reach::All => f.write_char('+'),
                }
            }
            Self::Not(of) => {
                f.write_str("not ")?;
                within(of, !matches!(**of, Self::And(_) | Self::Or(_)), f)
            }
            Self::And(members) => joined(
                members,
                " and ",
                |member| !matches!(member, Self::And(_) | Self::Or(_)),
                f,
            ),
            Self::Or(members) => joined(members, " or ", |member| !matches!(member, Self::Or(_)), f),
        }
    }
}

fn joined(
    members: &[Expression],
    by: &str,
    stands_bare: impl Fn(&Expression) -> bool,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    for (position, member) in members.iter().enumerate() {
        if position > 0 {
            f.write_str(by)?;
        }
        within(member, stands_bare(member), f)?;
    }
    Ok(())
}

fn within(expression: &Expression, stands_bare: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if stands_bare {
        write!(f, "{expression}")
    } else {
        write!(f, "({expression})")
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(pattern) => pattern.fmt(f),
            Self::Group(pattern) => write!(f, "group:{pattern}"),
            Self::Tag(pattern) => write!(f, "tag:{pattern}"),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, piece) in self.pieces().iter().enumerate() {
            if position > 0 {
                f.write_char('*')?;
            }
            if !piece.is_empty() || self.as_exact().is_some() {
                f.write_str(&literal(piece))?;
            }
        }
        Ok(())
    }
}
