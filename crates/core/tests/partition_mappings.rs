//! Mappings: what sets of one side read of the other agrees with asking partition by partition, both ways.

use flowstone_core::ErrorKind;
use flowstone_core::partition::{
    BoundMapping, Daily, EdgeShape, EveryMinutes, Hourly, Mapping, Monthly, PartitionKey, PartitionSet, PartitionSpace,
    Partitions, Weekly, Yearly,
};
use jiff::Timestamp;
use proptest::prelude::*;

fn built(partitions: impl Into<Partitions>) -> PartitionSpace {
    partitions.into().build().unwrap()
}

fn now() -> Timestamp {
    "2012-05-17T09:30:00Z".parse().unwrap()
}

fn bound(mapping: &Mapping, down: &PartitionSpace, up: &PartitionSpace) -> BoundMapping {
    BoundMapping::new(mapping, down, up, now()).unwrap()
}

fn inferred(down: &PartitionSpace, up: &PartitionSpace) -> BoundMapping {
    bound(&Mapping::infer(down, up).unwrap(), down, up)
}

macro_rules! with_end {
    ($windows:expr, $zone:expr, $end:expr) => {{
        let windows = $windows.zone($zone);
        let end: Option<&str> = $end;
        match end {
            Some(end) => Partitions::from(windows.until(end)),
            None => Partitions::from(windows),
        }
    }};
}
fn any_window() -> impl Strategy<Value = Partitions> {
    let zone = prop::sample::select(
        &[
            "UTC",
            "America/New_York",
            "Pacific/Apia",
            "Australia/Lord_Howe",
            "Asia/Kathmandu",
        ][..],
    );
    (0_u8..7, zone, 1_u8..29, any::<bool>()).prop_map(|(granularity, zone, day, ends)| {
        let start = format!("2011-12-{day:02}");
        let end = "2012-03-01";
        match granularity {
            0 => with_end!(EveryMinutes::from(90, start), zone, None),
            1 => with_end!(Hourly::from(start), zone, ends.then_some(end)),
            2 => with_end!(Daily::from(start), zone, ends.then_some(end)),
            3 => with_end!(Daily::from(format!("{start}T06")), zone, None),
            4 => with_end!(Weekly::from(start), zone, None),
            5 => with_end!(Monthly::from("2011-12"), zone, ends.then_some(end)),
            _ => with_end!(Yearly::from("2011"), zone, None),
        }
    })
}

fn any_keys() -> impl Strategy<Value = Partitions> {
    (1_i64..12).prop_map(|count| Partitions::keys(0..count))
}

fn any_product() -> impl Strategy<Value = Partitions> {
    let days = Partitions::from(Daily::from("2012-04-01"));
    let origins = Partitions::keys(["EWR", "JFK", "LGA"]);
    prop::sample::select(vec![
        Partitions::product([("day", days.clone()), ("origin", origins.clone())]),
        Partitions::product([("origin", origins.clone()), ("day", days.clone())]),
        Partitions::product([
            ("a", Partitions::keys(0..4)),
            ("origin", origins),
            ("b", Partitions::keys(["x", "y"])),
        ]),
        Partitions::product([("day", days.clone()), ("n", Partitions::keys(0..5))]),
    ])
}

/// Two spaces and a mapping that they allow.
fn any_edge() -> impl Strategy<Value = (Mapping, PartitionSpace, PartitionSpace)> {
    let windows = (any_window(), any_window()).prop_map(|(down, up)| (Mapping::Window, built(down), built(up)));
    let aligned =
        (0_i64..40, 0_i64..40, -50_i64..50, 1_u32..60, any::<bool>()).prop_map(|(down, up, by, n, offset)| {
            let days = |skip: i64| {
                let start = jiff::civil::date(2012, 3, 1)
                    .checked_add(jiff::Span::new().days(skip))
                    .unwrap();
                built(Daily::from(start.to_string()))
            };
            let mapping = if offset {
                Mapping::Offset(by)
            } else {
                Mapping::Trailing(n)
            };
            (mapping, days(down), days(up))
        });
    let anything = || prop_oneof![any_window(), any_keys(), any_product(), Just(Partitions::unit())].prop_map(built);
    let broad = (anything(), anything(), any::<bool>())
        .prop_map(|(down, up, all)| (if all { Mapping::All } else { Mapping::Last }, down, up));
    let same = anything().prop_map(|space| (Mapping::Identity, space.clone(), space));
    let table = prop::collection::vec((0_i64..8, 0_i64..5), 0..20).prop_map(|pairs| {
        let pairs = pairs.into_iter().map(|(down, up)| (down.into(), up.into()));
        (
            Mapping::Table(pairs.collect()),
            built(Partitions::keys(0..8)),
            built(Partitions::keys(0..5)),
        )
    });
    let custom = prop::collection::vec((0_i64..8, 0_i64..5), 0..20).prop_map(|pairs| {
        let reads = move |key: &PartitionKey| {
            let read = pairs.iter().filter(|(down, _)| PartitionKey::from(*down) == *key);
            read.map(|(_, up)| PartitionKey::from(*up)).collect::<Vec<_>>()
        };
        (
            Mapping::custom("drawn", "1", reads),
            built(Partitions::keys(0..8)),
            built(Partitions::keys(0..5)),
        )
    });
    let dimension = (
        any_product(),
        prop_oneof![
            any_window(),
            Just(Partitions::keys(["EWR", "JFK", "LGA"])),
            Just(Partitions::keys(["x", "y"])),
            Just(Partitions::keys(0..5)),
        ],
        any::<bool>(),
    )
        .prop_filter_map("nothing to infer", |(product, other, down)| {
            let (product, other) = (built(product), built(other));
            let (down, up) = if down { (product, other) } else { (other, product) };
            Mapping::infer(&down, &up).ok().map(|mapping| (mapping, down, up))
        });
    prop_oneof![4 => windows, 2 => aligned, 1 => broad, 1 => same, 1 => table, 1 => custom, 2 => dimension]
}

/// Runs and single members up to a little beyond `len`.
fn any_set(len: u64) -> impl Strategy<Value = PartitionSet> {
    let top = len + 5;
    prop::collection::vec((0..top, prop_oneof![Just(0), 0..top]), 0..6).prop_map(|runs| {
        let mut set = PartitionSet::new();
        runs.into_iter().for_each(|(lo, len)| set.insert_range(lo..=lo + len));
        set
    })
}

fn edge_and_sets() -> impl Strategy<Value = ((Mapping, PartitionSpace, PartitionSpace), PartitionSet, PartitionSet)> {
    any_edge().prop_flat_map(|edge| {
        let sets = (any_set(edge.1.len_at(now())), any_set(edge.2.len_at(now())));
        (Just(edge), sets).prop_map(|(edge, (down, up))| (edge, down, up))
    })
}

/// What `p` reads by the definition of the mapping, from keys and instants alone.
fn reads(mapping: &Mapping, down: &PartitionSpace, up: &PartitionSpace, p: u64, u: u64) -> bool {
    let key = |space: &PartitionSpace, index: u64| space.key_of(index).unwrap();
    match (mapping, down, up) {
        (Mapping::Identity, _, _) => key(down, p) == key(up, u),
        (Mapping::All, _, _) => true,
        (Mapping::Last, _, _) => u + 1 == up.len_at(now()),
        (Mapping::Custom(custom), _, _) => custom.reads(&key(down, p)).unwrap().contains(&key(up, u)),
        (Mapping::Table(pairs), _, _) => pairs.contains(&(key(down, p), key(up, u))),
        (Mapping::Window, PartitionSpace::Window(down), PartitionSpace::Window(up)) => {
            let ((a, b), (c, d)) = (down.interval_of(p), up.interval_of(u));
            let holds = |(from, to): (Timestamp, Timestamp), instant| from <= instant && instant < to;
            let same = down.granularity() == up.granularity() && down.zone_name() == up.zone_name();
            if same && down.start().time() == up.start().time() && down.shift_is_whole(up) {
                return down.key_of(p) == up.key_of(u);
            }
            (c < b && d > a) || (a == b && (holds((c, d), a) || c == a && d == a)) || (c == d && holds((a, b), c))
        }
        (Mapping::Offset(by), PartitionSpace::Window(down), PartitionSpace::Window(up)) => {
            days_apart(&down.key_of(p), &up.key_of(u)) == *by
        }
        (Mapping::Trailing(n), PartitionSpace::Window(down), PartitionSpace::Window(up)) => {
            (0..i64::from(*n)).contains(&-days_apart(&down.key_of(p), &up.key_of(u)))
        }
        (Mapping::Dimension(name), PartitionSpace::Product(product), other) => {
            let (space, digit) = along(product, &key(down, p), name);
            reads(&Mapping::infer(space, other).unwrap(), space, other, digit, u)
        }
        (Mapping::Dimension(name), other, PartitionSpace::Product(product)) => {
            let (space, digit) = along(product, &key(up, u), name);
            reads(&Mapping::infer(other, space).unwrap(), other, space, p, digit)
        }
        _ => unreachable!("no other mapping is made here"),
    }
}

trait SameGrid {
    fn shift_is_whole(&self, other: &Self) -> bool;
}

impl SameGrid for flowstone_core::partition::WindowSpace {
    fn shift_is_whole(&self, other: &Self) -> bool {
        let first = self.key_of(0).max(other.key_of(0));
        self.index_of(&first).is_ok() && other.index_of(&first).is_ok()
    }
}

fn days_apart(from: &PartitionKey, to: &PartitionKey) -> i64 {
    let (PartitionKey::Date(from), PartitionKey::Date(to)) = (from, to) else {
        panic!("both are days")
    };
    i64::from(from.until(*to).unwrap().get_days())
}

fn along<'a>(
    product: &'a flowstone_core::partition::ProductSpace,
    key: &PartitionKey,
    name: &str,
) -> (&'a PartitionSpace, u64) {
    let PartitionKey::Tuple(keys) = key else {
        panic!("a product has tuples")
    };
    let position = product.dimensions().position(|(other, _)| other == name).unwrap();
    let space = product.dimension(name).unwrap();
    (space, space.index_of(&keys[position]).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn one_partition_reads_what_the_definition_says(
        ((mapping, down, up), _, _) in edge_and_sets(),
        p in any::<prop::sample::Index>(),
    ) {
        let edge = bound(&mapping, &down, &up);
        prop_assume!(edge.down_len() > 0);
        let p = p.index(edge.down_len() as usize) as u64;

        let read = edge.upstream_of_one(p);

        // Looking at every upstream window of a long space would take minutes.
        let (lo, hi) = match (read.min(), read.max()) {
            (Some(lo), Some(hi)) => (lo.saturating_sub(30), hi + 30),
            _ => (0, 200),
        };
        for u in lo..edge.up_len().min(hi) {
            prop_assert_eq!(read.contains(u), reads(&mapping, &down, &up, p, u), "{} reads {}", p, u);
        }
    }

    #[test]
    fn a_set_reads_what_its_members_read(((mapping, down, up), some_down, _) in edge_and_sets()) {
        let edge = bound(&mapping, &down, &up);

        let read = edge.upstream_of(&some_down);

        let mut naive = PartitionSet::new();
        some_down.iter().for_each(|p| naive.union_with(&edge.upstream_of_one(p)));
        prop_assert_eq!(&read, &naive);
        prop_assert!(read.max().is_none_or(|last| last < edge.up_len()));
        prop_assert!(edge.upstream_of_one(edge.down_len()).is_empty());
    }

    #[test]
    fn readers_are_exactly_those_that_read(((mapping, down, up), _, some_up) in edge_and_sets()) {
        let edge = bound(&mapping, &down, &up);

        let readers = edge.downstream_of(&some_up);

        for p in 0..edge.down_len().min(3_000) {
            prop_assert_eq!(readers.contains(p), !edge.upstream_of_one(p).is_disjoint(&some_up), "{}", p);
        }
        prop_assert!(readers.max().is_none_or(|last| last < edge.down_len()));
    }

    #[test]
    fn interval_and_shape_agree_with_the_sets(
        ((mapping, down, up), _, _) in edge_and_sets(),
        p in any::<prop::sample::Index>(),
    ) {
        let edge = bound(&mapping, &down, &up);
        let p = p.index(edge.down_len() as usize + 2) as u64;
        let read = edge.upstream_of_one(p);

        prop_assert_eq!(edge.upstream_interval(p), read.as_interval());
        if p < edge.down_len() {
            match edge.kind() {
                EdgeShape::OneToOne { shift } => {
                    let target = i128::from(p) + i128::from(shift);
                    let expected: PartitionSet =
                        u64::try_from(target).ok().filter(|&u| u < edge.up_len()).into_iter().collect();
                    prop_assert_eq!(read, expected);
                }
                EdgeShape::Broadcast => prop_assert_eq!(read, edge.upstream_of_one(0)),
                EdgeShape::Many => {}
            }
        }
    }
}

#[test]
fn mappings_are_inferred_from_the_spaces() {
    let unit = built(Partitions::unit());
    let daily = built(Daily::from("2011-12-01"));
    let later = built(Daily::from("2012-01-01"));
    let monthly = built(Monthly::from("2011-12"));
    let origins = built(Partitions::keys(["EWR", "JFK"]));
    let more = built(Partitions::keys(["EWR", "JFK", "LGA"]));
    let carriers = built(Partitions::keys(["AA", "UA"]));
    let both =
        built(Partitions::dimension("day", Daily::from("2011-12-01")).by("origin", Partitions::keys(["EWR", "JFK"])));

    let infer = |down: &PartitionSpace, up: &PartitionSpace| Mapping::infer(down, up).ok();
    assert_eq!(infer(&daily, &daily), Some(Mapping::Identity));
    assert_eq!(infer(&unit, &unit), Some(Mapping::Identity));
    assert_eq!(infer(&daily, &later), Some(Mapping::Window));
    assert_eq!(infer(&monthly, &daily), Some(Mapping::Window));
    assert_eq!(infer(&daily, &monthly), Some(Mapping::Window));
    assert_eq!(infer(&daily, &unit), Some(Mapping::All));
    assert_eq!(infer(&unit, &daily), Some(Mapping::All));
    assert_eq!(infer(&origins, &more), Some(Mapping::Identity));
    assert_eq!(infer(&both, &monthly), Some(Mapping::Dimension("day".to_owned())));
    assert_eq!(infer(&origins, &both), Some(Mapping::Dimension("origin".to_owned())));

    for (down, up) in [(&origins, &carriers), (&daily, &origins), (&both, &carriers)] {
        let error = Mapping::infer(down, up).unwrap_err();
        assert_eq!(error.stable_code(), "partition_mapping_needed");
        assert!(error.advice().unwrap().contains("Mapping::All"));
    }
}

#[test]
fn a_month_reads_its_days_and_a_day_its_month() {
    let daily = built(Daily::from("2012-01-01").zone("America/New_York"));
    let monthly = built(Monthly::from("2012-01").zone("America/New_York"));
    let hourly = built(Hourly::from("2012-01-01").zone("America/New_York"));

    assert_eq!(inferred(&monthly, &daily).upstream_interval(1), Some((31, 59)));
    assert_eq!(inferred(&daily, &monthly).upstream_interval(59), Some((1, 1)));
    assert_eq!(
        inferred(&monthly, &daily)
            .downstream_of(&PartitionSet::single(31))
            .to_string(),
        "1"
    );
    // 2012-03-11 has 23 hours.
    assert_eq!(inferred(&daily, &hourly).upstream_of_one(70).len(), 23);
}

#[test]
fn the_same_days_from_another_start_are_a_shift() {
    let down = built(Daily::from("2012-02-01"));
    let up = built(Daily::from("2012-01-01").until("2012-02-10"));

    let edge = inferred(&down, &up);

    assert_eq!(edge.kind(), EdgeShape::OneToOne { shift: 31 });
    assert_eq!(edge.upstream_of(&PartitionSet::from_range(0..20)).to_string(), "31-39");
    assert_eq!(edge.upstream_interval(9), None);
}

#[test]
fn windows_that_are_not_over_are_not_read() {
    let daily = built(Daily::from("2012-01-01"));
    let unit = built(Partitions::unit());

    let edge = inferred(&unit, &daily);

    assert_eq!(edge.kind(), EdgeShape::Broadcast);
    assert_eq!(edge.upstream_interval(0), Some((0, 136)));
    assert_eq!(
        bound(&Mapping::Last, &unit, &daily).upstream_interval(0),
        Some((136, 136))
    );
}

#[test]
fn a_partition_may_read_its_own_past() {
    let daily = built(Daily::from("2012-01-01"));

    let yesterday = bound(&Mapping::Offset(-1), &daily, &daily);
    let week = bound(&Mapping::Trailing(7), &daily, &daily);

    assert_eq!(yesterday.kind(), EdgeShape::OneToOne { shift: -1 });
    assert_eq!(yesterday.upstream_interval(0), None);
    assert_eq!(yesterday.upstream_interval(5), Some((4, 4)));
    assert_eq!(week.upstream_interval(3), Some((0, 3)));
    assert_eq!(week.downstream_of(&PartitionSet::single(10)).to_string(), "10-16");
}

#[test]
fn a_mapping_that_the_spaces_do_not_allow_is_refused() {
    let daily = built(Daily::from("2012-01-01"));
    let monthly = built(Monthly::from("2012-01"));
    let origins = built(Partitions::keys(["EWR", "JFK"]));
    let both = built(Partitions::dimension("day", Daily::from("2011-12-01")).by("origin", Partitions::keys(["EWR"])));
    let table = |down: &str, up: &str| Mapping::Table(vec![(down.into(), up.into())]);

    let refused = [
        (Mapping::Identity, &daily, &monthly),
        (Mapping::Window, &daily, &origins),
        (Mapping::Offset(1), &daily, &monthly),
        (Mapping::Trailing(2), &origins, &origins),
        (Mapping::Trailing(0), &daily, &daily),
        (Mapping::Offset(i64::MAX), &daily, &built(Daily::from("2011-01-01"))),
        (table("EWR", "LGA"), &origins, &origins),
        (table("LGA", "EWR"), &origins, &origins),
        (Mapping::Dimension("day".to_owned()), &daily, &daily),
        (Mapping::Dimension("week".to_owned()), &daily, &both),
        (Mapping::Dimension("day".to_owned()), &both, &both),
    ];

    for (mapping, down, up) in refused {
        let error = BoundMapping::new(&mapping, down, up, now()).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound),
            "{mapping}: {error}"
        );
    }
}

#[test]
fn ten_million_partitions_map_as_runs() {
    let minutes = built(EveryMinutes::from(1, "1990-01-01").until("2010-01-01"));
    let days = built(Daily::from("1990-01-01").until("2010-01-01"));
    let all = PartitionSet::full(10_000_000);

    let edge = inferred(&minutes, &days);
    assert_eq!(edge.upstream_of(&all).to_string(), "0-6944");
    assert_eq!(edge.downstream_of(&PartitionSet::full(6_944)).len(), 6_944 * 1_440);
    assert_eq!(
        bound(&Mapping::Offset(-5), &minutes, &minutes)
            .upstream_of(&all)
            .to_string(),
        "0-9999994"
    );
}

#[test]
fn a_definition_can_be_checked_before_any_time_is_known() {
    let unit = built(Partitions::unit());
    let minutes = EveryMinutes::from(1, "2012-01-01");
    let wide = built(Partitions::dimension("minute", minutes).by("n", Partitions::keys(0..100)));

    assert!(BoundMapping::new(&Mapping::All, &unit, &wide, Timestamp::MAX).is_err());
    let edge = BoundMapping::at_capacity(&Mapping::All, &unit, &wide).unwrap();

    assert!(edge.upstream_of_one(0).len() > 1);
    assert!(BoundMapping::at_capacity(&Mapping::Window, &unit, &wide).is_err());
}
