//! Which of the runs that wait for a worker gets the next one.
//!
//! The highest priority first, and those of equal priority in turn. Nobody is passed over for ever: after so many workers
//! that went to others a run is served whatever its priority.

use std::collections::VecDeque;

use crate::RunId;

/// So many workers may go to others before a run that waits gets one.
pub const PASSED_OVER_MAX: u32 = 20;

/// The runs that wait for workers.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    /// Who was served longest ago stands first.
    waiting: VecDeque<Turn>,
}

#[derive(Debug, Clone)]
struct Turn {
    run: RunId,
    priority: i32,
    wanted: usize,
    passed_over: u32,
}

impl Turn {
    /// What decides: who has waited long enough, then the priority.
    fn rank(&self) -> (bool, i32) {
        let is_due = self.passed_over >= PASSED_OVER_MAX;
        (is_due, if is_due { 0 } else { self.priority })
    }
}

impl Turns {
    /// A run wants so many more workers.
    pub fn want(&mut self, run: RunId, priority: i32, count: usize) {
        match self.waiting.iter_mut().find(|turn| turn.run == run) {
            Some(turn) => turn.wanted += count,
            None if count > 0 => self.waiting.push_back(Turn {
                run,
                priority,
                wanted: count,
                passed_over: 0,
            }),
            None => {}
        }
    }

    /// A run wants none any more.
    pub fn forget(&mut self, run: RunId) {
        self.waiting.retain(|turn| turn.run != run);
    }

    /// The number of runs that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True when nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Who gets the next worker.
    pub fn serve(&mut self) -> Option<RunId> {
        let best = self.waiting.iter().map(Turn::rank).max()?;
        let place = self.waiting.iter().position(|turn| turn.rank() == best)?;
        let mut served = self.waiting.remove(place)?;
        self.pass_over(served.run);
        let run = served.run;
        served.wanted -= 1;
        served.passed_over = 0;
        if served.wanted > 0 {
            self.waiting.push_back(served);
        }
        Some(run)
    }

    /// Whether a run that has a worker may keep it for another chunk: nobody waits whose turn it is rather. Those who wait
    /// are passed over once more then.
    pub fn keeps(&mut self, run: RunId, priority: i32) -> bool {
        let others = self.waiting.iter().filter(|turn| turn.run != run);
        let keeps = others.map(Turn::rank).max().is_none_or(|best| best < (false, priority));
        if keeps {
            self.pass_over(run);
        }
        keeps
    }

    fn pass_over(&mut self, served: RunId) {
        for turn in self.waiting.iter_mut().filter(|turn| turn.run != served) {
            turn.passed_over = turn.passed_over.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn run(number: u128) -> RunId {
        RunId(Uuid::from_u128(number))
    }

    fn served(turns: &mut Turns, count: usize) -> Vec<u128> {
        (0..count)
            .map_while(|_| turns.serve())
            .map(|run| run.0.as_u128())
            .collect()
    }

    #[test]
    fn equals_take_turns_and_a_higher_priority_goes_first() {
        let mut turns = Turns::default();
        turns.want(run(1), 0, 3);
        turns.want(run(2), 0, 2);
        turns.want(run(3), 5, 2);

        assert_eq!(served(&mut turns, 9), [3, 3, 1, 2, 1, 2, 1]);
        assert!(turns.is_empty());
    }

    #[test]
    fn a_worker_is_kept_while_nobody_waits_whose_turn_it_is() {
        let mut turns = Turns::default();
        assert!(turns.keeps(run(1), 0));
        turns.want(run(1), 0, 1);
        assert!(turns.keeps(run(1), 0), "only it waits itself");
        turns.want(run(2), -1, 1);
        assert!(turns.keeps(run(1), 0));
        turns.want(run(3), 0, 1);
        assert!(!turns.keeps(run(1), 0));
    }

    #[test]
    fn a_low_priority_gets_its_share_of_a_worker_that_another_run_keeps() {
        let mut turns = Turns::default();
        turns.want(run(2), -100, 1);

        let kept = (0..1_000).take_while(|_| turns.keeps(run(1), 100)).count();

        assert_eq!(kept, PASSED_OVER_MAX as usize);
        assert_eq!(turns.serve(), Some(run(2)));
    }

    proptest! {
        /// Runs want more at any time; some go away.
        #[test]
        fn nobody_waits_for_ever(
            asked in prop::collection::vec((0..6_u128, -3..4_i32, 1..40_usize, any::<bool>()), 1..60),
        ) {
            let mut turns = Turns::default();
            let mut wanted: HashMap<u128, usize> = HashMap::new();
            let mut passed: HashMap<u128, u32> = HashMap::new();
            for (number, priority, count, leaves) in asked {
                if leaves {
                    turns.forget(run(number));
                    wanted.remove(&number);
                    passed.remove(&number);
                } else {
                    turns.want(run(number), priority, count);
                    *wanted.entry(number).or_default() += count;
                }
                for _ in 0..7 {
                    let Some(next) = turns.serve().map(|run| run.0.as_u128()) else { break };
                    let left = wanted.get_mut(&next).expect("who is served wants a worker");
                    *left -= 1;
                    if *left == 0 {
                        wanted.remove(&next);
                    }
                    passed.insert(next, 0);
                    for waiting in wanted.keys().filter(|waiting| **waiting != next) {
                        let passed = passed.entry(*waiting).or_default();
                        *passed += 1;
                        prop_assert!(*passed <= PASSED_OVER_MAX + 6, "run {} starves", waiting);
                    }
                    passed.retain(|run, _| wanted.contains_key(run));
                }
                prop_assert_eq!(turns.len(), wanted.len());
            }
        }
    }
}
