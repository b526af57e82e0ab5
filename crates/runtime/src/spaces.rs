//! Sees to it that a changed definition does not take one partition for another.

use flowstone_core::graph::AssetGraph;
use flowstone_core::store::{AssetRow, Store};
use flowstone_core::{Error, ErrorKind, Result};

/// Refuses a graph in which a partition that has a value stands at another place than in the ledger.
///
/// # Errors
/// `Conflict` with code `partitions_moved`, and what the store says.
pub(crate) async fn check_spaces(graph: &AssetGraph, store: &dyn Store, known: &[AssetRow]) -> Result<()> {
    for row in known {
        let Ok(ix) = graph.find(row.key.as_str()) else {
            continue;
        };
        let changed = graph.node(ix).space();
        if row.space == *changed {
            continue;
        }
        let materialized = store.status(row.id).await?.materialized();
        if let Some(first) = row.space.first_moved(&materialized, changed) {
            let (key, label) = (&row.key, row.space.label(first));
            let (was, is) = (row.space.describe(), changed.describe());
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("{label} has a value, and would be taken for {}", changed.label(first)),
            )
            .code("partitions_moved")
            .during("change the partitions of")
            .about(format!("asset {key} from ({was}) to ({is})"))
            .fix("add partitions behind the others only, or give the asset with the changed partitions another name"));
        }
    }
    Ok(())
}
