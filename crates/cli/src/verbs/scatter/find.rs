//! Finds the fan-out, or the run, that somebody means: by its id, the start of it, or the step that fans out.

use flowstone_core::pipeline::Pipeline;
use flowstone_core::store::{FanOutFilter, FanOutRow, RunFilter, RunRow, Store};
use flowstone_core::{Error, ErrorKind, FanOutId, Result};

use crate::state::{KnownAssets, find_run};

/// How many of the newest runs are looked through.
const RUNS_SEARCHED_MAX: usize = 1_000;

/// Where fan-outs are looked for.
pub(super) struct Finder<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) known: &'a KnownAssets,
    /// Knows the names that assets have today.
    pub(super) pipeline: Option<&'a Pipeline>,
}

/// What somebody means.
#[derive(Debug)]
pub(super) enum Found {
    Run(Box<RunRow>),
    FanOut(Box<FanOutRow>),
}

/// What has an id that starts with what was typed.
#[derive(Default)]
struct Candidates {
    runs: Vec<RunRow>,
    fan_outs: Vec<FanOutRow>,
}

impl Finder<'_> {
    /// The newest run with fan-outs, if there is one.
    pub(super) async fn newest(&self) -> Result<Option<RunRow>> {
        for run in self.runs().await? {
            if !self.of_run(&run).await?.is_empty() {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// The run or the fan-out that `text` means. A run goes before its own fan-outs.
    pub(super) async fn any(&self, text: &str) -> Result<Found> {
        let Candidates { mut runs, mut fan_outs } = self.with_id(text).await?;
        if runs.len() == 1 && fan_outs.iter().all(|row| row.run == runs[0].run) {
            return Ok(Found::Run(Box::new(runs.remove(0))));
        }
        match (runs.len(), fan_outs.len()) {
            (0, 1) => Ok(Found::FanOut(Box::new(fan_outs.remove(0)))),
            (0, 0) => self.of_step(text).await.map(|row| Found::FanOut(Box::new(row))),
            _ => Err(ambiguous(text)),
        }
    }

    /// The fan-out that `text` means. A run means its fan-out, if it has one only.
    pub(super) async fn one(&self, text: &str) -> Result<FanOutRow> {
        let Candidates { runs, mut fan_outs } = self.with_id(text).await?;
        match (&runs[..], fan_outs.len()) {
            (_, 1) => Ok(fan_outs.remove(0)),
            ([run], 0) => self.only_of(run).await,
            ([], 0) => self.of_step(text).await,
            _ => Err(ambiguous(text)),
        }
    }

    async fn runs(&self) -> Result<Vec<RunRow>> {
        self.store.runs(RunFilter::All, RUNS_SEARCHED_MAX).await
    }

    async fn of_run(&self, run: &RunRow) -> Result<Vec<FanOutRow>> {
        self.store.fan_outs(FanOutFilter::OfRun(run.run)).await
    }

    async fn with_id(&self, text: &str) -> Result<Candidates> {
        let mut candidates = Candidates::default();
        if let Ok(id) = text.parse::<FanOutId>() {
            candidates.fan_outs = self.store.fan_outs(FanOutFilter::One(id)).await?;
            candidates.runs = self.store.run(flowstone_core::RunId(id.0)).await?.into_iter().collect();
            return Ok(candidates);
        }
        let start = text.to_ascii_lowercase();
        if !is_start_of_id(&start) {
            return Ok(candidates);
        }
        for run in self.runs().await? {
            let of_run = self.of_run(&run).await?.into_iter();
            let meant = of_run.filter(|row| row.fan_out.to_string().starts_with(&start));
            candidates.fan_outs.extend(meant);
            if run.run.to_string().starts_with(&start) {
                candidates.runs.push(run);
            }
        }
        Ok(candidates)
    }

    async fn only_of(&self, run: &RunRow) -> Result<FanOutRow> {
        let mut outermost: Vec<FanOutRow> = self.of_run(run).await?;
        outermost.retain(|row| row.parent.is_none());
        let id = run.run;
        match outermost.len() {
            0 => Err(unknown(format!("nothing of run {id} has fanned out"))),
            1 => Ok(outermost.remove(0)),
            count => Err(
                Error::new(ErrorKind::Conflict, format!("run {id} has {count} fan-outs"))
                    .code("fan_out_ambiguous")
                    .fix(format!("name one: `scatter show {id}` lists them")),
            ),
        }
    }

    /// The fan-out of a step: `asset`, `asset[partition]`, or one of these after a run and a slash.
    async fn of_step(&self, text: &str) -> Result<FanOutRow> {
        if let Some((run, step)) = text.split_once('/')
            && let Ok(run) = find_run(self.store, run).await
        {
            let found = self.step_in(&run, step).await?;
            return found.ok_or_else(|| unknown(format!("{step:?} has not fanned out in run {}", run.run)));
        }
        for run in self.runs().await? {
            if let Some(found) = self.step_in(&run, text).await? {
                return Ok(found);
            }
        }
        let (asset, _) = split(text);
        if let Some(pipeline) = self.pipeline
            && !self.known.has(asset)
            && !is_start_of_id(text)
        {
            // It says what may have been meant.
            pipeline.graph().find(asset)?;
        }
        Err(unknown(format!(
            "no fan-out has the id {text:?}, and no step of that name has fanned out"
        )))
    }

    async fn step_in(&self, run: &RunRow, text: &str) -> Result<Option<FanOutRow>> {
        let (asset, partition) = split(text);
        let mut named = Vec::new();
        for row in self.of_run(run).await?.into_iter().filter(|row| row.parent.is_none()) {
            let (key, label) = self.known.name(row.asset, row.partition);
            if key == asset && partition.is_none_or(|partition| partition == label) {
                named.retain(|(other, _)| *other != label);
                named.push((label, row));
            }
        }
        match named.len() {
            0 | 1 => Ok(named.pop().map(|(_, row)| row)),
            count => {
                let (label, _) = &named[0];
                Err(Error::new(
                    ErrorKind::Conflict,
                    format!("{count} partitions of {asset} have fanned out"),
                )
                .code("fan_out_ambiguous")
                .during("find fan-out")
                .about(text)
                .fix(format!("name the partition, as `{asset}[{label}]`")))
            }
        }
    }
}

fn is_start_of_id(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// An asset and its partition, as in `asset[partition]`.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
        Some((asset, partition)) => (asset, Some(partition)),
        None => (text, None),
    }
}

fn unknown(message: String) -> Error {
    Error::new(ErrorKind::NotFound, message)
        .code("fan_out_unknown")
        .fix("see `scatter show` for the ids, and `runs` for older runs; what has outlived its time is no longer kept")
}

fn ambiguous(text: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("several runs or fan-outs have ids that start with {text:?}"),
    )
    .code("fan_out_ambiguous")
    .fix("give more of the id, or name the step, as `asset[partition]`; see `scatter show`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_an_asset_with_its_partition() {
        assert_eq!(split("raw/sum"), ("raw/sum", None));
        assert_eq!(split("sum[2024-01-01|EWR]"), ("sum", Some("2024-01-01|EWR")));
        assert_eq!(split("sum[a[b]]"), ("sum", Some("a[b]")));
        assert_eq!(split("sum]"), ("sum]", None));
    }
}
