//! Reads a function marked `#[asset]` into what its definition says.

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Attribute, Expr, ExprLit, FnArg, ItemFn, Lit, LitStr, Meta, Signature};

use crate::argument::{Argument, Upstream, is_ours};
use crate::code_version;
use crate::complaints::Complaints;
use crate::options::Options;
use crate::returned::Returned;

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
        let text_version = code_version::of(&function);
        let arguments = arguments(&function.sig, complaints);
        strip(&mut function);
        if !check_form(&function.sig, complaints) {
            return None;
        }
        let ident = &function.sig.ident;
        Some(Self {
            name: options
                .name
                .clone()
                .unwrap_or_else(|| LitStr::new(&ident.unraw().to_string(), ident.span())),
            description: description(&function.attrs),
            text_version,
            arguments: arguments?,
            returned: Returned::read(&function.sig, complaints)?,
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

fn arguments(signature: &Signature, complaints: &mut Complaints) -> Option<Vec<Argument>> {
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
            FnArg::Typed(argument) => Argument::read(argument, complaints),
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
    use proc_macro2::Span;
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
                #[allow(unused)]
                a: u8,
            ) {
            }
        );

        let inputs = read(function)
            .ok()
            .map(|definition| definition.function.sig.inputs.to_token_stream().to_string());

        assert!(inputs.is_some_and(|inputs| inputs.starts_with("# [allow (unused)] a : u8")));
    }
}
