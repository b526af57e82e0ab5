//! Reads the arguments of an asset's function: what each is drawn from.
//!
//! Types are known by the last segment of their path only, since a macro sees no further than the text.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Attribute, Expr, GenericArgument, Ident, LitStr, Pat, PatType, Path, PathArguments, PathSegment, Type, TypePath,
};

use crate::complaints::Complaints;

/// What an argument is drawn from.
pub(crate) enum Argument {
    /// `AssetContext`, `BatchContext`, `Res<T>` or `Config<T>`; in a scatter also `Item<T>`, `ItemBatch<T>` or `Shared<T>`.
    Given(Box<Type>),
    /// The value of an upstream.
    Upstream(Box<Upstream>),
}

/// An argument that reads an upstream.
pub(crate) struct Upstream {
    pub(crate) from: Source,
    pub(crate) kind: Kind,
    /// The type as it stands in the signature.
    pub(crate) ty: Type,
    /// The type of one value.
    pub(crate) value: Type,
    /// True for `Arc<T>` in place of `T`: the value is not copied for the function.
    pub(crate) shared: bool,
    /// True for `Batch<…>`: one for each partition of the call.
    pub(crate) batch: bool,
    pub(crate) mapping: Option<Expr>,
}

/// How an upstream is named.
pub(crate) enum Source {
    /// By its function, which the compiler finds and checks.
    Function(Path),
    /// By its name, which `build()` checks.
    Name(LitStr),
}

/// How an upstream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `T`
    Value,
    /// `Option<T>`
    Optional,
    /// `PartitionStream<T>`
    Stream,
    /// `RowStream<T>`
    Rows,
}

impl Argument {
    /// Reads one argument of a function that is called for items, if it is; what is wrong is added to `complaints`.
    pub(crate) fn read(argument: &PatType, of_items: bool, complaints: &mut Complaints) -> Option<Self> {
        let marks = Marks::read(&argument.attrs, complaints);
        if let Some(message) = refused(&argument.ty) {
            complaints.at(&argument.ty, message);
            return None;
        }
        let in_batch = within("Batch", &argument.ty);
        let (kind, held) = match shape(in_batch.unwrap_or(&argument.ty), of_items) {
            Shape::Given if in_batch.is_some() => {
                complaints.at(
                    &argument.ty,
                    "it is the same for all partitions of a call: take it without `Batch`",
                );
                return None;
            }
            Shape::Given => {
                for mark in marks.places {
                    complaints.at(
                        mark,
                        "only an argument that reads an upstream asset has a source and a mapping",
                    );
                }
                return Some(Self::Given(argument.ty.clone()));
            }
            Shape::Upstream(kind, held) => (kind, held),
        };
        let (shared, value) = match within("Arc", held) {
            Some(value) if !matches!(kind, Kind::Stream | Kind::Rows) => (true, value),
            _ => (false, held),
        };
        if borrows(value.to_token_stream()) {
            complaints.at(value, "the value of an asset owns its data: it holds no `&`");
            return None;
        }
        let from = match marks.from {
            Some(from) => from,
            None => Source::Function(named_after(&argument.pat, complaints)?),
        };
        Some(Self::Upstream(Box::new(Upstream {
            from,
            kind,
            ty: (*argument.ty).clone(),
            value: value.clone(),
            shared,
            batch: in_batch.is_some(),
            mapping: marks.mapping,
        })))
    }
}

/// True for the attributes of arguments that are ours, and that the compiler must not see.
pub(crate) fn is_ours(attribute: &Attribute) -> bool {
    attribute.path().is_ident("from") || attribute.path().is_ident("mapping")
}

/// What `#[from(…)]` and `#[mapping(…)]` before an argument say.
#[derive(Default)]
struct Marks<'a> {
    from: Option<Source>,
    mapping: Option<Expr>,
    places: Vec<&'a Attribute>,
}

impl<'a> Marks<'a> {
    fn read(attributes: &'a [Attribute], complaints: &mut Complaints) -> Self {
        let mut marks = Self::default();
        for attribute in attributes {
            let path = attribute.path();
            if path.is_ident("cfg") || path.is_ident("cfg_attr") {
                complaints.at(
                    attribute,
                    "an asset has the same arguments in every build; put `cfg` on the function",
                );
            }
            if !is_ours(attribute) {
                continue;
            }
            if marks.places.iter().any(|seen| seen.path() == path) {
                complaints.at(attribute, "it is given twice");
            }
            marks.places.push(attribute);
            if path.is_ident("mapping") {
                match attribute.parse_args() {
                    Ok(mapping) => marks.mapping = Some(mapping),
                    Err(_) => complaints.at(attribute, "write the partition mapping as `#[mapping(Mapping::…)]`"),
                }
            } else if let Ok(name) = attribute.parse_args::<LitStr>() {
                marks.from = Some(Source::Name(name));
            } else {
                match attribute.parse_args_with(Path::parse_mod_style) {
                    Ok(function) => marks.from = Some(Source::Function(function)),
                    Err(_) => complaints.at(
                        attribute,
                        "write the upstream as `#[from(path::to::asset)]` or `#[from(\"its name\")]`",
                    ),
                }
            }
        }
        marks
    }
}

/// The asset that an argument is named after. One underscore in front is not part of the name: it only says that the
/// function waits for the upstream without looking at it.
fn named_after(pattern: &Pat, complaints: &mut Complaints) -> Option<Path> {
    let Pat::Ident(name) = pattern else {
        let message = "this pattern has no name to find the upstream asset by; \
                       name the argument after the asset, or write `#[from(path::to::asset)]` before it";
        complaints.at(pattern, message);
        return None;
    };
    let text = name.ident.unraw().to_string();
    match text.strip_prefix('_').filter(|rest| !rest.is_empty()) {
        None => Some(Path::from(name.ident.clone())),
        Some(rest) => Some(Path::from(ident(rest, name.ident.span()))),
    }
}

/// An identifier, raw if it has to be.
fn ident(name: &str, span: Span) -> Ident {
    syn::parse_str::<Ident>(name).map_or_else(
        |_| Ident::new_raw(name, span),
        |mut ident| {
            ident.set_span(span);
            ident
        },
    )
}

enum Shape<'a> {
    Given,
    Upstream(Kind, &'a Type),
}

fn shape(ty: &Type, of_items: bool) -> Shape<'_> {
    if of_items && is_of_items(ty) {
        return Shape::Given;
    }
    if within("Res", ty).is_some() || within("Config", ty).is_some() || is_context(ty) {
        Shape::Given
    } else if let Some(value) = within("Option", ty) {
        Shape::Upstream(Kind::Optional, value)
    } else if let Some(value) = within("PartitionStream", ty) {
        Shape::Upstream(Kind::Stream, value)
    } else if let Some(value) = within("RowStream", ty) {
        Shape::Upstream(Kind::Rows, value)
    } else {
        Shape::Upstream(Kind::Value, ty)
    }
}

/// True for what only the functions of a scatter take.
pub(crate) fn is_of_items(ty: &Type) -> bool {
    ["Item", "ItemBatch", "Shared"]
        .iter()
        .any(|name| within(name, ty).is_some())
}

fn is_context(ty: &Type) -> bool {
    is_named("AssetContext", ty) || is_named("BatchContext", ty)
}

/// True for a type whose path ends with `name`, and has nothing in angle brackets there.
pub(crate) fn is_named(name: &str, ty: &Type) -> bool {
    last_segment(ty).is_some_and(|last| last.ident == name && last.arguments.is_none())
}

/// The `T` of `name<T>`.
pub(crate) fn within<'a>(name: &str, ty: &'a Type) -> Option<&'a Type> {
    match *types_within(name, ty) {
        [value] => Some(value),
        _ => None,
    }
}

/// The types in angle brackets, if the last segment of the type's path is `name`.
pub(crate) fn types_within<'a>(name: &str, ty: &'a Type) -> Vec<&'a Type> {
    let Some(PathArguments::AngleBracketed(arguments)) = last_segment(ty)
        .filter(|last| last.ident == name)
        .map(|last| &last.arguments)
    else {
        return Vec::new();
    };
    let types = arguments.args.iter().map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect::<Option<Vec<_>>>().unwrap_or_default()
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(TypePath { qself: None, path }) => path.segments.last(),
        _ => None,
    }
}

/// Why no step can fill an argument of this type, if the text tells.
fn refused(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Reference(_) => Some("an asset's function owns its arguments: take the value without `&`"),
        Type::ImplTrait(_) => Some("an asset's function is not generic: name the type"),
        _ if within("In", ty).is_some() => {
            Some("`In<T>` is for the builder; with `#[asset]` write `name_of_the_upstream: T`")
        }
        _ => None,
    }
}

/// True when the text of a type holds a `&`.
pub(crate) fn borrows(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Punct(punct) => punct.as_char() == '&',
        TokenTree::Group(group) => borrows(group.stream()),
        _ => false,
    })
}

impl Source {
    /// Where a message about the upstream belongs.
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Function(path) => path.span(),
            Self::Name(name) => name.span(),
        }
    }
}

#[cfg(test)]
mod tests {
    use syn::{FnArg, parse_quote};

    use super::*;

    fn read(argument: FnArg) -> Result<Argument, Vec<String>> {
        let FnArg::Typed(argument) = argument else {
            panic!("the test's argument is no receiver")
        };
        let mut complaints = Complaints::default();
        let read = Argument::read(&argument, false, &mut complaints);
        let messages = complaints.messages();
        if messages.is_empty() {
            Ok(read.expect("no complaint, so it was read"))
        } else {
            Err(messages)
        }
    }

    fn upstream(argument: FnArg) -> (Kind, String, String) {
        let Ok(Argument::Upstream(upstream)) = read(argument) else {
            panic!("the test's argument reads an upstream")
        };
        let from = match &upstream.from {
            Source::Function(path) => path.to_token_stream().to_string(),
            Source::Name(name) => format!("{:?}", name.value()),
        };
        (upstream.kind, from, upstream.value.to_token_stream().to_string())
    }

    #[test]
    fn the_last_segment_of_the_type_decides() {
        assert!(matches!(
            read(parse_quote!(ctx: flowstone::AssetContext)),
            Ok(Argument::Given(_))
        ));
        assert!(matches!(
            read(parse_quote!(Config(limits): Config<Limits>)),
            Ok(Argument::Given(_))
        ));
        assert!(matches!(read(parse_quote!(_: Res<Client>)), Ok(Argument::Given(_))));
        assert_eq!(
            upstream(parse_quote!(mut a: Vec<i64>)),
            (Kind::Value, "a".into(), "Vec < i64 >".into())
        );
        assert_eq!(
            upstream(parse_quote!(a: std::option::Option<u8>)),
            (Kind::Optional, "a".into(), "u8".into())
        );
        assert_eq!(
            upstream(parse_quote!(a: PartitionStream<T>)),
            (Kind::Stream, "a".into(), "T".into())
        );
        assert_eq!(
            upstream(parse_quote!(mut a: RowStream<Vec<u8>>)),
            (Kind::Rows, "a".into(), "Vec < u8 >".into())
        );
    }

    #[test]
    fn a_shared_value_is_known_by_its_inner_type() {
        assert_eq!(
            upstream(parse_quote!(a: Arc<u8>)),
            (Kind::Value, "a".into(), "u8".into())
        );
        assert_eq!(
            upstream(parse_quote!(a: Option<Arc<u8>>)),
            (Kind::Optional, "a".into(), "u8".into())
        );
    }

    #[test]
    fn a_batch_is_known_by_what_it_has_of_each_partition() {
        let of = |argument| {
            let Ok(Argument::Upstream(upstream)) = read(argument) else {
                panic!("the test's argument reads an upstream")
            };
            (
                upstream.batch,
                upstream.kind,
                upstream.shared,
                upstream.value.to_token_stream().to_string(),
            )
        };

        assert_eq!(of(parse_quote!(a: Batch<u8>)), (true, Kind::Value, false, "u8".into()));
        assert_eq!(
            of(parse_quote!(a: Batch<Option<Arc<u8>>>)),
            (true, Kind::Optional, true, "u8".into())
        );
        assert_eq!(
            of(parse_quote!(a: Batch<PartitionStream<u8>>)),
            (true, Kind::Stream, false, "u8".into())
        );
        assert!(matches!(read(parse_quote!(ctx: BatchContext)), Ok(Argument::Given(_))));
    }

    #[test]
    fn a_type_of_the_users_that_only_shares_the_name_is_an_upstream() {
        assert_eq!(
            upstream(parse_quote!(settings: Config)),
            (Kind::Value, "settings".into(), "Config".into())
        );
    }

    #[test]
    fn an_item_is_one_only_where_there_are_items() {
        let is_given = |of_items| {
            let FnArg::Typed(argument) = parse_quote!(route: Item<Route>) else {
                panic!("the test's argument is no receiver")
            };
            let read = Argument::read(&argument, of_items, &mut Complaints::default());
            matches!(read, Some(Argument::Given(_)))
        };

        assert!(is_given(true) && !is_given(false));
    }

    #[test]
    fn the_upstream_is_named_by_the_argument_or_by_from() {
        assert_eq!(upstream(parse_quote!(r#type: u8)).1, "r#type");
        assert_eq!(upstream(parse_quote!(_airlines: u8)).1, "airlines");
        assert_eq!(upstream(parse_quote!(_type: u8)).1, "r#type");
        assert_eq!(upstream(parse_quote!(__a: u8)).1, "_a");
        assert_eq!(
            upstream(parse_quote!(#[from(crate::ingest::raw)] rows: u8)).1,
            "crate :: ingest :: raw"
        );
        assert_eq!(
            upstream(parse_quote!(#[from("raw rows")] Point { x, y }: Point)).1,
            "\"raw rows\""
        );
    }

    #[test]
    fn what_no_step_can_fill_is_refused() {
        for argument in [
            parse_quote!(a: &Vec<i64>),
            parse_quote!(a: Option<(u8, &'static str)>),
            parse_quote!(a: impl Iterator<Item = u8>),
            parse_quote!(In(a): In<u8>),
            parse_quote!((a, b): (u8, u8)),
            parse_quote!(_: u8),
            parse_quote!(#[from(1)] a: u8),
            parse_quote!(#[mapping()] a: u8),
            parse_quote!(#[from(a)] #[from(b)] a: u8),
            parse_quote!(#[from(a)] ctx: AssetContext),
            parse_quote!(client: Batch<Res<Client>>),
            parse_quote!(#[cfg(test)] a: u8),
        ] {
            assert_eq!(read(argument).err().map(|messages| messages.len()), Some(1));
        }
    }
}
