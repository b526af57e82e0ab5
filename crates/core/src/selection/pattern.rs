//! Text in which a star stands for any text.

/// Text with stars, or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// What stands before, between and after the stars: one more than there are stars. Those between are not empty.
    pieces: Vec<String>,
}

impl Pattern {
    /// Exactly this text.
    pub(super) fn exact(text: impl Into<String>) -> Self {
        Self {
            pieces: vec![text.into()],
        }
    }

    /// Any text.
    pub(super) fn any() -> Self {
        Self {
            pieces: vec![String::new(); 2],
        }
    }

    /// The text that fits, if only one does.
    pub(super) fn as_exact(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// True when every text fits.
    pub(super) fn is_any(&self) -> bool {
        self.pieces.len() == 2 && self.pieces.iter().all(String::is_empty)
    }

    /// Adds a character at the end.
    pub(super) fn push(&mut self, c: char) {
        self.pieces
            .last_mut()
            .expect("a pattern has at least one piece")
            .push(c);
    }

    /// Adds a star at the end. Two stars in a row are one.
    pub(super) fn push_star(&mut self) {
        let ends_with_star = self.pieces.len() > 1 && self.pieces.last().is_some_and(String::is_empty);
        if !ends_with_star {
            self.pieces.push(String::new());
        }
    }

    /// What stands before, between and after the stars.
    pub(super) fn pieces(&self) -> &[String] {
        &self.pieces
    }

    /// True when `text` fits.
    pub(super) fn fits(&self, text: &str) -> bool {
        let [first, between @ .., last] = self.pieces.as_slice() else {
            return self.pieces.first().is_some_and(|only| only == text);
        };
        let Some(mut rest) = text
            .strip_prefix(first.as_str())
            .and_then(|rest| rest.strip_suffix(last.as_str()))
        else {
            return false;
        };
        // Taking the first place for each leaves the most for those that follow.
        for piece in between {
            let Some(at) = rest.find(piece.as_str()) else {
                return false;
            };
            rest = &rest[at + piece.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        let mut pattern = Pattern::exact("");
        for c in text.chars() {
            if c == '*' { pattern.push_star() } else { pattern.push(c) }
        }
        pattern
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (stars, text) in [
            ("*", ""),
            ("*", "raw"),
            ("r*w", "raw"),
            ("raw*", "raw"),
            ("*raw", "raw"),
            ("*a*", "raw"),
            ("a*a*b", "aab"),
            ("a**b", "ab"),
            ("ü*ö", "ü→ö"),
        ] {
            assert!(pattern(stars).fits(text), "{stars} fits {text:?}");
        }
    }

    #[test]
    fn what_stands_beside_the_stars_must_be_there_once_each() {
        for (stars, text) in [
            ("", "raw"),
            ("raw", "raws"),
            ("a*a", "a"),
            ("*a*a*", "bab"),
            ("ab*b", "ab"),
            ("a*b", "abc"),
        ] {
            assert!(!pattern(stars).fits(text), "{stars} does not fit {text:?}");
        }
    }
}
