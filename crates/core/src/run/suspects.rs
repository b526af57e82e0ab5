//! Steps whose process, or whose worker, died while they ran, and how carefully they are tried again.
//!
//! A death says only that one of those that were in flight was to blame. Each death narrows it down, until a step that
//! ran alone has no other to blame.

use super::CRASHES_MAX;
use crate::partition::PartitionSet;

/// How carefully a step is run, after what it did before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Care {
    /// Together with others.
    None,
    /// By itself, or in a small call, its claim on disk first: the process died once while it, or a neighbour, ran.
    ByItself,
    /// By itself while nothing else runs: if the process dies again, it was this one.
    Alone,
}

impl Care {
    /// All of them, the least first.
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::ByItself, Self::Alone];

    pub(crate) fn after(crashes: u32) -> Self {
        match crashes {
            0 => Self::None,
            1 => Self::ByItself,
            _ => Self::Alone,
        }
    }
}

/// The suspects among the steps of one asset, by how often they were in flight at a death: once, twice, and so on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Suspects([PartitionSet; CRASHES_MAX as usize - 1]);

impl Suspects {
    /// Notes that `steps` were in flight at `crashes` deaths, unless it was more already. At [`CRASHES_MAX`] a step is
    /// no suspect any more but found out, and not kept here.
    pub(crate) fn note(&mut self, steps: &PartitionSet, crashes: u32) {
        let mut news = steps.clone();
        for (number, known) in (1..).zip(&mut self.0) {
            if number < crashes {
                known.subtract(&news);
            } else if number > crashes {
                news.subtract(known);
            }
        }
        if let Some(at) = crashes.checked_sub(1).and_then(|index| self.0.get_mut(index as usize)) {
            at.union_with(&news);
        }
    }

    /// How many deaths a step was in flight at.
    pub(crate) fn crashes(&self, step: u64) -> u32 {
        (1..)
            .zip(&self.0)
            .find(|(_, known)| known.contains(step))
            .map_or(0, |(number, _)| number)
    }

    /// Those of `ready` that are to be run with `care`.
    pub(crate) fn choose(&self, ready: &PartitionSet, care: Care) -> PartitionSet {
        let counted = (1..).zip(&self.0).filter(|(_, known)| !known.is_empty());
        if care == Care::None {
            return counted.fold(ready.clone(), |left, (_, known)| left.difference(known));
        }
        let same_care = counted.filter(|(number, _)| Care::after(*number) == care);
        same_care.fold(PartitionSet::new(), |chosen, (_, known)| {
            chosen.union(&known.intersect(ready))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_counts_under_its_worst_number() {
        let mut suspects = Suspects::default();

        suspects.note(&PartitionSet::from_range(0..4), 1);
        suspects.note(&PartitionSet::single(2), 2);
        suspects.note(&PartitionSet::from_range(2..6), 1);
        suspects.note(&PartitionSet::single(3), CRASHES_MAX);

        assert_eq!([0, 2, 3, 5, 6].map(|step| suspects.crashes(step)), [1, 2, 0, 1, 0]);
        let ready = PartitionSet::from_range(1..8);
        assert_eq!(suspects.choose(&ready, Care::None), [3, 6, 7].into_iter().collect());
        assert_eq!(suspects.choose(&ready, Care::ByItself), [1, 4, 5].into_iter().collect());
        assert_eq!(suspects.choose(&ready, Care::Alone), PartitionSet::single(2));
    }
}
