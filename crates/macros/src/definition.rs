//! Reads a function marked `#[asset]` into what its definition says.

use proc_macro2::{Ident, Span, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, FnArg, ItemFn, Lit, LitStr, Meta, Signature};

use crate::argument::{Argument, Upstream, is_named, is_ours, within};
use crate::code_version;
use crate::complaints::Complaints;
use crate::options::Options;
use crate::returned::Returned;
use crate::scatter::Scatter;

/// The most arguments that core's `Handler` takes.
const ARGUMENTS_MAX: usize = 12;

/// A function and what was said about it.
pub(crate) struct Definition {
    pub(crate) options: Options,
    /// The function as the compiler shall see it.
    pub(crate) function: ItemFn,
    pub(crate) name: LitStr,
    pub(crate) description: Option<String>,
    /// The fingerprint of the function's text.
    pub(crate) text_version: String,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) returned: Returned,
}

impl Definition {
    /// Reads a function; `None` when it has no form that could be made an asset.
    pub(crate) fn read(options: Options, mut function: ItemFn, complaints: &mut Complaints) -> Option<Self> {
        let scatter = options.scatter.as_ref();
        let text_version = code_version::of(&function, scatter.map(Scatter::meaning));
        let arguments = arguments(&function.sig, options.is_scattered, complaints);
        strip(&mut function);
        if !check_form(&function.sig, complaints) || options.is_scattered != scatter.is_some() {
            return None;
        }
        let ident = &function.sig.ident;
        let arguments = arguments?;
        let returned = Returned::read(&function.sig, complaints)?;
        if let Some(scatter) = scatter {
            let is_async = function.sig.asyncness.is_some();
            if !check_scatter(scatter, &options, is_async, &arguments, &returned, complaints) {
                return None;
            }
        } else if !check_batch(&options, &arguments, &returned, complaints) {
            return None;
        }
        Some(Self {
            name: options
                .name
                .clone()
                .unwrap_or_else(|| LitStr::new(&ident.unraw().to_string(), ident.span())),
            description: description(&function.attrs),
            text_version,
            arguments,
            returned,
            options,
            function,
        })
    }

    /// The name of the function and of the type beside it.
    pub(crate) fn ident(&self) -> &Ident {
        &self.function.sig.ident
    }

    /// The upstreams, in the order of the arguments.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        self.arguments.iter().filter_map(|argument| match argument {
            Argument::Upstream(upstream) => Some(&**upstream),
            Argument::Given(_) => None,
        })
    }
}

/// Takes our own attributes off the arguments.
pub(crate) fn strip(function: &mut ItemFn) {
    for argument in &mut function.sig.inputs {
        if let FnArg::Typed(argument) = argument {
            argument.attrs.retain(|attribute| !is_ours(attribute));
        }
    }
}

/// Whether a function that is to be called for many partitions has the form for it, and no other has.
fn check_batch(options: &Options, arguments: &[Argument], returned: &Returned, complaints: &mut Complaints) -> bool {
    let given = |name: &'static str| {
        arguments.iter().find_map(move |argument| match argument {
            Argument::Given(ty) if is_named(name, ty) => Some(&**ty),
            _ => None,
        })
    };
    let of_batch = arguments.iter().find_map(|argument| match argument {
        Argument::Upstream(upstream) if upstream.batch => Some(&upstream.ty),
        _ => None,
    });
    let told = given("BatchContext").or(of_batch);
    let Some(batch) = &options.batch else {
        let place = told.map(|ty| ty.span()).or(returned.batch.then_some(returned.span));
        if let Some(place) = place {
            complaints.push(syn::Error::new(
                place,
                "this is for a function that is called for many partitions at once: \
                 say for how many, `#[asset(partitions = …, batch = 50)]`",
            ));
        }
        return place.is_none();
    };
    let mut fits = true;
    let mut refuse = |place: Span, message: &str| {
        fits = false;
        complaints.push(syn::Error::new(place, message));
    };
    if !options.settings.iter().any(|setting| setting.key == "partitions") {
        refuse(batch.key.span(), "a batch is of partitions: give `partitions = …` too");
    }
    if let Some(context) = given("AssetContext") {
        refuse(
            context.span(),
            "with `batch` a call is for many partitions: take `BatchContext`",
        );
    } else if told.is_none() {
        refuse(
            batch.key.span(),
            "the function does not hear which partitions it is called for: \
             take `BatchContext`, or an upstream as `Batch<T>`",
        );
    }
    if !returned.batch {
        refuse(
            returned.span,
            "with `batch` a function says of each partition how it ended: \
             return `BatchOutcome<T>`, or a `Result` of it",
        );
    }
    fits
}

/// Whether a function that is called for items has the form for it.
fn check_scatter(
    scatter: &Scatter,
    options: &Options,
    is_async: bool,
    arguments: &[Argument],
    returned: &Returned,
    complaints: &mut Complaints,
) -> bool {
    let mut fits = true;
    let mut refuse = |place: Span, message: &str| {
        fits = false;
        complaints.push(syn::Error::new(place, message));
    };
    if let Some(batch) = &options.batch {
        refuse(
            batch.key.span(),
            "a batch of partitions cannot be scattered: say how items are batched with `scatter(batch = Batches::…)`",
        );
    }
    let taken = |name: &'static str| {
        arguments.iter().find_map(move |argument| match argument {
            Argument::Given(ty) if within(name, ty).is_some() => Some(ty.span()),
            _ => None,
        })
    };
    let of_batch = arguments.iter().find_map(|argument| match argument {
        Argument::Upstream(upstream) if upstream.batch => Some(upstream.ty.span()),
        _ => None,
    });
    if let Some(place) = of_batch {
        refuse(
            place,
            "a call is for items of one partition: take the value without `Batch`",
        );
    }
    let batch = scatter.setting("batch");
    match (batch, taken("Item"), taken("ItemBatch")) {
        (Some(_), Some(place), _) => refuse(place, "with `batch` a call is for several items: take `ItemBatch<T>`"),
        (None, _, Some(place)) => refuse(
            place,
            "this is for a function that is called for several items: say for how many, `scatter(batch = Batches::count(10), …)`",
        ),
        (Some(_), None, None) => refuse(
            returned.span,
            "the function does not hear which items it is called for: take `ItemBatch<T>`",
        ),
        _ => {}
    }
    if let Some(batch) = batch {
        if !is_async {
            refuse(
                batch.key.span(),
                "a function that is called for several items is `async`",
            );
        }
        if returned.of_items().is_none() {
            refuse(
                returned.span,
                "with `batch` a function gives a value for each item: return `Vec<R>`, `ItemOutcomes<R>`, or a `Result` of either",
            );
        }
    }
    fits
}

fn check_form(signature: &Signature, complaints: &mut Complaints) -> bool {
    let mut fits = true;
    let mut refuse = |place: TokenStream, message: &str| {
        fits = false;
        complaints.at(place, message);
    };
    if !signature.generics.params.is_empty() {
        refuse(
            signature.generics.to_token_stream(),
            "an asset is one function with one type of value: it cannot be generic",
        );
    }
    if let Some(clause) = &signature.generics.where_clause {
        refuse(
            clause.to_token_stream(),
            "an asset's function is not generic and has no `where` clause",
        );
    }
    if let Some(keyword) = signature.constness {
        refuse(
            keyword.to_token_stream(),
            "an asset's function runs in a pipeline: it cannot be `const`",
        );
    }
    if let Some(keyword) = signature.unsafety {
        refuse(
            keyword.to_token_stream(),
            "the pipeline calls an asset's function: it cannot be `unsafe`",
        );
    }
    if let Some(abi) = &signature.abi {
        refuse(
            abi.to_token_stream(),
            "an asset's function is a plain Rust function: it cannot be `extern`",
        );
    }
    if let Some(variadic) = &signature.variadic {
        refuse(
            variadic.to_token_stream(),
            "an asset's function has a fixed list of arguments",
        );
    }
    fits
}

fn arguments(signature: &Signature, of_items: bool, complaints: &mut Complaints) -> Option<Vec<Argument>> {
    let read: Vec<Option<Argument>> = signature
        .inputs
        .iter()
        .map(|argument| match argument {
            FnArg::Receiver(receiver) => {
                complaints.at(
                    receiver,
                    "`#[asset]` goes on a free function: take what you need of `self` as `Res<T>`",
                );
                None
            }
            FnArg::Typed(argument) => Argument::read(argument, of_items, complaints),
        })
        .collect();
    if let Some(beyond) = signature.inputs.iter().nth(ARGUMENTS_MAX) {
        complaints.at(
            beyond,
            format!("an asset's function takes at most {ARGUMENTS_MAX} arguments"),
        );
        return None;
    }
    read.into_iter().collect()
}

/// The first paragraph of the doc comment, on one line.
fn description(attributes: &[Attribute]) -> Option<String> {
    let text: Vec<String> = attributes.iter().filter_map(doc).collect();
    let text = text.join("\n");
    let paragraph: Vec<&str> = text
        .lines()
        .map(|line| line.trim().trim_start_matches('*').trim_start())
        .skip_while(|line| line.is_empty())
        .take_while(|line| !line.is_empty())
        .collect();
    Some(paragraph.join(" ")).filter(|description| !description.is_empty())
}

fn doc(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text), ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn read(function: ItemFn) -> Result<Definition, Vec<String>> {
        let mut complaints = Complaints::default();
        let options = Options::read(TokenStream::new(), &mut complaints);
        let read = Definition::read(options, function, &mut complaints);
        let messages = complaints.messages();
        if messages.is_empty() {
            Ok(read.expect("no complaint, so it was read"))
        } else {
            Err(messages)
        }
    }

    fn complaints_of(function: ItemFn) -> usize {
        read(function).err().map_or(0, |messages| messages.len())
    }

    #[test]
    fn the_first_paragraph_describes() {
        let described = |function| read(function).ok().and_then(|definition| definition.description);
        let lines = parse_quote! {
            ///
            /// All flights
            /// of a day.
            ///
            /// More.
            fn f() {}
        };
        let block = parse_quote! {
            /**
             * All flights.
             */
            fn f() {}
        };

        assert_eq!(described(lines).as_deref(), Some("All flights of a day."));
        assert_eq!(described(block).as_deref(), Some("All flights."));
        assert_eq!(
            described(parse_quote!(
                fn f() {}
            )),
            None
        );
    }

    #[test]
    fn forms_that_cannot_be_assets_are_refused() {
        assert_eq!(
            complaints_of(parse_quote!(
                fn f(&self) -> u8 {}
            )),
            1
        );
        assert_eq!(
            complaints_of(parse_quote!(
                fn f<T>() -> u8
                where
                    T: Copy,
                {
                }
            )),
            2
        );
        assert_eq!(
            complaints_of(parse_quote!(
                const unsafe extern "C" fn f() -> u8 {}
            )),
            3
        );
        assert_eq!(
            complaints_of(parse_quote!(
                fn f() -> impl Copy {}
            )),
            1
        );
    }

    #[test]
    fn a_batch_is_said_of_the_asset_and_seen_in_its_function() {
        let of = |options: TokenStream, function| {
            let mut complaints = Complaints::default();
            let options = Options::read(options, &mut complaints);
            Definition::read(options, function, &mut complaints);
            complaints.messages().len()
        };
        let said = || quote::quote!(partitions = Daily::from("2013-01-01"), batch = 50);

        assert_eq!(
            of(
                said(),
                parse_quote!(
                    fn f(a: Batch<u8>) -> Result<BatchOutcome<u8>> {}
                )
            ),
            0
        );
        assert_eq!(
            of(
                said(),
                parse_quote!(
                    fn f(ctx: BatchContext, a: u8) -> BatchOutcome<u8> {}
                )
            ),
            0
        );
        assert_eq!(
            of(
                said(),
                parse_quote!(
                    fn f(a: u8) -> BatchOutcome<u8> {}
                )
            ),
            1
        );
        assert_eq!(
            of(
                said(),
                parse_quote!(
                    fn f(ctx: AssetContext) -> u8 {}
                )
            ),
            2
        );
        assert_eq!(
            of(
                quote::quote!(batch = 50),
                parse_quote!(
                    fn f(a: Batch<u8>) -> BatchOutcome<u8> {}
                )
            ),
            1
        );
        for alone in [
            parse_quote!(
                fn f(a: Batch<u8>) -> u8 {}
            ),
            parse_quote!(
                fn f(ctx: BatchContext) -> u8 {}
            ),
            parse_quote!(
                fn f() -> BatchOutcome<u8> {}
            ),
        ] {
            assert_eq!(of(TokenStream::new(), alone), 1);
        }
    }

    #[test]
    fn a_thirteenth_argument_is_refused() {
        let arguments = |count: usize| {
            let list: Vec<FnArg> = (0..count)
                .map(|number| {
                    let name = Ident::new(&format!("a{number}"), Span::call_site());
                    parse_quote!(#name: u8)
                })
                .collect();
            parse_quote!(fn f(#(#list),*) {})
        };

        assert_eq!(complaints_of(arguments(12)), 0);
        assert_eq!(complaints_of(arguments(13)), 1);
    }

    #[test]
    fn our_attributes_are_taken_off_the_arguments() {
        let function = parse_quote!(
            fn f(
                #[from("a")]
                #[mapping(All)]
                #[expect(unused)]
                a: u8,
            ) {
            }
        );

        let inputs = read(function)
            .ok()
            .map(|definition| definition.function.sig.inputs.to_token_stream().to_string());

        assert!(inputs.is_some_and(|inputs| inputs.starts_with("# [expect (unused)] a : u8")));
    }
}
