//! Which assets are meant: the selection grammar, as people know it from Dagster and dbt.
//!
//! A selection is parsed without a graph and resolved against one. Partitions are chosen elsewhere, and so is what is
//! done with the selected assets.

mod display;
mod parse;
mod pattern;
mod resolve;
mod term;

use std::borrow::Cow;
use std::str::FromStr;

use crate::graph::{AssetGraph, NodeIx};
use crate::{AssetKey, Result};

use pattern::Pattern;
use term::{Expression, Term};

/// The longest text of a selection, in bytes.
pub const SELECTION_LEN_MAX: usize = 64 * 1024;
/// How deep parentheses and `not` may nest.
pub const SELECTION_NESTING_MAX: usize = 64;

/// Which assets are meant, before it is known which assets there are.
///
/// | written | selects |
/// |---|---|
/// | `flights` | the asset of that name |
/// | `"Flüge, 2013 \"raw\""` | the asset of that name, whatever characters it has; `\"`, `\\`, `\n`, `\t`, `\r` and `\u{1f6eb}` are escapes |
/// | `*`, `raw_*`, `"a b"*` | all assets; those whose names fit, where each `*` stands for any text |
/// | `group:ingest`, `tag:daily` | those of a group, those with a tag; quotes and `*` as in names |
/// | `+flights`, `flights+`, `+flights+` | it and everything upstream, downstream, both |
/// | `2+flights`, `flights+3` | it and what is at most so many steps away; `++flights` is `2+flights` |
/// | `not a`, `a and b`, `a or b`, `( )` | what they say; `not` binds closer than `and`, and `and` closer than `or` |
/// | `a b`; `a,b` | the same as `a or b`; the same as `a and b` |
///
/// A `+` touches what it belongs to, which may be anything in the table: `+group:ingest`, `(a or b)+`.
///
/// Spaces and commas mean what they mean in dbt.
///
/// Displayed, a selection is text that parses to the same selection, as long as it keeps within the limits.
///
/// ```
/// use flowstone_core::selection::Selection;
///
/// let selection = Selection::parse("tag:daily and not (raw_* +weather)")?;
/// assert_eq!(selection.to_string(), "tag:daily and not (raw_* or +weather)");
/// # Ok::<(), flowstone_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(Expression);

/// The assets that a selection selects in one graph. Both lists are in topological order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected {
    /// The assets.
    pub assets: Vec<NodeIx>,
    /// Those of `assets` that are selected by themselves: they would be if every `+` were taken out of the selection.
    pub targets: Vec<NodeIx>,
}

impl Selection {
    /// Reads the text of a selection.
    ///
    /// # Errors
    /// `Invalid` with the place, what was expected there and the fix; `LimitExceeded` for a text of more than
    /// [`SELECTION_LEN_MAX`] bytes or more than [`SELECTION_NESTING_MAX`] levels.
    pub fn parse(text: &str) -> Result<Self> {
        parse::parse(text).map(Self)
    }

    /// All assets: `*`.
    pub fn all() -> Self {
        Self(Expression::Term(Term::Name(Pattern::any())))
    }

    /// One asset.
    pub fn asset(key: &AssetKey) -> Self {
        Self(Expression::Term(Term::Name(Pattern::exact(key.as_str()))))
    }

    /// Finds the assets in `graph`. Selecting nothing by combining terms that do select something is no error.
    ///
    /// # Errors
    /// `NotFound` for a name, group, tag or pattern that nothing fits, with what may have been meant.
    pub fn resolve(&self, graph: &AssetGraph) -> Result<Selected> {
        resolve::resolve(&self.0, graph)
    }
}

impl FromStr for Selection {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// An asset's name as it is written in a selection: bare where that is enough, else in quotes and on one line.
///
/// ```
/// use flowstone_core::selection::name_in_selection;
///
/// assert_eq!(name_in_selection("raw_flights"), "raw_flights");
/// assert_eq!(name_in_selection("raw\n\"flights\""), r#""raw\n\"flights\"""#);
/// ```
pub fn name_in_selection(name: &str) -> Cow<'_, str> {
    display::literal(name)
}

#[cfg(test)]
mod tests;
