//! Reads what stands in the parentheses of `scatter(…)`, and writes it down as calls of the scatter builder.
//!
//! Only names and shapes are checked here, as for the other keys.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, LitStr, Path, Token, Type, parenthesized, token};

use crate::argument::Source;
use crate::complaints::Complaints;
use crate::options::{Setting, nearest, skip_value};

/// Keys with a function: `key = function(upstream, …)`.
const FUNCTIONS: [&str; 3] = ["items", "shared", "gather"];
/// Keys whose value is the builder's only argument.
const SETTINGS: [&str; 15] = [
    "read",
    "key",
    "select",
    "batch",
    "reduce",
    "max_concurrent",
    "burst",
    "tolerate",
    "tolerate_count",
    "retry",
    "item_timeout",
    "order",
    "priority",
    "items_max",
    "page_len",
];
/// Keys with another shape.
const OTHERS: [&str; 2] = ["rate_limit", "step_functions"];
/// Keys that decide what the asset is, and not only how it comes about.
const MEANING: [&str; 5] = ["read", "key", "select", "batch", "reduce"];

/// Words that other tools use for the same thing.
const OTHER_WORDS: [(&str, &str); 10] = [
    ("concurrency", "`max_concurrent`"),
    ("max_concurrency", "`max_concurrent`"),
    ("max_items", "`items_max`"),
    ("timeout", "`item_timeout`"),
    ("tolerance", "`tolerate`"),
    ("tolerated_failures", "`tolerate_count`"),
    ("reader", "`read`"),
    ("source", "`read`"),
    ("selector", "`select`"),
    ("batches", "`batch`"),
];

/// What `scatter(…)` says.
#[derive(Default)]
pub(crate) struct Scatter {
    pub(crate) items: Option<Function>,
    pub(crate) shared: Option<Function>,
    pub(crate) gather: Option<Function>,
    pub(crate) rate_limit: Option<(Ident, Vec<Expr>)>,
    pub(crate) step_functions: Option<Ident>,
    /// The others, in the order in which they stand.
    pub(crate) settings: Vec<Setting>,
}

/// A function with the upstreams that it reads, and the type that it makes.
pub(crate) struct Function {
    pub(crate) path: Path,
    pub(crate) upstreams: Vec<Source>,
    pub(crate) makes: Option<Type>,
}

impl Scatter {
    /// Reads what stands in the parentheses behind `keyword`; what is wrong is added to `complaints` and left out. `None`
    /// when nobody can tell where the items come from.
    pub(crate) fn read(
        keyword: &Ident,
        input: ParseStream<'_>,
        complaints: &mut Complaints,
    ) -> syn::Result<Option<Self>> {
        let mut scatter = Self::default();
        let mut seen: Vec<String> = Vec::new();
        while !input.is_empty() {
            let key = input.call(Ident::parse_any)?;
            let text = key.to_string();
            if seen.contains(&text) {
                complaints.at(&key, format!("`{text}` is given twice"));
            }
            scatter.read_key(key, &text, input, complaints)?;
            seen.push(text);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        scatter.check(keyword, complaints);
        let has_source = scatter.items.is_some() || scatter.setting("read").is_some();
        Ok(has_source.then_some(scatter))
    }

    fn read_key(
        &mut self,
        key: Ident,
        text: &str,
        input: ParseStream<'_>,
        complaints: &mut Complaints,
    ) -> syn::Result<()> {
        if text == "step_functions" {
            if input.peek(Token![=]) || input.peek(token::Paren) {
                complaints.at(&key, "`step_functions` takes no value: leave the key out to say no");
                skip_value(input)?;
            }
            self.step_functions = Some(key);
        } else if text == "rate_limit" {
            if !input.peek(token::Paren) {
                complaints.at(
                    &key,
                    "say how many calls may start in which time: `rate_limit(100, Duration::from_secs(1))`",
                );
                return skip_value(input);
            }
            let inside;
            parenthesized!(inside in input);
            let values = Punctuated::<Expr, Token![,]>::parse_terminated(&inside)?;
            self.rate_limit = Some((key, values.into_iter().collect()));
        } else if !FUNCTIONS.contains(&text) && !SETTINGS.contains(&text) {
            complaints.at(&key, unknown(text));
            skip_value(input)?;
        } else if !input.peek(Token![=]) {
            complaints.at(&key, format!("`{text}` needs a value: `{text} = …`"));
            skip_value(input)?;
        } else {
            input.parse::<Token![=]>()?;
            match text {
                "items" => self.items = Some(input.parse()?),
                "shared" => self.shared = Some(input.parse()?),
                "gather" => self.gather = Some(input.parse()?),
                _ => self.settings.push(Setting {
                    key,
                    value: input.parse()?,
                }),
            }
        }
        Ok(())
    }

    fn check(&self, keyword: &Ident, complaints: &mut Complaints) {
        match (&self.items, self.setting("read")) {
            (None, None) => complaints.at(
                keyword,
                "say where the items come from: `items = function(upstream, …)` or `read = …` with an item reader",
            ),
            (Some(_), Some(read)) => {
                complaints.at(
                    &read.key,
                    "items come from a function or from a reader: give one of `items` and `read`",
                );
            }
            _ => {}
        }
        if let Some(gather) = &self.gather {
            if gather.makes.is_none() {
                let path = &gather.path;
                let message =
                    "say what the function makes, since the asset is of that type: `gather = function(…) -> Type`";
                complaints.at(path, message);
            }
            if let Some(reduce) = self.setting("reduce") {
                complaints.at(
                    &reduce.key,
                    "what the items gave is gathered or reduced: give one of the two",
                );
            }
        }
        for function in [&self.items, &self.shared].into_iter().flatten() {
            if let Some(makes) = &function.makes {
                complaints.at(makes, "only `gather` says what its function makes");
            }
        }
        if let (Some(_), Some(count)) = (self.setting("tolerate"), self.setting("tolerate_count")) {
            complaints.at(
                &count.key,
                "failures are tolerated by share or by count: give one of the two",
            );
        }
    }

    /// What was given for a key, if it was.
    pub(crate) fn setting(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// What decides what the asset is, as text.
    pub(crate) fn meaning(&self) -> TokenStream {
        let functions = [&self.items, &self.shared, &self.gather].into_iter().flatten();
        let functions = functions.map(|function| {
            let (path, upstreams) = (&function.path, function.upstreams.iter().map(Source::tokens));
            quote!(#path(#(#upstreams),*))
        });
        let settings = self
            .settings
            .iter()
            .filter(|setting| MEANING.iter().any(|key| setting.key == key));
        let settings = settings.map(|setting| {
            let (key, value) = (&setting.key, &setting.value);
            quote!(#key = #value)
        });
        quote!(#(#functions;)* #(#settings;)*)
    }
}

impl Source {
    fn tokens(&self) -> TokenStream {
        match self {
            Self::Function(path) => path.to_token_stream(),
            Self::Name(name) => name.to_token_stream(),
        }
    }
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let start = input.span();
        let path = input.call(Path::parse_mod_style).map_err(|_| {
            let message = "name a function, with the upstreams that it reads: `function(upstream, …)`; \
                           a closure goes into the builder";
            syn::Error::new(start, message)
        })?;
        let mut upstreams = Vec::new();
        if input.peek(token::Paren) {
            let inside;
            parenthesized!(inside in input);
            let listed = inside.parse_terminated(source, Token![,])?;
            upstreams.extend(listed);
        }
        let mut makes = None;
        if input.peek(Token![->]) {
            input.parse::<Token![->]>()?;
            makes = Some(input.parse()?);
        }
        Ok(Self { path, upstreams, makes })
    }
}

fn source(input: ParseStream<'_>) -> syn::Result<Source> {
    if input.peek(LitStr) {
        return input.parse().map(Source::Name);
    }
    let start = input.span();
    let path = input.call(Path::parse_mod_style).map_err(|_| {
        let message = "in the parentheses stand the upstreams that the function reads, in the order of its arguments: \
                       paths of their functions, or their names in quotes";
        syn::Error::new(start, message)
    })?;
    Ok(Source::Function(path))
}

fn unknown(key: &str) -> String {
    let keys = || FUNCTIONS.into_iter().chain(SETTINGS).chain(OTHERS);
    let hint = nearest(key, &OTHER_WORDS, keys());
    let keys: Vec<String> = keys().map(|key| format!("`{key}`")).collect();
    format!("`scatter` has no key `{key}`: {hint}\nthe keys are {}", keys.join(", "))
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;
    use syn::parse::Parser;

    use super::*;

    fn read(tokens: TokenStream) -> (Option<Scatter>, Vec<String>) {
        let mut complaints = Complaints::default();
        let keyword = Ident::new("scatter", Span::call_site());
        let read = (|input: ParseStream<'_>| Scatter::read(&keyword, input, &mut complaints)).parse2(tokens);
        let read = read.map_err(|mistake| complaints.push(mistake)).ok();
        (read.flatten(), complaints.messages())
    }

    #[test]
    fn every_key_is_read() {
        let (scatter, complaints) = read(quote! {
            items = routes::of(flights, "raw flights"), shared = limits, gather = rank(airlines) -> Vec<Rank>,
            key = |route: &Route| route.name(), select = chosen, batch = Batches::count(10), max_concurrent = 64,
            rate_limit(100, Duration::from_secs(1)), burst = 5, tolerate = 0.05, retry = Retry::never(),
            item_timeout = Duration::from_secs(1), order = ItemOrder::Depth, priority = 1, items_max = 5, page_len = 10,
            step_functions,
        });

        let scatter = scatter.expect("it is well formed");
        assert_eq!(complaints, [""; 0]);
        assert_eq!(scatter.items.map(|items| items.upstreams.len()), Some(2));
        assert_eq!(scatter.shared.map(|shared| shared.upstreams.len()), Some(0));
        assert!(scatter.gather.is_some_and(|gather| gather.makes.is_some()));
        assert_eq!(scatter.rate_limit.map(|(_, values)| values.len()), Some(2));
        assert_eq!(scatter.settings.len(), 12);
        assert!(scatter.step_functions.is_some());
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (tokens, count) in [
            (quote!(), 1),
            (quote!(items = a, read = b), 1),
            (quote!(items = a, gather = b), 1),
            (quote!(items = a, gather = b -> u8, reduce = c), 1),
            (quote!(items = a -> u8), 1),
            (quote!(items = a, tolerate = 0.5, tolerate_count = 5), 1),
            (
                quote!(items = a, rate_limit = 5, step_functions = true, colour = "red"),
                3,
            ),
            (quote!(items = a, items = b), 1),
            (quote!(items), 2),
        ] {
            assert_eq!(read(tokens.clone()).1.len(), count, "{tokens}");
        }
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_one_that_was_meant() {
        assert!(read(quote!(items = a, max_items = 1)).1[0].contains("did you mean `items_max`?"));
        assert!(read(quote!(items = a, tolerat = 1)).1[0].contains("did you mean `tolerate`?"));
    }

    #[test]
    fn what_the_asset_is_does_not_depend_on_how_fast_it_comes_about() {
        let meaning = |tokens| read(tokens).0.expect("it is well formed").meaning().to_string();

        let plain = meaning(quote!(items = a(b)));

        assert_eq!(plain, meaning(quote!(max_concurrent = 3, items = a(b), tolerate = 0.5)));
        assert_ne!(plain, meaning(quote!(items = a(c))));
        assert_ne!(plain, meaning(quote!(items = a(b), key = c)));
    }
}
