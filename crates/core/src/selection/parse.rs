//! Reads the text of a selection.
//!
//! Recursive descent, one function per level of precedence. How deep it goes and how long the text is are bounded, and
//! every refusal says where, what was expected and how to mend it.

use super::display::{is_bare, is_word};
use super::pattern::Pattern;
use super::term::{Expression, Reach, Term};
use super::{SELECTION_LEN_MAX, SELECTION_NESTING_MAX};
use crate::{Error, ErrorKind, Result};

const A_TERM: &str = "a name, `*`, `group:`, `tag:`, `not` or `(`";
const QUOTE_IT: &str = "write names with other characters than letters, digits and _ - . / in double quotes";
const EXCERPT_CHARS: usize = 80;

pub(super) fn parse(text: &str) -> Result<Expression> {
    let in_context = |error: Error| {
        let excerpt: String = text.chars().take(EXCERPT_CHARS).collect();
        error.during("parse selection").about(format!("{excerpt:?}"))
    };
    if text.len() > SELECTION_LEN_MAX {
        let len = text.len();
        let error = limit(format!(
            "it has {len} bytes, and the limit is {SELECTION_LEN_MAX} bytes"
        ))
        .fix("select by group, by tag or with `*`");
        return Err(in_context(error));
    }
    let mut parser = Parser {
        text,
        at: 0,
        nesting: 0,
    };
    parser.whole().map_err(in_context)
}

struct Parser<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
    nesting: usize,
}

impl<'a> Parser<'a> {
    fn whole(&mut self) -> Result<Expression> {
        let expression = self.union()?;
        match self.peek() {
            None => Ok(expression),
            Some(_) => Err(self.expected("the end").fix("take the `)` away, or add its `(`")),
        }
    }

    /// `a or b`, `a b`. Stops at the end or before a `)`.
    fn union(&mut self) -> Result<Expression> {
        let mut members = vec![self.intersection()?];
        loop {
            self.skip_spaces();
            if matches!(self.peek(), None | Some(')')) {
                return Ok(Expression::of_many(members, Expression::Or));
            }
            // Without either, two terms stand side by side, which means the same.
            let _ = self.take_word("or");
            members.push(self.intersection()?);
        }
    }

    /// `a and b`, `a,b`.
    fn intersection(&mut self) -> Result<Expression> {
        let mut members = vec![self.complement()?];
        loop {
            self.skip_spaces();
            if !self.take(',') && !self.take_word("and") {
                return Ok(Expression::of_many(members, Expression::And));
            }
            members.push(self.complement()?);
        }
    }

    /// `not a`.
    fn complement(&mut self) -> Result<Expression> {
        self.skip_spaces();
        if !self.take_word("not") {
            return self.around();
        }
        self.nested(|parser| Ok(Expression::Not(Box::new(parser.complement()?))))
    }

    /// `+a`, `2+a`, `a+`, `a+3` or just `a`.
    fn around(&mut self) -> Result<Expression> {
        let upstream = self.upstream()?;
        let of = if self.take('(') {
            self.nested(Self::inside_parentheses)?
        } else {
            Expression::Term(self.term()?)
        };
        let downstream = self.downstream()?;
        match self.peek() {
            Some(c) if !c.is_whitespace() && c != ',' && c != ')' => {
                Err(self.expected("a space, `,` or `)`").fix(QUOTE_IT))
            }
            _ => Ok(Expression::around(upstream, of, downstream)),
        }
    }

    fn inside_parentheses(&mut self) -> Result<Expression> {
        let inside = self.union()?;
        if self.take(')') {
            Ok(inside)
        } else {
            Err(self.expected("`)`").fix("close the parenthesis"))
        }
    }

    /// The plus signs before a term, or the number and the plus sign.
    fn upstream(&mut self) -> Result<Reach> {
        if let Some(pluses) = self.take_pluses() {
            return Ok(pluses);
        }
        let digits = self.run_of(|c| c.is_ascii_digit());
        let mut after = self.text[self.at + digits.len()..].chars();
        // `2+` is the asset called 2 with everything downstream, since there is nothing to the right of the plus.
        let begins_term = |c: char| is_bare(c) || matches!(c, '"' | '*' | '(');
        if digits.is_empty() || after.next() != Some('+') || !after.next().is_some_and(begins_term) {
            return Ok(Reach::Steps(0));
        }
        let reach = self.steps(digits)?;
        self.at += 1;
        Ok(reach)
    }

    /// The plus signs behind a term, or the plus sign and the number.
    fn downstream(&mut self) -> Result<Reach> {
        let reach = self.take_pluses().unwrap_or(Reach::Steps(0));
        let digits = self.run_of(|c| c.is_ascii_digit());
        if reach == Reach::All && !digits.is_empty() {
            self.steps(digits)
        } else {
            Ok(reach)
        }
    }

    fn take_pluses(&mut self) -> Option<Reach> {
        let pluses = self.run_of(|c| c == '+').len();
        self.at += pluses;
        match u32::try_from(pluses).expect("the length of the text is bounded") {
            0 => None,
            1 => Some(Reach::All),
            steps => Some(Reach::Steps(steps)),
        }
    }

    /// Takes `digits`, which stand here.
    fn steps(&mut self, digits: &str) -> Result<Reach> {
        let steps = digits.parse().map_err(|_| {
            let fix = "write `+` alone for all steps";
            self.expected("a number of steps below 2³²").fix(fix)
        })?;
        self.at += digits.len();
        Ok(Reach::Steps(steps))
    }

    /// A name, `group:…` or `tag:…`.
    fn term(&mut self) -> Result<Term> {
        let start = self.at;
        let bare = self.run_of(is_bare);
        if self.text[start + bare.len()..].starts_with(':') {
            let term = match bare {
                "group" => Term::Group,
                "tag" => Term::Tag,
                _ => return Err(self.expected("`group:` or `tag:`").fix(QUOTE_IT)),
            };
            self.at += bare.len() + 1;
            return self.pattern("a group's or tag's name, or `*`").map(term);
        }
        let name = self.pattern(A_TERM)?;
        let is_only_bare = self.at == start + bare.len();
        if is_only_bare && is_word(bare) {
            self.at = start;
            return Err(self
                .expected(A_TERM)
                .fix(format!("write \"{bare}\" in quotes to mean an asset's name")));
        }
        if name.as_exact() == Some("") {
            self.at = start;
            return Err(self.expected("a name that is not empty").fix("`*` selects all assets"));
        }
        Ok(Term::Name(name))
    }

    /// Bare text, quoted text and stars, one directly after the other.
    fn pattern(&mut self, expected: &str) -> Result<Pattern> {
        let mut pattern = Pattern::exact("");
        let start = self.at;
        loop {
            match self.peek() {
                Some('"') => self.quoted(&mut pattern)?,
                Some('*') => {
                    self.at += 1;
                    pattern.push_star();
                }
                Some(c) if is_bare(c) => {
                    self.at += c.len_utf8();
                    pattern.push(c);
                }
                None if start == self.at => return Err(self.expected(expected).fix("`*` selects all assets")),
                Some(_) if start == self.at => return Err(self.expected(expected).fix(QUOTE_IT)),
                _ => return Ok(pattern),
            }
        }
    }

    fn quoted(&mut self, pattern: &mut Pattern) -> Result<()> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('\\') => pattern.push(self.escaped()?),
                Some(c) => pattern.push(c),
                None => {
                    self.at = start;
                    return Err(self
                        .expected("a quoted name with a closing quote")
                        .fix("add the closing `\"`"));
                }
            }
        }
    }

    /// What a backslash that was just taken begins.
    fn escaped(&mut self) -> Result<char> {
        let start = self.at;
        let meant = match self.next() {
            Some(c @ ('"' | '\\')) => Some(c),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('u') if self.take('{') => {
                let digits = self.run_of(|c| c.is_ascii_hexdigit());
                self.at += digits.len();
                let c = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                c.filter(|_| self.take('}'))
            }
            _ => None,
        };
        meant.ok_or_else(|| {
            self.at = start;
            self.expected(r#"an escape: \" \\ \n \r \t \u{…}"#)
                .fix(r"write `\\` for a backslash")
        })
    }

    fn nested(&mut self, inside: impl FnOnce(&mut Self) -> Result<Expression>) -> Result<Expression> {
        if self.nesting == SELECTION_NESTING_MAX {
            let error = limit(format!(
                "parentheses and `not` nest more than {SELECTION_NESTING_MAX} deep"
            ));
            return Err(error.fix("take out those that do nothing"));
        }
        self.nesting += 1;
        let expression = inside(self);
        self.nesting -= 1;
        expression
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    /// Takes a word of the grammar, unless more follows that makes it part of a name.
    fn take_word(&mut self, word: &str) -> bool {
        let found = self.run_of(is_bare);
        let goes_on = self.text[self.at + found.len()..].starts_with(['+', '"', '*', ':']);
        if goes_on || !found.eq_ignore_ascii_case(word) {
            return false;
        }
        self.at += found.len();
        true
    }

    /// The characters from here on that fit, without taking them.
    fn run_of(&self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        &rest[..rest.find(|c| !fits(c)).unwrap_or(rest.len())]
    }

    fn skip_spaces(&mut self) {
        self.at += self.run_of(char::is_whitespace).len();
    }

    fn expected(&self, what: &str) -> Error {
        let place = self.text[..self.at].chars().count() + 1;
        let word = self.run_of(is_bare);
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(_) if !word.is_empty() => format!("`{}`", word.chars().take(EXCERPT_CHARS).collect::<String>()),
            Some(c) if c.is_control() => format!("`{}`", c.escape_default()),
            Some(c) => format!("`{c}`"),
        };
        Error::new(
            ErrorKind::Invalid,
            format!("expected {what} at character {place}, found {found}"),
        )
        .code("selection_syntax")
    }
}

fn limit(message: String) -> Error {
    Error::new(ErrorKind::LimitExceeded, message).code("selection_too_large")
}
