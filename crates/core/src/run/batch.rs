//! How many partitions are called for at once.
//!
//! A full batch at first. What was in a call that failed as a whole, or in flight when its process died, is called for
//! in batches of the square root of that, and then alone: a batch of a thousand with one that spoils it takes some sixty
//! calls more, and each of the others is made at most three times.

use crate::run::suspects::Care;

/// The largest number of partitions in one call, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch(u64);

impl Batch {
    pub(super) fn new(partitions_max: u64) -> Self {
        Self(partitions_max.max(1))
    }

    /// How many partitions one call may be for.
    pub(super) fn len(self, care: Care) -> u64 {
        match care {
            Care::None => self.0,
            Care::ByItself => self.0.isqrt(),
            Care::Alone => 1,
        }
    }

    /// How often the partitions of a call for `len` of them have been in one that failed as a whole, or count as if.
    pub(super) fn care_after(self, len: u64) -> u32 {
        if len > self.len(Care::ByItself) { 1 } else { 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_batch_the_third_call_is_for_one() {
        for partitions_max in [1, 2, 3, 4, 50, 1_000, 65_536] {
            let batch = Batch::new(partitions_max);
            let (mut len, mut calls) = (partitions_max, 1);

            while len > 1 {
                len = batch.len(Care::after(batch.care_after(len)));
                calls += 1;
            }

            assert!(calls <= 3, "{calls} calls with batches of {partitions_max}");
        }
    }
}
