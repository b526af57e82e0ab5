//! Assets that are made from earlier partitions of their own, and from one upstream in two ways.

use flowstone_core::asset::{Asset, AssetContext, In, PartitionStream, Upstream};
use flowstone_core::partition::{Daily, Mapping, PartitionSet, Partitions};
use flowstone_core::plan::{Force, RunRequest};
use flowstone_core::run::RunState;
use flowstone_core::{Error, ErrorKind, Version};

use crate::support::{Count, all_of, engine, forced, one_of, within};

fn days() -> Daily {
    Daily::from("2024-01-01").until("2024-01-11")
}

/// Each day is one more than the day before.
fn counted() -> Asset {
    Asset::new("counted")
        .partitions(days())
        .upstream(Upstream::new("counted").mapping(Mapping::Offset(-1)))
        .run(|before: Option<In<i64>>| async move { before.map_or(1, |In(before)| before + 1) })
}

#[tokio::test]
async fn each_day_is_made_from_the_day_before() {
    let engine = engine([counted()]).await;

    let report = within(engine.run(all_of(&["counted"]))).await.unwrap();

    assert_eq!((report.state, report.counts.succeeded), (RunState::Succeeded, 10));
    assert_eq!(engine.load::<i64>("counted", "2024-01-10").await.unwrap(), 10);
    let made_from = engine
        .store()
        .inputs_of(engine.asset_ids()[0], 4, Version(1))
        .await
        .unwrap();
    assert_eq!(
        made_from.iter().map(|row| row.upstream_of(4)).collect::<Vec<_>>(),
        [Some((3, 3))]
    );
    assert!(engine.plan(&all_of(&["counted"])).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_change_reaches_the_days_after_it_and_stops_where_nothing_changed() {
    // Grows by what is made of each day, up to a ceiling.
    let now = Count::default();
    let counting = now.clone();
    let capped = Asset::new("capped")
        .partitions(days())
        .upstream(Upstream::new("capped").mapping(Mapping::Preceding(2)))
        .run(move |mut before: PartitionStream<i64>| {
            let start = counting.get() as i64;
            async move {
                let mut most = start;
                while let Some(value) = before.next().await? {
                    most = most.max(value + 1);
                }
                Ok::<_, Error>(most.min(5))
            }
        });
    let engine = engine([capped]).await;
    within(engine.run(all_of(&["capped"]))).await.unwrap();
    assert_eq!(engine.load::<i64>("capped", "2024-01-06").await.unwrap(), 5);

    now.add();
    let request = RunRequest {
        force: Force::Target,
        ..one_of("capped", "2024-01-01")
    };
    within(engine.run(request)).await.unwrap();
    let stale = engine.store().status(engine.asset_ids()[0]).await.unwrap().stale;
    assert_eq!(stale, PartitionSet::from_range(1..=2));
    let plan = engine.plan(&all_of(&["capped"])).await.unwrap();
    assert_eq!((plan.assets[0].certain.clone(), plan.steps()), (stale, 9));
    let report = within(engine.run(all_of(&["capped"]))).await.unwrap();

    // From the sixth day on all is at the ceiling, as before.
    assert_eq!(
        (report.state, report.counts.succeeded, report.counts.skipped),
        (RunState::Succeeded, 6, 3)
    );
    assert!(engine.plan(&all_of(&["capped"])).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_day_that_fails_takes_the_days_after_it_along_and_no_others() {
    let failing = Asset::new("failing")
        .partitions(Partitions::dimension("day", days()).by("key", Partitions::keys(["a", "b"])))
        .upstream(Upstream::new("failing").mapping(Mapping::Offset(-1)))
        .run(|ctx: AssetContext, before: Option<In<i64>>| async move {
            if ctx.partition_label() == "2024-01-04|b" {
                return Err(Error::new(ErrorKind::User, "no data"));
            }
            Ok(before.map_or(1, |In(before)| before + 1))
        });
    let engine = engine([failing]).await;

    let report = within(engine.run(all_of(&["failing"]))).await.unwrap();

    let counts = report.counts;
    assert_eq!((counts.succeeded, counts.failed, counts.dependency_failed), (13, 1, 6));
    assert_eq!(engine.load::<i64>("failing", "2024-01-10|a").await.unwrap(), 10);
}

#[tokio::test]
async fn one_upstream_is_read_in_two_ways() {
    let sales = Asset::new("sales")
        .partitions(days())
        .run(|ctx: AssetContext| async move { ctx.window().map_or(0, |(start, _)| start.as_second() / 86_400 % 100) });
    let growth = Asset::new("growth")
        .partitions(days())
        .upstream("sales")
        .upstream(Upstream::new("sales").mapping(Mapping::Offset(-1)))
        .run(|In(today): In<i64>, before: Option<In<i64>>| async move { before.map(|In(before)| today - before) });
    let engine = engine([sales, growth]).await;

    let report = within(engine.run(forced(&["sales", "growth"]))).await.unwrap();

    assert_eq!((report.state, report.counts.succeeded), (RunState::Succeeded, 20));
    assert_eq!(engine.load::<Option<i64>>("growth", "2024-01-01").await.unwrap(), None);
    assert_eq!(
        engine.load::<Option<i64>>("growth", "2024-01-07").await.unwrap(),
        Some(1)
    );
}
