//! Reads what stands in the parentheses of `#[asset(…)]`.
//!
//! Only names and shapes are checked here. What the expressions mean is the compiler's to say, at their own place.

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Expr, ExprLit, Ident, Lit, LitStr, Path, Token, parenthesized, parse_quote, token};

use crate::complaints::Complaints;
use crate::scatter::Scatter;

const KEYS: [&str; 14] = [
    "partitions",
    "batch",
    "scatter",
    "io",
    "retry",
    "deadline",
    "group",
    "tags",
    "name",
    "code_version",
    "acts_outside",
    "keep_versions",
    "max_concurrent",
    "crate",
];

/// Words that other tools use for the same thing.
const OTHER_WORDS: [(&str, &str); 13] = [
    ("backfill_policy", "`batch`"),
    ("max_partitions_per_run", "`batch`"),
    ("retention", "`keep_versions`"),
    ("timeout", "`deadline`"),
    ("retries", "`retry`"),
    ("retry_policy", "`retry`"),
    ("io_manager", "`io`"),
    ("version", "`code_version`"),
    ("partitions_def", "`partitions`"),
    ("key", "`name`"),
    ("deps", "arguments named after the upstream assets"),
    ("description", "a doc comment above the function"),
    ("doc", "a doc comment above the function"),
];

/// The longest name of an asset, in bytes; core refuses longer ones too, but only when the pipeline is built.
const NAME_LEN_MAX: usize = 512;

/// A key that is given to the builder as the method of the same name.
pub(crate) struct Setting {
    pub(crate) key: Ident,
    pub(crate) value: Expr,
}

/// What was asked for.
pub(crate) struct Options {
    /// The crate that has core's `__private` module.
    pub(crate) krate: Path,
    pub(crate) name: Option<LitStr>,
    pub(crate) code_version: Option<Expr>,
    pub(crate) tags: Vec<Expr>,
    pub(crate) acts_outside: Option<Ident>,
    /// How many partitions one call is for.
    pub(crate) batch: Option<Setting>,
    /// True for a scatter, also where what it says could not be read.
    pub(crate) is_scattered: bool,
    /// How it becomes many items.
    pub(crate) scatter: Option<Scatter>,
    /// `partitions`, `io`, `retry`, `deadline`, `group`, `keep_versions` and `max_concurrent`, in the order in which they stand.
    pub(crate) settings: Vec<Setting>,
}

impl Options {
    /// Reads the tokens in the parentheses; what is wrong is added to `complaints` and left out.
    pub(crate) fn read(tokens: TokenStream, complaints: &mut Complaints) -> Self {
        let mut options = Self {
            krate: parse_quote!(::flowstone),
            name: None,
            code_version: None,
            tags: Vec::new(),
            acts_outside: None,
            batch: None,
            is_scattered: false,
            scatter: None,
            settings: Vec::new(),
        };
        let read = (|input: ParseStream<'_>| options.read_all(input, complaints)).parse2(tokens);
        if let Err(mistake) = read {
            complaints.push(mistake);
        }
        options
    }

    fn read_all(&mut self, input: ParseStream<'_>, complaints: &mut Complaints) -> syn::Result<()> {
        let mut seen: Vec<String> = Vec::new();
        while !input.is_empty() {
            let key = input.call(Ident::parse_any)?;
            let text = key.to_string();
            if seen.contains(&text) {
                complaints.at(&key, format!("`{text}` is given twice"));
            }
            if KEYS.contains(&text.as_str()) {
                self.read_known(key, &text, input, complaints)?;
            } else {
                complaints.at(&key, unknown(&text));
                skip_value(input)?;
            }
            seen.push(text);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    }

    fn read_known(
        &mut self,
        key: Ident,
        text: &str,
        input: ParseStream<'_>,
        complaints: &mut Complaints,
    ) -> syn::Result<()> {
        match text {
            "acts_outside" => {
                if !input.is_empty() && !input.peek(Token![,]) {
                    complaints.at(&key, "`acts_outside` takes no value: leave the key out to say no");
                    skip_value(input)?;
                }
                self.acts_outside = Some(key);
            }
            "tags" => {
                if !input.peek(token::Paren) {
                    complaints.at(&key, "tags are listed in parentheses: `tags(\"raw\", \"daily\")`");
                    return skip_value(input);
                }
                let inside;
                parenthesized!(inside in input);
                self.tags
                    .extend(Punctuated::<Expr, Token![,]>::parse_terminated(&inside)?);
            }
            "scatter" => {
                self.is_scattered = true;
                if !input.peek(token::Paren) {
                    complaints.at(
                        &key,
                        "say where the items come from: `scatter(items = function(upstream, …), …)`",
                    );
                    return skip_value(input);
                }
                let inside;
                parenthesized!(inside in input);
                self.scatter = Scatter::read(&key, &inside, complaints)?;
            }
            _ if !input.peek(Token![=]) => {
                complaints.at(&key, format!("`{text}` needs a value: `{text} = …`"));
                return skip_value(input);
            }
            _ => {
                input.parse::<Token![=]>()?;
                match text {
                    "crate" => self.krate = input.call(Path::parse_mod_style)?,
                    "name" => self.name = name(&input.parse()?, complaints),
                    "code_version" => self.code_version = Some(input.parse()?),
                    "batch" => {
                        let value: Expr = input.parse()?;
                        if is_zero(&value) {
                            complaints.at(&value, "a call is for at least 1 partition");
                        }
                        self.batch = Some(Setting { key, value });
                    }
                    _ => self.settings.push(Setting {
                        key,
                        value: input.parse()?,
                    }),
                }
            }
        }
        Ok(())
    }
}

fn is_zero(value: &Expr) -> bool {
    let Expr::Lit(ExprLit {
        lit: Lit::Int(number), ..
    }) = value
    else {
        return false;
    };
    number.base10_parse::<u64>().is_ok_and(|number| number == 0)
}

fn name(name: &LitStr, complaints: &mut Complaints) -> Option<LitStr> {
    match name.value().len() {
        0 => complaints.at(name, "an asset needs a name"),
        1..=NAME_LEN_MAX => return Some(name.clone()),
        len => complaints.at(
            name,
            format!("an asset name has at most {NAME_LEN_MAX} bytes, this one has {len}"),
        ),
    }
    None
}

/// Steps over the value of a key that is not read.
pub(crate) fn skip_value(input: ParseStream<'_>) -> syn::Result<()> {
    if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        input.parse::<Expr>()?;
    } else if input.peek(token::Paren) {
        let inside;
        parenthesized!(inside in input);
        inside.parse::<TokenStream>()?;
    }
    Ok(())
}

fn unknown(key: &str) -> String {
    let hint = nearest(key, &OTHER_WORDS, KEYS.into_iter());
    let keys = KEYS.map(|key| format!("`{key}`")).join(", ");
    format!("`#[asset]` has no key `{key}`: {hint}\nthe keys are {keys}")
}

/// The key that a person may have meant, as a question.
pub(crate) fn nearest<'a>(key: &str, other_words: &[(&str, &str)], known: impl Iterator<Item = &'a str>) -> String {
    let other_word = other_words
        .iter()
        .find(|(other, _)| *other == key)
        .map(|(_, ours)| (*ours).to_owned());
    let near = || {
        known
            .map(|known| (strsim::damerau_levenshtein(key, known), known))
            .filter(|(distance, known)| *distance <= 1 + known.len() / 3)
            .min()
            .map(|(_, known)| format!("`{known}`"))
    };
    other_word
        .or_else(near)
        .map(|meant| format!("did you mean {meant}?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn complaints_of(tokens: TokenStream) -> Vec<String> {
        let mut complaints = Complaints::default();
        Options::read(tokens, &mut complaints);
        complaints.messages()
    }

    #[test]
    fn every_key_is_read() {
        let mut complaints = Complaints::default();

        let options = Options::read(
            quote! {
                partitions = Daily::from("2013-01-01"), batch = 50, io = "parquet", retry = Retry::exponential(3),
                deadline = Duration::from_secs(5), group = "ingest", tags("a", "b"), name = "other name",
                code_version = "2", acts_outside, crate = flowstone_core,
            },
            &mut complaints,
        );

        let keys: Vec<String> = options.settings.iter().map(|setting| setting.key.to_string()).collect();
        assert_eq!(complaints.messages(), [""; 0]);
        assert_eq!(keys, ["partitions", "io", "retry", "deadline", "group"]);
        assert!(options.batch.is_some());
        assert_eq!(options.tags.len(), 2);
        assert_eq!(options.name.map(|name| name.value()).as_deref(), Some("other name"));
        assert!(options.acts_outside.is_some() && options.code_version.is_some());
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_one_that_was_meant() {
        assert!(complaints_of(quote!(partition = 1))[0].contains("did you mean `partitions`?"));
        assert!(complaints_of(quote!(timeout = 1))[0].contains("did you mean `deadline`?"));
        assert!(complaints_of(quote!(description = "x"))[0].contains("did you mean a doc comment"));
        assert!(!complaints_of(quote!(colour = "red"))[0].contains("did you mean"));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let complaints = complaints_of(quote!(
            colour = "red",
            io = "a",
            io = "b",
            tags = "c",
            acts_outside = true,
            name = "",
            retry
        ));

        assert_eq!(complaints.len(), 6, "{complaints:#?}");
    }

    #[test]
    fn a_batch_of_nothing_is_refused_where_it_stands() {
        assert_eq!(complaints_of(quote!(batch = 0)), ["a call is for at least 1 partition"]);
        assert_eq!(complaints_of(quote!(batch = BATCH)), [""; 0]);
    }

    #[test]
    fn a_name_is_refused_where_it_stands() {
        let long = "x".repeat(513);

        assert_eq!(complaints_of(quote!(name = "")), ["an asset needs a name"]);
        assert_eq!(
            complaints_of(quote!(name = #long)),
            ["an asset name has at most 512 bytes, this one has 513"]
        );
    }
}
