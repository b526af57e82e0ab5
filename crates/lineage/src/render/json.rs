//! JSON documents that say what they are.

use serde::Serialize;

/// A document with its format and the version of that. A version only ever gains fields.
#[derive(Serialize)]
pub(super) struct Document<T> {
    pub(super) format: &'static str,
    pub(super) version: u32,
    #[serde(flatten)]
    pub(super) content: T,
}

pub(super) fn write<T: Serialize>(document: &Document<T>) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("a document has no keys but text");
    text.push('\n');
    text
}
