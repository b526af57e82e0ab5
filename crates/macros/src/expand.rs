//! Writes the definition down as calls of core's public builder.
//!
//! Beside the function stands a type of the same name. It has braces: a unit struct would make every argument of that
//! name, in any other asset, a pattern that matches the struct.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::Path;
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use crate::argument::{Argument, Kind, Source, Upstream};
use crate::definition::Definition;
use crate::options::Setting;
use crate::scatter::{Function, Scatter};

/// The function, the type beside it, and the checks of what it reads.
pub(crate) fn asset(definition: &Definition) -> TokenStream {
    let writer = Writer {
        krate: &definition.options.krate,
    };
    let core = writer.core(Span::call_site());
    let (function, ident, name) = (&definition.function, definition.ident(), &definition.name);
    let visibility = &function.vis;
    let builder = writer.builder(definition);
    let value = writer.output(definition);
    let checks = definition
        .upstreams()
        .filter_map(|upstream| writer.check(&name.value(), upstream));
    quote! {
        // Not `expect`, here and below: whether there is anything to expect depends on the function, and an expectation that
        // is not met would warn in the user's crate.
        #[allow(
            clippy::needless_pass_by_value,
            clippy::too_many_arguments,
            clippy::unused_async,
            reason = "the engine hands values over and waits for every function"
        )]
        #function

        #[doc(hidden)]
        #[allow(
            non_camel_case_types,
            unreachable_pub,
            clippy::empty_structs_with_brackets,
            reason = "it is called as the function is, and is as visible"
        )]
        #visibility struct #ident {}

        impl #core::asset::AssetDefinition for #ident {
            type Output = #value;

            const NAME: &'static str = #name;

            fn asset() -> #core::asset::Asset {
                #builder
            }
        }

        #(#checks)*
    }
}

/// The list of definitions that `assets![…]` stands for.
pub(crate) fn assets(krate: &Path, paths: impl Iterator<Item = Path>) -> TokenStream {
    let writer = Writer { krate };
    let core = writer.core(Span::call_site());
    let all = paths.map(|path| {
        let at = ours(path.span());
        let core = writer.core(at);
        quote_spanned!(at=> <#path as #core::asset::AssetDefinition>::asset())
    });
    quote!(<[#core::asset::Asset]>::into_vec(::std::boxed::Box::new([#(#all),*])))
}

/// Writes code that names core by one path.
struct Writer<'a> {
    krate: &'a Path,
}

impl Writer<'_> {
    /// Core, named at the place that the surrounding code stands for: the compiler shows the same mistake only once as
    /// long as all of its tokens are of one place.
    fn core(&self, at: Span) -> TokenStream {
        let krate = self.krate;
        let moved = |mut token: TokenTree| {
            token.set_span(token.span().located_at(at));
            token
        };
        quote!(#krate::__private).into_iter().map(moved).collect()
    }

    fn builder(&self, definition: &Definition) -> TokenStream {
        let core = self.core(Span::call_site());
        // Not ours: a macro's place is that of its outermost caller, which shall be the function, not the attribute.
        let place = quote_spanned!(definition.ident().span()=> ::core::file!(), ::core::line!());
        let description = definition.description.iter().map(|text| quote!(.description(#text)));
        let options = &definition.options;
        let tags = options
            .tags
            .iter()
            .map(|tag| quote_spanned!(ours(tag.span())=> .tag(#tag)));
        let settings = options.settings.iter().map(|setting| {
            let (key, value) = (&setting.key, &setting.value);
            quote_spanned!(ours(value.span())=> .#key(#value))
        });
        let acts_outside = options.acts_outside.iter().map(|key| quote!(.#key()));
        let code_version = match &options.code_version {
            Some(given) => given.to_token_stream(),
            None => definition.text_version.to_token_stream(),
        };
        let name = quote!(<Self as #core::asset::AssetDefinition>::NAME);
        let (made, upstreams, run) = match &options.scatter {
            None => {
                let upstreams = definition.upstreams().map(|upstream| self.named(upstream));
                let made = quote!(#core::asset::Asset::new(#name));
                (made, upstreams.collect(), self.run(definition))
            }
            Some(scatter) => {
                let scatter = self.scatter(definition, scatter);
                (quote!(#scatter.asset(#name)), Vec::new(), TokenStream::new())
            }
        };
        quote! {
            #made
                .defined_at(#place)
                #(#description)*
                #(#tags)*
                #(#settings)*
                #(#acts_outside)*
                .code_version(#code_version)
                #(.upstream(#upstreams))*
                #run
        }
    }

    fn named(&self, upstream: &Upstream) -> TokenStream {
        let at = ours(upstream.from.span());
        let core = self.core(at);
        let name = self.name_of(&upstream.from);
        let mapping = upstream.mapping.iter();
        let mapping = mapping.map(|mapping| quote_spanned!(ours(mapping.span())=> .mapping(#mapping)));
        quote_spanned!(at=> #core::asset::Upstream::new(#name)#(#mapping)*)
    }

    fn name_of(&self, source: &Source) -> TokenStream {
        let at = ours(source.span());
        let core = self.core(at);
        match source {
            Source::Function(path) => quote_spanned!(at=> <#path as #core::asset::AssetDefinition>::NAME),
            Source::Name(name) => name.to_token_stream(),
        }
    }

    /// The type of the asset's value.
    fn output(&self, definition: &Definition) -> TokenStream {
        let value = &definition.returned.value;
        let Some(scatter) = &definition.options.scatter else {
            return value.to_token_stream();
        };
        let item = if scatter.setting("batch").is_some() {
            definition.returned.of_items().unwrap_or(value)
        } else {
            value
        };
        let gathered = scatter.gather.as_ref().and_then(|gather| gather.makes.as_ref());
        match gathered {
            Some(gathered) => gathered.to_token_stream(),
            None if scatter.setting("reduce").is_some() => quote!(::core::option::Option<#item>),
            None => {
                let krate = self.krate;
                quote!(#krate::scatter::Results<#item>)
            }
        }
    }

    /// The scatter that the asset is made by.
    fn scatter(&self, definition: &Definition, scatter: &Scatter) -> TokenStream {
        let krate = self.krate;
        let output = self.output(definition);
        let start = match (&scatter.items, scatter.setting("read")) {
            (Some(items), _) => {
                let (at, given) = (ours(items.path.span()), self.function(items));
                quote_spanned!(at=> #krate::scatter::Scatter::items(#given))
            }
            (None, read) => {
                let read = read.map(|read| &read.value);
                quote!(#krate::scatter::Scatter::read(#read))
            }
        };
        let preset = scatter.step_functions.iter().map(|key| quote!(.#key()));
        let set = |setting: &&Setting| !["read", "batch", "reduce"].iter().any(|key| setting.key == key);
        let settings = scatter.settings.iter().filter(set).map(|setting| {
            let (key, value) = (&setting.key, &setting.value);
            quote_spanned!(ours(value.span())=> .#key(#value))
        });
        let rate_limit = scatter
            .rate_limit
            .iter()
            .map(|(key, values)| quote_spanned!(ours(key.span())=> .#key(#(#values),*)));
        let called = |name: &str, function: Option<&Function>| {
            let function = function?;
            let (at, given) = (ours(function.path.span()), self.function(function));
            let method = Ident::new(name, at);
            Some(quote_spanned!(at=> .#method(#given)))
        };
        let shared = called("shared", scatter.shared.as_ref());
        let each = self.run(definition);
        let gather = called("gather", scatter.gather.as_ref()).or_else(|| {
            let Setting { key, value } = scatter.setting("reduce")?;
            Some(quote_spanned!(ours(value.span())=> .#key(#value)))
        });
        let at = ours(
            scatter
                .gather
                .as_ref()
                .map_or_else(Span::call_site, |gather| gather.path.span()),
        );
        let makes = quote_spanned!(at=> #krate::scatter::Scatter<#krate::scatter::Makes<#output>>);
        quote_spanned! {at=>
            ::core::convert::identity::<#makes>(
                #start #(#preset)* #(#settings)* #(#rate_limit)* #shared #each #gather
            )
        }
    }

    /// The upstreams of a function that the scatter names, and the function.
    fn function(&self, function: &Function) -> TokenStream {
        let core = self.core(Span::call_site());
        let upstreams = function.upstreams.iter().map(|source| {
            let name = self.name_of(source);
            quote!(#core::asset::Upstream::new(#name))
        });
        let path = &function.path;
        quote!(::std::vec::Vec::<#core::asset::Upstream>::from([#(#upstreams),*]), #path)
    }

    /// The closure that turns the builder's arguments into the function's.
    fn run(&self, definition: &Definition) -> TokenStream {
        let (at, ident) = (ours(definition.returned.span), definition.ident());
        let (mut types, mut taken, mut handed) = (Vec::new(), Vec::new(), Vec::new());
        for (number, argument) in definition.arguments.iter().enumerate() {
            let name = format_ident!("argument_{number}", span = Span::mixed_site());
            let (ty, pattern, value) = match argument {
                Argument::Given(ty) => (ty.to_token_stream(), name.to_token_stream(), name.to_token_stream()),
                Argument::Upstream(upstream) => self.unwrapped(upstream, &name),
            };
            taken.push(quote_spanned!(at=> #pattern: #ty));
            types.push(ty);
            handed.push(value);
        }
        let call = quote!(#ident(#(#handed),*));
        let sorted = definition.returned.error.as_ref().map(|error| {
            let at = ours(error.span());
            let core = self.core(at);
            quote_spanned!(at=> .map_err(<#core::Error as ::core::convert::From<#error>>::from))
        });
        let core = self.core(at);
        let mark = match &sorted {
            Some(_) => quote_spanned!(at=> #core::asset::Fallible),
            None => quote_spanned!(at=> #core::asset::Plain),
        };
        let is_async = definition.function.sig.asyncness.is_some();
        let options = &definition.options;
        let scattered = options.scatter.as_ref();
        let batch = scattered.map_or(options.batch.as_ref(), |scatter| scatter.setting("batch"));
        let method = match (scattered.is_some(), is_async, batch.is_some()) {
            (false, true, false) => "run",
            (false, false, false) => "run_blocking",
            (false, true, true) => "run_batch",
            (false, false, true) => "run_batch_blocking",
            (true, _, true) => "each_batch",
            (true, true, false) => "each",
            (true, false, false) => "each_blocking",
        };
        let batch = batch.map(|batch| {
            let value = &batch.value;
            quote_spanned!(ours(value.span())=> #value,)
        });
        let upstreams = scattered.map(|_| {
            let core = self.core(at);
            let upstreams = definition.upstreams().map(|upstream| self.named(upstream));
            quote_spanned!(at=> ::std::vec::Vec::<#core::asset::Upstream>::from([#(#upstreams),*]),)
        });
        let method = Ident::new(method, at);
        // The compiler would find the types by itself. Given them, it tells which of them does not fit, and why.
        if !is_async {
            return quote_spanned!(at=> .#method::<(#mark, #(#types,)*), _>(#batch #upstreams |#(#taken),*| #call #sorted));
        }
        let made = match sorted {
            None => call,
            Some(sorted) => quote_spanned!(at=> async move { #call.await #sorted }),
        };
        quote_spanned!(at=> .#method::<(#mark, _, #(#types,)*), _>(#batch #upstreams |#(#taken),*| #made))
    }

    /// The type that the builder takes for an upstream, the pattern for it, and what the function is handed.
    fn unwrapped(&self, upstream: &Upstream, name: &Ident) -> (TokenStream, TokenStream, TokenStream) {
        let (ty, value) = (&upstream.ty, &upstream.value);
        let at = ours(ty.span());
        let core = self.core(at);
        let input = quote_spanned!(at=> #core::asset::In);
        let batch = quote_spanned!(at=> #core::asset::Batch);
        match upstream.kind {
            Kind::Value if upstream.batch && !upstream.shared => (
                quote_spanned!(at=> #batch<#input<#value>>),
                name.to_token_stream(),
                quote!(#name.map(|#input(#name)| #name)),
            ),
            Kind::Optional if upstream.batch && !upstream.shared => (
                quote_spanned!(at=> #batch<::core::option::Option<#input<#value>>>),
                name.to_token_stream(),
                quote!(#name.map(|#name| #name.map(|#input(#name)| #name))),
            ),
            Kind::Value if !upstream.shared => (
                quote_spanned!(at=> #input<#value>),
                quote!(#input(#name)),
                name.to_token_stream(),
            ),
            Kind::Optional if !upstream.shared => (
                quote_spanned!(at=> ::core::option::Option<#input<#value>>),
                name.to_token_stream(),
                quote!(#name.map(|#input(#name)| #name)),
            ),
            _ => (ty.to_token_stream(), name.to_token_stream(), name.to_token_stream()),
        }
    }

    /// Has the compiler compare what the argument takes with what the upstream is made as.
    fn check(&self, reader: &str, upstream: &Upstream) -> Option<TokenStream> {
        let Source::Function(path) = &upstream.from else {
            return None;
        };
        let called: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.unraw().to_string())
            .collect();
        let called = called.join("::");
        let reader = reader.replace('{', "{{").replace('}', "}}");
        let message =
            format!("asset `{reader}` reads `{called}` as `{{Self}}`, but the value of `{called}` is `{{Made}}`");
        let made = if upstream.shared { "Arc<{Made}>" } else { "{Made}" };
        let wanted = match upstream.kind {
            Kind::Value => made.to_owned(),
            Kind::Optional => format!("Option<{made}>"),
            Kind::Stream => format!("PartitionStream<{made}>"),
            Kind::Rows => format!("RowStream<{made}>"),
        };
        let wanted = if upstream.batch {
            format!("Batch<{wanted}>")
        } else {
            wanted
        };
        let note = format!("take it as `{wanted}`, or change what `{called}` returns");
        let value = &upstream.value;
        let at = ours(path.span());
        let core = self.core(at);
        let made = quote_spanned!(at=> <#path as #core::asset::AssetDefinition>::Output);
        let compare = quote_spanned!(ours(value.span())=> __reads::<#value, #made>);
        Some(quote! {
            const _: () = {
                #[diagnostic::on_unimplemented(
                    message = #message,
                    label = "this is not the type of the upstream's value",
                    note = #note
                )]
                trait __IsOf<Made> {}
                impl<__T> __IsOf<__T> for __T {}
                fn __reads<__T: __IsOf<__Made>, __Made>() {}
                let _ = #compare;
            };
        })
    }
}

/// A place in the user's code, without the user's lints and names: it is still our code.
fn ours(place: Span) -> Span {
    place.resolved_at(Span::mixed_site())
}
