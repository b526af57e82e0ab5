//! How the values of an item become its key.
//!
//! One value is its own text; several are the JSON text of their list, so that `a`, `b,c` and `a,b`, `c` differ.

/// The key of an item whose identity is these texts.
pub(crate) fn key_of(mut texts: Vec<String>) -> String {
    if texts.len() == 1 {
        texts.remove(0)
    } else {
        serde_json::to_string(&texts).expect("a list of texts can be written as JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_texts_are_told_apart_wherever_they_are_cut() {
        let pair = |first: &str, second: &str| key_of(vec![first.to_owned(), second.to_owned()]);

        assert_eq!(pair("UA", "EWR"), r#"["UA","EWR"]"#);
        assert_ne!(pair("a", "b\",\"c"), pair("a\",\"b", "c"));
        assert_eq!(key_of(vec!["UA".to_owned()]), "UA");
    }
}
