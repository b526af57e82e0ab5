//! Many runs, and many partitions.

use flowstone_core::asset::{Asset, AssetContext, In, PartitionStream};
use flowstone_core::run::RunState;

use crate::support::{all_of, engine, numbered, one_of, within};

fn number(context: &AssetContext) -> i64 {
    context.partition_label().parse().unwrap()
}

#[tokio::test]
async fn hundreds_of_small_runs_at_once() {
    let engine = engine([Asset::new("number")
        .partitions(numbered(300))
        .run(|context: AssetContext| async move { number(&context) })])
    .await;

    let mut runs = Vec::new();
    for partition in 0..300 {
        runs.push(engine.submit(one_of("number", &partition.to_string())).await.unwrap());
    }

    for run in runs {
        let report = within(run.wait()).await.unwrap();
        assert_eq!((report.state, report.counts.succeeded), (RunState::Succeeded, 1));
    }
    assert_eq!(engine.load::<i64>("number", "299").await.unwrap(), 299);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_partitions() {
    let engine = engine([
        Asset::new("number")
            .partitions(numbered(10_000))
            .run(|context: AssetContext| async move { number(&context) }),
        Asset::new("double")
            .partitions(numbered(10_000))
            .upstream("number")
            .run(|In(number): In<i64>| async move { 2 * number }),
        Asset::new("sum")
            .upstream("double")
            .run(|mut doubles: PartitionStream<i64>| async move {
                let mut sum = 0;
                while let Some(double) = doubles.next().await? {
                    sum += double;
                }
                Ok::<_, flowstone_core::Error>(sum)
            }),
    ])
    .await;

    let report = within(engine.run(all_of(&["number", "double", "sum"]))).await.unwrap();

    assert_eq!(
        (report.state, report.counts.succeeded),
        (RunState::Succeeded, 20_001),
        "{report:?}"
    );
    assert_eq!(engine.load::<i64>("sum", "").await.unwrap(), 10_000 * 9_999);
}
