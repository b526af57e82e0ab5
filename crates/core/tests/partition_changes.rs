//! What becomes of partitions when their space is defined anew.

use std::collections::BTreeMap;

use flowstone_core::partition::{
    Cron, Daily, DynamicKey, DynamicSpace, Granularity, Hourly, Monthly, PartitionKey, PartitionMoves, PartitionSet,
    PartitionSpace, Partitions, SpaceChange, Weekly,
};
use jiff::Timestamp;
use proptest::prelude::*;

fn built(partitions: impl Into<Partitions>) -> PartitionSpace {
    partitions.into().build().unwrap()
}

/// The middle of January 2013.
fn now() -> Timestamp {
    "2013-01-15T12:00:00Z".parse().unwrap()
}

fn change(old: &PartitionSpace, new: &PartitionSpace, partitions: &PartitionSet) -> SpaceChange {
    SpaceChange::between(old, new, partitions, now())
}

fn runs(moves: &PartitionMoves) -> Vec<(u64, u64, u64)> {
    moves.runs().iter().map(|run| (run.first, run.last, run.to)).collect()
}

fn orphans(space: &PartitionSpace, change: &SpaceChange) -> Vec<String> {
    change.orphaned.iter().map(|index| space.label(index)).collect()
}

#[test]
fn an_earlier_start_is_one_shift() {
    let old = built(Daily::from("2013-01-01"));
    let new = built(Daily::from("2003-01-01"));

    let change = change(&old, &new, &PartitionSet::full(1_000_000));

    assert_eq!(runs(&change.homes), [(0, 999_999, 3_653)]);
    assert_eq!((change.added, change.orphaned.len()), (3_653, 0));
}

#[test]
fn a_later_start_orphans_what_lies_before_it() {
    let (old, new) = (built(Daily::from("2013-01-01")), built(Daily::from("2013-01-03")));

    let change = change(&old, &new, &PartitionSet::full(5));

    assert_eq!(orphans(&old, &change), ["2013-01-01", "2013-01-02"]);
    assert_eq!((change.moved().len(), change.added), (3, 0));
}

#[test]
fn days_of_another_zone_or_length_are_other_partitions() {
    let old = built(Daily::from("2013-01-01").zone("America/New_York"));
    let others = [
        built(Daily::from("2013-01-01").zone("Europe/Berlin")),
        built(Hourly::from("2013-01-01T00").zone("America/New_York")),
        built(Monthly::from("2013-01").zone("America/New_York")),
        built(Partitions::keys([PartitionKey::Date("2013-01-01".parse().unwrap())])),
        built(Partitions::unit()),
    ];

    for new in others {
        let change = change(&old, &new, &PartitionSet::full(3));

        assert_eq!(change.orphaned, PartitionSet::full(3), "{}", new.describe());
        assert!(change.homes.is_empty(), "{}", new.describe());
    }
}

#[test]
fn hours_are_the_same_in_every_zone() {
    let old = built(Hourly::from("2013-01-01T00").zone("America/New_York"));
    let new = built(Hourly::from("2013-01-01T00"));

    let change = change(&old, &new, &PartitionSet::full(10));

    assert_eq!(runs(&change.homes), [(0, 9, 5)]);
}

#[test]
fn names_are_found_by_name() {
    let old = built(Partitions::keys(["a", "b", "c", "d"]));
    let new = built(Partitions::keys(["x", "c", "d", "b"]));

    let change = change(&old, &new, &PartitionSet::full(4));

    assert_eq!(runs(&change.homes), [(1, 1, 3), (2, 3, 1)]);
    assert_eq!((orphans(&old, &change), change.added), (vec!["a".to_owned()], 1));
}

/// A dynamic set to which `keys` were added.
fn set_of(name: &str, keys: &[&str]) -> PartitionSpace {
    let set = DynamicSpace::new(name).unwrap();
    let rows = (0..).zip(keys).map(|(index, key)| DynamicKey {
        index,
        key: PartitionKey::from(*key),
        added_at: now(),
        retired_at: None,
    });
    set.learn(rows).unwrap();
    PartitionSpace::Dynamic(set)
}

#[test]
fn a_dynamic_set_is_the_same_however_it_has_grown_and_others_are_told_by_their_keys() {
    let old = set_of("customers", &["ann", "bob"]);
    let grown = set_of("customers", &["ann", "bob", "eve"]);
    let other = set_of("people", &["bob", "ann"]);
    let listed = built(Partitions::keys(["zoe", "ann"]));

    assert!(old.is_start_of(&grown));
    assert_eq!(
        change(&old, &grown, &PartitionSet::full(2)).kept(),
        PartitionSet::full(2)
    );
    assert!(!old.is_start_of(&other));
    assert_eq!(
        runs(&change(&old, &other, &PartitionSet::full(2)).homes),
        [(0, 0, 1), (1, 1, 0)]
    );
    assert_eq!(runs(&change(&old, &listed, &PartitionSet::full(2)).homes), [(0, 0, 1)]);
    assert_eq!(runs(&change(&listed, &old, &PartitionSet::full(2)).homes), [(1, 1, 0)]);
    assert!(
        built(Partitions::keys(["ann"])).is_start_of(&old),
        "a set that begins with the keys that were listed"
    );
}

#[test]
fn a_product_is_compared_by_its_dimensions() {
    let days = |from| Partitions::from(Daily::from(from).until("2013-01-11"));
    let old = built(Partitions::dimension("origin", Partitions::keys(["EWR", "JFK"])).by("day", days("2013-01-01")));
    let new = built(Partitions::dimension("day", days("2012-12-31")).by("origin", Partitions::keys(["EWR", "LGA"])));

    let change = change(&old, &new, &PartitionSet::full(20));

    assert_eq!(change.orphaned, PartitionSet::from_range(10..20), "all of JFK");
    let one = old.parse("EWR|2013-01-03").unwrap();
    assert_eq!(change.homes.find(one), Some(new.parse("2013-01-03|EWR").unwrap()));
    assert_eq!(change.added, 12, "eleven days of LGA and one of EWR");
}

#[test]
fn a_longer_first_dimension_of_a_large_product_is_one_run() {
    let keys = || Partitions::keys((0..1_000_i64).map(PartitionKey::from));
    let old = built(Partitions::dimension("day", Daily::from("2013-01-01")).by("item", keys()));
    let new = built(Partitions::dimension("day", Daily::from("2012-12-31")).by("item", keys()));

    let change = change(&old, &new, &PartitionSet::full(10_000_000));

    assert_eq!(runs(&change.homes), [(0, 9_999_999, 1_000)]);
}

#[test]
fn only_what_grows_behind_its_end_is_the_start_of_another() {
    let days = |from: &str, until: &str| built(Daily::from(from).until(until));
    let old = days("2013-01-01", "2013-02-01");

    assert!(old.is_start_of(&old));
    assert!(old.is_start_of(&days("2013-01-01", "2013-03-01")));
    assert!(old.is_start_of(&built(Daily::from("2013-01-01"))));
    assert!(!old.is_start_of(&days("2012-12-31", "2013-02-01")));
    assert!(
        !old.is_start_of(&days("2013-01-01", "2013-01-31")),
        "its last day is gone"
    );
    assert!(!old.is_start_of(&built(Partitions::unit())));
    let by = |names: &[&'static str]| {
        let names = Partitions::keys(names.iter().copied());
        built(Partitions::dimension("name", names).by("day", Daily::from("2013-01-01")))
    };
    assert!(!by(&["a"]).is_start_of(&by(&["a", "b"])), "every day is longer now");
}

#[test]
fn a_dimension_of_one_value_may_stand_anywhere() {
    let one = |name: &'static str| Partitions::keys([name]);
    let days = || Daily::from("2013-01-01").until("2013-01-04");
    let old = built(Partitions::dimension("day", days()).by("place", one("here")));
    let new = built(Partitions::dimension("place", one("here")).by("day", days()));

    assert!(old.is_start_of(&new));
    let change = change(&old, &new, &PartitionSet::full(3));
    assert_eq!(
        (change.kept(), change.orphaned),
        (PartitionSet::full(3), PartitionSet::new())
    );
}

#[test]
fn what_stood_behind_the_end_is_orphaned() {
    let old = built(Daily::from("2013-01-01").until("2013-01-03"));
    let new = built(Daily::from("2012-12-31"));

    let change = change(&old, &new, &PartitionSet::full(3));

    assert_eq!(
        (runs(&change.homes), change.orphaned),
        (vec![(0, 1, 1)], PartitionSet::single(2))
    );
}

/// What a partition is, spelled out: nothing here is reckoned by runs.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Meaning {
    Unit,
    Named(String),
    Window(String, PartitionKey, Timestamp, Timestamp),
    Product(BTreeMap<String, Meaning>),
}

fn meaning(space: &PartitionSpace, index: u64) -> Meaning {
    let key = space.key_of(index).unwrap();
    match space {
        PartitionSpace::Unit => Meaning::Unit,
        PartitionSpace::Static(_) | PartitionSpace::Dynamic(_) => Meaning::Named(key.to_string()),
        PartitionSpace::Window(windows) => {
            let (from, to) = windows.interval_of(index);
            let kind = match windows.granularity() {
                Granularity::Hourly => "60 minutes".to_owned(),
                Granularity::Minutes(minutes) => format!("{minutes} minutes"),
                calendar => format!("{calendar} in {}", windows.zone_name()),
            };
            Meaning::Window(kind, key, from, to)
        }
        PartitionSpace::Product(product) => {
            let PartitionKey::Tuple(keys) = key else {
                panic!("a product has keys of several parts")
            };
            let parts = product.dimensions().zip(keys);
            Meaning::Product(
                parts
                    .map(|((name, space), key)| (name.to_owned(), meaning(space, space.index_of(&key).unwrap())))
                    .collect(),
            )
        }
    }
}

fn any_single() -> impl Strategy<Value = Partitions> {
    let zone = || prop::sample::select(vec!["UTC", "America/New_York"]);
    let start = || prop::sample::select(vec!["2013-01-01", "2013-01-02", "2013-01-07", "2013-01-08"]);
    let end = || prop::sample::select(vec!["2013-01-10", "2013-01-11"]);
    prop_oneof![
        prop::sample::subsequence(vec!["a", "b", "c", "d", "e"], 1..=5)
            .prop_shuffle()
            .prop_map(Partitions::keys),
        (start(), end(), zone()).prop_map(|(start, end, zone)| Daily::from(start).until(end).zone(zone).into()),
        (start(), end(), zone()).prop_map(|(start, end, zone)| {
            Daily::from(&*format!("{start}T06"))
                .until(&*format!("{end}T06"))
                .zone(zone)
                .into()
        }),
        prop::sample::select(vec![
            ("2013-01-01", "2013-01-22"),
            ("2013-01-08", "2013-02-05"),
            ("2013-01-02", "2013-01-23")
        ])
        .prop_map(|(start, end)| Weekly::from(start).until(end).into()),
        (prop::sample::select(vec!["2013-01-01T00", "2013-01-01T02"]), zone()).prop_map(|(start, zone)| Hourly::from(
            start
        )
        .until("2013-01-01T06")
        .zone(zone)
        .into()),
        (
            prop::sample::select(vec!["0 6 * * *", "0 6 * * MON-FRI"]),
            start(),
            zone()
        )
            .prop_map(|(rule, start, zone)| Cron::from(rule, start).until("2013-01-10T06").zone(zone).into()),
    ]
}

fn any_space() -> impl Strategy<Value = PartitionSpace> {
    let named = prop::sample::subsequence(vec!["p", "q", "r"], 2..=3).prop_shuffle();
    let product = (named, prop::collection::vec(any_single(), 3))
        .prop_map(|(names, singles)| Partitions::product(names.into_iter().map(str::to_owned).zip(singles)));
    prop_oneof![
        1 => Just(Partitions::unit()),
        1 => Just(Partitions::from(Daily::from("2013-01-04"))),
        3 => any_single(),
        2 => product,
    ]
    .prop_map(built)
}

/// Two spaces that have something to do with each other more often than not.
fn any_pair() -> impl Strategy<Value = (PartitionSpace, PartitionSpace)> {
    let singles = || prop::collection::vec(any_single(), 3);
    let alike = (
        singles(),
        any_single(),
        0..3_usize,
        Just(vec!["p", "q", "r"]).prop_shuffle(),
    )
        .prop_map(|(singles, other, changed, order)| {
            let dimensions: Vec<_> = ["p", "q", "r"].into_iter().zip(singles).collect();
            let mut later = dimensions.clone();
            later[changed].1 = other;
            later.sort_by_key(|(name, _)| order.iter().position(|other| other == name));
            let product = |dimensions: Vec<(&str, Partitions)>| {
                let named = dimensions.into_iter().map(|(name, space)| (name.to_owned(), space));
                built(Partitions::product(named))
            };
            (product(dimensions), product(later))
        });
    prop_oneof![(any_space(), any_space()), alike]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn runs_say_what_keys_say((old, new) in any_pair(), chosen in prop::collection::vec(any::<u64>(), 0..60), is_whole in any::<bool>()) {
        // Windows that the old definition never ends count up to the time being, and a few beyond.
        let (old_len, new_len) = (old.len_at(now()), new.len_at(now()));
        let room = old.capacity().min(old_len + 3);
        let partitions: PartitionSet = match is_whole {
            true => PartitionSet::full(room),
            false => chosen.into_iter().filter_map(|n| n.checked_rem(room)).collect(),
        };

        let change = SpaceChange::between(&old, &new, &partitions, now());

        let places: BTreeMap<Meaning, u64> =
            (0..new.capacity().min(new_len + 40)).map(|index| (meaning(&new, index), index)).collect();
        let mut kept = PartitionSet::new();
        let mut moved = Vec::new();
        let mut orphaned = PartitionSet::new();
        for index in partitions.iter() {
            match places.get(&meaning(&old, index)) {
                Some(place) if *place == index => {
                    kept.insert(index);
                }
                Some(place) => moved.push((index, *place)),
                None => {
                    orphaned.insert(index);
                }
            }
        }
        prop_assert_eq!(change.kept(), kept);
        prop_assert_eq!(change.moved().iter().map(|index| (index, change.homes.find(index).unwrap())).collect::<Vec<_>>(), moved);
        prop_assert_eq!(&change.orphaned, &orphaned);
        let known: std::collections::BTreeSet<Meaning> = (0..old_len).map(|index| meaning(&old, index)).collect();
        let added = (0..new_len).filter(|index| !known.contains(&meaning(&new, *index))).count();
        prop_assert_eq!(change.added, added as u64);
        let is_start = old.capacity() <= new.capacity()
            && (0..room).all(|index| places.get(&meaning(&old, index)) == Some(&index));
        if old.capacity() == room {
            prop_assert_eq!(old.is_start_of(&new), is_start);
        }
        prop_assert_eq!(change.homes.image(&partitions).len() + change.orphaned.len(), partitions.len());
    }
}
