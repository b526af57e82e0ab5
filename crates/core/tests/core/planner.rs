//! The planner, which works on sets, against one that looks at one partition after the other: ten thousand seeded cases of
//! pipelines, partitions, mappings, statuses and requests. A failure prints its seed.

use std::collections::{BTreeMap, BTreeSet};

use flowstone_core::asset::InputKind;
use flowstone_core::graph::AssetGraph;
use flowstone_core::partition::{
    BoundMapping, DynamicKey, DynamicSpace, Mapping, PartitionKey, PartitionSelector, PartitionSet, PartitionSpace,
    ProductSpace,
};
use flowstone_core::plan::{Force, Planner, Reason, RunPlan, RunRequest};
use flowstone_core::store::{AssetStatus, HeadSet};
use flowstone_core::{AssetId, AssetKey, CodeVersion, Result, Version};
use flowstone_testkit::Draw;
use flowstone_testkit::sketch::{Key, Reading, Sketch, name, now};
use jiff::civil::{Date, Time};

/// The day that is asked for where not everything is.
const DAY: &str = "2024-02-26";

/// What is known of one partition.
#[derive(Debug, Clone, Copy)]
struct Known {
    version: u64,
    code: CodeVersion,
    is_stale: bool,
}

/// The steps with their reasons, and the versions that each input pins.
type NaivePlan = (BTreeMap<Key, Reason>, BTreeMap<(usize, Key), u64>);

/// A pipeline, the status of each of its partitions, and a request.
struct Case {
    sketch: Sketch,
    reading: Reading,
    known: BTreeMap<Key, Known>,
    selected: BTreeSet<usize>,
    targets: BTreeSet<usize>,
    force: Force,
    partitions: PartitionSelector,
}

impl Case {
    fn draw(seed: u64) -> Self {
        let mut draw = Draw::seeded(seed);
        let sketch = with_dynamic_sets(Sketch::draw(&mut draw, 12), seed);
        let reading = Reading::of(&sketch);
        let pipeline = sketch.build();
        let mut known = BTreeMap::new();
        for (number, (_, node)) in pipeline.graph().nodes().enumerate() {
            let made = *draw.pick(&[0, 500, 1000, 1000]);
            for partition in 0..reading.lens[number] {
                if draw.chance(made) {
                    let code = if draw.chance(800) {
                        node.code_version()
                    } else {
                        CodeVersion(1)
                    };
                    let (version, is_stale) = (1 + draw.below(3) as u64, draw.chance(200));
                    known.insert(
                        (number, partition),
                        Known {
                            version,
                            code,
                            is_stale,
                        },
                    );
                }
            }
        }
        let selected = *draw.pick(&[1000, 900, 400, 200]);
        let mut some = |share| {
            (0..reading.lens.len())
                .filter(|_| draw.chance(share))
                .collect::<BTreeSet<usize>>()
        };
        let (selected, targets) = (some(selected), some(200));
        let targets = targets.intersection(&selected).copied().collect();
        let force = *draw.pick(&[
            Force::Nothing,
            Force::Nothing,
            Force::Target,
            Force::Downstream,
            Force::All,
        ]);
        let key = PartitionSelector::Key(DAY.to_owned());
        let partitions = draw
            .pick(&[PartitionSelector::All, PartitionSelector::All, key])
            .clone();
        Self {
            sketch,
            reading,
            known,
            selected,
            targets,
            force,
            partitions,
        }
    }

    fn plan(&self, graph: &AssetGraph) -> Result<RunPlan> {
        let statuses: Vec<AssetStatus> = (0..self.reading.lens.len()).map(|asset| self.status(asset)).collect();
        let ids: Vec<AssetId> = (0..statuses.len()).map(|number| AssetId(100 - number as u32)).collect();
        let keys = |numbers: &BTreeSet<usize>| numbers.iter().map(|number| key(*number)).collect();
        let request = RunRequest {
            assets: keys(&self.selected),
            targets: keys(&self.targets),
            partitions: self.partitions.clone(),
            force: self.force,
            ..RunRequest::default()
        };
        Planner {
            graph,
            ids: &ids,
            statuses: &statuses,
            now: now(),
            sets: None,
        }
        .plan(&request)
    }

    fn status(&self, asset: usize) -> AssetStatus {
        let mut status = AssetStatus::default();
        for ((_, partition), known) in self.known.range((asset, 0)..(asset + 1, 0)) {
            let heads = &mut status.heads;
            let at = heads
                .iter()
                .position(|head| (head.version.0, head.code_version) == (known.version, known.code));
            let at = at.unwrap_or_else(|| {
                let (version, code_version) = (Version(known.version), known.code);
                heads.push(HeadSet {
                    version,
                    code_version,
                    partitions: PartitionSet::new(),
                });
                heads.len() - 1
            });
            heads[at].partitions.insert(*partition);
            if known.is_stale {
                status.stale.insert(*partition);
            }
        }
        status
    }

    fn is_forced(&self, asset: usize) -> bool {
        match self.force {
            Force::Nothing => false,
            Force::All => true,
            Force::Target => self.targets.contains(&asset),
            Force::Downstream => self.targets.iter().any(|target| self.reaches(*target, asset)),
        }
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        from == to
            || self.sketch.assets[to]
                .inputs
                .iter()
                .any(|input| input.upstream != to && self.reaches(from, input.upstream))
    }

    /// The steps with their reasons, and the versions that each input pins; `None` when something is missing.
    fn naive(&self, graph: &AssetGraph) -> Option<NaivePlan> {
        let mut steps = BTreeMap::new();
        let mut pins = BTreeMap::new();
        for (asset, (_, node)) in graph
            .nodes()
            .enumerate()
            .filter(|(asset, _)| self.selected.contains(asset))
        {
            let inputs = &self.sketch.assets[asset].inputs;
            for partition in 0..self.reading.lens[asset] {
                let is_retired = !node.space().existing_at(now()).unwrap().contains(partition);
                let is_meant = self.partitions == PartitionSelector::All || is_of_the_day(node.space(), partition);
                let chosen = is_meant && !is_retired;
                let upstreams = || {
                    let reads = inputs.iter().zip(&self.reading.upstreams[asset]).enumerate();
                    reads.flat_map(|(number, (input, upstreams))| {
                        upstreams[partition as usize]
                            .iter()
                            .map(move |up| (number, input.kind, (input.upstream, *up)))
                    })
                };
                let head = self.known.get(&(asset, partition));
                let reason = match head {
                    _ if !chosen => continue,
                    None => Reason::Missing,
                    Some(_) if self.is_forced(asset) => Reason::Forced,
                    Some(head) if head.code != node.code_version() => Reason::CodeChanged,
                    Some(head) if head.is_stale => Reason::UpstreamChanged,
                    _ if upstreams().any(|(_, _, up)| steps.contains_key(&up)) => Reason::UpstreamPlanned,
                    _ => continue,
                };
                for (number, kind, upstream) in upstreams().filter(|(_, _, up)| !steps.contains_key(up)) {
                    match self.known.get(&upstream) {
                        Some(known) => drop(pins.insert((number, (asset, upstream.1)), known.version)),
                        None if kind == InputKind::Optional => {}
                        None => return None,
                    }
                }
                steps.insert((asset, partition), reason);
            }
        }
        Some((steps, pins))
    }
}

/// In half of the cases all named partitions become dynamic, with some of them retired.
fn with_dynamic_sets(mut sketch: Sketch, seed: u64) -> Sketch {
    let mut draw = Draw::seeded(!seed);
    if draw.chance(500) {
        return sketch;
    }
    let mut sets: BTreeMap<u64, DynamicSpace> = BTreeMap::new();
    for asset in &mut sketch.assets {
        asset.space = dynamic(&asset.space, &mut draw, &mut sets);
    }
    let spaces: Vec<PartitionSpace> = sketch.assets.iter().map(|asset| asset.space.clone()).collect();
    for asset in &mut sketch.assets {
        // Sets of different names are different, where the start of a list of keys is like the list.
        asset.inputs.retain(|input| {
            let (down, up) = (&asset.space, &spaces[input.upstream]);
            let mapping = input.mapping.clone().map_or_else(|| Mapping::infer(down, up), Ok);
            mapping.is_ok_and(|mapping| BoundMapping::at_capacity(&mapping, down, up).is_ok())
        });
    }
    sketch
}

fn dynamic(space: &PartitionSpace, draw: &mut Draw, sets: &mut BTreeMap<u64, DynamicSpace>) -> PartitionSpace {
    match space {
        PartitionSpace::Static(space) => {
            let set = sets.entry(space.len()).or_insert_with(|| {
                let set = DynamicSpace::new(format!("set of {}", space.len())).unwrap();
                let keys = (0..).zip(space.keys());
                let rows = keys.map(|(index, key)| DynamicKey {
                    index,
                    key: key.clone(),
                    added_at: now(),
                    retired_at: draw.chance(300).then(now),
                });
                set.learn(rows).unwrap();
                set
            });
            PartitionSpace::Dynamic(set.clone())
        }
        PartitionSpace::Product(product) if !product.dimensions().any(|(_, space)| space.grows()) => {
            let dimensions = product.dimensions();
            let dimensions = dimensions.map(|(name, space)| (name, dynamic(space, draw, sets)));
            PartitionSpace::Product(ProductSpace::new(dimensions).unwrap())
        }
        other => other.clone(),
    }
}

/// True for the window that is called [`DAY`], else for those within it, else for those that share time with it. Where
/// nothing is partitioned by time, all is meant.
fn is_of_the_day(space: &PartitionSpace, partition: u64) -> bool {
    match space {
        PartitionSpace::Unit => true,
        PartitionSpace::Window(windows) => {
            let day: Date = DAY.parse().expect("a day");
            let instant = |day: Date| windows.zone().to_timestamp(day.to_datetime(Time::midnight())).unwrap();
            let (from, to) = (instant(day), instant(day.tomorrow().unwrap()));
            let called = |partition| windows.key_of(partition) == PartitionKey::Date(day);
            let within = |partition| {
                let (start, end) = windows.interval_of(partition);
                from <= start && end <= to
            };
            let all = || 0..space.len_at(now());
            if all().any(called) {
                return called(partition);
            }
            if all().any(within) {
                return within(partition);
            }
            let (start, end) = windows.interval_of(partition);
            start < to && from < end
        }
        PartitionSpace::Product(product) => {
            let Ok(PartitionKey::Tuple(keys)) = space.key_of(partition) else {
                panic!("a product's key is a tuple")
            };
            let mut dimensions = product.dimensions().zip(keys);
            dimensions.all(|((_, space), key)| match space {
                PartitionSpace::Window(_) => is_of_the_day(space, space.index_of(&key).unwrap()),
                _ => true,
            })
        }
        PartitionSpace::Static(_) | PartitionSpace::Dynamic(_) => panic!("no key is called {DAY}"),
    }
}

fn key(number: usize) -> AssetKey {
    name(number).parse().expect("a name")
}

/// Plans case `seed` in both ways.
fn compare(seed: u64) {
    let case = Case::draw(seed);
    let pipeline = case.sketch.build();
    let graph = pipeline.graph();
    let holds_key = |asset: &usize| {
        let space = &case.sketch.assets[*asset].space;
        space.select(&case.partitions, now()).is_ok()
    };

    let planned = case.plan(graph);

    if !case.selected.iter().all(holds_key) {
        assert!(planned.is_err());
        return;
    }
    let Some((steps, pins)) = case.naive(graph) else {
        assert_eq!(planned.unwrap_err().stable_code(), "input_missing");
        return;
    };
    let plan = planned.unwrap();
    let mut set_steps = BTreeMap::new();
    let mut set_pins = BTreeMap::new();
    for planned in &plan.assets {
        let asset = graph.nodes().position(|(_, node)| *node.key() == planned.key).unwrap();
        assert_eq!(planned.id, AssetId(100 - asset as u32));
        let mut certain = PartitionSet::new();
        for (reason, partitions) in &planned.reasons {
            for partition in partitions.iter() {
                assert!(
                    set_steps.insert((asset, partition), *reason).is_none(),
                    "one reason each"
                );
                if *reason != Reason::UpstreamPlanned {
                    certain.insert(partition);
                }
                let base = case.known.get(&(asset, partition)).map_or(0, |known| known.version);
                assert_eq!(planned.base.get(partition).0, base);
            }
        }
        assert_eq!(&certain, &planned.certain);
        assert_eq!(
            planned.reasons.iter().map(|(_, set)| set.len()).sum::<u64>(),
            planned.steps.len()
        );
        for (number, versions) in planned.pinned.iter().enumerate() {
            for (version, partitions) in versions.iter() {
                set_pins.extend(
                    partitions
                        .iter()
                        .map(|partition| ((number, (asset, partition)), version.0)),
                );
            }
        }
    }
    assert_eq!(set_steps, steps);
    assert_eq!(set_pins, pins);
    assert_eq!(RunPlan::decode(&plan.encode().unwrap()).unwrap(), plan);
}

/// So many cases are compared in each of the tests below, which run side by side.
const CASES: u64 = 2_500;

fn compare_share(share: u64) {
    for seed in share * CASES..(share + 1) * CASES {
        if let Err(panic) = std::panic::catch_unwind(|| compare(seed)) {
            let why = panic.downcast_ref::<String>().map(String::as_str);
            let why = why.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a bare panic");
            panic!("case {seed}: {why}\n{:#?}", Case::draw(seed).sketch);
        }
    }
}

#[test]
fn sets_and_single_partitions_give_the_same_plan() {
    compare_share(0);
}

#[test]
fn sets_and_single_partitions_give_the_same_plan_also_for_another_share() {
    compare_share(1);
}

#[test]
fn sets_and_single_partitions_give_the_same_plan_also_for_a_third_share() {
    compare_share(2);
}

#[test]
fn sets_and_single_partitions_give_the_same_plan_also_for_the_last_share() {
    compare_share(3);
}
