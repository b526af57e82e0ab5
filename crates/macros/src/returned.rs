//! Reads what an asset's function gives back.
//!
//! A `Result` and an `Outcome` are known by the last segment of their paths. Whether the value can be stored is core's to
//! say.

use proc_macro2::Span;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{ReturnType, Signature, Type, parse_quote, parse_quote_spanned};

use crate::argument::{borrows, types_within, within};
use crate::complaints::Complaints;

/// What the function gives back.
pub(crate) struct Returned {
    /// The type of the value, without `Result`, `Outcome` and `BatchOutcome` around it.
    pub(crate) value: Type,
    /// True for `BatchOutcome<…>`: it is one value for each partition of the call.
    pub(crate) batch: bool,
    /// The error of a `Result`, which is brought to ours; `_` where an alias such as `std::io::Result<T>` hides it.
    pub(crate) error: Option<Type>,
    pub(crate) span: Span,
}

impl Returned {
    /// The type of the value of one item, where the function gives one for each of several.
    pub(crate) fn of_items(&self) -> Option<&Type> {
        within("Vec", &self.value).or_else(|| within("ItemOutcomes", &self.value))
    }

    /// Reads the signature; what is wrong is added to `complaints`.
    pub(crate) fn read(signature: &Signature, complaints: &mut Complaints) -> Option<Self> {
        let ty = match &signature.output {
            ReturnType::Default => {
                return Some(Self {
                    value: parse_quote!(()),
                    batch: false,
                    error: None,
                    span: signature.ident.span(),
                });
            }
            ReturnType::Type(_, ty) => &**ty,
        };
        let span = ty.span();
        if matches!(ty, Type::ImplTrait(_) | Type::Never(_)) {
            complaints.at(
                ty,
                "an asset's value has a type with a name: it is stored, and others take it as an argument",
            );
            return None;
        }
        let (value, error) = match *types_within("Result", ty) {
            [value] => (value, Some(parse_quote_spanned!(span=> _))),
            [value, error] => (value, Some(error.clone())),
            _ => (ty, None),
        };
        let (batch, value) = match (&*types_within("Outcome", value), &*types_within("BatchOutcome", value)) {
            (&[value], _) => (false, value),
            (_, &[value]) => (true, value),
            _ => (false, value),
        };
        if borrows(value.to_token_stream()) {
            complaints.at(
                value,
                "the value of an asset owns its data: it holds no `&`, since it is stored and loaded again",
            );
            return None;
        }
        Some(Self {
            value: value.clone(),
            batch,
            error,
            span,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(signature: &Signature) -> Result<(String, bool), Vec<String>> {
        let mut complaints = Complaints::default();
        match Returned::read(signature, &mut complaints) {
            Some(returned) => Ok((returned.value.to_token_stream().to_string(), returned.error.is_some())),
            None => Err(complaints.messages()),
        }
    }

    fn value(value: &str) -> Result<(String, bool), Vec<String>> {
        Ok((value.to_owned(), false))
    }

    fn result_of(value: &str) -> Result<(String, bool), Vec<String>> {
        Ok((value.to_owned(), true))
    }

    #[test]
    fn what_is_kept_is_found_in_what_is_returned() {
        assert_eq!(read(&parse_quote!(fn f())), value("()"));
        assert_eq!(read(&parse_quote!(fn f() -> Vec<u8>)), value("Vec < u8 >"));
        assert_eq!(read(&parse_quote!(fn f() -> io::Result<u8>)), result_of("u8"));
        assert_eq!(read(&parse_quote!(fn f() -> Result<Outcome<u8>, E>)), result_of("u8"));
        assert_eq!(read(&parse_quote!(fn f() -> Result<BatchOutcome<u8>>)), result_of("u8"));
    }

    #[test]
    fn an_alias_that_hides_its_value_is_left_to_the_compiler() {
        assert_eq!(read(&parse_quote!(fn f() -> Result)), value("Result"));
    }

    #[test]
    fn a_value_that_borrows_is_refused() {
        assert_eq!(
            read(&parse_quote!(fn f() -> Result<Vec<&'static str>, E>))
                .unwrap_err()
                .len(),
            1
        );
        assert_eq!(read(&parse_quote!(fn f() -> Result<u8, &'static str>)), result_of("u8"));
    }

    #[test]
    fn a_type_without_a_name_is_refused() {
        assert_eq!(read(&parse_quote!(fn f() -> impl Copy)).unwrap_err().len(), 1);
        assert_eq!(read(&parse_quote!(fn f() -> !)).unwrap_err().len(), 1);
    }
}
