//! Sets of a product seen along its dimensions, by arithmetic on runs.

use super::product::ProductSpace;
use super::set::{PartitionSet, check_len};
use crate::{Result, ResultExt};

/// One digit of a product's index.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    stride: u64,
    /// None for the most significant digit, which has no upper bound of its own.
    radix: Option<u64>,
}

impl Axis {
    pub(super) fn of(product: &ProductSpace, name: &str) -> Option<Self> {
        let position = product.parts().iter().position(|dimension| dimension.name == name)?;
        let dimension = &product.parts()[position];
        let radix = (!product.is_top(position)).then_some(dimension.radix);
        Some(Self {
            stride: dimension.stride,
            radix,
        })
    }

    /// Which values of this digit the members of `set` have.
    pub(super) fn project(&self, set: &PartitionSet) -> PartitionSet {
        let mut digits = PartitionSet::new();
        for (lo, hi) in set.intervals() {
            let (lo, hi) = (lo / self.stride, hi / self.stride);
            match self.radix {
                None => digits.insert_range(lo..=hi),
                Some(radix) if hi - lo >= radix - 1 => return PartitionSet::full(radix),
                Some(radix) if lo % radix <= hi % radix => {
                    digits.insert_range(lo % radix..=hi % radix);
                }
                Some(radix) => {
                    digits.insert_range(lo % radix..radix);
                    digits.insert_range(0..=hi % radix);
                }
            }
        }
        digits
    }

    /// All indices less than `len` whose digit is in `digits`.
    pub(super) fn spread(&self, digits: &PartitionSet, len: u64) -> PartitionSet {
        let mut spread = PartitionSet::new();
        let block = self.radix.map(|radix| radix * self.stride);
        if self.radix.is_some_and(|radix| digits.contains_range(0..radix)) {
            return PartitionSet::full(len);
        }
        let mut start = 0;
        while start < len {
            for (lo, hi) in digits.intervals() {
                let from = start.saturating_add(lo.saturating_mul(self.stride));
                let after = hi.saturating_add(1).saturating_mul(self.stride);
                let to = start.saturating_add(after).min(len);
                if from < to {
                    spread.insert_run(from, to - 1);
                }
            }
            let Some(next) = block.and_then(|block| start.checked_add(block)) else {
                break;
            };
            start = next;
        }
        spread
    }
}

/// The combinations of one set per dimension, given in the order of the dimensions.
///
/// Refuses more combinations than a set may hold.
pub(super) fn cross(product: &ProductSpace, sets: &[PartitionSet]) -> Result<PartitionSet> {
    let combinations = sets.iter().map(|set| u128::from(set.len()));
    check_len(combinations.fold(1, u128::saturating_mul)).during("select")?;
    let mut combined = PartitionSet::single(0);
    for position in product.ascending() {
        let size = product.parts()[position].stride;
        let whole = combined.len() == size;
        let mut wider = PartitionSet::new();
        for (lo, hi) in sets[position].intervals() {
            if whole {
                wider.insert_range(lo * size..=hi * size + (size - 1));
                continue;
            }
            for digit in lo..=hi {
                for (from, to) in combined.intervals() {
                    wider.insert_run(digit * size + from, digit * size + to);
                }
            }
        }
        combined = wider;
    }
    Ok(combined)
}
