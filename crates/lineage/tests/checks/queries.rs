//! What queries find.

use flowstone_core::partition::{Daily, Monthly, Partitions};
use flowstone_core::store::Store;
use flowstone_core::{AssetId, ErrorKind, Version};
use flowstone_lineage::render::{Format, lineage};
use flowstone_lineage::{LineageGraph, LineageQuery, upstream};
use insta::assert_snapshot;

use crate::ledger::{From, Ledger};

fn text(graph: &LineageGraph) -> String {
    lineage(graph, Format::Text)
}

/// raw → clean, day by day; report of January from the days of clean and from airlines, which clean reads too.
async fn flights(ledger: &Ledger) -> [AssetId; 4] {
    let raw = ledger.asset("raw", Daily::from("2013-01-01")).await;
    let airlines = ledger.asset("airlines", Partitions::unit()).await;
    let clean = ledger.asset("clean", Daily::from("2013-01-01")).await;
    let report = ledger.asset("report", Monthly::from("2013-01")).await;
    ledger.made(raw, (0, 58), 1, &[]).await;
    ledger.made(airlines, (0, 0), 1, &[]).await;
    // Two chunks, so that the records are cut where no reader sees a seam.
    for (first, last) in [(0, 40), (41, 58)] {
        ledger
            .made_each(clean, (first, last), 1, &[From(raw, (first, last), 1)])
            .await;
    }
    [raw, airlines, clean, report]
}

#[tokio::test]
async fn a_chain_of_days_leads_from_a_day_to_that_day() {
    let ledger = Ledger::default();
    let [raw, _, clean, _] = flights(&ledger).await;

    assert_snapshot!(text(&ledger.upstream(&LineageQuery::new(clean, 44)).await), @r#"
    clean[2013-02-14] v1
    └─ raw[2013-02-14] v1
    "#);
    assert_snapshot!(text(&ledger.downstream(&LineageQuery::new(raw, 44)).await), @r#"
    raw[2013-02-14] v1
    └─ clean[2013-02-14] v1
    "#);
    assert_snapshot!(text(&ledger.upstream(&LineageQuery::new(raw, 44)).await), @"raw[2013-02-14] v1");
}

#[tokio::test]
async fn a_month_is_made_from_one_stretch_of_days() {
    let ledger = Ledger::default();
    let [raw, _, clean, report] = flights(&ledger).await;
    ledger.made(report, (0, 0), 1, &[From(clean, (0, 30), 1)]).await;
    ledger.made(report, (1, 1), 1, &[From(clean, (31, 58), 1)]).await;

    assert_snapshot!(text(&ledger.upstream(&LineageQuery::new(report, 1)).await), @r#"
    report[2013-02] v1
    └─ clean[2013-02-01..2013-02-28] v1
       └─ raw[2013-02-01..2013-02-28] v1
    "#);
    assert_snapshot!(text(&ledger.downstream(&LineageQuery::new(raw, 31)).await), @r#"
    raw[2013-02-01] v1
    └─ clean[2013-02-01] v1
       └─ report[2013-02] v1
    "#);
}

#[tokio::test]
async fn what_two_ways_lead_to_is_one_node() {
    let ledger = Ledger::default();
    let [_, airlines, clean, report] = flights(&ledger).await;
    ledger.made(clean, (0, 30), 2, &[From(airlines, (0, 0), 1)]).await;
    ledger
        .made(report, (0, 0), 1, &[From(clean, (0, 30), 2), From(airlines, (0, 0), 1)])
        .await;

    assert_snapshot!(text(&ledger.upstream(&LineageQuery::new(report, 0)).await), @r#"
    report[2013-01] v1
    ├─ airlines v1
    └─ clean[2013-01-01..2013-01-31] v2
       └─ airlines v1 (see above)
    "#);
    assert_snapshot!(text(&ledger.downstream(&LineageQuery::new(airlines, 0)).await), @r#"
    airlines v1
    ├─ clean[2013-01-01..2013-01-31] v2
    │  └─ report[2013-01] v1
    └─ report[2013-01] v1 (see above)
    "#);
}

#[tokio::test]
async fn versions_are_those_that_were_read() {
    let ledger = Ledger::default();
    let [raw, _, clean, report] = flights(&ledger).await;
    ledger.made(report, (0, 0), 1, &[From(clean, (0, 30), 1)]).await;
    ledger.made(raw, (14, 14), 2, &[]).await;
    ledger.made_each(clean, (14, 14), 2, &[From(raw, (14, 14), 2)]).await;
    let days = [
        From(clean, (0, 13), 1),
        From(clean, (14, 14), 2),
        From(clean, (15, 30), 1),
    ];
    ledger.made(report, (0, 0), 2, &days).await;
    let first = LineageQuery {
        version: Some(Version(1)),
        ..LineageQuery::new(report, 0)
    };

    assert_snapshot!(text(&ledger.upstream(&first).await), @r#"
    report[2013-01] v1
    └─ clean[2013-01-01..2013-01-31] v1
       └─ raw[2013-01-01..2013-01-31] v1
    "#);
    assert_snapshot!(text(&ledger.upstream(&LineageQuery::new(report, 0)).await), @r#"
    report[2013-01] v2
    ├─ clean[2013-01-01..2013-01-14] v1
    │  └─ raw[2013-01-01..2013-01-14] v1
    ├─ clean[2013-01-15] v2
    │  └─ raw[2013-01-15] v2
    └─ clean[2013-01-16..2013-01-31] v1
       └─ raw[2013-01-16..2013-01-31] v1
    "#);
    assert_snapshot!(text(&ledger.downstream(&LineageQuery::new(raw, 14)).await), @r#"
    raw[2013-01-15] v2
    └─ clean[2013-01-15] v2
       └─ report[2013-01] v2
    "#);
    assert_snapshot!(text(&ledger.downstream(&LineageQuery::new(raw, 13)).await), @r#"
    raw[2013-01-14] v1
    └─ clean[2013-01-14] v1
       ├─ report[2013-01] v1
       └─ report[2013-01] v2
    "#);
}

#[tokio::test]
async fn a_record_inside_a_stretch_is_found() {
    let ledger = Ledger::default();
    let [raw, airlines, clean, report] = flights(&ledger).await;
    ledger.made_each(clean, (0, 30), 2, &[From(raw, (0, 30), 1)]).await;
    ledger.made(report, (0, 0), 1, &[From(clean, (0, 30), 2)]).await;
    let extra = ledger.asset("extra", Partitions::unit()).await;
    ledger.made(extra, (0, 0), 1, &[From(airlines, (0, 0), 1)]).await;
    ledger.made(clean, (10, 11), 3, &[From(extra, (0, 0), 1)]).await;
    let days = [
        From(clean, (0, 9), 2),
        From(clean, (10, 11), 3),
        From(clean, (12, 30), 2),
    ];
    ledger.made(report, (0, 0), 2, &days).await;

    assert_snapshot!(text(&ledger.upstream(&LineageQuery::new(report, 0)).await), @r#"
    report[2013-01] v2
    ├─ clean[2013-01-01..2013-01-10] v2
    │  └─ raw[2013-01-01..2013-01-10] v1
    ├─ clean[2013-01-11..2013-01-12] v3
    │  └─ extra v1
    │     └─ airlines v1
    └─ clean[2013-01-13..2013-01-31] v2
       └─ raw[2013-01-13..2013-01-31] v1
    "#);
}

#[tokio::test]
async fn ten_years_of_days_are_one_node() {
    let ledger = Ledger::default();
    let days = ledger.asset("days", Daily::from("2010-01-01")).await;
    let smooth = ledger.asset("smooth", Daily::from("2010-01-01")).await;
    let total = ledger.asset("total", Partitions::unit()).await;
    ledger.made(days, (0, 3651), 1, &[]).await;
    for week in 0..522_u64 {
        let (first, last) = (7 * week, (7 * week + 6).min(3651));
        ledger
            .made(
                smooth,
                (first, last),
                1,
                &[From(days, (first.saturating_sub(6), last), 1)],
            )
            .await;
    }
    ledger.made(total, (0, 0), 1, &[From(smooth, (0, 3651), 1)]).await;

    let graph = ledger.upstream(&LineageQuery::new(total, 0)).await;

    assert!(graph.is_complete());
    assert_snapshot!(text(&graph), @r#"
    total v1
    └─ smooth[2010-01-01..2019-12-31] v1
       └─ days[2010-01-01..2019-12-31] v1
    "#);
    assert_snapshot!(text(&ledger.downstream(&LineageQuery::new(days, 3651)).await), @r#"
    days[2019-12-31] v1
    └─ smooth[2019-12-27..2019-12-31] v1
       └─ total v1
    "#);
}

#[tokio::test]
async fn depth_counts_what_lies_behind_it() {
    let ledger = Ledger::default();
    let [raw, airlines, clean, report] = flights(&ledger).await;
    ledger
        .made(report, (0, 0), 1, &[From(clean, (0, 30), 1), From(airlines, (0, 0), 1)])
        .await;
    let one_step = LineageQuery {
        depth_max: 1,
        ..LineageQuery::new(report, 0)
    };
    let no_step = LineageQuery {
        depth_max: 0,
        ..LineageQuery::new(raw, 0)
    };

    assert_snapshot!(text(&ledger.upstream(&one_step).await), @r#"
    report[2013-01] v1
    ├─ airlines v1
    └─ clean[2013-01-01..2013-01-31] v1
       └─ … and 1 more
    "#);
    assert_snapshot!(text(&ledger.downstream(&no_step).await), @r#"
    raw[2013-01-01] v1
    └─ … and 1 more
    "#);
}

#[tokio::test]
async fn nodes_are_bounded_nearest_first() {
    let ledger = Ledger::default();
    let total = ledger.asset("total", Partitions::unit()).await;
    let mut inputs = Vec::new();
    for number in 0..10 {
        let source = ledger.asset(&format!("source_{number}"), Partitions::unit()).await;
        let input = ledger.asset(&format!("input_{number}"), Partitions::unit()).await;
        ledger.made(source, (0, 0), 1, &[]).await;
        ledger.made(input, (0, 0), 1, &[From(source, (0, 0), 1)]).await;
        inputs.push(From(input, (0, 0), 1));
    }
    ledger.made(total, (0, 0), 1, &inputs).await;
    let few = LineageQuery {
        nodes_max: 4,
        ..LineageQuery::new(total, 0)
    };

    let graph = ledger.upstream(&few).await;

    assert!(!graph.is_complete());
    assert_snapshot!(text(&graph), @r#"
    total v1
    ├─ input_0 v1
    │  └─ … and 1 more
    ├─ input_1 v1
    │  └─ … and 1 more
    ├─ input_2 v1
    │  └─ … and 1 more
    └─ … and 7 more
    "#);
}

#[tokio::test]
async fn partitions_whose_records_were_not_read_are_counted() {
    let ledger = Ledger::default();
    let days = ledger.asset("days", Daily::from("0001-01-01")).await;
    let total = ledger.asset("total", Partitions::unit()).await;
    ledger.made(total, (0, 0), 1, &[From(days, (0, 69_999), 1)]).await;

    let graph = ledger.upstream(&LineageQuery::new(total, 0)).await;

    assert_snapshot!(text(&graph), @r#"
    total v1
    └─ days[0001-01-01..0192-08-26] v1
       └─ … 4465 partitions not followed
    "#);
}

#[tokio::test]
async fn records_that_run_in_a_circle_end() {
    let ledger = Ledger::default();
    let one = ledger.asset("one", Partitions::unit()).await;
    let other = ledger.asset("other", Partitions::unit()).await;
    ledger.made(one, (0, 0), 1, &[From(other, (0, 0), 1)]).await;
    ledger.made(other, (0, 0), 1, &[From(one, (0, 0), 1)]).await;

    assert_snapshot!(text(&ledger.upstream(&LineageQuery::new(one, 0)).await), @r#"
    one v1
    └─ other v1
       └─ one v1 (see above)
    "#);
    assert_snapshot!(text(&ledger.downstream(&LineageQuery::new(one, 0)).await), @r#"
    one v1
    └─ other v1
       └─ one v1 (see above)
    "#);
}

#[tokio::test]
async fn what_was_never_made_is_not_found_with_the_way_to_make_it() {
    let ledger = Ledger::default();
    let [raw, airlines, _, report] = flights(&ledger).await;
    let unmade = ledger.asset("un\"made", Partitions::unit()).await;
    let later = LineageQuery {
        version: Some(Version(4)),
        ..LineageQuery::new(airlines, 0)
    };

    let mut refusals = String::new();
    for query in [
        LineageQuery::new(report, 2),
        LineageQuery::new(raw, 100),
        LineageQuery::new(unmade, 0),
        later,
    ] {
        let error = upstream(&ledger.store, &query).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        refusals += &format!("{error:?}\n");
    }
    assert_snapshot!(refusals, @r#"
    failed to read lineage of report[2013-03]: it was never materialized [never_materialized]
    fix: make it with `run report --partition 2013-03`
    failed to read lineage of raw[2013-04-11]: it was never materialized [never_materialized]
    fix: make it with `run raw --partition 2013-04-11`
    failed to read lineage of "un\"made": it was never materialized [never_materialized]
    fix: make it with `run "un\"made"`
    failed to read lineage of airlines: it has no version 4, the current one is 1 [version_unknown]
    fix: leave the version out to get the current one
    "#);
}

#[tokio::test]
async fn people_name_assets_and_partitions() {
    let ledger = Ledger::default();
    let [raw, airlines, _, _] = flights(&ledger).await;
    let assets = ledger.store.assets().await.unwrap();
    let named = |name, partition| LineageQuery::named(&assets, name, partition);

    assert_eq!(named("raw", Some("2013-02-01")).unwrap(), LineageQuery::new(raw, 31));
    assert_eq!(named("airlines", None).unwrap(), LineageQuery::new(airlines, 0));
    assert_snapshot!(format!("{:?}", named("rwa", None).unwrap_err()), @r#"
    the store knows no asset called "rwa" [asset_unknown]
    fix: check the name with `list`, and that this is the state of the pipeline that you mean
    "#);
    assert_snapshot!(format!("{:?}", named("raw", None).unwrap_err()), @r#"
    failed to read lineage of raw: it is partitioned (daily: 2013-01-01 and later, UTC) [partition_needed]
    fix: name a partition, as `--partition 2013-01-01`
    "#);
    assert_snapshot!(format!("{:?}", named("raw", Some("January")).unwrap_err()), @r#"
    failed to find partition "January": it is no time, and the space is daily [partition_key_mismatch]
    fix: give a day as 2013-01-01
    "#);
    assert_snapshot!(format!("{:?}", named("airlines", Some("2013")).unwrap_err()), @r#"
    failed to find partition "2013": the asset is not partitioned [partition_unknown]
    fix: name no partition
    "#);
}
