//! What must hold after every event, and at the end.

use flowstone_core::fan_out::BarrierState;
use flowstone_core::partition::PartitionSet;
use flowstone_core::store::FanOutFilter;

use super::disk::FAILURES_MAX;
use super::driver::Driver;
use super::model::{End, hold_keys};
use crate::simulation::Promise;
use crate::simulation::broken::{broken, hold, hold_eq};

impl Driver<'_> {
    /// Holds the machine against the model.
    pub(super) fn check(&self) {
        let (counts, live) = (self.machine.counts(), &self.live);
        let (is, should) = (self.machine.state(), live.state());
        if is != should {
            let promise = match (is, should) {
                (is, should) if is.is_open() && !should.is_terminal() => Promise::P15,
                (BarrierState::Sealed, BarrierState::Filling) => Promise::P15,
                (is, should) if !is.is_terminal() && should.is_terminal() => Promise::P17,
                (BarrierState::Failed, _) | (_, BarrierState::Failed) => Promise::P19,
                _ => Promise::P18,
            };
            broken(promise, format!("it is {is} and should be {should}: {counts:?}"));
        }
        hold!(P18, counts.adds_up(), "{counts:?} does not add up");
        hold_eq!(P18, counts.total, live.keys.len() as u64, "all items");
        for (end, count) in [
            (End::Succeeded, counts.succeeded),
            (End::Skipped, counts.skipped),
            (End::Failed, counts.failed),
            (End::Quarantined, counts.quarantined),
        ] {
            hold_eq!(P18, count, live.count(end), "items that are {end:?}");
        }
        let claims = self.sessions.values().flat_map(|session| &session.claims);
        let leased: u64 = claims.map(|held| held.left.len()).sum();
        hold_eq!(P18, counts.leased, leased, "items that workers have");
        if is.is_terminal() {
            hold_eq!(P16, self.overs, 1, "how often it was said to be over");
            hold_eq!(P18, counts.pending, 0, "items that wait after the end");
        } else {
            hold_eq!(P18, counts.cancelled, 0, "items that are cancelled before the end");
            hold_eq!(P15, self.overs, 0, "how often it was said to be over");
        }
        hold_keys(&live.keys, &self.case.keys(), live.has_read_all);
    }

    /// Holds the store against the model, once it is over or its step is quarantined.
    pub(super) fn check_rest(&self) {
        let (store, ask) = (self.world.store(), self.world);
        let row = ask.ask(store.fan_outs(FanOutFilter::One(self.fan_out))).pop();
        let Some(row) = row else {
            // It was never opened.
            hold!(
                P1,
                self.is_quarantined && self.durable.keys.is_empty(),
                "the fan-out is gone"
            );
            return;
        };
        let claims = ask.ask(store.item_claims(self.fan_out));
        if self.is_quarantined {
            let mut held = claims.iter().filter(|claim| claim.is_held);
            hold!(
                P24,
                held.next().is_none(),
                "nobody leads, and items are claimed: {claims:?}"
            );
        } else {
            hold_eq!(P1, row.state, self.live.state(), "the state on disk");
            hold_eq!(P18, row.counts, self.machine.counts(), "the counts on disk");
            hold!(P24, claims.is_empty(), "claims outlive the end: {claims:?}");
        }
        let of = |ends: &[End]| -> PartitionSet {
            let ended = self.live.ended.iter().filter(|(_, end)| ends.contains(end));
            ended.map(|(item, _)| *item).collect()
        };
        let ends = ask.ask(store.item_ends(self.fan_out));
        hold_eq!(P8, ends.succeeded, of(&[End::Succeeded]), "what succeeded");
        hold_eq!(P8, ends.skipped, of(&[End::Skipped]), "what was skipped");
        let failures = ask.ask(store.item_failures(self.fan_out, 0, FAILURES_MAX));
        let failed = failures
            .iter()
            .filter(|failure| failure.epoch == row.epoch && failure.is_final);
        for failure in &failures {
            let key = format!("key {}", self.live.keys[failure.item as usize]);
            hold_eq!(Items, failure.key, key, "the key of a failed item");
        }
        let failed: PartitionSet = failed.map(|failure| failure.item).collect();
        hold_eq!(P8, failed, of(&[End::Failed, End::Quarantined]), "what failed");
        let keys: Vec<String> = self.live.keys.iter().map(|key| format!("key {key}")).collect();
        hold_eq!(Items, self.stored_keys(), keys, "the items on disk");
    }
}
