//! Names are data, in every format.

use flowstone_core::asset::{Asset, In};
use flowstone_core::partition::Partitions;
use flowstone_core::pipeline::Pipeline;
use flowstone_lineage::LineageQuery;
use flowstone_lineage::render::{Format, assets, lineage};
use insta::assert_snapshot;

use crate::ledger::{From, Ledger};

/// Each tries to end or begin something in one of the formats.
const NAMES: [&str; 9] = [
    "end",
    "a\"];n9[\"b",
    "<b>bold</b> & &lt;\\N",
    "two\nlines",
    "%%{init: {}}%%",
    "style: \"x\"",
    "`markdown`",
    "Flüge 🛫",
    "__init__",
];

fn pipeline() -> Pipeline {
    let mut builder = Pipeline::builder("names").asset(Asset::new("source").run(|| async { 1_i64 }));
    for name in NAMES {
        let asset = Asset::new(name)
            .group(name)
            .upstream("source")
            .run(|In(value): In<i64>| async move { value });
        builder = builder.asset(asset);
    }
    builder.build().unwrap()
}

#[test]
fn in_the_graph_of_assets_as_text() {
    assert_snapshot!(assets(pipeline().graph(), Format::Text), @r#"
    end
    └─ source
    "a\"];n9[\"b"
    └─ source (see above)
    "<b>bold</b> & &lt;\\N"
    └─ source (see above)
    "two\nlines"
    └─ source (see above)
    "%%{init: {}}%%"
    └─ source (see above)
    "style: \"x\""
    └─ source (see above)
    "`markdown`"
    └─ source (see above)
    "Flüge 🛫"
    └─ source (see above)
    __init__
    └─ source (see above)
    "#);
}

#[test]
fn in_the_graph_of_assets_as_mermaid() {
    assert_snapshot!(assets(pipeline().graph(), Format::Mermaid), @r##"
    flowchart LR
      subgraph g0["end"]
        n1["end"]
      end
      subgraph g1["#34;a#92;#34;]#59;n9[#92;#34;b#34;"]
        n2["#34;a#92;#34;]#59;n9[#92;#34;b#34;"]
      end
      subgraph g2["#34;#60;b#62;bold#60;/b#62; #38; #38;lt#59;#92;#92;N#34;"]
        n3["#34;#60;b#62;bold#60;/b#62; #38; #38;lt#59;#92;#92;N#34;"]
      end
      subgraph g3["#34;two#92;nlines#34;"]
        n4["#34;two#92;nlines#34;"]
      end
      subgraph g4["#34;#37;#37;#123;init#58; #123;#125;#125;#37;#37;#34;"]
        n5["#34;#37;#37;#123;init#58; #123;#125;#125;#37;#37;#34;"]
      end
      subgraph g5["#34;style#58; #92;#34;x#92;#34;#34;"]
        n6["#34;style#58; #92;#34;x#92;#34;#34;"]
      end
      subgraph g6["#34;#96;markdown#96;#34;"]
        n7["#34;#96;markdown#96;#34;"]
      end
      subgraph g7["#34;Flüge #128747;#34;"]
        n8["#34;Flüge #128747;#34;"]
      end
      subgraph g8["#95;#95;init#95;#95;"]
        n9["#95;#95;init#95;#95;"]
      end
      n0["source"]
      n0 --> n1
      n0 --> n2
      n0 --> n3
      n0 --> n4
      n0 --> n5
      n0 --> n6
      n0 --> n7
      n0 --> n8
      n0 --> n9
    "##);
}

#[test]
fn in_the_graph_of_assets_as_dot() {
    assert_snapshot!(assets(pipeline().graph(), Format::Dot), @r#"
    digraph assets {
      rankdir=LR;
      node [shape=box];
      subgraph cluster_0 {
        label="end";
        n1 [label="end"];
      }
      subgraph cluster_1 {
        label="\"a\\\"];n9[\\\"b\"";
        n2 [label="\"a\\\"];n9[\\\"b\""];
      }
      subgraph cluster_2 {
        label="\"<b>bold</b> &amp; &amp;lt;\\\\N\"";
        n3 [label="\"<b>bold</b> &amp; &amp;lt;\\\\N\""];
      }
      subgraph cluster_3 {
        label="\"two\\nlines\"";
        n4 [label="\"two\\nlines\""];
      }
      subgraph cluster_4 {
        label="\"%%{init: {}}%%\"";
        n5 [label="\"%%{init: {}}%%\""];
      }
      subgraph cluster_5 {
        label="\"style: \\\"x\\\"\"";
        n6 [label="\"style: \\\"x\\\"\""];
      }
      subgraph cluster_6 {
        label="\"`markdown`\"";
        n7 [label="\"`markdown`\""];
      }
      subgraph cluster_7 {
        label="\"Flüge 🛫\"";
        n8 [label="\"Flüge 🛫\""];
      }
      subgraph cluster_8 {
        label="__init__";
        n9 [label="__init__"];
      }
      n0 [label="source"];
      n0 -> n1;
      n0 -> n2;
      n0 -> n3;
      n0 -> n4;
      n0 -> n5;
      n0 -> n6;
      n0 -> n7;
      n0 -> n8;
      n0 -> n9;
    }
    "#);
}

#[test]
fn in_the_graph_of_assets_as_json() {
    let json: serde_json::Value = serde_json::from_str(&assets(pipeline().graph(), Format::Json)).unwrap();

    let names: Vec<&str> = json["assets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|asset| asset["name"].as_str().unwrap())
        .collect();
    assert_eq!(names[1..], NAMES);
}

#[tokio::test]
async fn in_partitions() {
    let ledger = Ledger::default();
    let by_name = ledger.asset("by name", Partitions::keys(NAMES)).await;
    let total = ledger.asset("total", Partitions::unit()).await;
    ledger.made(by_name, (0, 8), 1, &[]).await;
    ledger
        .made(total, (0, 0), 1, &[From(by_name, (1, 3), 1), From(by_name, (5, 7), 1)])
        .await;

    let graph = ledger.upstream(&LineageQuery::new(total, 0)).await;

    assert_snapshot!(lineage(&graph, Format::Text), @r#"
    total v1
    ├─ "by name"["a\"];n9[\"b".."two\nlines"] v1
    └─ "by name"["style: \"x\""..Flüge 🛫] v1
    "#);
    assert_snapshot!(lineage(&graph, Format::Mermaid), @r##"
    flowchart LR
      n0["total<br/>v1"]
      n1["#34;by name#34;<br/>#34;a#92;#34;]#59;n9[#92;#34;b#34;..#34;two#92;nlines#34; v1"]
      n2["#34;by name#34;<br/>#34;style#58; #92;#34;x#92;#34;#34;..Flüge #128747; v1"]
      n1 --> n0
      n2 --> n0
      style n0 stroke-width:3px
    "##);
    assert_snapshot!(lineage(&graph, Format::Dot), @r#"
    digraph lineage {
      rankdir=LR;
      node [shape=box];
      n0 [label="total\nv1", penwidth=3];
      n1 [label="\"by name\"\n\"a\\\"];n9[\\\"b\"..\"two\\nlines\" v1"];
      n2 [label="\"by name\"\n\"style: \\\"x\\\"\"..Flüge 🛫 v1"];
      n1 -> n0;
      n2 -> n0;
    }
    "#);
}
