//! What a simulation plays: the story that a seed draws, whatever it is about.

use std::collections::BTreeSet;
use std::fmt;

use super::broken::Broken;
use super::{StorePlace, Tally};

/// One seed, ready to be played.
pub struct Seed<S> {
    /// Its number.
    pub seed: u64,
    /// Where its store is.
    pub place: Box<dyn StorePlace>,
    /// The bug that is planted in it.
    pub planted: Option<S>,
    /// The faults that are left out, by number.
    pub cut: BTreeSet<usize>,
}

/// What goes wrong in a seed.
pub struct Faults {
    /// How many faults could be left out.
    pub len: usize,
    /// Those that are not, as text.
    pub kept: Vec<String>,
}

/// A kind of story, named by the bugs that can be planted in it. Nobody else implements it.
pub trait Story: fmt::Debug + Copy + 'static {
    /// Plays a seed; what happens is added to `trace` if there is one.
    fn play(seed: Seed<Self>, trace: &mut Option<String>) -> Result<Tally, Broken>;

    /// What goes wrong in a seed.
    fn faults(seed: Seed<Self>) -> Faults;
}
