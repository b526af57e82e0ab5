//! Compares how the pipeline defines partitions with how the ledger has them, and carries out what has changed.
//!
//! What becomes of each partition is decided in core, and moved by the store. This looks, refuses what would lose sight of
//! values unasked, and keeps definitions from changing under a run that knows partitions by their old places.

use std::collections::{BTreeMap, HashMap, HashSet};

use flowstone_core::graph::AssetGraph;
use flowstone_core::partition::{BoundMapping, PartitionSet, PartitionSpace, SpaceChange};
use flowstone_core::plan::{RunPlan, RunRequest};
use flowstone_core::store::{AssetRow, AssetStatus, HeadSet, Redefinition, RunFilter, RunRow, Store};
use flowstone_core::{AssetId, AssetKey, Error, ErrorKind, Result};
use jiff::Timestamp;

/// The most open runs that are looked at.
const OPEN_RUNS_MAX: usize = 10_000;

/// An asset whose partitions the pipeline defines otherwise than the ledger has them.
#[derive(Debug, Clone)]
pub struct Redefined {
    /// The asset.
    pub asset: AssetKey,
    /// How the ledger has them.
    pub was: PartitionSpace,
    /// How the pipeline defines them.
    pub is: PartitionSpace,
    /// What becomes of the partitions that have a value.
    pub change: SpaceChange,
    /// The partitions of the new definition whose values come back, which an earlier change had orphaned.
    pub returned: PartitionSet,
    /// What is known of the partitions once it is carried out.
    pub(crate) status: AssetStatus,
    /// What rests on something that is orphaned or comes back, as it is numbered then.
    pub(crate) outdated: Vec<(AssetKey, PartitionSet)>,
    /// The number in the ledger; none if it gets a new one.
    pub(crate) id: Option<AssetId>,
    /// What the store is to do; none if declaring the assets does it.
    pub(crate) redefinition: Option<Redefinition>,
}

impl Redefined {
    /// True when values have to move, or to be orphaned, or come back.
    pub fn is_pending(&self) -> bool {
        !self.change.orphaned.is_empty() || !self.returned.is_empty() || self.change.moved_runs().next().is_some()
    }

    /// True when there is a value that it is about.
    pub fn has_values(&self) -> bool {
        self.is_pending() || !self.change.homes.is_empty()
    }
}

/// The assets of `graph` whose partitions the ledger has otherwise, in the order of the graph. Writes nothing.
///
/// # Errors
/// What the store says.
pub async fn redefined(graph: &AssetGraph, store: &dyn Store, now: Timestamp) -> Result<Vec<Redefined>> {
    redefined_among(&store.assets().await?, graph, store, now).await
}

pub(crate) async fn redefined_among(
    rows: &[AssetRow],
    graph: &AssetGraph,
    store: &dyn Store,
    now: Timestamp,
) -> Result<Vec<Redefined>> {
    // By name, the current definition before the former ones.
    let mut by_key = HashMap::<_, Vec<&AssetRow>>::with_capacity(rows.len());
    for row in rows {
        by_key.entry(&row.key).or_default().push(row);
    }
    let mut redefined = Vec::new();
    for (_, node) in graph.nodes() {
        let Some(known) = by_key.get_mut(node.key()) else {
            continue;
        };
        known.sort_by_key(|row| row.is_former);
        if known[0].is_former || known[0].space == *node.space() {
            continue;
        }
        let ids: Vec<AssetId> = known.iter().map(|row| row.id).collect();
        let statuses = store.statuses(&ids).await?;
        redefined.push(compare(known, statuses, node.space(), now));
    }
    for number in 0..redefined.len() {
        let outdated = outdated_by(&redefined[number], &redefined, graph, now)?;
        let change: &mut Redefined = &mut redefined[number];
        if let Some(redefinition) = &mut change.redefinition {
            redefinition.outdated.clone_from(&outdated);
        }
        change.outdated = outdated;
    }
    Ok(redefined)
}

/// The partitions whose value rests on something that `change` orphans or brings back. What is orphaned, or comes back,
/// together with what it was made from rests on the same as before.
fn outdated_by(
    change: &Redefined,
    redefined: &[Redefined],
    graph: &AssetGraph,
    now: Timestamp,
) -> Result<Vec<(AssetKey, PartitionSet)>> {
    let (orphaned, returned) = (&change.change.orphaned, &change.returned);
    let mut outdated = Vec::new();
    if orphaned.is_empty() && returned.is_empty() {
        return Ok(outdated);
    }
    let ix = graph.find(change.asset.as_str())?;
    for reader in graph.node(ix).downstream() {
        let node = graph.node(*reader);
        let own = redefined.iter().find(|other| other.asset == *node.key());
        let mut resting = PartitionSet::new();
        for input in node.inputs().iter().filter(|input| input.upstream == ix) {
            let was = own.map_or(node.space(), |own| &own.was);
            // Where the mapping does not fit what was, nobody knows what read what.
            let had_read = match BoundMapping::new(&input.mapping, was, &change.was, now) {
                Ok(mapping) => mapping.downstream_of(orphaned),
                Err(_) if orphaned.is_empty() => PartitionSet::new(),
                Err(_) => was.existing_at(now)?,
            };
            resting.union_with(&own.map_or_else(|| had_read.clone(), |own| own.change.homes.image(&had_read)));
            let mapping = BoundMapping::new(&input.mapping, node.space(), &change.is, now)?;
            let mut reads = mapping.downstream_of(returned);
            if let Some(own) = own {
                reads.subtract(&own.returned);
            }
            resting.union_with(&reads);
        }
        if !resting.is_empty() {
            outdated.push((node.key().clone(), resting));
        }
    }
    Ok(outdated)
}

/// What is known of `asset`, once what is `redefined` is carried out; `status` is what the ledger has under its number.
pub(crate) fn carried_out(asset: &AssetKey, status: AssetStatus, redefined: &[Redefined]) -> AssetStatus {
    let own = redefined.iter().find(|change| change.asset == *asset);
    let mut status = own.map_or(status, |own| own.status.clone());
    for (key, partitions) in redefined.iter().flat_map(|change| &change.outdated) {
        if key == asset {
            let stale = partitions.intersect(&status.materialized());
            status.stale.union_with(&stale);
        }
    }
    status
}

/// Compares `is` with the rows of one asset, of which the first is the current one.
fn compare(rows: &[&AssetRow], statuses: Vec<AssetStatus>, is: &PartitionSpace, now: Timestamp) -> Redefined {
    let current = rows[0];
    let is_growth = current.space.is_start_of(is);
    let change = SpaceChange::between(&current.space, is, &statuses[0].materialized(), now);
    let (mut moves, mut returned, mut after) = (Vec::new(), PartitionSet::new(), AssetStatus::default());
    if is_growth {
        after = statuses[0].clone();
    }
    for (row, status) in rows.iter().zip(statuses) {
        if is_growth && row.id == current.id {
            continue;
        }
        // What only failed moves too.
        let marked = status.materialized().union(&status.failed);
        let homes = SpaceChange::between(&row.space, is, &marked, now).homes;
        if homes.is_empty() {
            continue;
        }
        if row.is_former {
            returned.union_with(&homes.image(&status.materialized()));
        }
        let moved = |set: &PartitionSet| homes.image(set);
        after.failed.union_with(&moved(&status.failed));
        after.stale.union_with(&moved(&status.stale));
        for head in &status.heads {
            add_head(&mut after.heads, head, moved(&head.partitions));
        }
        moves.push((row.id, homes));
    }
    let is_declared = is_growth && moves.is_empty();
    Redefined {
        asset: current.key.clone(),
        was: current.space.clone(),
        is: is.clone(),
        change,
        returned,
        status: after,
        outdated: Vec::new(),
        id: is_growth.then_some(current.id),
        redefinition: (!is_declared).then(|| Redefinition {
            key: current.key.clone(),
            of: current.id,
            space: is.clone(),
            moves,
            outdated: Vec::new(),
        }),
    }
}

fn add_head(heads: &mut Vec<HeadSet>, head: &HeadSet, partitions: PartitionSet) {
    if partitions.is_empty() {
        return;
    }
    let same = |other: &&mut HeadSet| (other.version, other.code_version) == (head.version, head.code_version);
    match heads.iter_mut().find(same) {
        Some(other) => other.partitions.union_with(&partitions),
        None => heads.push(HeadSet {
            partitions,
            ..head.clone()
        }),
    }
}

/// The numbers of the assets of `graph`, by node, as they are once what is `redefined` is carried out: first those that
/// are defined anew get the next ones, then those that the ledger does not know.
pub(crate) fn numbers(rows: &[AssetRow], redefined: &[Redefined], graph: &AssetGraph) -> Vec<AssetId> {
    let current = rows.iter().filter(|row| !row.is_former);
    let mut by_key: BTreeMap<&AssetKey, AssetId> = current.map(|row| (&row.key, row.id)).collect();
    let mut next = rows.len();
    let mut number = || {
        next += 1;
        AssetId(u32::try_from(next - 1).unwrap_or(u32::MAX))
    };
    for change in redefined {
        by_key.insert(&change.asset, change.id.unwrap_or_else(&mut number));
    }
    let ids = graph
        .nodes()
        .map(|(_, node)| by_key.get(node.key()).copied().unwrap_or_else(&mut number));
    ids.collect()
}

/// Carries out what is defined anew, and says how the ledger has the assets then.
///
/// # Errors
/// `Conflict`: code `partitions_orphaned` when values would be orphaned and nobody has accepted that, `partitions_in_use`
/// when a run that is open knows the partitions as they were. Nothing has changed then.
pub(crate) async fn carry_out(
    graph: &AssetGraph,
    store: &dyn Store,
    accepts_orphans: bool,
    now: Timestamp,
) -> Result<Vec<AssetRow>> {
    let rows = store.assets().await?;
    let mut redefined = redefined_among(&rows, graph, store, now).await?;
    redefined.retain(|change| change.redefinition.is_some());
    if redefined.is_empty() {
        return Ok(rows);
    }
    if !accepts_orphans {
        refuse_orphans(&redefined)?;
    }
    refuse_use(&redefined, graph, store).await?;
    let changes: Vec<Redefinition> = redefined.into_iter().filter_map(|change| change.redefinition).collect();
    store.redefine(&changes).await?;
    store.assets().await
}

fn refuse_orphans(redefined: &[Redefined]) -> Result<()> {
    let orphaning = redefined.iter().filter(|change| !change.change.orphaned.is_empty());
    let orphaning: Vec<&Redefined> = orphaning.collect();
    let Some(first) = orphaning.first() else {
        return Ok(());
    };
    let orphaned = &first.change.orphaned;
    let example = orphaned.min().map_or_else(String::new, |index| first.was.label(index));
    let mut message = match orphaned.len() {
        1 => format!("the value of {example} would be orphaned: the new definition has no such partition"),
        count => {
            format!("{count} values would be orphaned, as that of {example}: the new definition has no such partitions")
        }
    };
    if orphaning.len() > 1 {
        let others: Vec<&str> = orphaning[1..].iter().map(|change| change.asset.as_str()).collect();
        message.push_str(&format!("; so it is with {}", others.join(", ")));
    }
    Err(Error::new(ErrorKind::Conflict, message)
        .code("partitions_orphaned")
        .during("change the partitions of")
        .about(described(first))
        .fix(
            "`plan` or `check` show what becomes of them; `--accept`, or `EngineOptions::accepts_orphans`, orphans them: they are kept, and come \
             back when the definition is changed back",
        ))
}

fn described(change: &Redefined) -> String {
    let (was, is) = (change.was.describe(), change.is.describe());
    format!("asset {} from ({was}) to ({is})", change.asset)
}

/// Refuses while a run is open that makes or reads what is defined anew: it knows the partitions by their old places.
async fn refuse_use(redefined: &[Redefined], graph: &AssetGraph, store: &dyn Store) -> Result<()> {
    for row in store.runs(RunFilter::Open, OPEN_RUNS_MAX).await? {
        let used = used_by(&row, graph);
        let touched = redefined
            .iter()
            .find(|change| used.as_ref().is_none_or(|used| used.contains(&change.asset)));
        if let Some(change) = touched {
            let run = row.run;
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("run {run} is open, and knows the partitions as they were"),
            )
            .code("partitions_in_use")
            .during("change the partitions of")
            .about(described(change))
            .fix(format!(
                "let it end with the definition as it was, or end it: `cancel {run}`"
            )));
        }
    }
    Ok(())
}

/// The assets that a run makes or reads; none if that cannot be told.
fn used_by(row: &RunRow, graph: &AssetGraph) -> Option<HashSet<AssetKey>> {
    let mut used: HashSet<AssetKey> = RunRequest::decode(&row.request).ok()?.assets.into_iter().collect();
    if let Some(plan) = &row.plan {
        let plan = RunPlan::decode(plan).ok()?;
        used.extend(plan.assets.iter().map(|planned| planned.key.clone()));
    }
    let read = used.iter().filter_map(|key| graph.find(key.as_str()).ok());
    let read = read.flat_map(|ix| {
        graph
            .node(ix)
            .inputs()
            .iter()
            .map(|input| graph.node(input.upstream).key().clone())
    });
    let read: Vec<AssetKey> = read.collect();
    used.extend(read);
    Some(used)
}
