//! What `build` says about definitions that do not fit together.

use flowstone_core::asset::{Asset, In, PartitionStream, Res, Upstream};
use flowstone_core::io::{IoEnv, IoFactory, IoManager};
use flowstone_core::partition::{Daily, Mapping, Monthly, Partitions};
use flowstone_core::pipeline::{Pipeline, PipelineBuilder};
use flowstone_core::registry::{CONTRACT_VERSION, Plugin, Registry};
use flowstone_core::{AssetKey, Error, ErrorKind, Result, TypeInfo};
use insta::assert_snapshot;

/// An asset that is made from nothing, defined at a line of a file that stays the same.
fn source(name: &str, line: u32) -> Asset {
    Asset::new(name).defined_at("src/lib.rs", line).run(|| async { 0_i64 })
}

/// An asset that is made from one other.
fn reader(name: &str, line: u32, upstream: impl Into<Upstream>) -> Asset {
    Asset::new(name)
        .defined_at("src/lib.rs", line)
        .upstream(upstream)
        .run(|In(value): In<i64>| async move { value })
}

fn pipeline(assets: impl IntoIterator<Item = Asset>) -> PipelineBuilder {
    Pipeline::builder("test").assets(assets)
}

fn refused(builder: PipelineBuilder) -> Error {
    builder.build().expect_err("it does not fit together")
}

#[test]
fn a_cycle_is_shown_whole() {
    let cycle = [
        reader("a", 1, "c"),
        reader("b", 2, "a"),
        reader("c", 3, "b"),
        source("d", 4),
    ];

    let error = refused(pipeline(cycle));

    assert_eq!(error.stable_code(), "asset_cycle");
    assert_snapshot!(error, @r"
    the pipeline does not fit together
      - assets are made from each other: a <- c <- b <- a (a at src/lib.rs:1, c at src/lib.rs:3, b at src/lib.rs:2)
        at src/lib.rs:1
        fix: take one of these upstreams away
    ");
}

/// An asset of days that reads itself.
fn own_reader(mapping: Option<Mapping>) -> Asset {
    let own = match mapping {
        Some(mapping) => Upstream::new("a").mapping(mapping),
        None => Upstream::new("a"),
    };
    Asset::new("a")
        .defined_at("src/lib.rs", 1)
        .partitions(Daily::from("2024-01-01"))
        .upstream(own)
        .run(|before: Option<In<i64>>| async move { before.map_or(0, |In(before)| before + 1) })
}

#[test]
fn an_asset_may_read_earlier_partitions_of_its_own() {
    for mapping in [Mapping::Offset(-1), Mapping::Offset(-7), Mapping::Preceding(1)] {
        let built = pipeline([own_reader(Some(mapping))]).build().unwrap();

        let (ix, node) = built.graph().nodes().next().unwrap();
        assert_eq!((node.inputs()[0].upstream, node.downstream()), (ix, &[ix][..]));
        assert!(built.graph().upstream_of(ix, usize::MAX).is_empty());
        assert!(built.graph().downstream_of(ix, usize::MAX).is_empty());
    }
}

#[test]
fn an_asset_that_is_not_partitioned_cannot_read_itself() {
    let error = refused(pipeline([reader("a", 1, "a")]));

    assert_snapshot!(error, @r"
    the pipeline does not fit together
      - asset a: it is made from itself, and has no partition that comes before
        at src/lib.rs:1
        fix: take this upstream away, or partition the asset by time
    ");
}

#[test]
fn an_asset_cannot_read_the_same_or_later_partitions_of_its_own() {
    for mapping in [
        None,
        Some(Mapping::Identity),
        Some(Mapping::Offset(0)),
        Some(Mapping::Offset(1)),
    ] {
        let error = refused(pipeline([own_reader(mapping)]));

        assert_eq!(error.stable_code(), "asset_reads_itself");
    }
    assert_snapshot!(refused(pipeline([own_reader(None)])), @r"
    the pipeline does not fit together
      - asset a: a partition of it is made from itself or from a later one
        at src/lib.rs:1
        fix: give a mapping that reads earlier partitions only: Mapping::Offset(-1), Mapping::Preceding(7)
    ");
}

#[test]
fn the_first_partition_has_nothing_before_it() {
    let needs = Asset::new("a")
        .defined_at("src/lib.rs", 1)
        .partitions(Daily::from("2024-01-01"))
        .upstream(Upstream::new("a").mapping(Mapping::Offset(-1)))
        .run(|In(before): In<i64>| async move { before });

    assert_snapshot!(refused(pipeline([needs])), @r"
    the pipeline does not fit together
      - asset a: it is made from itself, and nothing comes before its first partition
        at src/lib.rs:1
        fix: take the argument as `Option<T>` or `PartitionStream<T>`
    ");
}

#[test]
fn two_assets_of_one_name_are_both_shown() {
    assert_snapshot!(refused(pipeline([source("a", 1), source("a", 9)])), @r"
    the pipeline does not fit together
      - asset a: two assets are called a, the other at src/lib.rs:1
        at src/lib.rs:9
        fix: rename one of them
    ");
}

#[test]
fn names_are_found_in_any_order() {
    let assets = ["a", "b", "c", "d"].map(|name| Asset::new(name).run(|| async { 1 }));
    let pipeline = Pipeline::builder("p").assets(assets).build().unwrap();
    let graph = pipeline.graph();
    let names: Vec<AssetKey> = ["b", "c", "a", "x", "d", "d"].map(|name| name.parse().unwrap()).into();

    let found: Vec<_> = graph.find_each(&names).map(Result::ok).collect();

    let one_by_one: Vec<_> = names.iter().map(|name| graph.find(name.as_str()).ok()).collect();
    assert_eq!(found, one_by_one);
    assert_eq!(found.iter().flatten().count(), 5);
}

#[test]
fn an_unknown_upstream_says_what_may_have_been_meant() {
    let error = refused(pipeline([
        source("clean_flights", 1),
        reader("delays", 2, "clean_flight"),
        reader("x", 3, "y"),
    ]));

    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_snapshot!(error, @r#"
    the pipeline does not fit together in 2 places
      - asset delays: no asset is called "clean_flight"
        at src/lib.rs:2
        fix: did you mean "clean_flights"?
      - asset x: no asset is called "y"
        at src/lib.rs:3
        fix: `list` shows all assets
    "#);
}

#[test]
fn an_argument_of_another_type_is_refused() {
    let takes_text = Asset::new("b")
        .defined_at("src/lib.rs", 2)
        .upstream("a")
        .run(|In(text): In<String>| async move { text });

    assert_snapshot!(refused(pipeline([source("a", 1), takes_text])), @r#"
    the pipeline does not fit together
      - asset b: it reads "a" as `alloc::string::String`, which is a `i64`
        at src/lib.rs:2
        fix: take it as `i64`
    "#);
}

#[test]
fn each_argument_needs_an_upstream() {
    let takes_two = Asset::new("b")
        .defined_at("src/lib.rs", 2)
        .upstream("a")
        .run(|In(left): In<i64>, In(right): In<i64>| async move { left + right });

    assert_snapshot!(refused(pipeline([source("a", 1), takes_two])), @r"
    the pipeline does not fit together
      - asset b: its function takes 2 upstream values, 1 are named
        at src/lib.rs:2
        fix: give one `.upstream(…)` for each argument that is a value
    ");
}

#[test]
fn many_partitions_do_not_go_into_one_value() {
    let days = source("days", 1).partitions(Daily::from("2024-01-01"));
    let month = reader("month", 2, "days").partitions(Monthly::from("2024-01"));
    let total = reader("total", 3, "days");
    let week =
        reader("week", 4, Upstream::new("days").mapping(Mapping::Trailing(7))).partitions(Daily::from("2024-01-01"));

    assert_snapshot!(refused(pipeline([days, month, total, week])), @r#"
    the pipeline does not fit together in 3 places
      - asset month: one of its partitions reads many of "days", but the argument takes one value
        at src/lib.rs:2
        fix: take it as `PartitionStream<T>`, or give the partition mapping
      - asset total: one of its partitions reads many of "days", but the argument takes one value
        at src/lib.rs:3
        fix: take it as `PartitionStream<T>`, or give the partition mapping
      - asset week: one of its partitions reads many of "days", but the argument takes one value
        at src/lib.rs:4
        fix: take it as `PartitionStream<T>`, or give the partition mapping
    "#);
}

#[test]
fn many_partitions_go_into_a_stream() {
    let days = source("days", 1).partitions(Daily::from("2024-01-01"));
    let total = Asset::new("total")
        .upstream("days")
        .run(|days: PartitionStream<i64>| async move { days.collect().await.map(|days| days.iter().sum::<i64>()) });

    assert!(pipeline([days, total]).build().is_ok());
}

#[test]
fn partitions_that_suggest_no_mapping_need_one() {
    let days = source("days", 1).partitions(Daily::from("2024-01-01"));
    let airports = reader("airports", 2, "days").partitions(Partitions::keys(["EWR", "JFK"]));

    assert_snapshot!(refused(pipeline([days, airports])), @r"
    the pipeline does not fit together
      - asset airports: failed to infer partition mapping from (daily: 2024-01-01 and later, UTC) to (static: EWR and JFK): the two are partitioned differently
        at src/lib.rs:2
        fix: give the mapping: Mapping::All, Mapping::Last, Mapping::Table(pairs), Mapping::Dimension(name) or Mapping::custom(…)
    ");
}

#[test]
fn partitions_that_are_not_well_formed_are_refused() {
    let twice = source("a", 1).partitions(Partitions::keys(["x", "x"]));
    let never = source("b", 2).partitions(Daily::from("2024-02-30"));

    assert_snapshot!(refused(pipeline([twice, never])), @r#"
    the pipeline does not fit together in 2 places
      - asset "a": failed to add partition "x": the key comes twice
        at src/lib.rs:1
        fix: give every partition a key of its own
      - asset "b": failed to define daily partitions: the start "2024-02-30" is no calendar time
        at src/lib.rs:2
        fix: write it as 2013, 2013-01, 2013-01-01 or 2013-01-01T05; the zone goes into zone(…)
    "#);
}

#[test]
fn an_unknown_io_manager_is_refused() {
    let parquet = source("a", 1).io("parqet");

    let error = refused(pipeline([parquet]).plugin(Offering {
        name: "parquet",
        contract: CONTRACT_VERSION,
    }));

    assert_snapshot!(error, @r#"
    the pipeline does not fit together
      - asset a: no IO manager is called "parqet"
        at src/lib.rs:1
        fix: did you mean "parquet"?
    "#);
    assert_snapshot!(refused(pipeline([source("a", 1)]).default_io("s3")), @r#"
    the pipeline does not fit together
      - no IO manager is called "s3"
        fix: install the plugin that registers it with `.plugin(…)`
    "#);
}

#[test]
fn an_io_manager_refuses_a_type_it_cannot_keep() {
    let error = refused(pipeline([source("a", 1).io("picky")]).plugin(Offering {
        name: "picky",
        contract: CONTRACT_VERSION,
    }));

    assert_snapshot!(error, @r"
    the pipeline does not fit together
      - asset a: it keeps tables, not an `i64`
        at src/lib.rs:1
        fix: return a table
    ");
}

#[test]
fn a_missing_resource_is_named() {
    struct Database;
    let reads = Asset::new("a")
        .defined_at("src/lib.rs", 1)
        .run(|_: Res<Database>| async { 0_i64 });

    let error = refused(pipeline([reads.clone()]));

    assert_eq!(error.stable_code(), "resource_missing");
    assert!(error.to_string().contains("Database`"), "{error}");
    assert!(pipeline([reads]).resource(Database).build().is_ok());
}

#[test]
fn two_resources_of_one_type_are_refused() {
    assert_snapshot!(refused(pipeline([]).resource(1_u8).resource(2_u8)), @r"
    the pipeline does not fit together
      - two resources are of type `u8`
        fix: wrap one of them in a type of its own
    ");
}

#[test]
fn a_plugin_of_another_contract_is_refused_with_both_versions() {
    let newer = Offering {
        name: "newer",
        contract: CONTRACT_VERSION + 1,
    };

    assert_snapshot!(refused(pipeline([]).plugin(newer)), @r#"
    the pipeline does not fit together
      - plugin "newer" was written for contract 2, this build has 1
        fix: install the plugin and flowstone in versions that belong together
    "#);
}

#[test]
fn two_plugins_cannot_offer_one_name() {
    let offering = || Offering {
        name: "parquet",
        contract: CONTRACT_VERSION,
    };

    assert_snapshot!(refused(pipeline([]).plugin(offering()).plugin(offering())), @r#"
    the pipeline does not fit together
      - plugin "parquet": two IO managers are called "parquet"
        fix: give one of them another name
    "#);
}

#[test]
fn an_asset_needs_a_name_and_a_function() {
    let nameless = source("", 1);
    let idle = Asset::new("idle").defined_at("src/lib.rs", 2);

    assert_snapshot!(refused(pipeline([nameless, idle, reader("c", 3, "idle")])), @r#"
    the pipeline does not fit together in 2 places
      - asset "": an asset needs a name
        at src/lib.rs:1
      - asset "idle": it has no function
        at src/lib.rs:2
        fix: end the definition with `.run(…)` or `.run_blocking(…)`
    "#);
}

#[test]
fn everything_is_said_at_once() {
    let takes_two = Asset::new("c")
        .defined_at("src/lib.rs", 3)
        .upstream("a")
        .run(|In(left): In<i64>, In(right): In<i64>| async move { left + right });
    let assets = [
        source("a", 1).io("nowhere"),
        reader("b", 2, "aa"),
        takes_two,
        source("a", 4),
    ];

    let error = refused(
        pipeline(assets)
            .plugin(Offering {
                name: "old",
                contract: 0,
            })
            .resource(1_u8)
            .resource(1_u8),
    );

    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_snapshot!(error, @r#"
    the pipeline does not fit together in 6 places
      - plugin "old" was written for contract 0, this build has 1
        fix: install the plugin and flowstone in versions that belong together
      - two resources are of type `u8`
        fix: wrap one of them in a type of its own
      - asset a: no IO manager is called "nowhere"
        at src/lib.rs:1
        fix: install the plugin that registers it with `.plugin(…)`
      - asset a: two assets are called a, the other at src/lib.rs:1
        at src/lib.rs:4
        fix: rename one of them
      - asset b: no asset is called "aa"
        at src/lib.rs:2
        fix: did you mean "a"?
      - asset c: its function takes 2 upstream values, 1 are named
        at src/lib.rs:3
        fix: give one `.upstream(…)` for each argument that is a value
    "#);
}

/// A plugin with one IO manager, which keeps no numbers.
struct Offering {
    name: &'static str,
    contract: u32,
}

impl Plugin for Offering {
    fn name(&self) -> &str {
        self.name
    }

    fn contract(&self) -> u32 {
        self.contract
    }

    fn register(self: Box<Self>, registry: &mut Registry) -> Result<()> {
        registry.io(self.name, std::sync::Arc::new(NoNumbers))
    }
}

struct NoNumbers;

impl IoFactory for NoNumbers {
    fn accepts(&self, ty: TypeInfo) -> Result<()> {
        if ty.is::<i64>() {
            return Err(Error::new(ErrorKind::TypeMismatch, "it keeps tables, not an `i64`").fix("return a table"));
        }
        Ok(())
    }

    fn open(&self, _: &IoEnv) -> Result<std::sync::Arc<dyn IoManager>> {
        Ok(std::sync::Arc::new(flowstone_core::memory::MemoryIo::default()))
    }
}
