//! What a change reaches within one asset whose partitions read earlier ones of its own.
//!
//! A change of one day may reach every later day, each by the one before. That is found by arithmetic on runs and by
//! doubling, not from one partition to the next.

use super::bound::{BoundMapping, Plan};
use super::set::PartitionSet;

/// Those of `candidates` that read one of `seeds`, or one that does, and so on, by mappings of a space to itself that
/// all read [only earlier](BoundMapping::reads_only_earlier) partitions.
pub fn reach(mappings: &[BoundMapping], seeds: &PartitionSet, candidates: &PartitionSet) -> PartitionSet {
    let mut reached = PartitionSet::new();
    let mut news = seeds.clone();
    while !news.is_empty() {
        let mut next = PartitionSet::new();
        for mapping in mappings {
            next.union_with(&mapping.reached_from(&news, candidates));
        }
        next.subtract(&reached);
        reached.union_with(&next);
        news = next;
    }
    reached
}

impl BoundMapping {
    /// True if each partition reads only partitions with a smaller index, as an asset must that reads itself.
    pub fn reads_only_earlier(&self) -> bool {
        match &self.plan {
            Plan::Shift(shift) | Plan::Trailing { shift, .. } => *shift < 0,
            Plan::Pairs(pairs) => pairs
                .down_to_up
                .iter()
                .all(|(reader, read)| read.max().is_none_or(|last| last < *reader)),
            Plan::Overlap { .. } | Plan::Broadcast(_) | Plan::DownDigit { .. } | Plan::UpDigit { .. } => false,
        }
    }

    fn reached_from(&self, seeds: &PartitionSet, candidates: &PartitionSet) -> PartitionSet {
        let candidates = candidates.below(self.down_len);
        match &self.plan {
            Plan::Shift(shift) if *shift < 0 => by_steps(shift.unsigned_abs(), seeds, &candidates),
            Plan::Trailing { shift: -1, count } => by_distance((*count).into(), seeds, &candidates),
            _ => self.reached_one_by_one(seeds, &candidates),
        }
    }

    fn reached_one_by_one(&self, seeds: &PartitionSet, candidates: &PartitionSet) -> PartitionSet {
        let mut reached = PartitionSet::new();
        let mut news = seeds.clone();
        while !news.is_empty() {
            news = self.downstream_of(&news).intersect(candidates);
            news.subtract(&reached);
            reached.union_with(&news);
        }
        reached
    }
}

/// Each reads the one `step` before. Doubles how far it looks: after `n` rounds all within `2ⁿ` steps is found.
fn by_steps(step: u64, seeds: &PartitionSet, candidates: &PartitionSet) -> PartitionSet {
    let Some(last) = candidates.max() else {
        return PartitionSet::new();
    };
    let mut reached = later(seeds, step, last).intersect(candidates);
    // Members from which so many steps back lead through candidates only.
    let mut passable = candidates.clone();
    let mut distance = step;
    while distance <= last {
        let more = later(&reached, distance, last).intersect(&passable);
        if more.is_subset(&reached) {
            break;
        }
        reached.union_with(&more);
        passable = later(&passable, distance, last).intersect(&passable);
        distance = distance.saturating_mul(2);
    }
    reached
}

/// `set` moved up by `by`, as far as `last`.
fn later(set: &PartitionSet, by: u64, last: u64) -> PartitionSet {
    let mut moved = PartitionSet::new();
    for (lo, hi) in set.intervals() {
        let (lo, hi) = (lo.saturating_add(by), hi.saturating_add(by).min(last));
        if lo > hi {
            break;
        }
        moved.insert_run(lo, hi);
    }
    moved
}

/// Each reads all that come at most `count` before it: whoever is reached reaches the rest of its run.
fn by_distance(count: u64, seeds: &PartitionSet, candidates: &PartitionSet) -> PartitionSet {
    let mut reached = PartitionSet::new();
    let mut seeds = seeds.intervals().peekable();
    // The last member before the run at hand that is a seed or reached.
    let mut source: Option<u64> = None;
    for (lo, hi) in candidates.intervals() {
        while let Some(last) = seeds.peek().filter(|(first, _)| *first < lo).map(|(_, last)| *last) {
            source = source.max(Some(last.min(lo - 1)));
            if last >= lo {
                break;
            }
            seeds.next();
        }
        let within = seeds
            .peek()
            .filter(|(first, _)| *first <= hi)
            .map(|(first, _)| (*first).max(lo));
        let from = match source {
            Some(source) if lo - source <= count => Some(lo),
            _ => within.map(|seed| seed + 1),
        };
        if let Some(from) = from.filter(|from| *from <= hi) {
            reached.insert_run(from, hi);
            source = Some(hi);
        } else {
            source = source.max(within);
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::partition::{Daily, EveryMinutes, Mapping, PartitionSpace, Partitions};

    const LEN: u64 = 40;

    fn days() -> PartitionSpace {
        let days = Daily::from("2024-01-01").until("2024-02-10");
        Partitions::from(days).build().unwrap()
    }

    fn bound(mapping: &Mapping) -> BoundMapping {
        BoundMapping::at_capacity(mapping, &days(), &days()).unwrap()
    }

    /// Looks at one partition after the other.
    fn naive(mappings: &[BoundMapping], seeds: &PartitionSet, candidates: &PartitionSet) -> PartitionSet {
        let mut reached = PartitionSet::new();
        for partition in candidates.iter().filter(|partition| *partition < LEN) {
            let sources = seeds.union(&reached);
            if mappings
                .iter()
                .any(|mapping| !mapping.upstream_of_one(partition).is_disjoint(&sources))
            {
                reached.insert(partition);
            }
        }
        reached
    }

    fn mapping() -> impl Strategy<Value = Mapping> {
        let key = |day: u64| days().key_of(day).unwrap();
        let pair = (1..LEN, 0..LEN).prop_map(move |(reader, read)| (key(reader), key(read % reader)));
        prop_oneof![
            (1..9_i64).prop_map(|days| Mapping::Offset(-days)),
            (1..9_u32).prop_map(Mapping::Preceding),
            prop::collection::vec(pair, 0..30).prop_map(Mapping::Table),
        ]
    }

    fn set() -> impl Strategy<Value = PartitionSet> {
        prop::collection::vec((0..LEN + 4, 1..12_u64), 0..6).prop_map(|runs| {
            let mut set = PartitionSet::new();
            for (lo, len) in runs {
                set.insert_range(lo..lo + len);
            }
            set
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn arithmetic_reaches_what_looking_at_each_does(
            mappings in prop::collection::vec(mapping(), 1..4),
            seeds in set(),
            candidates in set(),
        ) {
            let bound: Vec<_> = mappings.iter().map(bound).collect();

            prop_assert!(bound.iter().all(BoundMapping::reads_only_earlier));
            prop_assert_eq!(reach(&bound, &seeds, &candidates), naive(&bound, &seeds, &candidates));
        }
    }

    #[test]
    fn a_partition_that_reads_itself_or_a_later_one_is_told() {
        for mapping in [
            Mapping::Identity,
            Mapping::Window,
            Mapping::Offset(1),
            Mapping::Trailing(3),
            Mapping::All,
        ] {
            assert!(!bound(&mapping).reads_only_earlier(), "{mapping}");
        }
    }

    #[test]
    fn a_change_reaches_ten_million_later_ones_at_once() {
        let minutes = Partitions::from(EveryMinutes::from(1, "2000-01-01T00"))
            .build()
            .unwrap();
        let now = "2024-01-01T00:00:00Z".parse().unwrap();
        let before = BoundMapping::new(&Mapping::Offset(-1), &minutes, &minutes, now).unwrap();

        let reached = reach(&[before], &PartitionSet::single(7), &PartitionSet::full(10_000_000));

        assert_eq!(reached.as_interval(), Some((8, 9_999_999)));
    }
}
