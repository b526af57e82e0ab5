//! Reports that come twice, late, or from strangers: no counter moves, and whoever reports learns why.

use std::sync::Arc;

use flowstone_core::coordinator::{Coordinator, Verdict};
use flowstone_core::fan_out::{
    Barrier, BarrierState, FailurePolicy, FanOutEvent, FanOutMachine, ItemChunk, ItemEnd, OptionsChange, SessionId,
};
use flowstone_core::{ErrorKind, ErrorRecord, FanOutId};
use uuid::Uuid;

use super::{
    ask, at, claim_one, end_next, for_good, for_now, lead, lenient, machine, overs, read, report, report_at, sealed,
    value,
};

/// Reports what is refused, and holds that nothing moved.
fn refused(machine: &mut FanOutMachine, chunk: &ItemChunk, ends: &[(u64, ItemEnd)]) -> (ErrorKind, String) {
    let before = (machine.counts(), machine.state(), machine.barrier().clone());

    let error = report(machine, chunk, ends).expect_err("it is refused");

    assert_eq!((machine.counts(), machine.state(), machine.barrier().clone()), before);
    (error.kind(), error.to_string())
}

#[test]
fn an_item_that_completes_twice_counts_once() {
    let mut machine = sealed(lenient(1), 8);
    let claim = ask(&mut machine, 1, (2, 0), at(0)).unwrap().expect("two of eight");
    report(&mut machine, &claim, &[(0, value())]).unwrap();

    let (kind, why) = refused(&mut machine, &claim, &[(0, value())]);

    assert_eq!(kind, ErrorKind::IllegalTransition);
    assert!(why.contains("ended twice"), "{why}");
    let (kind, _) = refused(&mut machine, &claim, &[(1, value()), (1, value())]);
    assert_eq!(kind, ErrorKind::IllegalTransition, "twice in one report");
    assert_eq!(machine.counts().succeeded, 1);
}

#[test]
fn an_item_that_fails_twice_counts_once() {
    let mut machine = sealed(lenient(1), 4);
    let claim = claim_one(&mut machine, 1, at(0));
    report(&mut machine, &claim, &[(0, for_good())]).unwrap();

    let (kind, why) = refused(&mut machine, &claim, &[(0, for_good())]);

    assert_eq!(kind, ErrorKind::Fenced);
    assert!(why.contains("is not held"), "{why}");
    assert_eq!(machine.counts().failed, 1);
}

#[test]
fn an_item_that_completed_does_not_fail() {
    let mut machine = sealed(lenient(1), 4);
    let claim = claim_one(&mut machine, 1, at(0));
    report(&mut machine, &claim, &[(0, value())]).unwrap();

    let (kind, _) = refused(&mut machine, &claim, &[(0, for_good())]);

    assert_eq!(kind, ErrorKind::Fenced);
    assert_eq!((machine.counts().succeeded, machine.counts().failed), (1, 0));
}

#[test]
fn who_failed_does_not_complete_what_another_retries() {
    let mut machine = sealed(lenient(2), 1);
    let first = claim_one(&mut machine, 1, at(0));
    report(&mut machine, &first, &[(0, for_now())]).unwrap();
    machine.apply(FanOutEvent::RetriesDue, at(2)).unwrap();
    let second = claim_one(&mut machine, 2, at(2));

    let (kind, _) = refused(&mut machine, &first, &[(0, value())]);

    assert_eq!((kind, second.attempt(0)), (ErrorKind::Fenced, 2));
    report_at(&mut machine, &second, &[(0, value())], at(3)).unwrap();
    assert_eq!(machine.state(), BarrierState::Complete);
}

#[test]
fn a_worker_that_was_given_up_reports_in_vain() {
    let mut machine = sealed(lenient(1), 2);
    let first = claim_one(&mut machine, 1, at(0));
    let died = FanOutEvent::SessionDied {
        session: SessionId(1),
        keys: std::collections::BTreeMap::new(),
    };
    machine.apply(died, at(1)).unwrap();

    assert_eq!(
        refused(&mut machine, &first, &[(0, value())]).0,
        ErrorKind::Fenced,
        "nobody holds it"
    );
    let other = claim_one(&mut machine, 2, at(1));
    report(&mut machine, &other, &[(1, value())]).unwrap();
    let again = claim_one(&mut machine, 2, at(1));
    assert_eq!(again.items, first.items);
    assert_eq!(
        refused(&mut machine, &first, &[(0, value())]).0,
        ErrorKind::Fenced,
        "another holds it"
    );
}

#[test]
fn items_and_claims_that_are_not_known_are_refused() {
    let mut machine = sealed(lenient(1), 4);
    let claim = claim_one(&mut machine, 1, at(0));
    let unknown = ItemChunk {
        chunk: 99,
        ..claim.clone()
    };
    let forged = ItemChunk {
        fence: claim.fence.next(),
        ..claim.clone()
    };

    for (chunk, item, kind) in [
        (&claim, 1, ErrorKind::IllegalTransition),
        (&claim, 77, ErrorKind::IllegalTransition),
        (&unknown, 0, ErrorKind::Fenced),
        (&forged, 0, ErrorKind::Fenced),
    ] {
        assert_eq!(
            refused(&mut machine, chunk, &[(item, value())]).0,
            kind,
            "{chunk:?}, {item}"
        );
    }
    let half = refused(&mut machine, &claim, &[(0, value()), (77, value())]);
    assert_eq!(half.0, ErrorKind::IllegalTransition, "all of a report or nothing");
}

#[test]
fn a_claim_under_another_lead_is_refused() {
    let mut first = machine(lenient(1));
    read(&mut first, 2, true).unwrap();
    let of_first = claim_one(&mut first, 1, at(0));
    let options = lenient(1);
    let coordinator = Arc::new(options.failure);
    let id = FanOutId(Uuid::from_u128(8));
    let mut second = FanOutMachine::new(id, lead(1 << 32), options, coordinator);
    read(&mut second, 2, true).unwrap();
    claim_one(&mut second, 1, at(0));

    let (kind, _) = refused(&mut second, &of_first, &[(0, value())]);

    assert_eq!(kind, ErrorKind::Fenced);
}

#[test]
fn nothing_moves_after_the_end_whatever_the_end_was() {
    let cancelled = |machine: &mut FanOutMachine| machine.apply(FanOutEvent::CancelAsked, at(1));
    let failed = |machine: &mut FanOutMachine| {
        let error = flowstone_core::Error::permanent("the source is gone").to_record();
        machine.apply(FanOutEvent::Failed(error), at(1))
    };
    for (end, state) in [
        (&cancelled as &dyn Fn(&mut FanOutMachine) -> _, BarrierState::Cancelled),
        (&failed, BarrierState::Failed),
    ] {
        let mut machine = sealed(lenient(2), 3);
        let claim = claim_one(&mut machine, 1, at(0));
        end(&mut machine).expect("it ends");

        let (kind, why) = refused(&mut machine, &claim, &[(0, value())]);

        assert_eq!(kind, ErrorKind::Fenced);
        assert!(why.contains(state.name()), "{why}");
        assert_eq!(machine.counts().cancelled, 3);
        for event in [
            FanOutEvent::EnoughRead,
            FanOutEvent::RetriesDue,
            FanOutEvent::CancelAsked,
            FanOutEvent::SessionOver(SessionId(1)),
        ] {
            let error = machine.apply(event, at(2)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::IllegalTransition, "{error}");
        }
        assert!(ask(&mut machine, 2, (1, 0), at(2)).is_err(), "nothing starts");
    }
}

#[test]
fn a_fan_out_that_ends_while_items_wait_for_their_next_attempt_reads_nothing_more() {
    let mut machine = machine(lenient(3));
    read(&mut machine, 2, false).unwrap();
    let claim = claim_one(&mut machine, 1, at(0));
    report(&mut machine, &claim, &[(0, for_now())]).unwrap();

    machine.apply(FanOutEvent::CancelAsked, at(0)).unwrap();

    assert_eq!(machine.to_read(), None);
    assert!(!machine.works_at(&(0..2)));
}

#[test]
fn how_many_items_may_come_is_settled_once_they_are_read() {
    let mut machine = machine(lenient(3));
    let more = || {
        FanOutEvent::OptionsSet(OptionsChange {
            items_max: Some(Some(9)),
            ..OptionsChange::default()
        })
    };
    read(&mut machine, 2, false).unwrap();
    machine.apply(more(), at(0)).unwrap();
    assert_eq!(machine.options().items_max, Some(9));
    machine.apply(FanOutEvent::EnoughRead, at(0)).unwrap();

    let refused = machine.apply(more(), at(1)).unwrap_err();

    assert_eq!(refused.stable_code(), "fan_out_sealed");
}

/// Gathers whatever failed.
struct Patient;

impl Coordinator for Patient {
    fn verdict(&self, barrier: &Barrier, _: Option<&ErrorRecord>) -> Verdict {
        let counts = barrier.counts();
        let is_over = barrier.is_sealed() && counts.pending + counts.leased == 0;
        if is_over { Verdict::Gather } else { Verdict::Wait }
    }
}

#[test]
fn how_many_may_fail_is_not_for_others_to_change_where_a_coordinator_goes_by_something_else() {
    let fan_out = FanOutId(Uuid::from_u128(7));
    let mut machine = FanOutMachine::new(fan_out, lead(1), lenient(1), Arc::new(Patient));
    read(&mut machine, 2, true).unwrap();
    let before = machine.options().clone();
    let change = OptionsChange {
        failure: Some(FailurePolicy::all_or_nothing()),
        priority: Some(1),
        ..OptionsChange::default()
    };

    let refused = machine.apply(FanOutEvent::OptionsSet(change), at(1)).unwrap_err();

    assert_eq!(refused.stable_code(), "failure_policy_unused");
    assert_eq!(machine.options(), &before, "nothing of it was taken");
    end_next(&mut machine, for_good());
    assert_eq!(overs(&end_next(&mut machine, value())), [BarrierState::Partial]);
}
