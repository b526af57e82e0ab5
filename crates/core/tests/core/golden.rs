//! Stored formats, byte for byte: what an older build wrote is read, and what this one writes, an equal one reads.
//!
//! A file in `golden/` is never changed. A format that changes gets a new version and a new file beside the old one,
//! written by running these tests with `FLOWSTONE_GOLDEN=write`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use flowstone_core::partition::{PartitionSelector, PartitionSet, SetSnapshot};
use flowstone_core::plan::{Force, Pace, PlannedAsset, Reason, Redrive, RunConfig, RunPlan, RunRequest};
use flowstone_core::store::Versions;
use flowstone_core::{AssetId, AssetKey, CodeVersion, ErrorKind, Result, Version};

/// The bytes of a golden file, which `written` must equal.
fn golden(name: &str, written: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var("FLOWSTONE_GOLDEN").is_ok_and(|wish| wish == "write") && !path.exists() {
        fs::write(&path, written).expect("the folder is writable");
    }
    let bytes = fs::read(&path).expect("the golden file is there");
    assert!(
        bytes == written,
        "{name} is written in other bytes than before: {written:02x?}"
    );
    bytes
}

/// Every shorter form is refused, and so is another version.
fn refuses_what_is_broken<T: std::fmt::Debug>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T>) {
    for len in 0..bytes.len() {
        let error = decode(&bytes[..len]).expect_err("a part is not the whole");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert_eq!(
        decode(&longer).expect_err("bytes are left over").kind(),
        ErrorKind::Corrupt
    );
}

fn refuses_another_version<T: std::fmt::Debug>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T>) {
    let mut newer = bytes.to_vec();
    newer[1] += 1;
    assert_eq!(
        decode(&newer).expect_err("a newer version").kind(),
        ErrorKind::Unsupported
    );
}

fn key(name: &str) -> AssetKey {
    AssetKey::new(name).unwrap()
}

fn set(ranges: &[(u64, u64)]) -> PartitionSet {
    ranges.iter().flat_map(|(first, last)| *first..=*last).collect()
}

fn config() -> RunConfig {
    let sections = serde_json::json!({ "übersicht": { "share": 0.1, "names": ["a", "\"b\"", "\u{0}"], "deep": null } });
    RunConfig(serde_json::from_value(sections).unwrap())
}

#[test]
fn a_run_plan_is_stored_as_ever() {
    let versions = |sets: &[(u64, &[(u64, u64)])]| {
        let mut versions = Versions::default();
        for (version, ranges) in sets {
            versions.add(Version(*version), set(ranges));
        }
        versions
    };
    let plan = RunPlan {
        planned_at: "2024-03-05T06:07:08.123456789Z".parse().unwrap(),
        config: config(),
        sets: vec![SetSnapshot {
            name: "kunden 'x'".to_owned(),
            len: 70_000,
            retired: set(&[(3, 3), (600, 700)]),
        }],
        assets: vec![
            Arc::new(PlannedAsset {
                key: key("raw"),
                id: AssetId(7),
                code_version: CodeVersion(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
                sourced: vec![(CodeVersion(u128::MAX), set(&[(3, 4)]))],
                steps: set(&[(0, 99), (70_000, 70_002)]),
                certain: set(&[(0, 9), (70_000, 70_000)]),
                reasons: vec![
                    (Reason::Missing, set(&[(0, 0)])),
                    (Reason::Forced, set(&[(1, 1)])),
                    (Reason::CodeChanged, set(&[(2, 3)])),
                    (Reason::UpstreamChanged, set(&[(4, 9), (70_000, 70_000)])),
                    (Reason::UpstreamPlanned, set(&[(10, 99), (70_001, 70_002)])),
                ],
                base: versions(&[(1, &[(1, 60)]), (u64::MAX, &[(61, 99)])]),
                pinned: vec![versions(&[]), versions(&[(3, &[(0, 5000)])])],
            }),
            Arc::new(PlannedAsset {
                key: key("übersicht"),
                id: AssetId(u32::MAX),
                code_version: CodeVersion(0),
                sourced: vec![],
                steps: set(&[(0, 0)]),
                certain: set(&[]),
                reasons: vec![(Reason::UpstreamPlanned, set(&[(0, 0)]))],
                base: versions(&[(1, &[(0, 0)])]),
                pinned: vec![],
            }),
        ],
    };

    let bytes = golden("run_plan.v1.bin", &plan.encode().unwrap());

    assert_eq!(RunPlan::decode(&bytes).unwrap(), plan);
    refuses_what_is_broken(&bytes, RunPlan::decode);
    refuses_another_version(&bytes, RunPlan::decode);
}

#[test]
fn a_run_request_is_stored_as_ever() {
    let requests = [
        RunRequest::default(),
        RunRequest {
            assets: vec![key("raw"), key("übersicht")],
            targets: vec![key("übersicht")],
            partitions: PartitionSelector::Range("2024-01-01..".to_owned()),
            force: Force::Downstream,
            config: config(),
            idempotency_key: Some("once, 'and' \u{0} only once".to_owned()),
            ..RunRequest::default()
        },
        RunRequest {
            partitions: PartitionSelector::Key("EWR".to_owned()),
            force: Force::All,
            ..RunRequest::default()
        },
        RunRequest {
            force: Force::Target,
            pace: Pace {
                concurrency: std::num::NonZeroU32::new(7),
                priority: -300,
            },
            redrive: Some(Redrive {
                of: "018f4e5c-8c4e-7cc0-9c4b-3c7a5a6d2f10".parse().unwrap(),
                steps: [(key("raw"), PartitionSet::from_range(3..70_000))].into(),
            }),
            ..RunRequest::default()
        },
    ];

    for (number, request) in requests.iter().enumerate() {
        let bytes = golden(&format!("run_request.{number}.v1.bin"), &request.encode().unwrap());
        assert_eq!(RunRequest::decode(&bytes).unwrap(), *request);
        refuses_what_is_broken(&bytes, RunRequest::decode);
        refuses_another_version(&bytes, RunRequest::decode);
    }
}

#[test]
fn a_partition_set_is_stored_as_ever() {
    let scattered = (0..5000).map(|number| number * 17 % 90_000).collect();
    let sets = [
        ("empty", set(&[])),
        ("one", set(&[(0, 0)])),
        ("range", PartitionSet::from_range(3..10_000_000)),
        ("ranges", set(&[(1, 2), (65_535, 65_536), (1 << 33, (1 << 33) + 4)])),
        ("scattered", scattered),
    ];

    for (name, set) in sets {
        let bytes = golden(&format!("partition_set.{name}.v1.bin"), &set.to_bytes());
        assert_eq!(PartitionSet::from_bytes(&bytes).unwrap(), set);
        if bytes.len() < 200 {
            refuses_what_is_broken(&bytes, PartitionSet::from_bytes);
        }
    }
}
