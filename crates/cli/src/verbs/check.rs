//! `check`: does the pipeline fit together? Opens nothing.

use serde::Serialize;

use crate::entry::Context;
use crate::exit::{Exit, Failure};
use crate::output::{counted, one_line};

#[derive(Serialize)]
struct Checked {
    pipeline: String,
    assets: usize,
    inputs: usize,
}

pub(super) fn perform(context: &Context) -> Result<Exit, Failure> {
    let pipeline = context.pipeline()?;
    let graph = pipeline.graph();
    let inputs = graph.nodes().map(|(_, node)| node.inputs().len()).sum();
    let checked = Checked {
        pipeline: pipeline.name().to_owned(),
        assets: graph.len(),
        inputs,
    };
    context.out.data("flowstone.check/1", &checked, |checked| {
        let Checked {
            pipeline,
            assets,
            inputs,
        } = checked;
        let (assets, inputs) = (counted(*assets as u64, "asset"), counted(*inputs as u64, "input"));
        format!("pipeline {} fits together: {assets}, {inputs}", one_line(pipeline))
    })?;
    Ok(Exit::Done)
}
