//! Dynamic sets: what is known of their keys, what is selected and read of them, and what a plan keeps seeing.

use flowstone_core::ErrorKind;
use flowstone_core::partition::{
    BoundMapping, Daily, DynamicKey, DynamicSpace, KEY_BYTES_PER_CALL_MAX, KEYS_PER_CALL_MAX, Mapping, PartitionKey,
    PartitionSelector, PartitionSet, PartitionSpace, Partitions,
};
use jiff::Timestamp;
use proptest::prelude::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn now() -> Timestamp {
    "2024-03-01T00:00:00Z".parse().unwrap()
}

fn row(index: u64, key: impl Into<PartitionKey>, retired: Option<i64>) -> DynamicKey {
    DynamicKey {
        index,
        key: key.into(),
        added_at: at(index as i64 / 2),
        retired_at: retired.map(at),
    }
}

/// A set of these names, of which those with a time are retired.
fn set(names: &[(&str, Option<i64>)]) -> DynamicSpace {
    let set = DynamicSpace::new("names").unwrap();
    let rows = names.iter().enumerate();
    set.learn(rows.map(|(index, (name, retired))| row(index as u64, *name, *retired)))
        .unwrap();
    set
}

fn names() -> DynamicSpace {
    set(&[
        ("ann", None),
        ("bob", Some(7)),
        ("cid", None),
        ("dan", Some(9)),
        ("eve", None),
    ])
}

fn key(text: &str) -> PartitionSelector {
    PartitionSelector::Key(text.to_owned())
}

fn range(text: &str) -> PartitionSelector {
    PartitionSelector::Range(text.to_owned())
}

fn of(members: impl IntoIterator<Item = u64>) -> PartitionSet {
    members.into_iter().collect()
}

/// Days first, since the set is what grows.
fn by_day(names: &DynamicSpace) -> PartitionSpace {
    let product = Partitions::dimension("day", Daily::from("2024-02-01").until("2024-02-03"))
        .by("name", Partitions::dynamic("names"))
        .build()
        .unwrap();
    product.with_sets(&mut |_| names.clone())
}

proptest! {
    #[test]
    fn any_key_leads_to_its_index_and_back(texts in prop::collection::btree_set(any::<String>(), 1..20), numbers in 0_i64..9) {
        let texts = texts.into_iter().filter(|text| text.len() <= 1024).map(PartitionKey::Text);
        let keys: Vec<_> = texts.chain((0..numbers).map(PartitionKey::from)).chain([PartitionKey::Unit]).collect();
        let space = DynamicSpace::new("any").unwrap();
        space.learn((0..).zip(&keys).map(|(index, key)| row(index, key.clone(), None))).unwrap();
        let space = PartitionSpace::Dynamic(space);
        let written = keys.iter().flat_map(PartitionKey::encode).collect::<Vec<_>>();
        let mut rest = &written[..];
        for key in &keys {
            let (read, others) = PartitionKey::decode_first(rest).unwrap();
            prop_assert_eq!(&read, key);
            rest = others;
        }
        prop_assert!(rest.is_empty());

        for (index, key) in (0..).zip(&keys) {
            prop_assert_eq!(&space.key_of(index).unwrap(), key);
            prop_assert_eq!(space.index_of(key).unwrap(), index);
            prop_assert_eq!(space.parse(&key.to_string()).unwrap(), index);
            let label = space.label(index);
            prop_assert_eq!(space.parse(&label).unwrap(), index, "{}", label);
            prop_assert_eq!(space.select(&PartitionSelector::Key(label), now()).unwrap(), PartitionSet::single(index));
        }
    }

    #[test]
    fn sets_read_what_single_partitions_read_and_nothing_that_is_retired(
        len in 0_u64..9,
        retired in prop::collection::btree_set(0_u64..9, 0..5),
        down in prop::collection::btree_set(0_u64..20, 0..9),
        kind in 0_usize..4,
    ) {
        let keys = DynamicSpace::new("names").unwrap();
        keys.learn((0..len).map(|index| row(index, index as i64, retired.contains(&index).then_some(1)))).unwrap();
        let (dynamic, days) = (PartitionSpace::Dynamic(keys.clone()), Partitions::from(Daily::from("2024-02-01").until("2024-02-03")).build().unwrap());
        let up = if kind == 2 { by_day(&keys) } else { dynamic.clone() };
        let mapping = [Mapping::All, Mapping::Last, Mapping::Dimension("day".to_owned()), Mapping::Identity][kind].clone();
        let space = if kind == 3 { dynamic } else { days };
        let bound = BoundMapping::new(&mapping, &space, &up, now()).unwrap();
        let down = of(down.into_iter().filter(|index| *index < space.len_at(now())));

        let naive = |from: u64| -> Vec<u64> {
            let live: Vec<u64> = (0..len).filter(|index| !retired.contains(index)).collect();
            match kind {
                0 => live,
                1 => live.last().copied().into_iter().collect(),
                2 => live.iter().map(|name| up.index_of(&PartitionKey::Tuple(vec![space.key_of(from).unwrap(), keys.key_of(*name).unwrap()])).unwrap()).collect(),
                _ => vec![from],
            }
        };

        let read: PartitionSet = down.iter().flat_map(naive).collect();
        prop_assert_eq!(bound.upstream_of(&down), read);
        for upstream in 0..up.len_at(now()) {
            let readers: PartitionSet = (0..space.len_at(now())).filter(|from| naive(*from).contains(&upstream)).collect();
            prop_assert_eq!(bound.downstream_of(&PartitionSet::single(upstream)), readers);
        }
    }
}

#[test]
fn retired_partitions_are_left_out_unless_they_are_named() {
    let space = PartitionSpace::Dynamic(names());

    assert_eq!(space.select(&PartitionSelector::All, now()).unwrap(), of([0, 2, 4]));
    assert_eq!(space.select(&range("bob..dan"), now()).unwrap(), of([2]));
    assert_eq!(space.select(&range("cid.."), now()).unwrap(), of([2, 4]));
    assert_eq!(space.existing_at(now()).unwrap(), of([0, 2, 4]));
    assert_eq!(space.len_at(now()), 5);
    assert_eq!(space.parse_range("bob..dan").unwrap(), of(1..4));
    let refused = space.select(&key("bob"), now()).unwrap_err();
    assert_eq!(
        (refused.kind(), refused.stable_code()),
        (ErrorKind::Invalid, "partition_retired")
    );
    assert!(
        refused.to_string().contains("retired at 1970-01-01T00:00:07"),
        "{refused}"
    );
    assert!(
        refused.advice().unwrap().contains("partitions add names bob"),
        "{refused:?}"
    );
    assert_eq!((space.parse("bob").unwrap(), space.label(1)), (1, "bob".to_owned()));
}

#[test]
fn a_product_leaves_retired_partitions_out_and_refuses_their_names_in_every_form() {
    let space = by_day(&names());

    assert_eq!(space.select(&PartitionSelector::All, now()).unwrap().len(), 6);
    assert_eq!(space.select(&key("2024-02-01|*"), now()).unwrap().len(), 3);
    assert_eq!(space.select(&key("eve"), now()).unwrap().len(), 2);
    for text in ["2024-02-01|bob", "bob", "(2024-02-01, \"bob\")"] {
        let refused = space.select(&key(text), now()).unwrap_err();
        assert_eq!(refused.stable_code(), "partition_retired", "{text}: {refused}");
    }
    assert_eq!(space.label(space.parse("2024-02-02|bob").unwrap()), "2024-02-02|bob");
}

#[test]
fn a_snapshot_stays_as_it_was_whatever_is_added_retired_or_taken_back() {
    let set = names();
    let space = PartitionSpace::Dynamic(set.clone());
    let product = by_day(&set);
    let seen = [set.snapshot()];

    set.learn([row(1, "bob", None), row(2, "cid", Some(10)), row(5, "fay", None)])
        .unwrap();

    assert_eq!(space.existing_at(now()).unwrap(), of([0, 1, 4, 5]));
    let (then, product) = (space.as_of(&seen), product.as_of(&seen));
    assert_eq!(
        (then.len_at(now()), then.existing_at(now()).unwrap()),
        (5, of([0, 2, 4]))
    );
    assert_eq!(product.existing_at(now()).unwrap().len(), 6);
    assert_eq!(
        then.select(&key("bob"), now()).unwrap_err().stable_code(),
        "partition_retired"
    );
    assert!(then.select(&key("fay"), now()).unwrap().is_empty());
    assert_eq!(*then, space, "a set that grew is the same set");
}

#[test]
fn keys_that_move_come_twice_or_leave_a_gap_are_damage() {
    for wrong in [row(0, "bob", None), row(5, "ann", None), row(6, "fay", None)] {
        let refused = names().learn([wrong]).unwrap_err();

        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    }
    let set = names();
    set.learn([row(4, "eve", Some(3))]).unwrap();
    assert_eq!(set.entry(4).unwrap().retired_at, Some(at(3)));
    assert_eq!(set.entry(3).unwrap().added_at, at(1));
    assert_eq!(set.entry(5), None);
}

#[test]
fn an_unknown_key_is_an_error_that_helps() {
    let space = PartitionSpace::Dynamic(names());

    let near = space.parse("bop").unwrap_err();
    let far = space.parse("'; DROP TABLE dynamic_key; --").unwrap_err();

    assert_eq!(
        (near.kind(), near.stable_code()),
        (ErrorKind::NotFound, "partition_unknown")
    );
    assert!(near.advice().unwrap().contains("did you mean bob?"), "{near:?}");
    assert!(far.advice().unwrap().contains("partitions add names"), "{far:?}");
}

#[test]
fn names_of_sets_and_calls_have_bounds() {
    let many = vec![PartitionKey::Unit; KEYS_PER_CALL_MAX + 1];
    let large = vec![PartitionKey::from("x".repeat(1000)); KEY_BYTES_PER_CALL_MAX / 1000];

    for keys in [&many, &large] {
        let refused = DynamicSpace::check_call(keys).unwrap_err();
        assert_eq!(refused.stable_code(), "partition_call_too_large");
    }
    assert!(DynamicSpace::check_call(&many[1..]).is_ok());
    let too_long = PartitionKey::Text("x".repeat(2000));
    assert_eq!(
        DynamicSpace::check_call(&[too_long]).unwrap_err().kind(),
        ErrorKind::LimitExceeded
    );
    assert_eq!(DynamicSpace::new("").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(
        DynamicSpace::new("x".repeat(513)).unwrap_err().kind(),
        ErrorKind::LimitExceeded
    );
}

#[test]
fn only_one_dimension_grows() {
    let dynamic = || Partitions::dynamic("names");

    let refused = [
        Partitions::dimension("day", Daily::from("2024-02-01")).by("name", dynamic()),
        Partitions::dimension("one", dynamic()).by("other", Partitions::dynamic("others")),
    ];

    for partitions in refused {
        let refused = partitions.build().unwrap_err();
        assert_eq!(refused.stable_code(), "partition_product_invalid");
        assert!(
            refused.advice().unwrap().contains("let one dimension grow"),
            "{refused:?}"
        );
    }
}

#[test]
fn a_space_is_stored_by_the_name_of_its_set() {
    let space = by_day(&names());

    let text = serde_json::to_string(&space).unwrap();
    let read: PartitionSpace = serde_json::from_str(&text).unwrap();

    assert!(!text.contains("ann"), "{text}");
    assert_eq!(read, space);
    assert_eq!(read.dynamic_sets()[0].len(), 0, "its keys are the store's business");
}

#[test]
fn a_table_may_name_keys_that_are_added_later() {
    let set = names();
    let (up, unit) = (
        PartitionSpace::Dynamic(set.clone()),
        Partitions::unit().build().unwrap(),
    );
    let pairs = ["fay", "ann", "bob"].map(|name| (PartitionKey::Unit, name.into()));
    let table = Mapping::Table(pairs.to_vec());
    let read = |up: &PartitionSpace| {
        let bound = BoundMapping::new(&table, &unit, up, now()).unwrap();
        bound.upstream_of_one(0)
    };

    assert!(
        BoundMapping::at_capacity(
            &table,
            &unit,
            &PartitionSpace::Dynamic(DynamicSpace::new("names").unwrap())
        )
        .is_ok()
    );
    assert_eq!(read(&up), of([0, 1]), "a retired partition is read where it is named");
    set.learn([row(5, "fay", None)]).unwrap();
    assert_eq!(read(&up), of([0, 1, 5]));
}
