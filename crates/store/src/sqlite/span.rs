//! How an interval is stored so that the intervals that hold a point are found fast.
//!
//! An interval has a size class `k`, the least with `last - first < 4^k`. The intervals of a class that hold a point
//! start less than `4^k` before it. Version and size class are one number, so that one index range has both.

use flowstone_core::Version;

const CLASS_BITS: u32 = 6;

/// The greatest version that leaves room for the size class.
pub(super) const VERSION_MAX: Version = Version((1 << (63 - CLASS_BITS)) - 1);

/// Version and size class of the interval from `first` to `last`, as stored.
pub(super) fn class_of(version: Version, (first, last): (u64, u64)) -> i64 {
    let size_class = (u64::BITS - (last - first).leading_zeros()).div_ceil(2);
    classes_of(version).0 + i64::from(size_class)
}

/// The least and the greatest class of a version.
pub(super) fn classes_of(version: Version) -> (i64, i64) {
    let version = i64::try_from(version.0).unwrap_or(i64::MAX).min(VERSION_MAX.0 as i64);
    let least = version << CLASS_BITS;
    (least, least | ((1 << CLASS_BITS) - 1))
}

/// The version within a class.
pub(super) fn version_of(class: i64) -> Version {
    Version(class.unsigned_abs() >> CLASS_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_shorter_than_its_class_says_and_not_much() {
        for span in [0, 1, 3, 4, 15, 16, 3_649, 65_535, u64::MAX >> 1] {
            let size_class = (class_of(Version(0), (0, span))) as u32;
            let bound = 4_u128.pow(size_class);

            assert!(u128::from(span) < bound, "span {span}");
            assert!(u128::from(span) >= bound / 4 || span == 0, "span {span}");
        }
    }

    #[test]
    fn the_version_comes_back() {
        for version in [Version(0), Version(1), VERSION_MAX] {
            let class = class_of(version, (5, u64::MAX >> 1));

            assert_eq!(version_of(class), version);
            assert!(classes_of(version).0 <= class && class <= classes_of(version).1);
        }
    }
}
