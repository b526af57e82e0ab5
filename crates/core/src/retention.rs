//! How long what is over is kept, and what goes.
//!
//! Decides only; a store removes rows by these rules, and the engine removes the values behind them. Whatever the rules
//! say, the head of a partition stays, and so does everything that something kept was made from.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::io::Listed;
use crate::run::RunState;
use crate::store::Materialization;
use crate::{AssetKey, Version};

const DAY: Duration = Duration::from_hours(24);

/// How long things of one kind are kept: what is younger than `age` stays, and so do the newest `count`, however old.
///
/// ```
/// use std::time::Duration;
/// use flowstone_core::retention::Keep;
///
/// let keep = Keep { count: 5, ..Keep::days(30) };
/// assert_eq!(keep.age, Duration::from_hours(30 * 24));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// What is younger stays.
    pub age: Duration,
    /// So many of the newest stay.
    pub count: u64,
}

impl Keep {
    /// Everything, for ever.
    pub const ALL: Self = Self {
        age: Duration::MAX,
        count: u64::MAX,
    };

    /// What is younger than so many days.
    pub const fn days(days: u64) -> Self {
        Self {
            age: Duration::from_secs(DAY.as_secs().saturating_mul(days)),
            count: 0,
        }
    }

    /// The newest `count`, whatever their age.
    pub const fn last(count: u64) -> Self {
        Self {
            age: Duration::ZERO,
            count,
        }
    }

    /// What happened before this is old enough to go; `None` when nothing ever is.
    pub fn cutoff(&self, now: Timestamp) -> Option<Timestamp> {
        now.checked_sub(self.age).ok()
    }

    /// Which versions of one partition go. `versions` are those that the store has, oldest first, each with the time
    /// when it was made; the last is the head and stays.
    pub fn outlived(&self, versions: &[(Version, Timestamp)], now: Timestamp) -> impl Iterator<Item = Version> {
        let count = usize::try_from(self.count.max(1)).unwrap_or(usize::MAX);
        let cutoff = self.cutoff(now);
        let surplus = &versions[..versions.len().saturating_sub(count)];
        surplus
            .iter()
            .filter(move |(_, made_at)| cutoff.is_some_and(|cutoff| *made_at < cutoff))
            .map(|(version, _)| *version)
    }
}

/// How long what is over is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Events.
    pub events: Keep,
    /// Runs that have ended, with their plan, chunks and failed attempts.
    pub runs: Keep,
    /// The versions of each partition, its head among them, for assets that say nothing else.
    pub versions: Keep,
    /// The versions of some assets; goes before what their definition says.
    pub by_asset: BTreeMap<AssetKey, Keep>,
}

impl Default for Retention {
    /// Everything for thirty days; at least 1,000 events, 100 runs and the last three versions of each partition.
    fn default() -> Self {
        Self {
            events: Keep {
                count: 1_000,
                ..Keep::days(30)
            },
            runs: Keep {
                count: 100,
                ..Keep::days(30)
            },
            versions: Keep {
                count: 3,
                ..Keep::days(30)
            },
            by_asset: BTreeMap::new(),
        }
    }
}

impl Retention {
    /// Everything, for ever.
    pub fn all() -> Self {
        Self {
            events: Keep::ALL,
            runs: Keep::ALL,
            versions: Keep::ALL,
            by_asset: BTreeMap::new(),
        }
    }

    /// How long versions of `asset` are kept, whose definition says `defined`.
    pub fn versions_of(&self, asset: &AssetKey, defined: Option<Keep>) -> Keep {
        self.by_asset.get(asset).copied().or(defined).unwrap_or(self.versions)
    }
}

/// Whether an object that an attempt stored is left over: nobody will ever name it.
///
/// `run` is the state of the attempt's run, asked for after the object was found; `named` are the materializations of its
/// partition, asked for after that. In this order, since an attempt names its object before its run ends.
pub fn is_left_over(object: &Listed, run: Option<RunState>, named: &[Materialization]) -> bool {
    // Of a run that nobody knows nobody can say what became of it.
    run.is_some_and(RunState::is_terminal)
        && !named
            .iter()
            .any(|made| made.stored.address.place() == Some(object.place.as_str()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(number: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * number)
    }

    fn outlived(keep: Keep, made_on: &[i64], now: i64) -> Vec<u64> {
        let versions: Vec<_> = (1..).map(Version).zip(made_on.iter().map(|at| day(*at))).collect();
        keep.outlived(&versions, day(now)).map(|version| version.0).collect()
    }

    #[test]
    fn what_is_old_goes_unless_it_is_among_the_newest() {
        let keep = Keep {
            count: 2,
            ..Keep::days(10)
        };

        assert_eq!(outlived(keep, &[0, 1, 2, 95], 100), [1, 2]);
        assert_eq!(outlived(keep, &[0, 91, 92, 95], 100), [1]);
        assert!(outlived(keep, &[0, 1], 100).is_empty());
    }

    #[test]
    fn the_head_stays_whatever_was_said() {
        assert_eq!(outlived(Keep::last(0), &[0, 1, 2], 100), [1, 2]);
        assert!(outlived(Keep::last(0), &[0], 100).is_empty());
        assert!(outlived(Keep::last(0), &[], 100).is_empty());
    }

    #[test]
    fn for_ever_is_for_ever() {
        assert!(outlived(Keep::ALL, &[0, 1, 2], 1_000_000).is_empty());
        assert!(outlived(Keep::days(u64::MAX), &[0, 1, 2], 1_000_000).is_empty());
    }

    proptest! {
        #[test]
        fn keeping_more_never_lets_more_go(
            mut made_on in prop::collection::vec(0..50_i64, 0..8),
            (days, more_days) in (0..60_u64, 0..60_u64),
            (count, more) in (0..9_u64, 0..9_u64),
        ) {
            made_on.sort_unstable();
            let narrow = outlived(Keep { count, ..Keep::days(days) }, &made_on, 50);
            let wide = outlived(Keep { count: count + more, ..Keep::days(days + more_days) }, &made_on, 50);

            prop_assert!(wide.iter().all(|version| narrow.contains(version)));
            prop_assert!(!narrow.contains(&(made_on.len() as u64)), "the head goes");
            let stay = made_on.len() - narrow.len();
            prop_assert!(stay as u64 >= count.min(made_on.len() as u64));
        }
    }
}
