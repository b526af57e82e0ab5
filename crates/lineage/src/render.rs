//! How lineage and the graph of a pipeline's assets look: as a text tree, Mermaid, DOT or JSON.
//!
//! Both kinds of graph become one picture, which each drawing format draws; JSON is made of the
//! graphs themselves. Names are data: each format escapes everything that it could take for its own syntax.

mod assets;
mod dot;
mod json;
mod lineage;
mod mermaid;
mod picture;
mod text;

use std::fmt;
use std::str::FromStr;

use flowstone_core::graph::AssetGraph;
use flowstone_core::{Error, ErrorKind, Result};

use crate::graph::LineageGraph;

/// A form that graphs can take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// A tree for terminals.
    #[default]
    Text,
    /// A Mermaid flowchart.
    Mermaid,
    /// A Graphviz digraph.
    Dot,
    /// One JSON object, whose `format` and `version` say what to expect.
    Json,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Text, Self::Mermaid, Self::Dot, Self::Json];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Mermaid => "mermaid",
            Self::Dot => "dot",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == word)
            .ok_or_else(|| {
                Error::new(ErrorKind::Invalid, format!("{word:?} is no format"))
                    .code("format_unknown")
                    .fix("choose one of text, mermaid, dot, json")
            })
    }
}

/// What a lineage query found, in `format`. Ends with a line break.
pub fn lineage(graph: &LineageGraph, format: Format) -> String {
    match format {
        Format::Text => text::draw(&lineage::picture(graph)),
        Format::Mermaid => mermaid::draw(&lineage::picture(graph)),
        Format::Dot => dot::draw("lineage", &lineage::picture(graph)),
        Format::Json => json::write(&lineage::document(graph)),
    }
}

/// The assets of a pipeline and what they are made from, in `format`. Ends with a line break.
///
/// ```
/// use flowstone_core::asset::{Asset, In};
/// use flowstone_core::pipeline::Pipeline;
/// use flowstone_lineage::render::{Format, assets};
///
/// let numbers = Asset::new("numbers").run(|| async { vec![1, 2, 3] });
/// let total = Asset::new("total")
///     .upstream("numbers")
///     .run(|In(numbers): In<Vec<i32>>| async move { numbers.iter().sum::<i32>() });
/// let pipeline = Pipeline::builder("sums").asset(numbers).asset(total).build()?;
///
/// assert_eq!(assets(pipeline.graph(), Format::Text), "total\n└─ numbers\n");
/// # Ok::<(), flowstone_core::Error>(())
/// ```
pub fn assets(graph: &AssetGraph, format: Format) -> String {
    match format {
        Format::Text => text::draw(&assets::picture(graph)),
        Format::Mermaid => mermaid::draw(&assets::picture(graph)),
        Format::Dot => dot::draw("assets", &assets::picture(graph)),
        Format::Json => json::write(&assets::document(graph)),
    }
}
