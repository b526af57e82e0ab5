//! Turns definitions into a graph, or says everything that is wrong with them.

use std::collections::{BTreeMap, HashMap};

use super::{AssetGraph, Input, Node, node_ix, order};
use crate::asset::{Argument, Asset, BATCH_LEN_MAX, Body, InputKind, Upstream};
use crate::partition::{BoundMapping, EdgeShape, Mapping, PartitionKey, PartitionSet, PartitionSpace};
use crate::pipeline::{Complaints, nearest, unknown_io};
use crate::registry::{Registry, Resources};
use crate::{AssetKey, CodeVersion, Error, ErrorKind, TypeInfo};

/// How many partitions are asked whether they read more than one upstream partition.
const PARTITIONS_ASKED: u64 = 32;

/// An asset that is well formed by itself; its upstreams are names still.
struct Draft {
    key: AssetKey,
    space: PartitionSpace,
    sources: Vec<(CodeVersion, PartitionSet)>,
    body: Body,
    output: TypeInfo,
    asset: Asset,
}

impl AssetGraph {
    /// Checks definitions; what is wrong is added to `complaints`, and then the graph is not to be used.
    pub(crate) fn check(
        assets: Vec<Asset>,
        registry: &Registry,
        resources: &Resources,
        default_io: Option<&str>,
        complaints: &mut Complaints,
    ) -> Self {
        let names: Vec<String> = assets.iter().map(|asset| asset.name.clone()).collect();
        let mut drafts: Vec<Draft> = Vec::with_capacity(assets.len());
        let mut by_key: HashMap<AssetKey, usize> = HashMap::with_capacity(assets.len());
        for asset in assets {
            let Some(draft) = draft(asset, complaints) else {
                continue;
            };
            check_batch(&draft, complaints);
            check_io(&draft, registry, default_io, complaints);
            check_items(&draft, complaints);
            check_resources(&draft, resources, complaints);
            if let Some(first) = by_key.get(&draft.key) {
                let (name, other) = (&draft.key, drafts[*first].asset.location);
                let complaint = Error::new(
                    ErrorKind::Conflict,
                    format!("two assets are called {name}, the other at {other}"),
                )
                .code("asset_twice")
                .about(format!("asset {name}"))
                .fix("rename one of them");
                complaints.push(complaint, Some(draft.asset.location));
                continue;
            }
            by_key.insert(draft.key.clone(), drafts.len());
            drafts.push(draft);
        }
        let inputs: Vec<Vec<(usize, Input)>> = drafts
            .iter()
            .map(|draft| inputs_of(draft, &drafts, &by_key, &names, complaints))
            .collect();
        let upstreams: Vec<Vec<usize>> = inputs
            .iter()
            .enumerate()
            .map(|(own, inputs)| {
                inputs
                    .iter()
                    .map(|(index, _)| *index)
                    .filter(|index| *index != own)
                    .collect()
            })
            .collect();
        match order::topological(&upstreams) {
            Ok(order) => assemble(drafts, inputs, &order),
            Err(cycle) => {
                complain_of_cycle(&cycle, &drafts, complaints);
                Self::default()
            }
        }
    }
}

pub(super) fn unknown_asset<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let fix = match nearest(name, known) {
        Some(near) => format!("did you mean {near:?}?"),
        None => "`list` shows all assets".to_owned(),
    };
    Error::new(ErrorKind::NotFound, format!("no asset is called {name:?}"))
        .code("asset_unknown")
        .fix(fix)
}

/// The error with the asset as its subject, also where it has another already.
fn about_asset(error: Error, asset: &str) -> Error {
    if error.subject().is_none() {
        return error.about(asset);
    }
    let outer = Error::new(error.kind(), error.to_string())
        .code(error.stable_code().to_owned())
        .about(asset);
    match error.advice() {
        Some(fix) => outer.fix(fix),
        None => outer,
    }
}

fn draft(mut asset: Asset, complaints: &mut Complaints) -> Option<Draft> {
    let location = Some(asset.location);
    let about = format!("asset {:?}", asset.name);
    let key = AssetKey::new(&asset.name)
        .map_err(|error| complaints.push(error.about(&about), location))
        .ok();
    let space = asset.partitions.clone().build();
    let space = space
        .map_err(|error| complaints.push(about_asset(error, &about), location))
        .ok();
    if asset.made.is_none() {
        let complaint = Error::new(ErrorKind::Invalid, "it has no function")
            .code("asset_without_function")
            .about(&about)
            .fix("end the definition with `.run(…)` or `.run_blocking(…)`");
        complaints.push(complaint, location);
    }
    let (body, output) = asset.made.take()?;
    let space = space?;
    asset.code_version = with_custom_mappings(asset.code_version, &asset.upstreams);
    let sources = sources(&asset.source_versions, &space)
        .map_err(|error| complaints.push(about_asset(error, &about), location))
        .ok();
    Some(Draft {
        key: key?,
        space,
        sources: sources?,
        body,
        output,
        asset,
    })
}

/// The code of an asset with that of the mappings that are functions, by name and version.
fn with_custom_mappings(code: CodeVersion, upstreams: &[Upstream]) -> CodeVersion {
    let custom = upstreams
        .iter()
        .enumerate()
        .filter_map(|(number, upstream)| match &upstream.mapping {
            Some(mapping @ Mapping::Custom(_)) => Some(format!(" {number} {mapping}")),
            _ => None,
        });
    let custom: String = custom.collect();
    if custom.is_empty() {
        code
    } else {
        CodeVersion::of(format!("{code}{custom}").as_bytes())
    }
}

/// The partitions of each source version.
fn sources(
    versions: &[(PartitionKey, CodeVersion)],
    space: &PartitionSpace,
) -> Result<Vec<(CodeVersion, PartitionSet)>, Error> {
    let mut by_version: BTreeMap<CodeVersion, PartitionSet> = BTreeMap::new();
    for (key, version) in versions {
        let index = space.index_of(key)?;
        by_version.entry(*version).or_default().insert(index);
    }
    let mut named = PartitionSet::new();
    for partitions in by_version.values() {
        if let Some(twice) = named.intersect(partitions).min() {
            let label = space.label(twice);
            return Err(Error::new(ErrorKind::Conflict, "it has two source versions")
                .code("source_version_twice")
                .about(label)
                .fix("give each partition at most one"));
        }
        named.union_with(partitions);
    }
    Ok(by_version.into_iter().collect())
}

fn check_batch(draft: &Draft, complaints: &mut Complaints) {
    let Some(batch) = draft.asset.batch else {
        return;
    };
    let complaint = match batch {
        0 => Error::new(ErrorKind::Invalid, "it is called for batches of no partition")
            .code("batch_zero")
            .fix("give batches of at least 1, or end the definition with `.run(…)`"),
        _ if batch > BATCH_LEN_MAX => Error::new(
            ErrorKind::LimitExceeded,
            format!("it is called for batches of {batch} partitions, {BATCH_LEN_MAX} are the most"),
        )
        .code("batch_too_large")
        .fix("give smaller batches"),
        _ if draft.space.is_unit() => Error::new(
            ErrorKind::Invalid,
            "it is called for batches of partitions and has only one",
        )
        .code("batch_without_partitions")
        .fix("give it partitions, or end the definition with `.run(…)`"),
        _ => return,
    };
    complaints.push(
        complaint.about(format!("asset {}", draft.key)),
        Some(draft.asset.location),
    );
}

fn check_io(draft: &Draft, registry: &Registry, default_io: Option<&str>, complaints: &mut Complaints) {
    let Some(name) = draft.asset.io.as_deref().or(default_io) else {
        return;
    };
    let verdict = match registry.io_named(name) {
        Some(factory) => factory.accepts(draft.output),
        // The pipeline complains of an unknown default itself, once.
        None if draft.asset.io.is_none() => Ok(()),
        None => Err(unknown_io(name, registry)),
    };
    if let Err(error) = verdict {
        complaints.push(error.about(format!("asset {}", draft.key)), Some(draft.asset.location));
    }
}

/// Only the functions of an asset that fans out can take items, and those fit together.
fn check_items(draft: &Draft, complaints: &mut Complaints) {
    let place = Some(draft.asset.location);
    let about = format!("asset {}", draft.key);
    if let Body::FanOut(fan_out) = &draft.body {
        for error in fan_out.check() {
            complaints.push(about_asset(error, &about), place);
        }
        return;
    }
    let takes_item = |argument: &Argument| matches!(argument, Argument::Item(_));
    if draft.asset.arguments.iter().any(takes_item) {
        let complaint = Error::new(ErrorKind::Invalid, "its function takes an item, and it has none")
            .code("item_missing")
            .about(about)
            .fix("say where its items come from: scatter it, or take the value of an upstream instead");
        complaints.push(complaint, place);
    }
}

fn check_resources(draft: &Draft, resources: &Resources, complaints: &mut Complaints) {
    for argument in &draft.asset.arguments {
        let Argument::Resource { id, name } = argument else {
            continue;
        };
        if !resources.contains(id()) {
            let name = name();
            let complaint = Error::new(
                ErrorKind::NotFound,
                format!("the pipeline has no resource of type `{name}`"),
            )
            .code("resource_missing")
            .about(format!("asset {}", draft.key))
            .fix("add it with `.resource(…)`");
            complaints.push(complaint, Some(draft.asset.location));
        }
    }
}

fn inputs_of(
    draft: &Draft,
    drafts: &[Draft],
    by_key: &HashMap<AssetKey, usize>,
    names: &[String],
    complaints: &mut Complaints,
) -> Vec<(usize, Input)> {
    let wanted: Vec<Wanted> = draft
        .asset
        .arguments
        .iter()
        .filter_map(|argument| match argument {
            Argument::Upstream { kind, ty, of_call } => Some(Wanted {
                kind: *kind,
                ty: *ty,
                of_call: *of_call,
            }),
            _ => None,
        })
        .collect();
    let mut complain = |error: Error| {
        complaints.push(
            about_asset(error, &format!("asset {}", draft.key)),
            Some(draft.asset.location),
        );
    };
    let named = &draft.asset.upstreams;
    if wanted.len() != named.len() {
        let (takes, names) = (wanted.len(), named.len());
        complain(
            Error::new(
                ErrorKind::Invalid,
                format!("its function takes {takes} upstream values, {names} are named"),
            )
            .code("upstream_count")
            .fix("give one `.upstream(…)` for each argument that is a value"),
        );
        return Vec::new();
    }
    let mut inputs = Vec::with_capacity(named.len());
    for (upstream, wanted) in named.iter().zip(wanted) {
        let Some(index) = by_key.get(upstream.name.as_str()).copied() else {
            // A name that was refused on its own already is not complained of twice.
            if !names.contains(&upstream.name) {
                let others = drafts.iter().map(|other| &other.key).filter(|key| **key != draft.key);
                complain(unknown_asset(&upstream.name, others.map(AssetKey::as_str)));
            }
            continue;
        };
        match mapping_for(draft, &drafts[index], upstream, &wanted) {
            Ok(mapping) => inputs.push((
                index,
                Input {
                    upstream: node_ix(index),
                    kind: wanted.kind,
                    mapping,
                },
            )),
            Err(error) => complain(error),
        }
    }
    inputs
}

fn mapping_for(down: &Draft, up: &Draft, upstream: &Upstream, wanted: &Wanted) -> Result<Mapping, Error> {
    let Wanted { kind, ty, of_call } = *wanted;
    let (name, made) = (&upstream.name, up.output);
    if ty != made {
        let (wanted, made) = (ty.name(), made.name());
        return Err(Error::new(
            ErrorKind::TypeMismatch,
            format!("it reads {name:?} as `{wanted}`, which is a `{made}`"),
        )
        .code("upstream_type")
        .fix(format!("take it as `{made}`")));
    }
    let mapping = match &upstream.mapping {
        Some(given) => given.clone(),
        None => Mapping::infer(&down.space, &up.space).map_err(|error| error.during(format!("read {name:?}")))?,
    };
    // What the first partition reads stands for the others; loading checks each.
    let bound = BoundMapping::at_capacity(&mapping, &down.space, &up.space)?;
    if down.key == up.key {
        check_own_input(down, &bound, kind)?;
    }
    if of_call && bound.kind() != EdgeShape::Broadcast {
        return Err(Error::new(
            ErrorKind::TypeMismatch,
            format!("it is called for many partitions, which do not all read the same of {name:?}"),
        )
        .code("input_of_call")
        .fix("take it as `Batch<…>`, which has what each partition reads"));
    }
    let reads_many = || (0..PARTITIONS_ASKED).any(|partition| bound.upstream_of_one(partition).len() > 1);
    if kind != InputKind::Stream && reads_many() {
        return Err(Error::new(
            ErrorKind::TypeMismatch,
            format!("one of its partitions reads many of {name:?}, but the argument takes one value"),
        )
        .code("input_many_partitions")
        .fix("take it as `PartitionStream<T>`, or give the partition mapping"));
    }
    Ok(mapping)
}

/// What an argument takes.
struct Wanted {
    kind: InputKind,
    ty: TypeInfo,
    of_call: bool,
}

/// Refuses an asset that reads itself otherwise than by partitions that come before.
fn check_own_input(draft: &Draft, bound: &BoundMapping, kind: InputKind) -> Result<(), Error> {
    if draft.space.is_unit() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "it is made from itself, and has no partition that comes before",
        )
        .code("asset_reads_itself")
        .fix("take this upstream away, or partition the asset by time"));
    }
    if !bound.reads_only_earlier() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "a partition of it is made from itself or from a later one",
        )
        .code("asset_reads_itself")
        .fix("give a mapping that reads earlier partitions only: Mapping::Offset(-1), Mapping::Preceding(7)"));
    }
    if draft.asset.batch.is_some() {
        return Err(Error::new(
            ErrorKind::Invalid,
            "its partitions are made from earlier ones, so they cannot be made in one call",
        )
        .code("batch_reads_itself")
        .fix("end the definition with `.run(…)`, without a batch: one partition a call"));
    }
    if kind == InputKind::Value {
        return Err(Error::new(
            ErrorKind::Invalid,
            "it is made from itself, and nothing comes before its first partition",
        )
        .code("own_input_required")
        .fix("take the argument as `Option<T>` or `PartitionStream<T>`"));
    }
    Ok(())
}

fn complain_of_cycle(cycle: &[usize], drafts: &[Draft], complaints: &mut Complaints) {
    let members: Vec<&str> = cycle
        .iter()
        .chain(cycle.first())
        .map(|index| drafts[*index].key.as_str())
        .collect();
    let places: Vec<String> = cycle
        .iter()
        .map(|index| format!("{} at {}", drafts[*index].key, drafts[*index].asset.location))
        .collect();
    let (path, places) = (members.join(" <- "), places.join(", "));
    let complaint = Error::new(
        ErrorKind::Invalid,
        format!("assets are made from each other: {path} ({places})"),
    )
    .code("asset_cycle")
    .fix("take one of these upstreams away");
    complaints.push(complaint, Some(drafts[cycle[0]].asset.location));
}

/// Renumbers everything into topological order.
fn assemble(drafts: Vec<Draft>, inputs: Vec<Vec<(usize, Input)>>, order: &[usize]) -> AssetGraph {
    let mut place = vec![0; order.len()];
    for (new, old) in order.iter().enumerate() {
        place[*old] = new;
    }
    let mut nodes: Vec<Option<Node>> = drafts
        .into_iter()
        .zip(inputs)
        .map(|(draft, inputs)| {
            let inputs = inputs
                .into_iter()
                .map(|(old, input)| Input {
                    upstream: node_ix(place[old]),
                    ..input
                })
                .collect();
            let Draft {
                key,
                space,
                sources,
                body,
                output,
                asset,
            } = draft;
            Some(Node {
                key,
                asset,
                space,
                sources,
                inputs,
                downstream: Vec::new(),
                body,
                output,
            })
        })
        .collect();
    let mut nodes: Vec<Node> = order
        .iter()
        .map(|old| nodes[*old].take().expect("an order names each asset once"))
        .collect();
    for index in 0..nodes.len() {
        let upstreams: Vec<_> = nodes[index].inputs.iter().map(|input| input.upstream).collect();
        for upstream in upstreams {
            let below = &mut nodes[upstream.index()].downstream;
            if below.last() != Some(&node_ix(index)) {
                below.push(node_ix(index));
            }
        }
    }
    let by_key = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (node.key.clone(), node_ix(index)))
        .collect();
    AssetGraph { nodes, by_key }
}
