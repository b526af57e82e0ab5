//! Questions about lineage, against a plain search over all inputs.

use flowstone_core::store::{ChunkProgress, LineageInput, Record, Store};
use flowstone_core::{AssetId, Version};
use flowstone_store::SqliteStore;
use proptest::prelude::*;

use super::samples::*;

fn an_interval() -> impl Strategy<Value = (u64, u64)> {
    let first = prop_oneof![0..20_u64, 0..100_000_u64, Just((1 << 62) + 5)];
    let span = prop_oneof![4 => Just(0), 4 => 0..20_u64, 2 => 0..70_000_u64, 1 => Just(u64::from(u32::MAX)), 1 => Just(1 << 61)];
    (first, span).prop_map(|(first, span)| (first, first + span))
}

fn an_input() -> impl Strategy<Value = LineageInput> {
    let assets = (0..3_u32, 0..3_u32, 1..4_u64, 0..4_u64);
    (assets, an_interval(), an_interval(), any::<bool>()).prop_map(
        |((asset, upstream, version, upstream_version), partitions, from, one_to_one)| LineageInput {
            asset: AssetId(asset),
            partitions,
            version: Version(version),
            upstream: AssetId(upstream),
            from: if one_to_one {
                (from.0, from.0 + (partitions.1 - partitions.0))
            } else {
                from
            },
            one_to_one,
            upstream_version: Version(upstream_version),
        },
    )
}

fn sorted(mut inputs: Vec<LineageInput>) -> Vec<LineageInput> {
    inputs.sort_by_key(|input| {
        (
            input.asset,
            input.partitions,
            input.version,
            input.upstream,
            input.from,
            input.upstream_version,
            input.one_to_one,
        )
    });
    inputs.dedup();
    inputs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_interval_is_found_at_each_of_its_points_and_nowhere_else(inputs in prop::collection::vec(an_input(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let state = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(state.path()).await.unwrap();
            let assets = declare(&store, 3).await;
            let recorded = ChunkProgress { inputs: inputs.clone(), ..progress(assets[0], 0, 1) };
            take(&store, &[created(RUN), claim(assets[0], 0, 1, set([0])), Record::ChunkProgress(recorded)]).await;

            let points = inputs.iter().flat_map(|input| [input.partitions, input.from]);
            let points = points.flat_map(|(first, last)| [first.saturating_sub(1), first, last, last + 1]);
            for (no, point) in points.enumerate().filter(|(no, _)| no % 3 == 0) {
                let asset = AssetId(no as u32 % 3);
                let version = Version(no as u64 % 4);
                let found = sorted(store.inputs_of(asset, point, version).await.unwrap());
                let expected = inputs.iter().filter(|input| {
                    input.asset == asset && input.version == version && input.upstream_of(point).is_some()
                });
                prop_assert_eq!(found, sorted(expected.copied().collect()));

                for version in [None, Some(version)] {
                    let found = sorted(store.uses_of(asset, point, version).await.unwrap());
                    let expected = inputs.iter().filter(|input| {
                        input.upstream == asset
                            && version.is_none_or(|version| input.upstream_version == version)
                            && input.downstream_of(point).is_some()
                    });
                    prop_assert_eq!(found, sorted(expected.copied().collect()));
                }
            }
            Ok(())
        })?;
    }
}
