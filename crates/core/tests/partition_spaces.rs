//! Spaces as people meet them: written down, labelled, parsed and selected from.

use flowstone_core::ErrorKind;
use flowstone_core::partition::{
    Daily, EveryMinutes, Hourly, Monthly, PartitionKey, PartitionSelector, PartitionSet, PartitionSpace, Partitions,
    Weekly, Yearly,
};
use jiff::Timestamp;
use proptest::prelude::*;

fn built(partitions: impl Into<Partitions>) -> PartitionSpace {
    partitions.into().build().unwrap()
}

fn flights() -> PartitionSpace {
    built(Partitions::dimension("origin", Partitions::keys(["EWR", "JFK", "LGA"])).by("day", Daily::from("2013-01-01")))
}

/// After the end of January 2014.
fn now() -> Timestamp {
    "2014-02-01T12:00:00Z".parse().unwrap()
}

fn chosen(space: &PartitionSpace, text: &str) -> Vec<String> {
    labels(space, &select(space, text).unwrap())
}

fn select(space: &PartitionSpace, text: &str) -> flowstone_core::Result<PartitionSet> {
    let selector = match text.contains("..") {
        true => PartitionSelector::Range(text.to_owned()),
        false => PartitionSelector::Key(text.to_owned()),
    };
    space.select(&selector, now())
}

fn labels(space: &PartitionSpace, set: &PartitionSet) -> Vec<String> {
    set.iter().map(|index| space.label(index)).collect()
}

fn any_space() -> impl Strategy<Value = PartitionSpace> {
    let keys = prop::collection::btree_set(
        prop_oneof![
            "[A-C*|.\"() 1-]{0,4}".prop_map(PartitionKey::Text),
            (0_i64..20).prop_map(PartitionKey::from),
            any::<bool>().prop_map(PartitionKey::Bool),
            (0_i64..9).prop_map(|n| PartitionKey::Tuple(vec![n.into(), PartitionKey::from("x|y")])),
        ],
        1..6,
    );
    let single = prop_oneof![
        keys.prop_map(Partitions::keys),
        Just(
            Daily::from("2013-01-01")
                .zone("America/New_York")
                .until("2013-03-01")
                .into()
        ),
        Just(Monthly::from("2013-01").until("2014-01").into()),
        Just(Yearly::from("2013").until("2020").into()),
        Just(Weekly::from("2013-01-07").until("2013-03-04").into()),
        Just(
            Hourly::from("2013-03-10T00")
                .zone("America/New_York")
                .until("2013-03-11")
                .into()
        ),
    ];
    let product = prop::collection::vec(single.clone(), 2..4).prop_map(|dimensions| {
        Partitions::product(
            dimensions
                .into_iter()
                .enumerate()
                .map(|(n, space)| (format!("d{n}"), space)),
        )
    });
    prop_oneof![single, product, Just(Partitions::unit())].prop_map(built)
}

proptest! {
    #[test]
    fn labels_keys_and_indices_name_the_same_partition(space in any_space(), index in any::<u64>()) {
        let index = index % space.capacity();
        let key = space.key_of(index).unwrap();

        prop_assert_eq!(space.index_of(&key).unwrap(), index);
        prop_assert_eq!(space.parse(&space.label(index)).unwrap(), index, "{}", space.label(index));
        prop_assert_eq!(space.parse(&key.to_string()).unwrap(), index, "{}", key);
        if !space.is_unit() {
            let only = space.select(&PartitionSelector::Key(space.label(index)), now()).unwrap();
            prop_assert_eq!(only, PartitionSet::single(index));
        }
        prop_assert!(space.key_of(space.capacity()).is_err());
    }

    #[test]
    fn labels_are_distinct(space in any_space()) {
        let mut labels: Vec<_> = (0..space.capacity().min(300)).map(|index| space.label(index)).collect();
        let count = labels.len();
        labels.sort();
        labels.dedup();
        prop_assert_eq!(labels.len(), count);
    }

    #[test]
    fn a_box_selection_is_the_combinations(days in 0_u64..31, length in 0_u64..31, origins in 0_u64..3, more in 0_u64..3) {
        let space = flights();
        let day = |n: u64| format!("2013-01-{:02}", n.min(30) + 1);
        let origin = |n: u64| ["EWR", "JFK", "LGA"][n.min(2) as usize];
        let text = format!("{}|{}..{}|{}", origin(origins), day(days), origin(origins + more), day(days + length));

        let set = space.parse_range(&text).unwrap();

        let mut naive = PartitionSet::new();
        for d in days..=(days + length).min(30) {
            for o in origins..=(origins + more).min(2) {
                naive.insert(space.parse(&format!("{}|{}", origin(o), day(d))).unwrap());
            }
        }
        prop_assert_eq!(set, naive);
    }

    #[test]
    fn hostile_selections_never_panic(space in any_space(), text in "[-*|.\"()A-C0-9:TZY]{0,24}") {
        let _ = select(&space, &text);
        let _ = space.parse_range(&text);
        let _ = space.parse(&text);
    }
}

#[test]
fn labels_are_what_people_write() {
    assert_eq!(built(Partitions::unit()).label(0), "-");
    assert_eq!(built(Daily::from("2013-01-01")).label(31), "2013-02-01");
    assert_eq!(built(Monthly::from("2013-01")).label(1), "2013-02");
    assert_eq!(built(Yearly::from("2013")).label(0), "2013");
    assert_eq!(
        built(Hourly::from("2013-01-01T00").zone("America/New_York")).label(0),
        "2013-01-01T05:00:00Z"
    );
    assert_eq!(
        built(EveryMinutes::from(15, "2013-01-01T00")).label(1),
        "2013-01-01T00:15:00Z"
    );
    assert_eq!(flights().label(4), "JFK|2013-01-02");
    assert_eq!(flights().label(u64::MAX), "#18446744073709551615");

    let keys = built(Partitions::keys(["EWR", "1", "a|b", "true", "", "2013", "*", "a b"]));
    let labels: Vec<_> = (0..8).map(|index| keys.label(index)).collect();
    assert_eq!(
        labels,
        [
            "EWR", "\"1\"", "\"a|b\"", "\"true\"", "\"\"", "\"2013\"", "\"*\"", "a b"
        ]
    );
}

#[test]
fn a_dimension_that_grows_is_the_most_significant_digit() {
    let space = flights();

    assert_eq!(space.key_of(1).unwrap().to_string(), "(\"JFK\", 2013-01-01)");
    assert_eq!(space.parse("EWR|2013-01-02").unwrap(), 3);
    assert_eq!(space.len_at("2013-01-03T00:00:00Z".parse().unwrap()), 6);
    assert_eq!(space.len_at("2013-01-04T00:00:00Z".parse().unwrap()), 9);
}

#[test]
fn one_time_literal_means_its_time_in_every_space() {
    let daily = built(Daily::from("2013-01-01").until("2014-01-01"));
    let monthly = built(Monthly::from("2013-01").until("2014-01"));
    let yearly = built(Yearly::from("2013"));
    let weekly = built(Weekly::from("2013-01-07"));
    let hourly = built(Hourly::from("2013-01-01T00").zone("America/New_York"));

    assert_eq!(chosen(&daily, "2013-02").len(), 28);
    assert_eq!(chosen(&daily, "2013-02")[0], "2013-02-01");
    assert_eq!(chosen(&daily, "2013").len(), 365);
    assert_eq!(chosen(&daily, "2013-01-05T10"), ["2013-01-05"]);
    assert_eq!(chosen(&daily, "2013-01-05T10:00:00Z"), ["2013-01-05"]);
    assert_eq!(chosen(&monthly, "2013-02"), ["2013-02"]);
    assert_eq!(chosen(&monthly, "2013-02-03"), ["2013-02"]);
    assert_eq!(chosen(&yearly, "2013-02"), ["2013"]);
    assert_eq!(chosen(&weekly, "2013-01"), ["2013-01-07", "2013-01-14", "2013-01-21"]);
    assert_eq!(chosen(&weekly, "2013-01-16"), ["2013-01-14"]);
    assert_eq!(chosen(&hourly, "2013-03-10").len(), 23);
    assert_eq!(chosen(&hourly, "2013-03-09T23"), ["2013-03-10T04:00:00Z"]);
    assert_eq!(chosen(&built(Partitions::unit()), "2013-02"), ["-"]);
}

#[test]
fn ranges_include_both_ends() {
    let daily = built(Daily::from("2013-01-01"));
    let weekly = built(Weekly::from("2013-01-07"));
    let origins = built(Partitions::keys(["EWR", "JFK", "LGA"]));

    assert_eq!(daily.parse_range("2013-01-01..2013-01-31").unwrap().to_string(), "0-30");
    assert_eq!(daily.parse_range("2013-01..2013-02").unwrap().to_string(), "0-58");
    assert_eq!(chosen(&weekly, "2013-01-07..2013-01-14"), ["2013-01-07", "2013-01-14"]);
    assert_eq!(
        chosen(&built(Monthly::from("2013-01")), "2013-01-10..2013-01-20"),
        ["2013-01"]
    );
    assert_eq!(chosen(&origins, "EWR..JFK"), ["EWR", "JFK"]);
    assert_eq!(chosen(&origins, "JFK.."), ["JFK", "LGA"]);
    assert_eq!(select(&daily, "2014-01-30..").unwrap().len(), 2);
    assert_eq!(select(&daily, "..2013-01-02").unwrap().to_string(), "0-1");
    assert_eq!(
        daily.parse_range("2013-01-02..").unwrap_err().kind(),
        ErrorKind::Invalid
    );
}

#[test]
fn a_product_is_selected_part_by_part() {
    let space = flights();

    assert_eq!(chosen(&space, "JFK|2013-01-02"), ["JFK|2013-01-02"]);
    assert_eq!(chosen(&space, "(\"JFK\", 2013-01-02)"), ["JFK|2013-01-02"]);
    assert_eq!(chosen(&space, "JFK|2013-02").len(), 28);
    assert_eq!(
        chosen(&space, "*|2013-01-02"),
        ["EWR|2013-01-02", "JFK|2013-01-02", "LGA|2013-01-02"]
    );
    assert_eq!(chosen(&space, "2013-01-02").len(), 3);
    assert_eq!(select(&space, "JFK").unwrap().len(), 396);
    assert_eq!(select(&space, "2013-01-01..2013-01-31").unwrap().to_string(), "0-92");
    assert_eq!(select(&space, "JFK|2013-01-01..JFK|2013-01-31").unwrap().len(), 31);
    assert_eq!(space.select(&PartitionSelector::All, now()).unwrap().len(), 396 * 3);
}

#[test]
fn what_the_space_does_not_hold_is_refused_with_what_it_holds() {
    let daily = built(Daily::from("2013-01-01"));
    let year = built(Daily::from("2013-01-01").until("2014-01-01"));
    let origins = built(Partitions::keys(["EWR", "JFK", "LGA"]));
    let refusal = |space: &PartitionSpace, text: &str| select(space, text).unwrap_err();

    assert_eq!(
        refusal(&year, "2014-05-01").to_string(),
        "failed to find partition 2014-05-01: the space holds 2013-01-01 to 2013-12-31"
    );
    assert_eq!(refusal(&year, "2012").kind(), ErrorKind::OutOfRange);
    assert_eq!(refusal(&year, "2012-12-01..2013-01-31").kind(), ErrorKind::OutOfRange);
    assert_eq!(refusal(&year, "2013-12-01..2014-01-31").kind(), ErrorKind::OutOfRange);
    assert!(year.parse_range("2013-12-01..2014-01-31").is_err());

    let early = refusal(&daily, "2014-02-01");
    assert!(
        early.to_string().contains("the last window that is over is 2014-01-31"),
        "{early}"
    );

    let backwards = refusal(&daily, "2013-02-01..2013-01-01");
    assert!(
        backwards.to_string().contains("the range runs backwards"),
        "{backwards}"
    );
    assert_eq!(backwards.advice(), Some("write it as 2013-01-01..2013-02-01"));
    assert!(refusal(&origins, "LGA..EWR").to_string().contains("backwards"));

    assert_eq!(refusal(&origins, "JKF").advice(), Some("did you mean JFK?"));
    assert_eq!(refusal(&origins, "jfk").advice(), Some("did you mean JFK?"));
    assert!(refusal(&origins, "SFO").to_string().contains("3 keys from EWR to LGA"));
    assert!(
        refusal(&origins, "2013-01")
            .to_string()
            .contains("3 keys from EWR to LGA")
    );

    let word = refusal(&daily, "EWR");
    assert_eq!(
        word.to_string(),
        "failed to find partition \"EWR\": it is no time, and the space is daily"
    );
    assert!(
        daily
            .parse("2013-01")
            .unwrap_err()
            .to_string()
            .contains("a month, and the space is daily")
    );

    assert!(
        refusal(&flights(), "a|b|c")
            .to_string()
            .contains("2 parts: origin, day")
    );
    assert!(refusal(&flights(), "SFO").advice().is_some());
    assert_eq!(refusal(&flights(), "2012-01-01").kind(), ErrorKind::OutOfRange);
    for text in ["..", "a..b..c"] {
        assert!(refusal(&origins, text).advice().is_some(), "{text}");
    }
    assert_eq!(
        built(Partitions::unit()).parse("EWR").unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn what_is_written_wrong_is_said_when_it_is_built() {
    let refusal = |partitions: Partitions| partitions.build().unwrap_err().to_string();

    assert_eq!(
        refusal(Daily::from("January").into()),
        "failed to define daily partitions: the start \"January\" is no calendar time"
    );
    assert!(refusal(Daily::from("2013-01-01").until("never").into()).contains("the end \"never\""));
    assert!(refusal(Hourly::from("2013-01-01T00:00:00Z").into()).contains("no calendar time"));
    assert!(
        refusal(Daily::from("2013-01-01").zone("Mars/Base").into()).contains("there is no time zone \"Mars/Base\"")
    );
    assert!(refusal(Monthly::from("2013-01-02").into()).contains("is not the start of a month"));
    assert!(refusal(EveryMinutes::from(0, "2013-01-01").into()).contains("0 minutes"));
    assert!(refusal(Partitions::keys(["a", "b", "a"])).contains("the key comes twice"));
    assert!(refusal(Partitions::keys(["x".repeat(2_000)])).contains("the limit is 1024 bytes"));
    assert!(refusal(Partitions::keys::<&str>([])).contains("there are no keys"));

    let day = || Partitions::from(Daily::from("2013-01-01"));
    assert!(refusal(Partitions::product([("a", day()), ("b", day())])).contains("\"a\" and \"b\" grow"));
    assert!(refusal(Partitions::product([("a", day()), ("a", day())])).contains("two dimensions are called \"a\""));
    assert!(refusal(day().by("b", Partitions::keys(["x"]))).contains("dimension 1 has no name"));
    assert!(refusal(Partitions::product([("a", Partitions::unit()), ("b", day())])).contains("is not partitioned"));
    assert!(refusal(Partitions::product::<&str, Partitions>([])).contains("0 dimensions lie outside 2 to 16"));
    let nested = Partitions::keys(["x"]);
    let nested = Partitions::product([
        ("a", Partitions::dimension("b", day()).by("c", nested.clone())),
        ("d", nested),
    ]);
    assert!(refusal(nested).contains("has dimensions itself"));

    let minutes = || EveryMinutes::from(1, "0000-01-01").until("9990-01-01");
    let huge = Partitions::product([("a", minutes()), ("b", minutes()), ("c", minutes())]);
    assert!(refusal(huge).contains("more combinations than an index can count"));
}

#[test]
fn selecting_more_than_a_set_may_hold_is_refused() {
    let minutes = || EveryMinutes::from(1, "0000-01-01").until("5000-01-01");
    let space = built(Partitions::product([("a", minutes()), ("b", minutes())]));

    let error = space.select(&PartitionSelector::All, now()).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}
