//! `graph`: how the assets depend on each other, drawn by the lineage crate. Also what any drawing looks like to
//! programs.

use flowstone_core::{Error, ErrorKind, Result};
use flowstone_lineage::render::{self, Format};
use serde::Serialize;
use serde_json::Value;

use crate::args::{DrawFormat, GraphArgs};
use crate::entry::Context;
use crate::exit::{Exit, Failure};

/// A drawing: an object in the format `json`, text in the others.
#[derive(Serialize)]
struct Drawing {
    format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    graph: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

pub(super) fn perform(context: &Context, args: &GraphArgs) -> std::result::Result<Exit, Failure> {
    let pipeline = context.pipeline()?;
    tell_drawing(context, "flowstone.graph/1", args.format, |format| {
        render::assets(pipeline.graph(), format)
    })?;
    Ok(Exit::Done)
}

/// Writes what `draw` draws in the format that was asked for; programs get JSON unless they ask for another.
pub(super) fn tell_drawing(
    context: &Context,
    schema: &str,
    format: Option<DrawFormat>,
    draw: impl FnOnce(Format) -> String,
) -> Result<()> {
    let format = match format {
        None if context.out.is_json() => Format::Json,
        None | Some(DrawFormat::Text) => Format::Text,
        Some(DrawFormat::Mermaid) => Format::Mermaid,
        Some(DrawFormat::Dot) => Format::Dot,
        Some(DrawFormat::Json) => Format::Json,
    };
    let drawn = draw(format);
    if !context.out.is_json() {
        return context.out.text(&drawn);
    }
    let drawing = match format {
        Format::Json => {
            let graph = serde_json::from_str(&drawn)
                .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()).during("read the drawn graph"))?;
            Drawing {
                format: format.as_str(),
                graph: Some(graph),
                text: None,
            }
        }
        _ => Drawing {
            format: format.as_str(),
            graph: None,
            text: Some(drawn),
        },
    };
    context.out.data(schema, &drawing, |_| String::new())
}
