//! `plan`: what a run would do now, and why. Writes nothing but the file that it
//! is asked to, and works while another process runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use flowstone_core::memory::MemoryStore;
use flowstone_core::pipeline::Pipeline;
use flowstone_core::plan::{Reason, RunPlan, RunRequest, SavedPlan};
use flowstone_core::store::Store;
use jiff::Timestamp;
use serde::Serialize;

use crate::args::PlanArgs;
use crate::entry::Context;
use crate::exit::{Exit, Failure, OrUsage as _};
use crate::labels::Ranges;
use crate::output::{aligned, counted};
use crate::redefined::{self, Change};
use crate::request::request;
use crate::state;

#[derive(Serialize)]
struct Planned {
    planned_at: Timestamp,
    steps: u64,
    assets: Vec<PlannedAsset>,
    /// What becomes of partitions that are defined otherwise than before.
    redefined: Vec<Change>,
}

#[derive(Serialize)]
struct PlannedAsset {
    asset: String,
    steps: u64,
    /// Those of the steps that run whatever becomes of their upstream.
    certain: u64,
    reasons: Vec<PlannedReason>,
}

#[derive(Serialize)]
struct PlannedReason {
    reason: Reason,
    partitions: Ranges,
}

pub(super) async fn perform(context: &Context, args: &PlanArgs) -> Result<Exit, Failure> {
    let pipeline = state::pipeline(context).await?;
    let now = Timestamp::now();
    let asked = &args.request;
    let request = request(&pipeline, &asked.selection, &asked.partitions, &asked.how, now).or_usage()?;
    tell(context, &pipeline, request, args.save.as_deref()).await
}

/// Tells what `request` would do now, and saves it if asked to; `backfill --preview` does the same.
pub(super) async fn tell(
    context: &Context,
    pipeline: &Pipeline,
    request: RunRequest,
    save_to: Option<&Path>,
) -> Result<Exit, Failure> {
    let now = Timestamp::now();
    let store: Arc<dyn Store> = match state::read(context.state_dir()).await? {
        Some(store) => store,
        None => Arc::new(MemoryStore::default()),
    };
    let plan = flowstone_runtime::plan(pipeline, &*store, &request, now).await?;
    let changes = redefined::describe(&flowstone_runtime::redefined(pipeline.graph(), &*store, now).await?);
    let exit = match plan.is_empty() && !changes.iter().any(|change| change.is_pending) {
        true => Exit::Done,
        false => Exit::Pending,
    };
    let planned = describe(pipeline, &plan, changes);
    if let Some(file) = save_to {
        let saved = SavedPlan::new(pipeline.name(), pipeline.graph(), request, plan)?;
        save(file, &saved.encode()?).map_err(|error| error.during("save the plan to").about(file.display()))?;
        context.out.say(format_args!(
            "saved: `{} apply {}` carries it out",
            context.program,
            file.display()
        ));
    }
    context.out.data("flowstone.plan/1", &planned, show)?;
    Ok(exit)
}

/// Writes the file whole, or leaves the one before.
fn save(file: &Path, bytes: &[u8]) -> flowstone_core::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = Path::new(&beside);
    let written = fs::write(beside, bytes).and_then(|()| fs::rename(beside, file));
    if written.is_err() {
        // What could not be written may not be there either.
        drop(fs::remove_file(beside));
    }
    Ok(written?)
}

fn describe(pipeline: &Pipeline, plan: &RunPlan, redefined: Vec<Change>) -> Planned {
    let graph = pipeline.graph();
    let spaces: BTreeMap<_, _> = graph.nodes().map(|(_, node)| (node.key(), node.space())).collect();
    let assets = plan.assets.iter().map(|planned| {
        let space = spaces[&planned.key];
        let reasons = planned.reasons.iter().map(|(reason, partitions)| PlannedReason {
            reason: *reason,
            partitions: Ranges::new(space, partitions),
        });
        PlannedAsset {
            asset: planned.key.to_string(),
            steps: planned.steps.len(),
            certain: planned.certain.len(),
            reasons: reasons.collect(),
        }
    });
    Planned {
        planned_at: plan.planned_at,
        steps: plan.steps(),
        assets: assets.collect(),
        redefined,
    }
}

fn show(planned: &Planned) -> String {
    match redefined::show(&planned.redefined) {
        Some(changes) => format!("{changes}\n\n{}", show_steps(planned)),
        None => show_steps(planned),
    }
}

fn show_steps(planned: &Planned) -> String {
    if planned.assets.is_empty() {
        return "nothing to do: everything that was asked for is current".to_owned();
    }
    let rows = planned.assets.iter().flat_map(|asset| {
        asset.reasons.iter().map(|reason| {
            [
                asset.asset.clone(),
                reason.partitions.count.to_string(),
                reason.reason.to_string(),
                reason.partitions.to_text(),
            ]
        })
    });
    let steps = aligned(["asset", "steps", "why", "partitions"], &[1], rows);
    let certain: u64 = planned.assets.iter().map(|asset| asset.certain).sum();
    let mut total = format!(
        "{} in {}",
        counted(planned.steps, "step"),
        counted(planned.assets.len() as u64, "asset")
    );
    if certain < planned.steps {
        total.push_str(&format!(
            ", {} of them only if their upstream changes",
            planned.steps - certain
        ));
    }
    format!("{steps}\n{total}")
}
