//! What people type: selections of assets, and ranges of partitions.

use flowstone_core::partition::{Daily, PartitionSpace, Partitions};
use flowstone_core::selection::Selection;

use super::{Target, texts};

pub(super) const SELECTIONS: Target = Target {
    name: "selection",
    corpus: || {
        texts(&[
            "*",
            "+clean_flights",
            "2+clean_flights+3",
            "group:ingest and not tag:slow",
            "a,b or (c and not d+)",
            "\"quoted name\"+",
            "raw_* or *_report",
            "not not (((a)))",
        ])
    },
    run: |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return false;
        };
        let parsed = Selection::parse(text);
        if let Ok(selection) = &parsed {
            let told = selection.to_string();
            let again = Selection::parse(&told).unwrap_or_else(|error| panic!("{text:?} says {told:?}: {error}"));
            assert_eq!(again.to_string(), told, "{text:?}");
        }
        parsed.is_ok()
    },
};

pub(super) const RANGES: Target = Target {
    name: "partition_range",
    corpus: || {
        texts(&[
            "2013-01-01..2013-01-31",
            "2013-01-01..",
            "..2013-02-01",
            "a..c",
            "a",
            "2013-01-01,2013-01-05",
        ])
    },
    run: |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return false;
        };
        let named: Partitions = Partitions::keys(["a", "b", "c", "..", "a..b"]);
        let days: Partitions = Daily::from("2013-01-01").until("2014-01-01").into();
        let spaces = [named, days].map(|partitions| partitions.build().expect("a space"));
        spaces.iter().filter(|space| is_range(space, text)).count() > 0
    },
};

fn is_range(space: &PartitionSpace, text: &str) -> bool {
    let parsed = space.parse_range(text);
    if let Ok(set) = &parsed {
        let last = set.max();
        assert!(
            last.is_none_or(|last| last < space.capacity()),
            "{text:?} leaves the space"
        );
    }
    parsed.is_ok()
}
