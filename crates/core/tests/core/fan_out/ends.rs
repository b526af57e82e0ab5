//! When a fan-out ends, and how.

use flowstone_core::fan_out::{BarrierState, FailurePolicy, FanOutEvent, FanOutMachine, FanOutOptions, ItemEnd};

use super::{
    at, claim_one, committed, end_next, for_good, for_now, lenient, machine, overs, read, report, report_at, sealed,
    value,
};

fn tolerating(failure: FailurePolicy) -> FanOutOptions {
    FanOutOptions { failure, ..lenient(1) }
}

/// Ends items one after the other, `bad` of them badly and these first or last; gives the end and how many had ended then.
fn played(share: f64, total: u64, bad: u64, bad_first: bool) -> (BarrierState, u64) {
    let policy = FailurePolicy::tolerate_share(share).expect("in range");
    let mut machine = sealed(tolerating(policy), total);
    for number in 0..total {
        let is_bad = if bad_first { number < bad } else { number >= total - bad };
        let effects = end_next(&mut machine, if is_bad { for_good() } else { value() });
        if let [state] = overs(&effects)[..] {
            return (state, number + 1);
        }
    }
    panic!("{bad} bad of {total} never end");
}

#[test]
fn as_many_as_are_tolerated_pass_and_one_more_fails_at_once_in_any_order() {
    for total in [1, 19, 20, 21, 100] {
        for (share, allowed) in [(0.0, 0), (0.05, total / 20), (1.0, total)] {
            for bad_first in [true, false] {
                let (state, ended) = played(share, total, allowed, bad_first);
                let want = if allowed == 0 {
                    BarrierState::Complete
                } else {
                    BarrierState::Partial
                };
                assert_eq!((state, ended), (want, total), "{allowed} of {total}, {share}");
                if allowed < total {
                    let (state, ended) = played(share, total, allowed + 1, bad_first);
                    let unreachable_at = if bad_first { allowed + 1 } else { total };
                    assert_eq!(
                        (state, ended),
                        (BarrierState::Failed, unreachable_at),
                        "{allowed} + 1 of {total}, {share}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_share_is_not_exceeded_before_all_items_are_known() {
    let mut machine = machine(tolerating(FailurePolicy::tolerate_share(0.5).expect("in range")));
    read(&mut machine, 3, false).unwrap();
    for _ in 0..3 {
        assert!(overs(&end_next(&mut machine, for_good())).is_empty());
    }

    let effects = read(&mut machine, 2, true).unwrap();

    assert_eq!(
        overs(&effects),
        [BarrierState::Failed],
        "3 of 5 can not be made good any more"
    );
    assert_eq!(machine.counts().cancelled, 2);
    assert!(machine.failure().expect("it says why").to_string().contains("3 of 5"));
}

#[test]
fn a_count_is_exceeded_whatever_else_comes() {
    let mut machine = machine(tolerating(FailurePolicy::tolerate_count(1)));
    read(&mut machine, 9, false).unwrap();

    assert!(overs(&end_next(&mut machine, for_good())).is_empty());
    assert_eq!(overs(&end_next(&mut machine, for_good())), [BarrierState::Failed]);
}

#[test]
fn without_items_it_is_complete_at_once() {
    assert_eq!(sealed(lenient(1), 0).state(), BarrierState::Complete);
}

#[test]
fn before_the_seal_nothing_completes() {
    let mut machine = machine(lenient(1));
    read(&mut machine, 1, false).unwrap();
    assert!(overs(&end_next(&mut machine, value())).is_empty());
    assert!(
        overs(&read(&mut machine, 0, false).unwrap()).is_empty(),
        "an empty page"
    );

    let effects = read(&mut machine, 0, true).unwrap();

    assert_eq!(overs(&effects), [BarrierState::Complete]);
    assert_eq!(committed(&effects).state, BarrierState::Complete);
}

#[test]
fn the_seal_and_the_last_end_open_once_in_either_order() {
    let begun = || {
        let mut machine = machine(lenient(1));
        read(&mut machine, 1, false).unwrap();
        let claim = claim_one(&mut machine, 1, at(0));
        (machine, claim)
    };
    let seal = |machine: &mut FanOutMachine| machine.apply(FanOutEvent::EnoughRead, at(0)).unwrap();
    let (mut one, claim_of_one) = begun();
    let (mut other, claim_of_other) = begun();

    let mut of_one = overs(&seal(&mut one));
    assert!(of_one.is_empty());
    of_one.extend(overs(&report(&mut one, &claim_of_one, &[(0, value())]).unwrap()));
    let mut of_other = overs(&report(&mut other, &claim_of_other, &[(0, value())]).unwrap());
    assert!(of_other.is_empty());
    of_other.extend(overs(&seal(&mut other)));

    assert_eq!(
        (of_one, of_other),
        (vec![BarrierState::Complete], vec![BarrierState::Complete])
    );
    assert_eq!(one.counts(), other.counts());
}

/// One item that fails for now so often, and then ends well.
fn failing(times: u32, attempts: u32) -> FanOutMachine {
    let mut machine = sealed(lenient(attempts), 1);
    for number in 1..=times + 1 {
        let now = at(i64::from(number) * 10);
        machine.apply(FanOutEvent::RetriesDue, now).unwrap();
        let claim = claim_one(&mut machine, 1, now);
        assert_eq!(claim.attempt(0), number);
        let end: ItemEnd = if number <= times { for_now() } else { value() };
        report_at(&mut machine, &claim, &[(0, end)], now).unwrap();
        if machine.is_over() {
            break;
        }
    }
    machine
}

#[test]
fn two_failures_and_a_success_are_one_success() {
    let machine = failing(2, 3);

    assert_eq!(machine.state(), BarrierState::Complete);
    assert_eq!((machine.counts().succeeded, machine.counts().bad()), (1, 0));
}

#[test]
fn an_item_out_of_attempts_is_one_failure() {
    let machine = failing(3, 3);

    assert_eq!(machine.state(), BarrierState::Partial);
    assert_eq!((machine.counts().failed, machine.counts().ended()), (1, 1));
}
