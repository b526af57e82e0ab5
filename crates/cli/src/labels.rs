//! Partitions as people and programs read them: ranges of labels, however many there are.

use flowstone_core::partition::{PartitionSet, PartitionSpace};
use serde::Serialize;

/// The most ranges that an answer for programs spells out.
const RANGES_MAX: usize = 1000;

/// The most ranges that an answer for people spells out.
const RANGES_SHOWN_MAX: usize = 4;

/// Some partitions of one asset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Ranges {
    /// How many partitions there are.
    pub(crate) count: u64,
    /// The partitions in order, as far as they are spelled out.
    pub(crate) ranges: Vec<Range>,
    /// How many partitions are not spelled out.
    pub(crate) left_out: u64,
}

/// Neighboring partitions, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Range {
    pub(crate) first: String,
    pub(crate) last: String,
    #[serde(skip)]
    len: u64,
    /// True when `first..last` selects exactly these partitions.
    #[serde(skip)]
    is_selectable: bool,
}

impl Ranges {
    pub(crate) fn new(space: &PartitionSpace, partitions: &PartitionSet) -> Self {
        let count = partitions.len();
        if let Some(whole) = box_of(space, partitions) {
            return Self {
                count,
                ranges: vec![whole],
                left_out: 0,
            };
        }
        let mut spelled = 0;
        let mut ranges = Vec::new();
        for (lo, hi) in partitions.intervals().take(RANGES_MAX) {
            spelled += hi - lo + 1;
            ranges.push(range(space, lo, hi));
        }
        Self {
            count,
            ranges,
            left_out: count - spelled,
        }
    }

    /// The ranges in the grammar of the command line, the first few of them.
    pub(crate) fn to_text(&self) -> String {
        let shown: Vec<String> = self.ranges.iter().take(RANGES_SHOWN_MAX).map(Range::to_text).collect();
        let mut text = shown.join(", ");
        let spelled: u64 = self.ranges.iter().take(RANGES_SHOWN_MAX).map(|range| range.len).sum();
        if spelled < self.count {
            text.push_str(&format!(" and {} more", self.count - spelled));
        }
        text
    }
}

impl Range {
    fn to_text(&self) -> String {
        if self.first == self.last {
            return self.first.clone();
        }
        let between = if self.is_selectable { ".." } else { " to " };
        format!("{}{between}{}", self.first, self.last)
    }
}

fn range(space: &PartitionSpace, lo: u64, hi: u64) -> Range {
    let (first, last) = (space.label(lo), space.label(hi));
    // In a product, neighbors by number need not be what the two labels span.
    let is_selectable = match space {
        PartitionSpace::Product(_) => spans(space, &first, &last, &PartitionSet::from_range(lo..=hi)),
        _ => true,
    };
    Range {
        first,
        last,
        len: hi - lo + 1,
        is_selectable,
    }
}

/// All of `partitions` as one range, where two labels of a product span exactly them.
fn box_of(space: &PartitionSpace, partitions: &PartitionSet) -> Option<Range> {
    let PartitionSpace::Product(_) = space else { return None };
    let (first, last) = (space.label(partitions.min()?), space.label(partitions.max()?));
    let len = partitions.len();
    spans(space, &first, &last, partitions).then_some(Range {
        first,
        last,
        len,
        is_selectable: true,
    })
}

fn spans(space: &PartitionSpace, first: &str, last: &str, partitions: &PartitionSet) -> bool {
    space
        .parse_range(&format!("{first}..{last}"))
        .is_ok_and(|spanned| spanned == *partitions)
}

#[cfg(test)]
mod tests {
    use flowstone_core::partition::{Daily, Partitions};

    use super::*;

    fn days() -> PartitionSpace {
        Partitions::from(Daily::from("2013-01-01").until("2014-01-01"))
            .build()
            .unwrap()
    }

    fn by_airport() -> PartitionSpace {
        let days = Daily::from("2013-01-01").until("2013-01-04");
        Partitions::dimension("day", days)
            .by("airport", Partitions::keys(["EWR", "JFK"]))
            .build()
            .unwrap()
    }

    #[test]
    fn a_year_of_days_is_one_range() {
        let year = Ranges::new(&days(), &PartitionSet::full(365));

        assert_eq!(year.to_text(), "2013-01-01..2013-12-31");
        assert_eq!((year.count, year.left_out), (365, 0));
    }

    #[test]
    fn only_the_first_few_gaps_are_shown() {
        let odd: PartitionSet = (0..40).filter(|day| day % 2 == 1).collect();

        let text = Ranges::new(&days(), &odd).to_text();

        assert_eq!(text, "2013-01-02, 2013-01-04, 2013-01-06, 2013-01-08 and 16 more");
    }

    #[test]
    fn an_answer_for_programs_is_bounded_and_says_what_it_leaves_out() {
        let space = Partitions::keys((0..4000).map(|n| format!("k{n:04}"))).build().unwrap();
        let odd: PartitionSet = (0..4000).filter(|n| n % 2 == 1).collect();

        let ranges = Ranges::new(&space, &odd);

        assert_eq!((ranges.count, ranges.ranges.len(), ranges.left_out), (2000, 1000, 1000));
    }

    #[test]
    fn what_two_labels_of_a_product_span_is_one_range() {
        let newark: PartitionSet = [0, 2, 4].into_iter().collect();

        assert_eq!(
            Ranges::new(&by_airport(), &newark).to_text(),
            "2013-01-01|EWR..2013-01-03|EWR"
        );
    }

    #[test]
    fn what_two_labels_of_a_product_do_not_span_is_not_written_as_a_range() {
        let middle = PartitionSet::from_range(1..=4);

        assert_eq!(
            Ranges::new(&by_airport(), &middle).to_text(),
            "2013-01-01|JFK to 2013-01-03|EWR"
        );
    }
}
