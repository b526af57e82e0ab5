//! Pools: how many steps that use something scarce run at once, over all runs.
//!
//! Decides only who gets slots. Whoever wants slots of several pools gets all of them or none, so nobody holds what
//! another waits for and waits himself; and who was refused goes before those that ask later for slots of the same pool.

use std::collections::{BTreeMap, BTreeSet};

use crate::asset::Asset;
use crate::pipeline::{Complaints, Pipeline, nearest};
use crate::{Error, ErrorKind, Result, RunId};

/// The name of the pool that an asset's own limit makes: no name that a pipeline can give starts like this.
const OWN: &str = "\0asset ";

/// A pool that an asset takes slots of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUse {
    /// The pool.
    pub pool: String,
    /// How many of its slots each step takes.
    pub weight: u32,
}

/// The name of the pool of one asset's own limit.
pub(crate) fn own_pool(asset: &str) -> String {
    format!("{OWN}{asset}")
}

/// What one step takes: slots by pool, each pool once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots(Vec<(usize, u32)>);

impl Slots {
    /// True when a step takes none.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    fn shares_a_pool_with(&self, other: &Self) -> bool {
        self.0
            .iter()
            .any(|(pool, _)| other.0.iter().any(|(theirs, _)| theirs == pool))
    }
}

/// Who asks: a run, and the place of the asset in its plan.
pub type Claimant = (RunId, usize);

#[derive(Debug, Clone)]
struct Pool {
    slots: u32,
    used: u32,
}

/// The pools and who waits for them.
#[derive(Debug, Clone, Default)]
pub struct Pools {
    places: BTreeMap<String, usize>,
    pools: Vec<Pool>,
    /// Who was refused, in the order in which that was.
    waiting: Vec<(Claimant, Slots)>,
}

impl Pools {
    /// Pools with so many slots each.
    pub fn new(slots: &BTreeMap<String, u32>) -> Self {
        Self {
            places: slots.keys().cloned().zip(0..).collect(),
            pools: slots.values().map(|slots| Pool { slots: *slots, used: 0 }).collect(),
            waiting: Vec::new(),
        }
    }

    /// What `uses` come to; a pool that there is not counts for nothing.
    pub fn slots(&self, uses: &[PoolUse]) -> Slots {
        let mut by_pool: BTreeMap<usize, u32> = BTreeMap::new();
        for used in uses {
            if let Some(place) = self.places.get(&used.pool) {
                *by_pool.entry(*place).or_default() += used.weight;
            }
        }
        Slots(by_pool.into_iter().collect())
    }

    /// How many slots of a pool are taken, and how many there are.
    pub fn used(&self, pool: &str) -> Option<(u32, u32)> {
        let pool = &self.pools[*self.places.get(pool)?];
        Some((pool.used, pool.slots))
    }

    /// Whether `claimant` may take `slots` now: they are free, and nobody waits for slots of these pools since before it.
    pub fn may_take(&self, claimant: Claimant, slots: &Slots) -> bool {
        let is_free = slots.0.iter().all(|(pool, weight)| {
            let pool = &self.pools[*pool];
            pool.used + weight <= pool.slots
        });
        let mut ahead = self.waiting.iter().take_while(|(waiting, _)| *waiting != claimant);
        is_free && !ahead.any(|(_, wanted)| wanted.shares_a_pool_with(slots))
    }

    /// Takes `slots` if it may; it waits for nothing any more then.
    pub fn take(&mut self, claimant: Claimant, slots: &Slots) -> bool {
        if !self.may_take(claimant, slots) {
            return false;
        }
        for (pool, weight) in &slots.0 {
            self.pools[*pool].used += weight;
        }
        self.waiting.retain(|(waiting, _)| *waiting != claimant);
        true
    }

    /// Notes that `claimant` wants `slots` and did not get them; it keeps its place if it has one.
    pub fn wait(&mut self, claimant: Claimant, slots: &Slots) {
        if !self.waiting.iter().any(|(waiting, _)| *waiting == claimant) {
            self.waiting.push((claimant, slots.clone()));
        }
    }

    /// Those of a run's assets, by place in its plan, that may not have what a step of them takes; they wait from now on.
    /// Any one of the others may take its slots.
    pub fn refused(&mut self, run: RunId, wanted: &[(usize, &Slots)]) -> BTreeSet<usize> {
        let mut refused = BTreeSet::new();
        loop {
            let before = refused.len();
            for (place, slots) in wanted {
                if !refused.contains(place) && !self.may_take((run, *place), slots) {
                    self.wait((run, *place), slots);
                    refused.insert(*place);
                }
            }
            // Who waits since this pass may stand before one that was looked at earlier.
            if refused.len() == before {
                return refused;
            }
        }
    }

    /// Gives back what was taken; says which runs wait for something, who waits longest first.
    pub fn give_back(&mut self, slots: &Slots) -> Vec<RunId> {
        for (pool, weight) in &slots.0 {
            let pool = &mut self.pools[*pool];
            pool.used = pool.used.saturating_sub(*weight);
        }
        self.waiting_runs()
    }

    /// A claimant wants nothing any more, or did not use its turn; says which runs wait still.
    pub fn forget(&mut self, is_meant: impl Fn(Claimant) -> bool) -> Vec<RunId> {
        let before = self.waiting.len();
        self.waiting.retain(|(claimant, _)| !is_meant(*claimant));
        if self.waiting.len() == before {
            Vec::new()
        } else {
            self.waiting_runs()
        }
    }

    fn waiting_runs(&self) -> Vec<RunId> {
        let mut runs: Vec<RunId> = Vec::new();
        for ((run, _), _) in &self.waiting {
            if !runs.contains(run) {
                runs.push(*run);
            }
        }
        runs
    }
}

/// The slots of all pools of `pipeline`, the limits of its assets among them; `set` goes before what it says.
///
/// # Errors
/// `NotFound` for a pool that there is not; `Invalid` for no slots, or fewer than an asset takes at once.
pub fn limits(pipeline: &Pipeline, set: &BTreeMap<String, u32>) -> Result<BTreeMap<String, u32>> {
    let mut slots = pipeline.pools().clone();
    for (name, count) in set {
        if !slots.contains_key(name) {
            return Err(unknown_pool(name, &slots));
        }
        if *count == 0 {
            return Err(no_slots(name));
        }
        slots.insert(name.clone(), *count);
    }
    for (_, node) in pipeline.graph().nodes() {
        for used in node.pools() {
            fits(used, &slots).map_err(|error| error.about(format!("asset {}", node.key())))?;
        }
        if let Some(count) = node.max_concurrent() {
            slots.insert(own_pool(node.key().as_str()), count);
        }
    }
    Ok(slots)
}

/// Checks what a pipeline says of pools.
pub(crate) fn check(assets: &[Asset], slots: &BTreeMap<String, u32>, complaints: &mut Complaints) {
    for (name, _) in slots.iter().filter(|(_, count)| **count == 0) {
        complaints.push(no_slots(name), None);
    }
    for asset in assets {
        let about = |error: Error| error.about(format!("asset {:?}", asset.name));
        for used in &asset.pools {
            if let Err(error) = fits(used, slots) {
                complaints.push(about(error), Some(asset.location));
            }
        }
        if asset.max_concurrent == Some(0) {
            let none = Error::new(ErrorKind::Invalid, "none of its steps may ever run")
                .code("limit_zero")
                .fix("give `max_concurrent` at least 1, or leave it out");
            complaints.push(about(none), Some(asset.location));
        }
    }
}

fn fits(used: &PoolUse, slots: &BTreeMap<String, u32>) -> Result<()> {
    let PoolUse { pool, weight } = used;
    let Some(count) = slots.get(pool) else {
        return Err(unknown_pool(pool, slots));
    };
    if *weight == 0 {
        return Err(
            Error::new(ErrorKind::Invalid, format!("it takes no slots of pool {pool:?}"))
                .code("limit_zero")
                .fix("give a weight of at least 1, or leave the pool out"),
        );
    }
    if weight > count {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("each step takes {weight} slots of pool {pool:?}, which has {count}"),
        )
        .code("pool_too_small")
        .fix("give the pool more slots, or the asset a smaller weight"));
    }
    Ok(())
}

fn no_slots(name: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("pool {name:?} has no slots"))
        .code("limit_zero")
        .fix("give it at least one")
}

fn unknown_pool(name: &str, slots: &BTreeMap<String, u32>) -> Error {
    let fix = match nearest(name, slots.keys().map(String::as_str)) {
        Some(near) => format!("did you mean {near:?}?"),
        None => "declare it with `.pool(name, slots)` of the pipeline".to_owned(),
    };
    Error::new(ErrorKind::NotFound, format!("no pool is called {name:?}"))
        .code("pool_unknown")
        .fix(fix)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn pools(slots: &[(&str, u32)]) -> Pools {
        Pools::new(&slots.iter().map(|(name, slots)| ((*name).to_owned(), *slots)).collect())
    }

    fn uses(uses: &[(&str, u32)]) -> Vec<PoolUse> {
        let each = |(pool, weight): &(&str, u32)| PoolUse {
            pool: (*pool).to_owned(),
            weight: *weight,
        };
        uses.iter().map(each).collect()
    }

    fn run(number: u128) -> Claimant {
        (RunId(Uuid::from_u128(number)), 0)
    }

    #[test]
    fn all_slots_or_none_and_no_more_than_there_are() {
        let mut pools = pools(&[("a", 2), ("b", 1)]);
        let both = pools.slots(&uses(&[("a", 1), ("b", 1)]));
        let one = pools.slots(&uses(&[("a", 1)]));

        assert!(pools.take(run(1), &both));
        assert!(!pools.take(run(2), &both));
        assert_eq!((pools.used("a"), pools.used("b")), (Some((1, 2)), Some((1, 1))));
        assert!(pools.take(run(2), &one));
        assert!(!pools.take(run(3), &one));
        assert_eq!(pools.give_back(&both), []);
        assert!(pools.take(run(3), &one));
    }

    #[test]
    fn a_heavy_one_is_not_overtaken_for_ever() {
        let mut pools = pools(&[("a", 2), ("b", 1)]);
        let (light, heavy) = (pools.slots(&uses(&[("a", 1)])), pools.slots(&uses(&[("a", 2)])));
        let elsewhere = pools.slots(&uses(&[("b", 1)]));
        assert!(pools.take(run(1), &light));
        assert!(!pools.take(run(2), &heavy));
        pools.wait(run(2), &heavy);

        assert!(!pools.take(run(1), &light), "there is a slot, and it is another's turn");
        assert!(pools.take(run(3), &elsewhere), "who wants other pools does not wait");
        assert_eq!(pools.give_back(&light), [run(2).0]);
        assert!(pools.take(run(2), &heavy));
    }

    #[test]
    fn who_is_not_refused_may_take_even_when_another_asset_of_its_run_was_refused_after_it() {
        let mut pools = pools(&[("a", 2)]);
        let (light, heavy) = (pools.slots(&uses(&[("a", 1)])), pools.slots(&uses(&[("a", 2)])));
        assert!(pools.take(run(9), &light));
        let id = run(1).0;

        let refused = pools.refused(id, &[(0, &light), (1, &heavy)]);

        assert_eq!(refused, [0, 1].into());
        assert!(!pools.take((id, 0), &light), "the heavy one has its turn first");
        pools.give_back(&light);
        assert_eq!(pools.refused(id, &[(0, &light), (1, &heavy)]), [0].into());
        assert!(pools.take((id, 1), &heavy));
    }

    #[test]
    fn who_goes_away_lets_the_others_pass() {
        let mut pools = pools(&[("a", 1)]);
        let one = pools.slots(&uses(&[("a", 1)]));
        assert!(pools.take(run(1), &one));
        pools.wait(run(2), &one);
        pools.wait(run(3), &one);
        pools.give_back(&one);

        assert!(!pools.may_take(run(3), &one));
        assert_eq!(pools.forget(|claimant| claimant == run(2)), [run(3).0]);
        assert!(pools.take(run(3), &one));
    }

    proptest! {
        /// Whatever is asked for, taken and given back, in any order.
        #[test]
        fn slots_in_use_never_exceed_the_limit_and_all_come_back(
            limits in prop::collection::vec(1..5_u32, 3),
            steps in prop::collection::vec((0..6_u128, prop::collection::vec(0..4_u32, 3), any::<bool>()), 1..80),
        ) {
            let names = ["a", "b", "c"];
            let limited: Vec<_> = names.into_iter().zip(limits.iter().copied()).collect();
            let mut pools = pools(&limited);
            let mut held: Vec<(Slots, Vec<u32>)> = Vec::new();
            for (number, weights, gives_back) in steps {
                if gives_back && !held.is_empty() {
                    let (slots, _) = held.swap_remove(number as usize % held.len());
                    pools.give_back(&slots);
                } else {
                    let wanted: Vec<_> = names.into_iter().zip(weights.iter().copied()).filter(|(_, weight)| *weight > 0).collect();
                    let slots = pools.slots(&uses(&wanted));
                    if pools.take(run(number), &slots) {
                        held.push((slots, weights));
                    } else {
                        pools.wait(run(number), &slots);
                    }
                }
                for (place, (name, limit)) in limited.iter().enumerate() {
                    let taken: u32 = held.iter().map(|(_, weights)| weights[place]).sum();
                    prop_assert!(taken <= *limit);
                    prop_assert_eq!(pools.used(name), Some((taken, *limit)));
                }
            }
            for (slots, _) in held.drain(..) {
                pools.give_back(&slots);
            }
            // Whoever waits longest can take what he wants, if that can be had at all.
            while let Some(((run, lane), slots)) = pools.waiting.first().cloned() {
                let can_be_had = slots.0.iter().all(|(pool, weight)| pools.pools[*pool].slots >= *weight);
                let is_taken = pools.take((run, lane), &slots);
                prop_assert_eq!(is_taken, can_be_had);
                if is_taken {
                    pools.give_back(&slots);
                }
                pools.forget(|claimant| claimant == (run, lane));
            }
        }
    }
}
