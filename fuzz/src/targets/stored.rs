//! What the engine stores and sends: plans, requests, sets, cursors, errors, events.

use flowstone_core::partition::{PartitionSet, PartitionSpace, Partitions};
use flowstone_core::plan::{Planner, RunPlan, RunRequest};
use flowstone_core::reader::Cursor;
use flowstone_core::run::RunCounts;
use flowstone_core::store::{AssetStatus, EventKind, LineageInput};
use flowstone_core::{AssetId, Error, ErrorRecord};
use flowstone_testkit::Draw;
use flowstone_testkit::sketch::{Sketch, name, now};

use super::Target;

pub(super) const PLANS: Target = Target {
    name: "run_plan",
    corpus: || (0..8).filter_map(plan).collect(),
    run: |input| {
        let Ok(plan) = RunPlan::decode(input) else {
            return false;
        };
        let encoded = plan.encode().expect("a plan can be written");
        let again = RunPlan::decode(&encoded).expect("what was written can be read");
        assert_eq!(again.encode().expect("a plan can be written"), encoded);
        true
    },
};

fn plan(seed: u64) -> Option<Vec<u8>> {
    let sketch = Sketch::draw(&mut Draw::seeded(seed), 6);
    let pipeline = sketch.build();
    let ids: Vec<AssetId> = (0..sketch.assets.len() as u32).map(AssetId).collect();
    let statuses = vec![AssetStatus::default(); ids.len()];
    let planner = Planner {
        graph: pipeline.graph(),
        ids: &ids,
        statuses: &statuses,
        now: now(),
        sets: None,
    };
    let request = RunRequest {
        assets: (0..ids.len())
            .map(|number| name(number).parse().expect("a name"))
            .collect(),
        ..RunRequest::default()
    };
    Some(planner.plan(&request).ok()?.encode().ok()?.to_vec())
}

pub(super) const REQUESTS: Target = Target {
    name: "run_request",
    corpus: || {
        let keyed = RunRequest {
            assets: vec!["numbers".parse().expect("a name"), "total".parse().expect("a name")],
            idempotency_key: Some("once".to_owned()),
            ..RunRequest::default()
        };
        let requests = [RunRequest::default(), keyed];
        requests
            .iter()
            .filter_map(|request| Some(request.encode().ok()?.to_vec()))
            .collect()
    },
    run: |input| {
        let Ok(request) = RunRequest::decode(input) else {
            return false;
        };
        let encoded = request.encode().expect("a request can be written");
        let again = RunRequest::decode(&encoded).expect("what was written can be read");
        assert_eq!(again, request);
        true
    },
};

pub(super) const SETS: Target = Target {
    name: "partition_set",
    corpus: || {
        let sets = [
            PartitionSet::new(),
            PartitionSet::single(7),
            PartitionSet::from_range(0..100_000),
            (0..2_000).map(|number| number * 37).collect(),
            [0, 65_535, 65_536, u64::from(u32::MAX) + 1].into_iter().collect(),
        ];
        sets.iter().map(PartitionSet::to_bytes).collect()
    },
    run: |input| {
        let Ok(set) = PartitionSet::from_bytes(input) else {
            return false;
        };
        let again = PartitionSet::from_bytes(&set.to_bytes()).expect("what was written can be read");
        assert_eq!(again, set);
        true
    },
};

pub(super) const JSON: Target = Target {
    name: "stored_json",
    corpus: || {
        let named: Partitions = Partitions::keys(["a", "b"]);
        let error = Error::permanent("it failed").fix("mend it").to_record();
        let event = EventKind::Materialized {
            asset: AssetId(1),
            partitions: PartitionSet::from_range(0..9),
        };
        let cursor = Cursor {
            version: 1,
            position: vec![1, 2, 3],
        };
        [
            serde_json::to_vec(&named.build().expect("a space")),
            serde_json::to_vec(&PartitionSpace::Unit),
            serde_json::to_vec(&error),
            serde_json::to_vec(&event),
            serde_json::to_vec(&cursor),
            serde_json::to_vec(&RunCounts::default()),
        ]
        .into_iter()
        .map(|text| text.expect("it can be written"))
        .collect()
    },
    run: |input| {
        let others = [
            serde_json::from_slice::<ErrorRecord>(input)
                .map(ErrorRecord::into_error)
                .is_ok(),
            serde_json::from_slice::<EventKind>(input).is_ok(),
            serde_json::from_slice::<Cursor>(input).is_ok(),
            serde_json::from_slice::<LineageInput>(input).is_ok(),
        ];
        if let Ok(space) = serde_json::from_slice::<PartitionSpace>(input) {
            let text = serde_json::to_vec(&space).expect("a space can be written");
            let again: PartitionSpace = serde_json::from_slice(&text).expect("what was written can be read");
            assert_eq!(again, space);
            return true;
        }
        others.contains(&true)
    },
};
