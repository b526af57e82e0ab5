//! The flights pipeline as its author would test it: one report on given values, everything on one thread, and the same
//! while things go wrong.

use flowstone::prelude::*;
use flowstone_testkit::{Lab, OneAsset};

use crate::example::join::DayReport;
use crate::example::overview::Summary;
use crate::example::reports::{CarrierRow, RouteRow};
use crate::january;

/// The seed of what goes wrong. Any other must come to the same.
const SEED: u64 = 1;

#[tokio::test]
async fn one_report_is_made_from_given_values() {
    let pipeline = january().unwrap();
    let day = |day: &str, dep_delay_sum| DayReport {
        day: day.to_owned(),
        flown: 10,
        dep_delay_sum,
        ..DayReport::default()
    };
    let route = |dest: &str, flown| RouteRow {
        origin: "EWR".to_owned(),
        dest: dest.to_owned(),
        flown,
        ..RouteRow::default()
    };
    let carrier = CarrierRow {
        scheduled: 25,
        cancelled: 5,
        ..CarrierRow::default()
    };

    let summary: Option<Summary> = OneAsset::of(&pipeline, "summary")
        .given_partition("day_report", "2013-01-01", day("2013-01-01", 30))
        .given_partition("day_report", "2013-01-02", day("2013-01-02", 90))
        .given_partition("carrier_report", "2013-01", vec![carrier])
        .given_partition("route_report", "2013-01", vec![route("SFO", 3), route("BOS", 7)])
        .make()
        .await
        .unwrap();

    let summary = summary.expect("there is something to sum up");
    assert_eq!((summary.flown, summary.dep_delay_sum, summary.scheduled), (20, 120, 25));
    assert_eq!(summary.busiest.map(|route| route.dest), Some("BOS".to_owned()));
    assert_eq!(summary.worst_day.map(|day| day.day), Some("2013-01-02".to_owned()));
}

#[tokio::test]
async fn a_value_that_does_not_belong_there_is_refused_by_name() {
    let pipeline = january().unwrap();
    let of = |asset: &str| OneAsset::of(&pipeline, asset);

    let unread = of("summary")
        .given("airlines", 1_i64)
        .make::<Summary>()
        .await
        .unwrap_err();
    let mistyped = of("summary")
        .given_partition("day_report", "2013-01-01", 1_i64)
        .make::<Summary>()
        .await;
    let unknown = of("sumary").make::<Summary>().await.unwrap_err();

    assert!(unread.to_string().contains("airlines"), "{unread}");
    assert_eq!(mistyped.unwrap_err().kind(), ErrorKind::TypeMismatch);
    assert!(format!("{unknown:?}").contains("summary"), "{unknown:?}");
}

#[test]
fn january_comes_to_the_same_whatever_goes_wrong() {
    let pipeline = january().unwrap();
    let mut calm = Lab::new(&pipeline).unwrap();
    let steps = calm.run_all().unwrap().counts.succeeded;
    let expected = calm.data_versions().unwrap();
    assert_eq!(expected.len() as u64, steps);
    assert_eq!(calm.run_all().unwrap().counts.total, 0, "what is current is left alone");

    let mut lab = Lab::new(&pipeline).unwrap();
    let disturbed = lab.run_all_under_faults(SEED).unwrap();

    assert_eq!(disturbed.report.counts.succeeded, steps, "{disturbed:?}");
    assert_eq!(lab.data_versions().unwrap(), expected);
    let went_wrong = disturbed.crashes + disturbed.commits_failed + disturbed.stores_failed;
    assert!(went_wrong > 0, "nothing went wrong");
    let busiest = calm.value::<Summary>("summary", "").unwrap().busiest.unwrap();
    assert!(busiest.flown > 0);
}
