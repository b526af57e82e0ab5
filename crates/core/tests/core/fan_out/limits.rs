//! How many items run at once, and how often they start.

use std::time::Duration;

use flowstone_core::fan_out::{FanOutEvent, FanOutMachine, FanOutOptions, OptionsChange, RateLimit, SessionId};

use super::{ask, at, claim_one, lenient, many, report_at, sealed, value};

fn at_most(count: u32) -> FanOutOptions {
    FanOutOptions {
        max_concurrent: many(count),
        ..lenient(1)
    }
}

fn granted(machine: &FanOutMachine) -> [u64; 3] {
    [1, 2, 3].map(|session| machine.at_once(SessionId(session)))
}

fn set(machine: &mut FanOutMachine, change: OptionsChange) {
    machine
        .apply(FanOutEvent::OptionsSet(change), at(0))
        .expect("it goes on");
}

#[test]
fn sessions_share_what_may_run_at_once() {
    for (count, shares) in [(1, [1, 0, 0]), (4, [2, 2, 0]), (5, [3, 2, 0]), (99, [50, 49, 0])] {
        let mut machine = sealed(at_most(count), 20);

        for session in 1..=3 {
            ask(&mut machine, session, (1, 0), at(0)).unwrap();
        }

        assert_eq!(granted(&machine), shares, "{count}");
    }
}

#[test]
fn nobody_starts_more_while_more_run_than_a_lowered_limit_allows() {
    let mut machine = sealed(at_most(4), 40);
    for session in 1..=2 {
        ask(&mut machine, session, (4, 0), at(0)).unwrap().expect("items");
    }

    set(
        &mut machine,
        OptionsChange {
            max_concurrent: Some(many(2)),
            ..OptionsChange::default()
        },
    );
    assert_eq!(granted(&machine), [0, 0, 0], "4 run, 2 may");
    assert!(ask(&mut machine, 3, (4, 0), at(0)).unwrap().is_none());
    // The first one has ended its calls, the second one has not.
    assert!(ask(&mut machine, 1, (4, 0), at(0)).unwrap().is_none());
    machine.apply(FanOutEvent::SessionOver(SessionId(2)), at(1)).unwrap();

    ask(&mut machine, 1, (4, 0), at(1)).unwrap().expect("items");
    assert_eq!(granted(&machine), [1, 0, 0]);
}

#[test]
fn a_session_that_gives_up_a_part_keeps_it_until_its_calls_have_ended() {
    let mut machine = sealed(at_most(4), 40);
    ask(&mut machine, 1, (4, 0), at(0)).unwrap().expect("items");
    set(
        &mut machine,
        OptionsChange {
            priority: Some(1),
            ..OptionsChange::default()
        },
    );
    assert_eq!(granted(&machine), [4, 0, 0], "it is alone");

    ask(&mut machine, 1, (4, 4), at(0)).unwrap();
    ask(&mut machine, 2, (4, 0), at(0)).unwrap();
    assert_eq!(granted(&machine), [2, 0, 0], "4 run");

    ask(&mut machine, 1, (4, 2), at(0)).unwrap();
    ask(&mut machine, 2, (4, 0), at(0)).unwrap();
    assert_eq!(granted(&machine), [2, 2, 0]);
}

fn twice_a_minute(max_concurrent: u32) -> FanOutMachine {
    let limit = RateLimit::new(2, Duration::from_secs(60)).expect("not zero");
    let options = FanOutOptions {
        rate_limit: Some(limit.burst(many(2))),
        ..at_most(max_concurrent)
    };
    sealed(options, 20)
}

#[test]
fn who_is_refused_uses_up_nothing_of_the_rate() {
    let mut machine = twice_a_minute(1);
    let first = claim_one(&mut machine, 1, at(0));
    for _ in 0..5 {
        assert!(ask(&mut machine, 2, (9, 0), at(0)).unwrap().is_none(), "one runs");
    }
    report_at(&mut machine, &first, &[(0, value())], at(0)).unwrap();

    claim_one(&mut machine, 1, at(0));

    machine.apply(FanOutEvent::SessionOver(SessionId(1)), at(0)).unwrap();
    assert!(
        ask(&mut machine, 2, (9, 0), at(0)).unwrap().is_none(),
        "both are used up"
    );
    assert_eq!(machine.wake_at(at(0)), Some(at(30)));
}

#[test]
fn what_is_claimed_on_schedule_can_start_at_once() {
    let mut machine = twice_a_minute(2);

    let claim = ask(&mut machine, 1, (9, 0), at(0)).unwrap().expect("on schedule");

    assert_eq!(claim.items.len(), 1, "as many as it may have at once");
    assert!(claim.after_commit, "the schedule is on disk before it starts");
    assert!(
        ask(&mut machine, 1, (9, 1), at(0)).unwrap().is_none(),
        "it has its hands full"
    );
}

#[test]
fn another_rate_holds_from_when_it_is_set() {
    let mut machine = twice_a_minute(4);
    for session in 1..=2 {
        claim_one(&mut machine, session, at(0));
    }
    assert_eq!(machine.wake_at(at(0)), Some(at(30)));

    set(
        &mut machine,
        OptionsChange {
            rate_limit: Some(Some(RateLimit::per_second(1).expect("not zero"))),
            ..OptionsChange::default()
        },
    );

    assert_eq!(machine.wake_at(at(0)), Some(at(1)));
}
