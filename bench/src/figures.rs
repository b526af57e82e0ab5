//! The figures, one file each, and the choice among them.
//!
//! A figure measures and notes what must be known beside its value; whether that is good enough is `goals`' affair.

mod backfill_durable;
mod backfill_memory;
mod batches;
mod chain_durable;
mod chain_pipelined;
pub(crate) mod dynamic;
pub(crate) mod hello;
mod january;
mod lookup;
pub(crate) mod scatter;
pub(crate) mod sets;
pub(crate) mod shapes;
mod step_memory_chain;
mod step_memory_layered;
mod store_bytes;

use std::path::{Path, PathBuf};

use flowstone_core::Result;
use tempfile::TempDir;

/// One thing that can be measured.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// A few words for `--list`.
    pub(crate) what: &'static str,
    pub(crate) measure: fn(&Setup) -> Result<Measured>,
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Measured {
    /// None when it cannot be measured here; the note says why.
    pub(crate) value: Option<f64>,
    /// How many rounds the value is the median of.
    pub(crate) rounds: usize,
    /// Why the value tells nothing, if it does not.
    pub(crate) doubt: Option<&'static str>,
    pub(crate) note: String,
}

/// All figures, in the order in which they are measured.
pub(crate) const FIGURES: &[Figure] = &[
    step_memory_chain::FIGURE,
    step_memory_layered::FIGURE,
    backfill_memory::FIGURE,
    backfill_durable::FIGURE,
    store_bytes::FIGURE,
    batches::MEMORY,
    batches::DURABLE,
    chain_durable::FIGURE,
    chain_pipelined::FIGURE,
    hello::FIGURE,
    january::FIGURE,
    sets::PLAN,
    sets::STATUS,
    sets::MEMORY,
    scatter::TIME,
    scatter::MEMORY,
    scatter::BYTES,
    scatter::IN_MEMORY,
    scatter::crash::RESUME,
    scatter::crash::RERUN,
    scatter::KILLS,
    scatter::results::JSONL,
    scatter::results::PARQUET,
    scatter::results::MEMORY,
    lookup::FIGURE,
    dynamic::FIGURE,
    shapes::CHAIN,
    shapes::MESH,
];

/// Where figures may write.
#[derive(Debug)]
pub(crate) struct Setup {
    folder: TempDir,
}

impl Setup {
    /// A new folder in `parent`, else beside this program: a system's temporary folder is often in memory, where an
    /// fsync costs nothing.
    pub(crate) fn new(parent: Option<&Path>) -> Result<Self> {
        let program = std::env::current_exe()?;
        let beside = program.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
        let folder = tempfile::Builder::new()
            .prefix("flowstone-bench-")
            .tempdir_in(parent.unwrap_or(&beside))?;
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new folder of its own, gone when it is dropped.
    pub(crate) fn new_folder(&self) -> Result<TempDir> {
        Ok(tempfile::tempdir_in(self.folder())?)
    }
}

/// The figures called `names`, in the order of the table; all when none is named. A name that no figure has is a
/// complaint for a person to read.
pub(crate) fn choose(names: &[String]) -> Result<Vec<&'static Figure>, String> {
    if let Some(unknown) = names
        .iter()
        .find(|name| FIGURES.iter().all(|figure| figure.name != *name))
    {
        let fix = match nearest(unknown) {
            Some(near) => format!("did you mean {near:?}?"),
            None => "`--list` prints those that there are".to_owned(),
        };
        return Err(format!("no figure is called {unknown:?}; {fix}"));
    }
    let is_chosen = |figure: &&Figure| names.is_empty() || names.iter().any(|name| name == figure.name);
    Ok(FIGURES.iter().filter(is_chosen).collect())
}

/// The length of the longest name.
pub(crate) fn name_len_max() -> usize {
    FIGURES.iter().map(|figure| figure.name.len()).max().unwrap_or(0)
}

fn nearest(unknown: &str) -> Option<&'static str> {
    let likeness = |name| strsim::jaro_winkler(unknown, name);
    let scored = FIGURES.iter().map(|figure| (likeness(figure.name), figure.name));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness > 0.75).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_answered_with_what_was_meant() {
        let complaint = choose(&["hello".to_owned()]).map(|_| ()).unwrap_err();

        assert_eq!(complaint, "no figure is called \"hello\"; did you mean \"hello_ms\"?");
    }

    #[test]
    fn figures_come_in_the_order_of_the_table_and_once() {
        let names = ["hello_ms", "step_memory_chain_us", "hello_ms"].map(str::to_owned);

        let chosen = choose(&names).unwrap();

        let names: Vec<_> = chosen.iter().map(|figure| figure.name).collect();
        assert_eq!(names, ["step_memory_chain_us", "hello_ms"]);
    }
}
