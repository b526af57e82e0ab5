//! `apply`: carries out a plan that `plan --save` kept, if nothing has moved since.

use std::path::Path;

use flowstone_core::plan::SavedPlan;
use flowstone_core::{Error, ErrorKind, Result};

use super::run::carry_out_and_tell;
use crate::args::ApplyArgs;
use crate::entry::Context;
use crate::exit::{Exit, Failure, OrUsage as _};
use crate::session::Work;

/// The largest file that is read.
const FILE_LEN_MAX: u64 = 256 << 20;

pub(super) async fn perform(context: &Context, args: &ApplyArgs) -> std::result::Result<Exit, Failure> {
    let pipeline = context.pipeline()?;
    let saved = read(&args.file).or_usage()?;
    saved.check_pipeline(pipeline.name(), pipeline.graph())?;
    carry_out_and_tell(context, pipeline, "apply", Work::Saved(Box::new(saved))).await
}

fn read(file: &Path) -> Result<SavedPlan> {
    let about = |error: Error| error.during("read").about(file.display());
    let len = std::fs::metadata(file).map_err(|error| about(error.into()))?.len();
    if len > FILE_LEN_MAX {
        return Err(about(
            Error::new(
                ErrorKind::LimitExceeded,
                format!("it is longer than {FILE_LEN_MAX} bytes"),
            )
            .code("plan_too_large")
            .fix("give a file that `plan --save` wrote"),
        ));
    }
    let bytes = std::fs::read(file).map_err(|error| about(error.into()))?;
    SavedPlan::decode(&bytes)
}
