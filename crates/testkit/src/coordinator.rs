//! The conformance suite of [`Coordinator`]: one test for each promise, adopted with [`coordinator_conformance!`].
//!
//! [`coordinator_conformance!`]: crate::coordinator_conformance

use std::fmt;

use flowstone_core::coordinator::{ChildOutcome, Coordinator, Verdict};
use flowstone_core::partition::PartitionSet;
use flowstone_core::{Error, ErrorKind};

use crate::Draw;

/// Children of a fan-out in these tests.
const CHILDREN: u64 = 7;
/// Orders that are tried.
const ORDERS: u64 = 40;

/// The way to make a coordinator.
pub struct CoordinatorUnderTest(Box<dyn Fn() -> Box<dyn Coordinator> + Send + Sync>);

impl CoordinatorUnderTest {
    /// Tests the coordinators that `make` gives; each is new, with the same policy.
    pub fn new<C: Coordinator>(make: impl Fn() -> C + Send + Sync + 'static) -> Self {
        Self(Box::new(move || Box::new(make())))
    }
}

impl fmt::Debug for CoordinatorUnderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoordinatorUnderTest").finish_non_exhaustive()
    }
}

/// A fan-out on its way: what it was told, and what it said.
struct FanOut {
    coordinator: Box<dyn Coordinator>,
    started: PartitionSet,
    ended: PartitionSet,
    last: Option<Verdict>,
}

impl FanOut {
    fn of(under_test: &CoordinatorUnderTest) -> Self {
        Self {
            coordinator: (under_test.0)(),
            started: PartitionSet::new(),
            ended: PartitionSet::new(),
            last: None,
        }
    }

    fn admit(&mut self, children: &PartitionSet) {
        let verdict = self.coordinator.admit(children).expect("it is open");
        self.note(verdict);
    }

    fn seal(&mut self) {
        let verdict = self.coordinator.seal().expect("it is sealed once");
        self.note(verdict);
    }

    fn end(&mut self, child: u64, outcome: ChildOutcome) {
        let verdict = self.coordinator.ended(child, outcome).expect("the child was admitted");
        self.ended.insert(child);
        self.note(verdict);
    }

    fn note(&mut self, verdict: Verdict) {
        if self.last.is_some() {
            assert_eq!(verdict, Verdict::Wait, "something follows the last verdict");
            return;
        }
        match verdict {
            Verdict::Wait => {}
            Verdict::Start(children) => {
                assert!(
                    self.started.is_disjoint(&children),
                    "a child is started twice: {children:?}"
                );
                self.started.union_with(&children);
            }
            last @ (Verdict::Gather | Verdict::Fail(_)) => self.last = Some(last),
        }
    }

    /// Ends those that have started and not ended, in an order of the draw's, until none is left.
    fn end_all(&mut self, draw: &mut Draw, outcome: impl Fn(u64) -> ChildOutcome) {
        loop {
            let open: Vec<u64> = self.started.difference(&self.ended).iter().collect();
            if open.is_empty() {
                return;
            }
            let child = *draw.pick(&open);
            self.end(child, outcome(child));
        }
    }

    fn gathers(&self) -> bool {
        self.last == Some(Verdict::Gather)
    }
}

fn all() -> PartitionSet {
    PartitionSet::from_range(0..CHILDREN)
}

fn failed() -> ChildOutcome {
    ChildOutcome::Failed(Error::permanent("it failed").to_record())
}

/// Every child is started once, and none that was not admitted.
pub fn every_child_is_started_once(under_test: &CoordinatorUnderTest) {
    for order in 0..ORDERS {
        let mut fan_out = FanOut::of(under_test);
        fan_out.admit(&PartitionSet::from_range(0..3));
        fan_out.admit(&PartitionSet::from_range(3..CHILDREN));
        fan_out.seal();

        fan_out.end_all(&mut Draw::seeded(order), |_| ChildOutcome::Succeeded);

        assert_eq!(fan_out.started, all());
        assert!(fan_out.gathers());
    }
}

/// While children may still come nothing is gathered, however many have ended.
pub fn nothing_is_gathered_before_the_seal(under_test: &CoordinatorUnderTest) {
    let mut fan_out = FanOut::of(under_test);
    fan_out.admit(&all());
    fan_out.end_all(&mut Draw::seeded(1), |_| ChildOutcome::Succeeded);
    assert_eq!(fan_out.last, None, "it is over before it is sealed");

    fan_out.seal();

    assert!(fan_out.gathers());
}

/// Nothing is gathered while a child has not ended.
pub fn nothing_is_gathered_before_the_last_child(under_test: &CoordinatorUnderTest) {
    let mut fan_out = FanOut::of(under_test);
    fan_out.admit(&all());
    fan_out.seal();
    let mut draw = Draw::seeded(2);
    while fan_out.ended.len() < CHILDREN {
        assert_eq!(
            fan_out.last,
            None,
            "it is over after {} of {CHILDREN}",
            fan_out.ended.len()
        );
        let open: Vec<u64> = fan_out.started.difference(&fan_out.ended).iter().collect();
        assert!(
            !open.is_empty(),
            "nothing runs and {} are missing",
            CHILDREN - fan_out.ended.len()
        );
        let child = *draw.pick(&open);
        fan_out.end(child, ChildOutcome::Succeeded);
    }

    assert!(fan_out.gathers());
}

/// A fan-out without children is gathered as soon as it is sealed.
pub fn no_children_are_gathered_too(under_test: &CoordinatorUnderTest) {
    let mut fan_out = FanOut::of(under_test);

    fan_out.seal();

    assert!(fan_out.gathers());
}

/// The last verdict follows from what the children came to, and not from the order in which they did, nor from when
/// the fan-out was sealed.
pub fn the_order_of_ends_does_not_matter(under_test: &CoordinatorUnderTest) {
    for failures in 0..=CHILDREN {
        let outcome = |child| match child {
            child if child < failures => failed(),
            child if child % 3 == 2 => ChildOutcome::Skipped,
            _ => ChildOutcome::Succeeded,
        };
        let mut verdicts = Vec::new();
        for order in 0..ORDERS {
            let mut fan_out = FanOut::of(under_test);
            fan_out.admit(&all());
            if order % 2 == 0 {
                fan_out.seal();
                fan_out.end_all(&mut Draw::seeded(order), outcome);
            } else {
                fan_out.end_all(&mut Draw::seeded(order), outcome);
                fan_out.seal();
                fan_out.end_all(&mut Draw::seeded(order), outcome);
            }
            verdicts.push(match fan_out.last {
                Some(Verdict::Gather) => "gather",
                Some(Verdict::Fail(_)) => "fail",
                _ => "nothing",
            });
        }
        assert_ne!(verdicts[0], "nothing", "{failures} failures: it never ends");
        assert!(
            verdicts.iter().all(|verdict| *verdict == verdicts[0]),
            "{failures} failures: {verdicts:?}"
        );
    }
}

/// An outcome that is told twice counts once, whatever else is told in between.
pub fn an_outcome_told_twice_counts_once(under_test: &CoordinatorUnderTest) {
    for told in [ChildOutcome::Succeeded, failed()] {
        let mut once = FanOut::of(under_test);
        let mut twice = FanOut::of(under_test);
        for fan_out in [&mut once, &mut twice] {
            fan_out.admit(&all());
            fan_out.seal();
        }
        let mut draw = Draw::seeded(3);
        loop {
            let open: Vec<u64> = once.started.difference(&once.ended).iter().collect();
            if open.is_empty() {
                break;
            }
            let child = *draw.pick(&open);
            let outcome = if child == 0 {
                told.clone()
            } else {
                ChildOutcome::Succeeded
            };
            once.end(child, outcome.clone());
            twice.end(child, outcome.clone());
            twice.end(child, outcome);
            assert_eq!(once.last, twice.last, "after child {child}");
            assert_eq!(once.started, twice.started, "after child {child}");
        }
        assert!(once.last.is_some());
    }
}

/// After the last verdict nothing follows, whatever is told.
pub fn the_last_verdict_is_final(under_test: &CoordinatorUnderTest) {
    let mut fan_out = FanOut::of(under_test);
    fan_out.admit(&all());
    fan_out.seal();
    fan_out.end_all(&mut Draw::seeded(4), |_| ChildOutcome::Succeeded);
    assert!(fan_out.gathers());

    for child in all().iter() {
        for late in [ChildOutcome::Succeeded, failed(), ChildOutcome::Cancelled] {
            // It may refuse what comes too late, or let it pass.
            if let Ok(verdict) = fan_out.coordinator.ended(child, late) {
                assert_eq!(verdict, Verdict::Wait, "something follows the last verdict");
            }
        }
    }
}

/// A child that was never admitted is refused, and moves nothing.
pub fn an_unknown_child_is_refused(under_test: &CoordinatorUnderTest) {
    let mut fan_out = FanOut::of(under_test);
    fan_out.admit(&all());
    fan_out.seal();

    for child in [CHILDREN, u64::MAX] {
        let refused = fan_out.coordinator.ended(child, ChildOutcome::Succeeded);
        assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    }

    fan_out.end_all(&mut Draw::seeded(5), |_| ChildOutcome::Succeeded);
    assert!(fan_out.gathers());
}

/// A sealed fan-out takes no more children, and is not sealed again.
pub fn a_sealed_fan_out_stays_as_it_is(under_test: &CoordinatorUnderTest) {
    let mut fan_out = FanOut::of(under_test);
    fan_out.admit(&all());
    fan_out.seal();

    let admitted = fan_out.coordinator.admit(&PartitionSet::single(CHILDREN));
    assert_eq!(
        admitted.map_err(|error| error.kind()),
        Err(ErrorKind::IllegalTransition)
    );
    let sealed = fan_out.coordinator.seal();
    assert_eq!(sealed.map_err(|error| error.kind()), Err(ErrorKind::IllegalTransition));

    fan_out.end_all(&mut Draw::seeded(6), |_| ChildOutcome::Succeeded);
    assert_eq!(fan_out.started, all());
    assert!(fan_out.gathers());
}

/// Told the same again from the start, it says the same again: so recovery takes the decisions of the live path.
pub fn what_is_told_again_is_decided_again(under_test: &CoordinatorUnderTest) {
    let play = || {
        let mut coordinator = (under_test.0)();
        let mut said = vec![coordinator.admit(&all()), coordinator.seal()];
        for child in all().iter() {
            let outcome = if child == 1 { failed() } else { ChildOutcome::Succeeded };
            said.push(coordinator.ended(child, outcome));
        }
        said.into_iter()
            .map(|verdict| verdict.map_err(|error| error.kind()))
            .collect::<Vec<_>>()
    };

    assert_eq!(play(), play());
}

/// Writes one test for each promise of [`Coordinator`](flowstone_core::coordinator::Coordinator).
///
/// Takes an expression that makes a [`CoordinatorUnderTest`](crate::coordinator::CoordinatorUnderTest), which is
/// evaluated for each test. The policy may be any that gathers when every child has succeeded.
#[macro_export]
macro_rules! coordinator_conformance {
    ($make:expr) => {
        $crate::coordinator_conformance! { @tests $make;
            a_sealed_fan_out_stays_as_it_is
            an_outcome_told_twice_counts_once
            an_unknown_child_is_refused
            every_child_is_started_once
            no_children_are_gathered_too
            nothing_is_gathered_before_the_last_child
            nothing_is_gathered_before_the_seal
            the_last_verdict_is_final
            the_order_of_ends_does_not_matter
            what_is_told_again_is_decided_again
        }
    };
    (@tests $make:expr; $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::coordinator::$name(&$make);
            }
        )*
    };
}
