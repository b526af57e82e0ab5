//! Rust source without its comments and literals.
//!
//! Rules about code must not fire on a sentence or a string that mentions it. Lines and columns stay where they were.
//! Knows just enough of the grammar to tell comments, strings, raw strings, characters and lifetimes apart.

/// `source` with every character of a comment or literal replaced by a space.
pub(crate) fn code_text(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let len = blank_len(&chars, at);
        if len == 0 {
            code.push(chars[at]);
            at += 1;
            continue;
        }
        let end = (at + len).min(chars.len());
        code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    code
}

/// How many characters from `at` on are a comment or a literal; 0 when code stands there.
fn blank_len(chars: &[char], at: usize) -> usize {
    match (chars[at], chars.get(at + 1)) {
        ('/', Some('/')) => chars[at..].iter().take_while(|c| **c != '\n').count(),
        ('/', Some('*')) => block_comment_len(&chars[at..]),
        ('"', _) => quoted_len(&chars[at..], '"'),
        ('\'', _) => character_len(&chars[at..]),
        ('r', Some('"' | '#')) if starts_literal(chars, at) => raw_string_len(&chars[at..]),
        _ => 0,
    }
}

/// Whether the `r` at `at` begins a literal's prefix (`r`, `br`, `cr`) rather than ending an identifier.
fn starts_literal(chars: &[char], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).map(|index| chars[index]);
    match before(1) {
        Some('b' | 'c') => !before(2).is_some_and(in_identifier),
        Some(c) => !in_identifier(c),
        None => true,
    }
}

fn in_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment_len(chars: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted_len(chars: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// A character literal closes after one character or an escape; anything else is a lifetime or a label.
fn character_len(chars: &[char]) -> usize {
    match (chars.get(1), chars.get(2)) {
        (Some('\\'), _) => quoted_len(chars, '\''),
        (Some(_), Some('\'')) => 3,
        _ => 0,
    }
}

/// `r#"…"#` with any number of marks; 0 for a raw identifier.
fn raw_string_len(chars: &[char]) -> usize {
    let marks = chars[1..].iter().take_while(|c| **c == '#').count();
    if chars.get(1 + marks) != Some(&'"') {
        return 0;
    }
    let mut at = 2 + marks;
    while at < chars.len() {
        let closes = chars[at] == '"' && chars[at + 1..].iter().take(marks).filter(|c| **c == '#').count() == marks;
        if closes {
            return at + 1 + marks;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::code_text;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays() {
        let cases: [(&str, &[&str]); 7] = [
            ("a // b\nc", &["a", "c"]),
            ("a /* b /* c */ d */ e", &["a", "e"]),
            (r#"f("x \" y") g"#, &["f(", ")", "g"]),
            (r##"f(r#"x " y"#) br"z" g"##, &["f(", ")", "b", "g"]),
            ("'a' 'b: '\\'' &'c d", &["'b:", "&'c", "d"]),
            ("r#type var\"x\"", &["r#type", "var"]),
            ("\"é\nü\" z", &["z"]),
        ];

        for (source, words) in cases {
            let code = code_text(source);

            assert_eq!(code.split_whitespace().collect::<Vec<_>>(), words, "{source}");
            assert_eq!(code.chars().count(), source.chars().count(), "{source}");
            assert_eq!(code.lines().count(), source.lines().count(), "{source}");
        }
    }

    #[test]
    fn what_never_closes_runs_to_the_end() {
        for source in ["\"abc", "/* abc", "r#\"abc", "'\\", "\"abc\\"] {
            let blanked = code_text(source);

            assert!(!blanked.contains("abc"), "{source}");
        }
    }
}
