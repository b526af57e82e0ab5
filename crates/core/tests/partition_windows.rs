//! Windows: clock changes, ends, and arithmetic that agrees with stepping through them one by one.

use flowstone_core::ErrorKind;
use flowstone_core::partition::{
    BoundMapping, Cron, Daily, Granularity, Mapping, PartitionKey, PartitionSpace, Partitions, WindowSpace,
};
use jiff::civil::{DateTime, date};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

const ZONES: [&str; 6] = [
    "UTC",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
];

fn window(granularity: Granularity, zone: &str, start: &str, end: Option<&str>) -> WindowSpace {
    let civil = |text: &str| text.parse::<DateTime>().unwrap();
    WindowSpace::new(granularity, zone, civil(start), end.map(civil)).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn key(text: &str) -> PartitionKey {
    text.parse().unwrap()
}

fn any_window() -> impl Strategy<Value = WindowSpace> {
    let granularity = prop_oneof![
        (prop_oneof![Just(1_u32), Just(15), Just(7), Just(90)]).prop_map(Granularity::Minutes),
        Just(Granularity::Hourly),
        Just(Granularity::Daily),
        Just(Granularity::Weekly),
        Just(Granularity::Monthly),
        Just(Granularity::Yearly),
    ];
    (
        granularity,
        prop::sample::select(&ZONES[..]),
        2009_i16..2013,
        1_i8..=12,
        1_i8..=28,
        0_i8..24,
    )
        .prop_map(|(granularity, zone, year, month, day, hour)| {
            let start = match granularity {
                Granularity::Yearly => date(year, 1, 1).at(0, 0, 0, 0),
                Granularity::Monthly => date(year, month, 1).at(0, 0, 0, 0),
                _ => date(year, month, day).at(hour, 0, 0, 0),
            };
            WindowSpace::new(granularity, zone, start, None).unwrap()
        })
}

proptest! {
    #[test]
    fn keys_and_indices_round_trip(space in any_window(), index in prop_oneof![0_u64..2_000, any::<u64>()]) {
        let index = index % space.capacity();

        prop_assert_eq!(space.index_of(&space.key_of(index)).unwrap(), index);
    }

    #[test]
    fn windows_follow_each_other_without_a_gap(space in any_window(), index in 0_u64..3_000) {
        let index = index % (space.capacity() - 1);
        let (from, to) = space.interval_of(index);

        prop_assert!(from <= to);
        prop_assert_eq!(space.interval_of(index + 1).0, to);
    }

    #[test]
    fn a_window_overlaps_itself_and_no_neighbor(space in any_window(), index in 0_u64..3_000) {
        let index = index % (space.capacity() - 1);
        let (from, to) = space.interval_of(index);
        prop_assume!(from < to);
        let last = to.checked_sub(SignedDuration::from_nanos(1)).unwrap();

        let found = space.indices_overlapping(from, to);
        prop_assert!(found.contains(&index));
        // Only windows without time may come along.
        prop_assert!(found.clone().all(|other| other == index || space.interval_of(other).0 == space.interval_of(other).1));
        prop_assert!(space.indices_overlapping(from, from).contains(&index));
        prop_assert!(space.indices_overlapping(last, last).contains(&index));
        prop_assert!(!space.indices_overlapping(to, to).contains(&index));
    }

    #[test]
    fn overlap_agrees_with_looking_at_every_window(
        space in any_window(),
        from_hours in -2_000_i64..40_000,
        hours in 0_i64..2_000,
        quarter in 0_i64..4,
    ) {
        let start = space.interval_of(0).0;
        let from = start.checked_add(SignedDuration::from_mins(from_hours * 60 + quarter * 15)).unwrap();
        let to = from.checked_add(SignedDuration::from_hours(hours)).unwrap();

        let found = space.indices_overlapping(from, to);

        let around = found.start.saturating_sub(20)..found.end + 20;
        let naive = around.filter(|&index| {
            let (start, end) = space.interval_of(index);
            (start < to && end > from)
                || (start == end && from <= start && (start < to || from == to && start == to))
                || (from == to && start <= from && from < end)
        });
        prop_assert!(naive.eq(found.clone()), "{:?}", found);
    }

    #[test]
    fn the_length_counts_windows_that_are_over(space in any_window(), hours in -1_000_i64..60_000) {
        let now = space.interval_of(0).0.checked_add(SignedDuration::from_hours(hours)).unwrap();

        let len = space.len_at(now);

        prop_assert!(len == 0 || space.interval_of(len - 1).1 <= now);
        prop_assert!(space.interval_of(len).1 > now);
    }
}

#[test]
fn a_new_york_day_has_23_or_25_hours_when_the_clock_changes() {
    let days = window(
        Granularity::Daily,
        "America/New_York",
        "2013-01-01T00:00",
        Some("2014-01-01T00:00"),
    );
    let hours = window(Granularity::Hourly, "America/New_York", "2013-01-01T00:00", None);

    let length = |day: &str| {
        let (from, to) = days.interval_of(days.index_of(&key(day)).unwrap());
        (
            from.duration_until(to).as_hours(),
            hours.indices_overlapping(from, to).count(),
        )
    };

    assert_eq!(days.capacity(), 365);
    assert_eq!(length("2013-03-09"), (24, 24));
    assert_eq!(length("2013-03-10"), (23, 23));
    assert_eq!(length("2013-11-03"), (25, 25));
    assert_eq!(days.interval_of(0).0, at("2013-01-01T05:00:00Z"));
    assert_eq!(days.interval_of(180).0, at("2013-06-30T04:00:00Z"));
}

#[test]
fn a_day_that_the_zone_left_out_covers_no_time_and_keeps_its_index() {
    let days = window(Granularity::Daily, "Pacific/Apia", "2011-12-28T00:00", None);
    let skipped = days.index_of(&key("2011-12-30")).unwrap();
    let (from, to) = days.interval_of(skipped);

    assert_eq!(skipped, 2);
    assert_eq!(from, to);
    assert_eq!(days.interval_of(1).1, from);
    assert_eq!(days.interval_of(3).0, from);
    assert_eq!(days.len_at(from), 3);
}

#[test]
fn keys_name_windows_by_kind() {
    let monthly = window(Granularity::Monthly, "UTC", "2013-11-01T00:00", None);
    let weekly = window(Granularity::Weekly, "UTC", "2013-01-07T00:00", None);
    let quarters = window(Granularity::Minutes(15), "Asia/Kathmandu", "2013-01-01T00:00", None);

    assert_eq!(monthly.key_of(2), key("2014-01"));
    assert_eq!(weekly.key_of(1), key("2013-01-14"));
    assert_eq!(quarters.key_of(1), key("2012-12-31T18:30:00Z"));
    assert_eq!(
        window(Granularity::Yearly, "UTC", "2013-01-01T00:00", None).key_of(3),
        key("Y2016")
    );
}

#[test]
fn days_may_begin_at_any_time_of_day() {
    let days = window(Granularity::Daily, "America/New_York", "2013-01-01T06:00", None);

    assert_eq!(days.key_of(1), key("2013-01-02"));
    assert_eq!(days.interval_of(1).0, at("2013-01-02T11:00:00Z"));
    assert_eq!(days.len_at(at("2013-01-02T10:59:59Z")), 0);
    assert_eq!(days.len_at(at("2013-01-02T11:00:00Z")), 1);
}

#[test]
fn the_length_of_a_space_with_an_end_does_not_depend_on_now() {
    let year = window(Granularity::Daily, "UTC", "2013-01-01T00:00", Some("2014-01-01T00:00"));
    let open = window(Granularity::Daily, "UTC", "2013-01-01T00:00", None);

    assert_eq!(year.len_at(Timestamp::MIN), 365);
    assert_eq!(open.len_at(at("2013-01-01T23:59:59Z")), 0);
    assert_eq!(open.len_at(at("2013-01-02T00:00:00Z")), 1);
    assert_eq!(open.len_at(at("2012-01-01T00:00:00Z")), 0);
    assert_eq!(open.len_at(Timestamp::MAX), open.capacity());
    assert_eq!(open.len_at(Timestamp::MIN), 0);
}

#[test]
fn an_index_beyond_the_calendar_gives_the_last_window() {
    for granularity in [
        Granularity::Minutes(1),
        Granularity::Daily,
        Granularity::Monthly,
        Granularity::Yearly,
    ] {
        for zone in ZONES {
            let space = window(granularity.clone(), zone, "-009998-01-01T00:00", None);
            let last = space.capacity() - 1;

            assert_eq!(space.key_of(u64::MAX), space.key_of(last));
            assert_eq!(space.interval_of(u64::MAX), space.interval_of(last));
            assert_eq!(space.index_of(&space.key_of(last)).unwrap(), last);
            assert_eq!(space.indices_overlapping(Timestamp::MIN, Timestamp::MAX).start, 0);
        }
    }
}

#[test]
fn a_key_that_names_no_window_is_refused_with_what_would() {
    let daily = window(Granularity::Daily, "UTC", "2013-01-01T00:00", Some("2014-01-01T00:00"));
    let weekly = window(Granularity::Weekly, "UTC", "2013-01-07T00:00", None);
    let hourly = window(Granularity::Hourly, "UTC", "2013-01-01T00:00", None);

    let outside = daily.index_of(&key("2014-01-01")).unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::OutOfRange);
    assert!(outside.to_string().contains("2013-01-01 to 2013-12-31"), "{outside}");
    assert!(daily.index_of(&key("2012-12-31")).is_err());

    let month = daily.index_of(&key("2013-01")).unwrap_err();
    assert_eq!(
        month.to_string(),
        "failed to find partition 2013-01: it is a month, and the space is daily"
    );
    assert_eq!(month.advice(), Some("give a day as 2013-01-01"));

    let wednesday = weekly.index_of(&key("2013-01-16")).unwrap_err();
    assert_eq!(
        wednesday.advice(),
        Some("the window that holds it starts at 2013-01-14")
    );

    let half_past = hourly.index_of(&key("2013-01-01T05:30:00Z")).unwrap_err();
    assert_eq!(
        half_past.advice(),
        Some("the window that holds it starts at 2013-01-01T05:00:00Z")
    );
}

#[test]
fn a_definition_that_makes_no_windows_is_refused() {
    let civil = |text: &str| text.parse::<DateTime>().unwrap();
    let refused = |granularity, zone, start: &str, end: Option<&str>| {
        WindowSpace::new(granularity, zone, civil(start), end.map(civil)).unwrap_err()
    };

    let zone = refused(Granularity::Daily, "America/New_Yrok", "2013-01-01T00:00", None);
    assert_eq!(zone.kind(), ErrorKind::NotFound);
    assert!(
        zone.to_string().contains("there is no time zone \"America/New_Yrok\""),
        "{zone}"
    );

    let empty = refused(Granularity::Daily, "UTC", "2013-01-01T00:00", Some("2013-01-01T00:00"));
    assert!(empty.to_string().contains("is not after the start"), "{empty}");

    let cut = refused(Granularity::Weekly, "UTC", "2013-01-07T00:00", Some("2014-01-01T00:00"));
    assert_eq!(cut.advice(), Some("end at 2013-12-30 or 2014-01-06"));

    for (granularity, start) in [
        (Granularity::Monthly, "2013-01-02T00:00"),
        (Granularity::Monthly, "2013-01-01T01:00"),
        (Granularity::Yearly, "2013-02-01T00:00"),
        (Granularity::Minutes(0), "2013-01-01T00:00"),
        (Granularity::Minutes(u32::MAX), "2013-01-01T00:00"),
    ] {
        assert!(refused(granularity, "UTC", start, None).advice().is_some());
    }
}

#[test]
fn windows_may_begin_when_a_cron_expression_fires() {
    let space = Partitions::from(Cron::from("0 6 * * MON-FRI", "2024-03-01").zone("America/New_York"))
        .build()
        .unwrap();

    // Friday the first of March, then Monday; on the tenth the clocks change.
    assert_eq!(space.label(0), "2024-03-01T11:00:00Z");
    assert_eq!(space.label(1), "2024-03-04T11:00:00Z");
    assert_eq!(space.label(6), "2024-03-11T10:00:00Z");
    assert_eq!(space.window_of(0).unwrap().1, space.window_of(1).unwrap().0);
    let now = "2024-03-11T09:59:59Z".parse().unwrap();
    assert_eq!(space.len_at(now), 5);
    for index in (0..200_000).step_by(997) {
        assert_eq!(space.index_of(&space.key_of(index).unwrap()).unwrap(), index);
        assert_eq!(space.parse(&space.label(index)).unwrap(), index);
    }
    let stored = serde_json::to_string(&space).unwrap();
    assert_eq!(serde_json::from_str::<PartitionSpace>(&stored).unwrap(), space);
}

#[test]
fn windows_by_cron_map_to_days_and_to_each_other() {
    let mornings = Cron::from("0 6 * * MON-FRI", "2024-03-01").until("2024-03-12T06");
    let (mornings, days) = (
        Partitions::from(mornings).build().unwrap(),
        Partitions::from(Daily::from("2024-03-01").until("2024-03-15"))
            .build()
            .unwrap(),
    );

    let reads = BoundMapping::at_capacity(&Mapping::Window, &mornings, &days).unwrap();
    let before = BoundMapping::at_capacity(&Mapping::Offset(-1), &mornings, &mornings).unwrap();

    assert_eq!(mornings.capacity(), 7);
    // From Friday to Monday.
    assert_eq!(reads.upstream_interval(0), Some((0, 3)));
    assert_eq!(before.upstream_interval(3), Some((2, 2)));
}

#[test]
fn a_cron_expression_that_is_none_or_an_end_between_firings_is_refused() {
    let build = |partitions: Cron| Partitions::from(partitions).build().unwrap_err();

    assert_eq!(build(Cron::from("often", "2024-03-01")).stable_code(), "cron_invalid");
    let cut = build(Cron::from("0 6 * * *", "2024-03-01").until("2024-03-05"));
    assert_eq!(cut.stable_code(), "partition_space_cut");
    assert!(cut.advice().unwrap().contains("2024-03-04T06:00:00"), "{cut:?}");
    let nowhere = build(Cron::from("0 6 * * *", "2024-03-01").zone("Mars/Olympus"));
    assert_eq!(nowhere.stable_code(), "time_zone_unknown");
}
