//! A space of named partitions: an append-only dictionary whose insertion order is the index.
//!
//! Copies share one dictionary, so handing a space around is cheap. Adding to a shared one copies it first, and whoever
//! holds an older copy keeps seeing the older, shorter space.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::key::PartitionKey;
use crate::{Error, ErrorKind, Result};

/// With more keys than this, looking for a similar one would take longer than a person waits for a message.
const SUGGEST_KEYS_MAX: usize = 10_000;

/// Named partitions in the order in which they were added.
#[derive(Clone, Default)]
pub struct StaticSpace {
    dictionary: Arc<Dictionary>,
}

#[derive(Clone, Default)]
struct Dictionary {
    keys: Vec<PartitionKey>,
    indices: HashMap<PartitionKey, u64>,
}

impl StaticSpace {
    /// A space of `keys`; refuses a key that comes twice or breaks a limit.
    pub fn new<K: Into<PartitionKey>>(keys: impl IntoIterator<Item = K>) -> Result<Self> {
        let mut space = Self::default();
        for key in keys {
            space.add(key.into())?;
        }
        Ok(space)
    }

    /// Adds a key behind the others and gives its index; refuses one that is there already or breaks a limit.
    pub fn add(&mut self, key: PartitionKey) -> Result<u64> {
        key.check()?;
        if self.dictionary.indices.contains_key(&key) {
            return Err(Error::new(ErrorKind::Invalid, "the key comes twice")
                .code("partition_key_duplicate")
                .during("add partition")
                .about(key)
                .fix("give every partition a key of its own"));
        }
        let dictionary = Arc::make_mut(&mut self.dictionary);
        let index = dictionary.keys.len() as u64;
        dictionary.keys.push(key.clone());
        dictionary.indices.insert(key, index);
        Ok(index)
    }

    /// How many partitions there are.
    pub fn len(&self) -> u64 {
        self.dictionary.keys.len() as u64
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.dictionary.keys.is_empty()
    }

    /// The keys by index.
    pub fn keys(&self) -> &[PartitionKey] {
        &self.dictionary.keys
    }

    /// The index of `key`; an unknown key is an error that names the most similar one.
    pub fn index_of(&self, key: &PartitionKey) -> Result<u64> {
        self.get(key).ok_or_else(|| self.unknown(&label(key)))
    }

    /// True if this space is the start of `other`, so that every index means the same in both.
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        other.keys().starts_with(self.keys())
    }

    pub(super) fn get(&self, key: &PartitionKey) -> Option<u64> {
        self.dictionary.indices.get(key).copied()
    }

    /// The index of a label or of canonical text.
    pub(super) fn parse(&self, text: &str) -> Result<u64> {
        let canonical = text.parse().ok().and_then(|key: PartitionKey| self.get(&key));
        canonical
            .or_else(|| self.get(&PartitionKey::from(text)))
            .ok_or_else(|| self.unknown(text))
    }

    /// The first and the last key in words.
    pub(super) fn ends(&self) -> String {
        match self.keys() {
            [] => "no partitions".to_owned(),
            [only] => label(only),
            [first, last] => format!("{} and {}", label(first), label(last)),
            [first, .., last] => format!("{} keys from {} to {}", self.len(), label(first), label(last)),
        }
    }

    fn unknown(&self, text: &str) -> Error {
        let error = Error::new(ErrorKind::NotFound, format!("the space holds {}", self.ends()))
            .code("partition_unknown")
            .during("find partition")
            .about(format!("{:?}", text.chars().take(80).collect::<String>()));
        match similar(self.keys().iter().map(label), text) {
            Some(similar) => error.fix(format!("did you mean {similar}?")),
            None => error.fix("choose one of the asset's partitions, or add this one to them"),
        }
    }
}

/// The one of the first labels that is most like `text`, if it is much like it.
pub(super) fn similar(labels: impl Iterator<Item = String>, text: &str) -> Option<String> {
    let wanted: Vec<char> = text.chars().take(80).flat_map(char::to_lowercase).collect();
    let near = (wanted.len() / 3).max(1);
    labels
        .take(SUGGEST_KEYS_MAX)
        .map(|label| (edit_distance(&wanted, &label.to_lowercase()), label))
        .filter(|(distance, _)| *distance <= near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, label)| label)
}

/// What people call a key: its bare text where no other key is written so, else its canonical text.
pub(super) fn label(key: &PartitionKey) -> String {
    match key {
        PartitionKey::Text(text) if is_bare(text) => text.clone(),
        key => key.to_string(),
    }
}

/// Judges the text alone, so that a label stays the same as the space grows.
fn is_bare(text: &str) -> bool {
    !text.is_empty()
        && text != "*"
        && text.trim() == text
        && !text.contains("..")
        && !text.contains(|c: char| c.is_control() || matches!(c, '|' | '"' | '(' | ')' | ','))
        && text.parse::<PartitionKey>().is_err()
}

/// How many characters must be added, dropped, replaced or swapped with their neighbor to make one text of the other.
fn edit_distance(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut rows = vec![(0..=from.len()).collect::<Vec<usize>>()];
    for (line, c) in to.iter().enumerate() {
        let mut row = vec![line + 1];
        for (column, other) in from.iter().enumerate() {
            let replaced = rows[line][column] + usize::from(other != c);
            let mut least = replaced.min(rows[line][column + 1] + 1).min(row[column] + 1);
            let swapped = line > 0 && column > 0 && to[line - 1] == *other && from[column - 1] == *c;
            if swapped {
                least = least.min(rows[line - 1][column - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[to.len()][from.len()]
}

impl PartialEq for StaticSpace {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.dictionary, &other.dictionary) || self.keys() == other.keys()
    }
}

impl Eq for StaticSpace {}

impl fmt::Debug for StaticSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StaticSpace").field(&self.dictionary.keys).finish()
    }
}
