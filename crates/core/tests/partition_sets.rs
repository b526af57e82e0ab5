//! Sets of partitions agree with plain sets of numbers, and survive any bytes.

use std::collections::BTreeSet;

use flowstone_core::ErrorKind;
use flowstone_core::partition::PartitionSet;
use proptest::prelude::*;

/// Runs of all sizes around the places where the bitmap changes its containers.
fn any_runs() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let base = prop_oneof![
        Just(0_u64),
        Just(65_536 - 20),
        Just((1 << 32) - 20),
        Just(u64::MAX - 5_000),
    ];
    let run = (base, 0_u64..40, prop_oneof![0_u64..8, 0_u64..4_900]);
    prop::collection::vec(
        run.prop_map(|(base, at, len)| {
            let lo = base.saturating_add(at);
            (lo, lo.saturating_add(len))
        }),
        0..6,
    )
}

fn set_of(runs: &[(u64, u64)]) -> (PartitionSet, BTreeSet<u64>) {
    let mut set = PartitionSet::new();
    let mut model = BTreeSet::new();
    for &(lo, hi) in runs {
        set.insert_range(lo..=hi);
        model.extend(lo..=hi);
    }
    (set, model)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_holds_what_a_plain_set_holds(runs in any_runs(), probe in any::<prop::sample::Index>()) {
        let (set, model) = set_of(&runs);

        prop_assert_eq!(set.len(), model.len() as u64);
        prop_assert_eq!(set.is_empty(), model.is_empty());
        prop_assert_eq!((set.min(), set.max()), (model.first().copied(), model.last().copied()));
        prop_assert!(set.iter().eq(model.iter().copied()));
        if let Some(&member) = model.iter().nth(probe.index(model.len().max(1))) {
            let before = model.range(..member).count() as u64;
            prop_assert_eq!(set.rank(member), before);
            prop_assert_eq!(set.nth(before), Some(member));
            prop_assert_eq!(set.count_in(..=member), before + 1);
        }
        prop_assert_eq!(set.nth(set.len()), None);
    }

    #[test]
    fn intervals_are_the_longest_runs(runs in any_runs()) {
        let (set, model) = set_of(&runs);

        let intervals: Vec<_> = set.intervals().collect();

        prop_assert!(intervals.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        prop_assert!(intervals.iter().flat_map(|&(lo, hi)| lo..=hi).eq(model.iter().copied()));
    }

    #[test]
    fn algebra_agrees_with_plain_sets(a in any_runs(), b in any_runs()) {
        let ((a, model_a), (b, model_b)) = (set_of(&a), set_of(&b));

        prop_assert!(a.union(&b).iter().eq(model_a.union(&model_b).copied()));
        prop_assert!(a.intersect(&b).iter().eq(model_a.intersection(&model_b).copied()));
        prop_assert!(a.difference(&b).iter().eq(model_a.difference(&model_b).copied()));
        prop_assert_eq!(a.is_disjoint(&b), model_a.is_disjoint(&model_b));
        prop_assert_eq!(a.is_subset(&b), model_a.is_subset(&model_b));
        prop_assert_eq!(a.intersect_len(&b), a.intersect(&b).len());
        let mut assigned = a.clone();
        assigned.union_with(&b);
        prop_assert_eq!(&assigned, &a.union(&b));
        assigned.subtract(&b);
        prop_assert_eq!(&assigned, &a.difference(&b));
        assigned.intersect_with(&b);
        prop_assert!(assigned.is_empty());
    }

    #[test]
    fn cutting_off_the_first_takes_exactly_those(runs in any_runs(), n in 0_u64..9_000) {
        let (set, model) = set_of(&runs);

        let mut rest = set.clone();
        let first = rest.split_off_first(n);

        prop_assert!(first.iter().eq(model.iter().copied().take(n as usize)));
        prop_assert_eq!(first.union(&rest), set);
        prop_assert!(first.is_disjoint(&rest));
    }

    #[test]
    fn bytes_and_text_round_trip(runs in any_runs(), scattered in any::<bool>()) {
        let (mut set, _) = set_of(&runs);
        if scattered {
            set.extend((0..700).map(|n| n * 3));
        }

        prop_assert_eq!(&PartitionSet::from_bytes(&set.to_bytes()).unwrap(), &set);
        prop_assert_eq!(&set.to_string().parse::<PartitionSet>().unwrap(), &set);
    }

    #[test]
    fn equal_sets_have_equal_bytes(runs in any_runs()) {
        let (by_runs, model) = set_of(&runs);
        let one_by_one: PartitionSet = model.iter().rev().copied().collect();

        prop_assert_eq!(by_runs.to_bytes(), one_by_one.to_bytes());
        prop_assert_eq!(by_runs, one_by_one);
    }

    #[test]
    fn hostile_bytes_never_panic(form in 0_u8..3, bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = PartitionSet::from_bytes(&[&[1, form][..], &bytes].concat()).map(|set| set.intervals().count());
    }

    #[test]
    fn damaged_bytes_never_panic(at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut set: PartitionSet = (0..9_000).map(|n| n * 2).collect();
        set.insert_range(100_000..300_000);
        set.insert_range(1 << 33..(1 << 33) + 5);
        let mut bytes = set.to_bytes();
        let header = at.index(bytes.len().min(80));
        bytes[header] = value;
        let _ = PartitionSet::from_bytes(&bytes).map(|set| (set.len(), set.intervals().count(), set.max()));
        prop_assert!(PartitionSet::from_bytes(&set.to_bytes()[..cut.index(set.to_bytes().len())]).is_err());
    }
}

#[test]
fn it_reads_as_compact_runs() {
    let mut set = PartitionSet::from_range(0..31);
    set.insert(45);

    assert_eq!(set.to_string(), "0-30,45");
    assert_eq!(PartitionSet::new().to_string(), "none");
    assert_eq!("45,0-30,7".parse::<PartitionSet>().unwrap(), set);
    for text in ["", "5-3", "a", "1,,2", "-1", "1-"] {
        assert_eq!(
            text.parse::<PartitionSet>().unwrap_err().kind(),
            ErrorKind::Invalid,
            "{text}"
        );
    }
}

#[test]
fn ten_million_neighbors_take_a_few_bytes() {
    assert!(PartitionSet::full(10_000_000).to_bytes().len() < 10);
    let farthest = PartitionSet::from_range(1 << 63..);
    assert_eq!(postcard::to_stdvec(&farthest).unwrap()[1..], farthest.to_bytes());
}

#[test]
fn stored_forms_still_read() {
    let runs = [1, 0, 2, 0, 30, 14, 0];
    assert_eq!(PartitionSet::from_bytes(&runs).unwrap().to_string(), "0-30,45");

    let scattered: PartitionSet = (0..300).map(|n| n * 2).collect();
    let mut roaring = vec![1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    roaring.extend([0x3a, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, 43, 1, 16, 0, 0, 0]);
    roaring.extend((0_u16..300).flat_map(|n| (n * 2).to_le_bytes()));
    assert_eq!(scattered.to_bytes(), roaring);
    assert_eq!(PartitionSet::from_bytes(&roaring).unwrap(), scattered);
}

#[test]
fn bytes_that_are_no_set_are_refused() {
    let refused: &[&[u8]] = &[
        &[],
        &[1],
        &[2, 0, 0],
        &[1, 9, 0],
        &[1, 0, 1, 0],
        &[1, 0, 2, 0, 5, 0, 1],
        &[1, 0, 0, 0],
        &[1, 0, 0x80, 0],
        &[1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[1, 1],
        &[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        // One part promised, and it is empty.
        &[1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3a, 0x30, 0, 0, 0, 0, 0, 0],
    ];

    for bytes in refused {
        assert_eq!(
            PartitionSet::from_bytes(bytes).unwrap_err().kind(),
            ErrorKind::Corrupt,
            "{bytes:?}"
        );
    }
}

#[test]
fn empty_and_backwards_ranges_add_nothing() {
    let mut set = PartitionSet::new();
    set.insert_range(5..5);
    set.insert_range(..0);
    let (lo, hi) = (7, 3);
    set.insert_range(lo..=hi);

    assert!(set.is_empty());
    assert_eq!(PartitionSet::full(0), set);
}

#[test]
fn more_members_than_the_limit_are_refused_before_they_cost_memory() {
    let everything = [[1, 0, 1, 0].as_slice(), &[0xff; 9], &[1]].concat();

    for error in [
        "0-18446744073709551615".parse::<PartitionSet>().unwrap_err(),
        PartitionSet::from_bytes(&everything).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    }
}
