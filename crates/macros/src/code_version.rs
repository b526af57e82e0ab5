//! Tells whether the text of a function changed.
//!
//! What counts is the signature and the body as tokens. Comments, doc comments, line breaks and the commas that a
//! formatter adds do not count. Functions that are called are not looked into.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Ident, ItemFn};

/// The fingerprint of a function, and of what was said of its scatter, as 32 hexadecimal digits.
pub(crate) fn of(function: &ItemFn, scatter: Option<TokenStream>) -> String {
    let mut hash = Fnv::new();
    let signature = &function.sig;
    hash.tokens(signature.asyncness.to_token_stream());
    hash.tokens(without_trailing_comma(signature.inputs.to_token_stream(), false));
    hash.word("->");
    hash.tokens(signature.output.to_token_stream());
    hash.tokens(function.block.to_token_stream());
    if let Some(scatter) = scatter {
        hash.word("scatter");
        hash.tokens(scatter);
    }
    format!("{:032x}", hash.0)
}

/// FNV-1a with 128 bits: the same in every version of the compiler, as the standard library's hasher is not, and small
/// enough to stand here. The text itself is not used, so that no source ends up in a shipped program.
struct Fnv(u128);

impl Fnv {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

    const fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn word(&mut self, word: &str) {
        // No token holds a zero byte, so that none runs into the next.
        for byte in word.bytes().chain([0]) {
            self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(Self::PRIME);
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match len_of_doc(&tokens[at..]) {
                0 => {
                    let before = at.checked_sub(1).map(|before| &tokens[before]);
                    self.token(before, &tokens[at], tokens.get(at + 1));
                    at += 1;
                }
                len => at += len,
            }
        }
    }

    fn token(&mut self, before: Option<&TokenTree>, token: &TokenTree, after: Option<&TokenTree>) {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => return self.tokens(group.stream()),
                };
                let may_be_tuple = group.delimiter() == Delimiter::Parenthesis && !is_name(before);
                self.word(open);
                self.tokens(without_trailing_comma(group.stream(), may_be_tuple));
                self.word(close);
            }
            TokenTree::Punct(punct) => {
                // `&&` is another operator than `& &`.
                let joined = punct.spacing() == Spacing::Joint && matches!(after, Some(TokenTree::Punct(_)));
                self.word(if joined { "joined" } else { "alone" });
                self.word(punct.as_char().encode_utf8(&mut [0; 4]));
            }
            TokenTree::Ident(ident) => self.word(&ident.to_string()),
            TokenTree::Literal(literal) => self.word(&literal.to_string()),
        }
    }
}

/// True for a name that is no keyword: parentheses after it hold arguments.
fn is_name(token: Option<&TokenTree>) -> bool {
    token.is_some_and(|token| syn::parse2::<Ident>(token.to_token_stream()).is_ok())
}

/// The number of tokens of the doc comment that `tokens` starts with, which reads as `#[doc = "…"]` or `#![doc = "…"]`.
fn len_of_doc(tokens: &[TokenTree]) -> usize {
    let is =
        |token: Option<&TokenTree>, char| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == char);
    if !is(tokens.first(), '#') {
        return 0;
    }
    let bang = usize::from(is(tokens.get(1), '!'));
    match tokens.get(1 + bang) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
            match group.stream().into_iter().next() {
                Some(TokenTree::Ident(ident)) if ident == "doc" => 2 + bang,
                _ => 0,
            }
        }
        _ => 0,
    }
}

/// Takes away the comma that a formatter adds when it breaks a list over lines; the tuple `(a,)` keeps its own.
fn without_trailing_comma(tokens: TokenStream, may_be_tuple: bool) -> TokenStream {
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    let mut tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let commas = tokens.iter().filter(|token| is_comma(token)).count();
    if tokens.last().is_some_and(is_comma) && (commas > 1 || !may_be_tuple) {
        tokens.pop();
    }
    tokens.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(source: &str) -> String {
        of(&syn::parse_str(source).expect("the test's source is a function"), None)
    }

    const TOTAL: &str = "async fn total(numbers: Vec<i64>) -> i64 { numbers.iter().sum() }";

    #[test]
    fn comments_format_name_and_visibility_do_not_count() {
        let same = [
            "/// Sums up.\npub async fn total(numbers: Vec<i64>) -> i64 { numbers.iter().sum() }",
            "async fn sum(\n numbers: Vec<i64>,\n) -> i64 {\n // add\n numbers\n .iter()\n .sum()\n}",
        ];

        for same in same {
            assert_eq!(version(same), version(TOTAL), "{same}");
        }
    }

    #[test]
    fn commas_of_a_broken_list_and_inner_doc_comments_do_not_count() {
        let flat = "fn f(a: u8, b: u8) -> S { fn g() {} S { a: h(a, b), b: [k(b)] } }";
        let broken = "fn f(\n a: u8,\n b: u8,\n) -> S { /// Why.\n fn g() {} \
                      S {\n a: h(\n a,\n b,\n ),\n b: [\n k(\n b,\n ),\n ],\n } }";

        assert_eq!(version(flat), version(broken));
    }

    #[test]
    fn signature_and_body_count() {
        let others = [
            "fn total(numbers: Vec<i64>) -> i64 { numbers.iter().sum() }",
            "async fn total(numbers: Vec<i32>) -> i64 { numbers.iter().sum() }",
            "async fn total(numbers: Vec<i64>) -> i32 { numbers.iter().sum() }",
            "async fn total(numbers: Vec<i64>) -> i64 { numbers.iter().product() }",
            "async fn total(#[from(a)] numbers: Vec<i64>) -> i64 { numbers.iter().sum() }",
        ];

        for other in others {
            assert_ne!(version(other), version(TOTAL), "{other}");
        }
    }

    #[test]
    fn tokens_do_not_run_into_each_other() {
        assert_ne!(version("fn f() { a && b }"), version("fn f() { a & &b }"));
        assert_ne!(version("fn f() { ab() }"), version("fn f() { a(b) }"));
        assert_ne!(version("fn f() { (a,) }"), version("fn f() { (a) }"));
    }

    #[test]
    fn it_is_the_same_for_ever() {
        assert_eq!(version(TOTAL), "92cfefd644d5e1f0994881614ddf18e5");
    }
}
