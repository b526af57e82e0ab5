//! The conformance suite of [`Coordinator`]: one test for each promise, adopted with [`coordinator_conformance!`].
//!
//! [`coordinator_conformance!`]: crate::coordinator_conformance

use std::fmt;

use flowstone_core::coordinator::{Coordinator, Verdict};
use flowstone_core::fan_out::{Barrier, ChildState, FailurePolicy};
use flowstone_core::partition::PartitionSet;
use flowstone_core::{Error, ErrorRecord};

use crate::Draw;

/// Children of a fan-out in these tests.
const CHILDREN: u64 = 7;
/// Orders that are tried.
const ORDERS: u64 = 40;

/// A coordinator and the name of what it is to be told.
pub struct CoordinatorUnderTest(Box<dyn Coordinator>);

impl CoordinatorUnderTest {
    /// Tests `coordinator`.
    pub fn new(coordinator: impl Coordinator) -> Self {
        Self(Box::new(coordinator))
    }
}

impl fmt::Debug for CoordinatorUnderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoordinatorUnderTest").finish_non_exhaustive()
    }
}

/// A fan-out on its way: its barrier, and the first verdict that was not to wait.
struct FanOut<'a> {
    coordinator: &'a dyn Coordinator,
    barrier: Barrier,
    first_error: Option<ErrorRecord>,
    last: Option<Verdict>,
}

impl<'a> FanOut<'a> {
    fn of(under_test: &'a CoordinatorUnderTest) -> Self {
        Self::under(&*under_test.0)
    }

    fn under(coordinator: &'a dyn Coordinator) -> Self {
        Self {
            coordinator,
            barrier: Barrier::new(),
            first_error: None,
            last: None,
        }
    }

    fn admit(&mut self, children: u64) {
        self.barrier.admit(children).expect("it is filling");
        self.look();
    }

    fn seal(&mut self) {
        self.barrier.seal().expect("it is sealed once");
        self.look();
    }

    /// Starts what may start.
    fn start(&mut self) {
        let startable = self.coordinator.startable(&self.barrier);
        let pending = self.barrier.get(ChildState::Pending);
        assert!(
            startable.is_subset(pending),
            "{startable:?} may start, {pending:?} wait to"
        );
        self.barrier
            .shift(ChildState::Pending, ChildState::Leased, &startable)
            .expect("they are pending");
    }

    fn end(&mut self, child: u64, end: ChildState) {
        if end == ChildState::Failed && self.first_error.is_none() {
            self.first_error = Some(Error::permanent("it failed").to_record());
        }
        self.barrier
            .shift(ChildState::Leased, end, &PartitionSet::single(child))
            .expect("it is leased");
        self.look();
    }

    /// Asks for the verdict, twice: it follows from the barrier alone.
    fn look(&mut self) {
        let verdict = || self.coordinator.verdict(&self.barrier, self.first_error.as_ref());
        let (once, again) = (verdict(), verdict());
        assert_eq!(once, again, "asked twice it says two things");
        let sort = |verdict: &Verdict| std::mem::discriminant(verdict);
        match &self.last {
            Some(last) => assert_eq!(sort(last), sort(&once), "{last:?} was not the last verdict"),
            None if once == Verdict::Wait => {}
            None => self.last = Some(once),
        }
    }

    /// Ends what has started in an order of the draw's, until none is left to start.
    fn end_all(&mut self, draw: &mut Draw, end: impl Fn(u64) -> ChildState) {
        loop {
            self.start();
            let open: Vec<u64> = self.barrier.get(ChildState::Leased).iter().collect();
            if open.is_empty() {
                return;
            }
            let child = *draw.pick(&open);
            self.end(child, end(child));
        }
    }

    fn gathers(&self) -> bool {
        self.last == Some(Verdict::Gather)
    }
}

/// Every child is started in the end.
pub fn every_child_is_started(under_test: &CoordinatorUnderTest) {
    for order in 0..ORDERS {
        let mut fan_out = FanOut::of(under_test);
        fan_out.admit(3);
        fan_out.admit(CHILDREN - 3);
        fan_out.seal();

        fan_out.end_all(&mut Draw::seeded(order), |_| ChildState::Succeeded);

        assert_eq!(fan_out.barrier.get(ChildState::Succeeded).len(), CHILDREN);
        assert!(fan_out.gathers());
    }
}

/// While children may still come nothing is gathered, however many have ended.
pub fn nothing_is_gathered_before_the_seal(under_test: &CoordinatorUnderTest) {
    let mut fan_out = FanOut::of(under_test);
    fan_out.admit(CHILDREN);
    fan_out.end_all(&mut Draw::seeded(1), |_| ChildState::Succeeded);
    assert_eq!(fan_out.last, None, "it is over before it is sealed");

    fan_out.seal();

    assert!(fan_out.gathers());
}

/// Nothing is gathered while a child has not ended.
pub fn nothing_is_gathered_before_the_last_child(under_test: &CoordinatorUnderTest) {
    let mut fan_out = FanOut::of(under_test);
    fan_out.admit(CHILDREN);
    fan_out.seal();
    let mut draw = Draw::seeded(2);
    for ended in 0..CHILDREN {
        assert_eq!(fan_out.last, None, "it is over after {ended} of {CHILDREN}");
        fan_out.start();
        let open: Vec<u64> = fan_out.barrier.get(ChildState::Leased).iter().collect();
        assert!(!open.is_empty(), "nothing runs and {} are missing", CHILDREN - ended);
        let child = *draw.pick(&open);
        fan_out.end(child, ChildState::Succeeded);
    }

    assert!(fan_out.gathers());
}

/// A fan-out without children is gathered as soon as it is sealed.
pub fn no_children_are_gathered_too(under_test: &CoordinatorUnderTest) {
    let mut fan_out = FanOut::of(under_test);

    fan_out.seal();

    assert!(fan_out.gathers());
}

/// The verdict follows from what the children came to, and not from the order in which they did, nor from when the fan-out
/// was sealed; and what was said early still holds at the end.
pub fn the_order_of_ends_does_not_matter(under_test: &CoordinatorUnderTest) {
    for failures in 0..=CHILDREN {
        let end = |child| match child {
            child if child < failures => ChildState::Failed,
            child if child % 3 == 2 => ChildState::Skipped,
            _ => ChildState::Succeeded,
        };
        let mut verdicts = Vec::new();
        for order in 0..ORDERS {
            let mut fan_out = FanOut::of(under_test);
            fan_out.admit(CHILDREN);
            let mut draw = Draw::seeded(order);
            if order % 2 == 0 {
                fan_out.seal();
                fan_out.end_all(&mut draw, end);
            } else {
                fan_out.end_all(&mut draw, end);
                fan_out.seal();
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

/// A coordinator that takes another failure policy goes by it.
pub fn another_tolerance_is_gone_by_or_not_taken(under_test: &CoordinatorUnderTest) {
    let gathers_under = |failure: FailurePolicy| {
        let coordinator = under_test.0.tolerating(failure)?;
        let mut fan_out = FanOut::under(&*coordinator);
        fan_out.admit(CHILDREN);
        fan_out.seal();
        fan_out.end_all(&mut Draw::seeded(3), |child| match child {
            0 => ChildState::Failed,
            _ => ChildState::Succeeded,
        });
        Some(fan_out.gathers())
    };

    let (strict, lenient) = (
        gathers_under(FailurePolicy::all_or_nothing()),
        gathers_under(FailurePolicy::tolerate_count(1)),
    );

    assert_eq!(
        strict.is_some(),
        lenient.is_some(),
        "it takes one policy and not another"
    );
    assert_ne!(strict, Some(true), "one child failed, none may, and it is gathered");
    assert_ne!(
        lenient,
        Some(false),
        "one child failed, as may be, and it is not gathered"
    );
}

/// Writes one test for each promise of [`Coordinator`](flowstone_core::coordinator::Coordinator).
///
/// Takes an expression that makes a [`CoordinatorUnderTest`](crate::coordinator::CoordinatorUnderTest), which is
/// evaluated for each test. The policy may be any that gathers when every child has succeeded.
#[macro_export]
macro_rules! coordinator_conformance {
    ($make:expr) => {
        $crate::coordinator_conformance! { @tests $make;
            another_tolerance_is_gone_by_or_not_taken
            every_child_is_started
            no_children_are_gathered_too
            nothing_is_gathered_before_the_last_child
            nothing_is_gathered_before_the_seal
            the_order_of_ends_does_not_matter
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
