//! `check`: does the pipeline fit together, and with what was made before? Writes nothing.

use jiff::Timestamp;
use serde::Serialize;

use crate::entry::Context;
use crate::exit::{Exit, Failure};
use crate::output::{counted, one_line};
use crate::redefined::{self, Change};
use crate::state;

#[derive(Serialize)]
struct Checked {
    pipeline: String,
    assets: usize,
    inputs: usize,
    /// What becomes of partitions that are defined otherwise than before.
    redefined: Vec<Change>,
}

pub(super) async fn perform(context: &Context) -> Result<Exit, Failure> {
    let pipeline = state::pipeline(context).await?;
    let graph = pipeline.graph();
    let inputs = graph.nodes().map(|(_, node)| node.inputs().len()).sum();
    let redefined = match state::read(context.state_dir()).await? {
        Some(store) => flowstone_runtime::redefined(graph, &*store, Timestamp::now()).await?,
        None => Vec::new(),
    };
    let checked = Checked {
        pipeline: pipeline.name().to_owned(),
        assets: graph.len(),
        inputs,
        redefined: redefined::describe(&redefined),
    };
    context.out.data("flowstone.check/1", &checked, show)?;
    let is_pending = checked.redefined.iter().any(|change| change.is_pending);
    Ok(if is_pending { Exit::Pending } else { Exit::Done })
}

fn show(checked: &Checked) -> String {
    let Checked {
        pipeline,
        assets,
        inputs,
        redefined,
    } = checked;
    let (assets, inputs) = (counted(*assets as u64, "asset"), counted(*inputs as u64, "input"));
    let text = format!("pipeline {} fits together: {assets}, {inputs}", one_line(pipeline));
    match redefined::show(redefined) {
        Some(changes) => format!("{text}\n\n{changes}"),
        None => text,
    }
}
