//! How graphs look in each format.

use flowstone_core::asset::{Asset, In, PartitionStream};
use flowstone_core::partition::{Daily, Monthly, Partitions};
use flowstone_core::pipeline::Pipeline;
use flowstone_lineage::render::{Format, assets, lineage};
use flowstone_lineage::{LineageGraph, LineageQuery};
use insta::assert_snapshot;

use crate::ledger::{From, Ledger};

/// raw → clean, with airlines if there are any; report by month and airport, and a model, from clean.
fn pipeline() -> Pipeline {
    let days = || Daily::from("2013-01-01").until("2014-01-01");
    let airports = Partitions::keys(["EWR", "JFK", "LGA"]);
    let months = Partitions::dimension("month", Monthly::from("2013-01").until("2014-01")).by("airport", airports);
    Pipeline::builder("flights")
        .asset(
            Asset::new("raw")
                .group("ingest")
                .tag("daily")
                .description("As published.")
                .partitions(days())
                .run(|| async { 1_i64 }),
        )
        .asset(Asset::new("airlines").group("ingest").run(|| async { 1_i64 }))
        .asset(
            Asset::new("clean")
                .partitions(days())
                .upstream("raw")
                .upstream("airlines")
                .run(|In(raw): In<i64>, airlines: Option<In<i64>>| async move {
                    raw + airlines.map_or(0, |In(value)| value)
                }),
        )
        .asset(
            Asset::new("report")
                .group("reports")
                .partitions(months)
                .upstream("clean")
                .run(|_days: PartitionStream<i64>| async { 1_i64 }),
        )
        .asset(
            Asset::new("model")
                .group("reports")
                .upstream("clean")
                .upstream("airlines")
                .run(|_days: PartitionStream<i64>, In(_): In<i64>| async { 1_i64 }),
        )
        .build()
        .unwrap()
}

#[test]
fn a_pipeline_as_a_text_tree_of_what_each_result_is_made_from() {
    assert_snapshot!(assets(pipeline().graph(), Format::Text), @r#"
    report (monthly × static)
    └─ clean (daily)
       ├─ raw (daily)
       └─ airlines
    model
    ├─ clean (daily) (see above)
    └─ airlines (see above)
    "#);
}

#[test]
fn a_pipeline_as_mermaid() {
    assert_snapshot!(assets(pipeline().graph(), Format::Mermaid), @r#"
    flowchart LR
      subgraph g0["ingest"]
        n0["raw<br/>daily"]
        n1["airlines"]
      end
      subgraph g1["reports"]
        n3["report<br/>monthly #215; static"]
        n4["model"]
      end
      n2["clean<br/>daily"]
      n0 --> n2
      n1 -.-> n2
      n2 --> n3
      n2 --> n4
      n1 --> n4
    "#);
}

#[test]
fn a_pipeline_as_dot() {
    assert_snapshot!(assets(pipeline().graph(), Format::Dot), @r#"
    digraph assets {
      rankdir=LR;
      node [shape=box];
      subgraph cluster_0 {
        label="ingest";
        n0 [label="raw\ndaily"];
        n1 [label="airlines"];
      }
      subgraph cluster_1 {
        label="reports";
        n3 [label="report\nmonthly × static"];
        n4 [label="model"];
      }
      n2 [label="clean\ndaily"];
      n0 -> n2;
      n1 -> n2 [style=dashed];
      n2 -> n3;
      n2 -> n4;
      n1 -> n4;
    }
    "#);
}

#[test]
fn a_pipeline_as_json() {
    assert_snapshot!(assets(pipeline().graph(), Format::Json), @r#"
    {
      "format": "flowstone.graph",
      "version": 1,
      "assets": [
        {
          "name": "raw",
          "description": "As published.",
          "group": "ingest",
          "tags": [
            "daily"
          ],
          "io": null,
          "partitions": {
            "kind": "daily",
            "description": "daily: 2013-01-01 to 2013-12-31, UTC"
          },
          "inputs": []
        },
        {
          "name": "airlines",
          "description": null,
          "group": "ingest",
          "tags": [],
          "io": null,
          "partitions": null,
          "inputs": []
        },
        {
          "name": "clean",
          "description": null,
          "group": null,
          "tags": [],
          "io": null,
          "partitions": {
            "kind": "daily",
            "description": "daily: 2013-01-01 to 2013-12-31, UTC"
          },
          "inputs": [
            {
              "asset": "raw",
              "reads": "value",
              "mapping": "identity"
            },
            {
              "asset": "airlines",
              "reads": "optional",
              "mapping": "all"
            }
          ]
        },
        {
          "name": "report",
          "description": null,
          "group": "reports",
          "tags": [],
          "io": null,
          "partitions": {
            "kind": "monthly × static",
            "description": "month (monthly: 2013-01 to 2013-12, UTC) × airport (static: 3 keys from EWR to LGA)"
          },
          "inputs": [
            {
              "asset": "clean",
              "reads": "stream",
              "mapping": "dimension month"
            }
          ]
        },
        {
          "name": "model",
          "description": null,
          "group": "reports",
          "tags": [],
          "io": null,
          "partitions": null,
          "inputs": [
            {
              "asset": "clean",
              "reads": "stream",
              "mapping": "all"
            },
            {
              "asset": "airlines",
              "reads": "value",
              "mapping": "identity"
            }
          ]
        }
      ]
    }
    "#);
}

#[test]
fn a_long_chain_begins_again_at_the_left() {
    let mut builder = Pipeline::builder("chain").asset(Asset::new("a0").run(|| async { 1_i64 }));
    for number in 1..=120 {
        let asset = Asset::new(format!("a{number}"))
            .upstream(format!("a{}", number - 1))
            .run(|In(value): In<i64>| async move { value });
        builder = builder.asset(asset);
    }

    let text = assets(builder.build().unwrap().graph(), Format::Text);

    let left: Vec<&str> = text.lines().filter(|line| line.starts_with('a')).collect();
    assert_eq!(left, ["a120", "a70", "a20"]);
    assert_eq!(text.lines().count(), 121 + 2);
    assert!(text.contains("└─ a70 (see below)\na70\n└─ a69\n"), "{text}");
}

async fn january() -> LineageGraph {
    let ledger = Ledger::default();
    let clean = ledger.asset("clean", Daily::from("2013-01-01")).await;
    let airlines = ledger.asset("airlines", Partitions::unit()).await;
    let report = ledger.asset("report", Monthly::from("2013-01")).await;
    ledger.made(airlines, (0, 0), 3, &[]).await;
    ledger.made(clean, (0, 30), 1, &[From(airlines, (0, 0), 3)]).await;
    ledger.made(clean, (4, 4), 2, &[From(airlines, (0, 0), 3)]).await;
    let days = [From(clean, (0, 3), 1), From(clean, (4, 4), 2), From(clean, (5, 30), 1)];
    ledger.made(report, (0, 0), 1, &days).await;
    ledger
        .upstream(&LineageQuery {
            depth_max: 1,
            ..LineageQuery::new(report, 0)
        })
        .await
}

#[tokio::test]
async fn lineage_as_mermaid() {
    assert_snapshot!(lineage(&january().await, Format::Mermaid), @r##"
    flowchart LR
      n0["report<br/>2013-01 v1"]
      n1["clean<br/>2013-01-01..2013-01-04 v1"]
      n2["clean<br/>2013-01-05 v2"]
      n3["clean<br/>2013-01-06..2013-01-31 v1"]
      n1 --> n0
      n2 --> n0
      n3 --> n0
      style n0 stroke-width:3px
      m1(["#8230; and 1 more"])
      m1 -.- n1
      m2(["#8230; and 1 more"])
      m2 -.- n2
      m3(["#8230; and 1 more"])
      m3 -.- n3
    "##);
}

#[tokio::test]
async fn lineage_as_dot() {
    assert_snapshot!(lineage(&january().await, Format::Dot), @r#"
    digraph lineage {
      rankdir=LR;
      node [shape=box];
      n0 [label="report\n2013-01 v1", penwidth=3];
      n1 [label="clean\n2013-01-01..2013-01-04 v1"];
      n2 [label="clean\n2013-01-05 v2"];
      n3 [label="clean\n2013-01-06..2013-01-31 v1"];
      n1 -> n0;
      n2 -> n0;
      n3 -> n0;
      m1 [label="… and 1 more", shape=plaintext];
      m1 -> n1 [style=dotted, arrowhead=none];
      m2 [label="… and 1 more", shape=plaintext];
      m2 -> n2 [style=dotted, arrowhead=none];
      m3 [label="… and 1 more", shape=plaintext];
      m3 -> n3 [style=dotted, arrowhead=none];
    }
    "#);
}

#[tokio::test]
async fn lineage_as_json() {
    assert_snapshot!(lineage(&january().await, Format::Json), @r#"
    {
      "format": "flowstone.lineage",
      "version": 1,
      "direction": "upstream",
      "complete": false,
      "nodes": [
        {
          "id": 0,
          "asset": "report",
          "partitions": {
            "first": "2013-01",
            "last": "2013-01",
            "count": 1
          },
          "version": 1,
          "depth": 0,
          "left_out": 0,
          "unread": 0
        },
        {
          "id": 1,
          "asset": "clean",
          "partitions": {
            "first": "2013-01-01",
            "last": "2013-01-04",
            "count": 4
          },
          "version": 1,
          "depth": 1,
          "left_out": 1,
          "unread": 0
        },
        {
          "id": 2,
          "asset": "clean",
          "partitions": {
            "first": "2013-01-05",
            "last": "2013-01-05",
            "count": 1
          },
          "version": 2,
          "depth": 1,
          "left_out": 1,
          "unread": 0
        },
        {
          "id": 3,
          "asset": "clean",
          "partitions": {
            "first": "2013-01-06",
            "last": "2013-01-31",
            "count": 26
          },
          "version": 1,
          "depth": 1,
          "left_out": 1,
          "unread": 0
        }
      ],
      "edges": [
        {
          "upstream": 1,
          "downstream": 0
        },
        {
          "upstream": 2,
          "downstream": 0
        },
        {
          "upstream": 3,
          "downstream": 0
        }
      ]
    }
    "#);
}

#[test]
fn formats_have_names() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
    }
    assert!("yaml".parse::<Format>().is_err());
}
