//! Seeded draws: the same seed gives the same sequence on every machine.

/// A stream of draws (SplitMix64).
///
/// ```
/// use flowstone_testkit::Draw;
///
/// let (mut one, mut other) = (Draw::seeded(7), Draw::seeded(7));
/// assert_eq!((one.below(10), one.chance(500)), (other.below(10), other.chance(500)));
/// ```
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// The stream of a seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A draw that depends on nothing but `parts`, whatever was drawn before.
    pub fn of(parts: &[u64]) -> Self {
        let mut draw = Self(0x5eed);
        for part in parts {
            draw.0 = draw.number() ^ part;
        }
        draw
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number less than `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// True in so many of a thousand cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.number() % 1000 < per_mille
    }

    /// One of `all`, which is not empty.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Brings `all` into another order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            let other = self.below(last + 1);
            all.swap(last, other);
        }
    }
}
