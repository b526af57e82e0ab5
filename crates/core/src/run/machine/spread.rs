//! Tells readers what became of what they read.
//!
//! Lanes are told of in order, each with everything that has ended in it: by then, whatever was going to end by the
//! same cause has. So nobody starts, or is left alone, on a part of the news. A lane that reads itself hears its own
//! news first, until nothing more ends in it.

use std::collections::BTreeMap;

use super::RunMachine;
use crate::Result;
use crate::asset::InputKind;
use crate::partition::PartitionSet;
use crate::run::StepState;
use crate::run::lane::UpstreamEnd;

/// Steps that ended and whose readers have not been told, by lane and by how they ended.
#[derive(Debug, Default)]
pub(in crate::run) struct News {
    /// What came first stands apart: mostly nothing is added to it, and then nothing is allocated.
    first: Option<(usize, Ended)>,
    others: BTreeMap<usize, Box<Ended>>,
}

/// Steps of one lane that ended, by how.
type Ended = [PartitionSet; UpstreamEnd::ALL.len()];

impl News {
    pub(in crate::run) fn add(&mut self, number: usize, end: UpstreamEnd, steps: &PartitionSet) {
        if steps.is_empty() {
            return;
        }
        if self.first.is_none() && !self.others.contains_key(&number) {
            self.first = Some((number, Ended::default()));
        }
        let ended = match &mut self.first {
            Some((first, ended)) if *first == number => ended,
            _ => self.others.entry(number).or_default(),
        };
        ended[end as usize].union_with(steps);
    }

    /// Takes what is known of one lane.
    fn take(&mut self, number: usize) -> Option<Ended> {
        match self.first.take_if(|(first, _)| *first == number) {
            Some((_, ended)) => Some(ended),
            None => self.others.remove(&number).map(|ended| *ended),
        }
    }

    /// Takes what is known of the lane that stands first in the plan.
    fn take_first(&mut self) -> Option<(usize, Ended)> {
        let first = self.first.iter().map(|(number, _)| *number);
        let number = first.chain(self.others.keys().next().copied()).min()?;
        self.take(number).map(|ended| (number, ended))
    }
}

/// Steps of one lane, however they ended.
fn all_of(ended: &Ended) -> PartitionSet {
    let mut all = PartitionSet::new();
    ended.iter().for_each(|steps| all.union_with(steps));
    all
}

impl RunMachine {
    /// Tells readers, and theirs, what became of their upstream.
    pub(in crate::run) fn spread(&mut self, mut news: News) -> Result<()> {
        while let Some((number, mut ended)) = news.take_first() {
            let readers = self.wiring.readers.get(number).len();
            let own = self.own_readers(number);
            if own > 0 {
                self.spread_within(number, own, &mut ended, &mut news)?;
            }
            // Nobody is released before everybody knows what changed and who must not run at all.
            for (end, steps) in UpstreamEnd::ALL
                .into_iter()
                .zip(&ended)
                .filter(|(_, steps)| !steps.is_empty())
            {
                for index in own..readers {
                    self.mark(self.wiring.readers.get(number)[index], steps, end, &mut news)?;
                }
            }
            let all = all_of(&ended);
            for index in own..readers {
                self.release(number, self.wiring.readers.get(number)[index], &all, &mut news)?;
            }
        }
        Ok(())
    }

    /// How many of a lane's readers are itself; they stand first.
    fn own_readers(&self, number: usize) -> usize {
        let readers = self.wiring.readers.get(number).iter();
        readers.take_while(|(reader, _)| *reader == number).count()
    }

    /// Tells steps of a lane what became of others of the same lane, and adds to `ended` what ends by that.
    fn spread_within(&mut self, number: usize, own: usize, ended: &mut Ended, news: &mut News) -> Result<()> {
        let mut untold = ended.clone();
        loop {
            // Failures go to their last consequence before anybody is released on what else has ended.
            let mut failed = untold[UpstreamEnd::Failed as usize].clone();
            while !failed.is_empty() {
                for index in 0..own {
                    self.mark(
                        self.wiring.readers.get(number)[index],
                        &failed,
                        UpstreamEnd::Failed,
                        news,
                    )?;
                }
                let doomed = news.take(number).unwrap_or_default();
                failed.clone_from(&doomed[UpstreamEnd::Failed as usize]);
                for told in [&mut untold, &mut *ended] {
                    told[UpstreamEnd::Failed as usize].union_with(&failed);
                }
            }
            for end in [UpstreamEnd::Skipped, UpstreamEnd::Changed] {
                for index in 0..own {
                    self.mark(self.wiring.readers.get(number)[index], &untold[end as usize], end, news)?;
                }
            }
            let all = all_of(&untold);
            for index in 0..own {
                self.release(number, self.wiring.readers.get(number)[index], &all, news)?;
            }
            let Some(next) = news.take(number) else {
                return Ok(());
            };
            for (all, more) in ended.iter_mut().zip(&next) {
                all.union_with(more);
            }
            untold = next;
        }
    }

    /// Marks the steps of a reader that will run for certain now, or not at all, and ends those that fail with it.
    fn mark(
        &mut self,
        (reader, edge): (usize, usize),
        ended: &PartitionSet,
        end: UpstreamEnd,
        news: &mut News,
    ) -> Result<()> {
        let lane = &mut self.lanes[reader];
        let edge = &self.wiring.edges.get(reader)[edge];
        let touched = || edge.mapping.downstream_of(ended).intersect(&lane.plan.steps);
        match end {
            UpstreamEnd::Failed => {
                let doomed = touched().intersect(lane.steps.get(StepState::Blocked));
                lane.steps.shift_to_dependency_failed(StepState::Blocked, &doomed)?;
                news.add(reader, end, &doomed);
            }
            UpstreamEnd::Skipped if edge.kind == InputKind::Value => lane.withheld.union_with(&touched()),
            // Mostly all of them are, since they were never made.
            UpstreamEnd::Changed if lane.certain.len() < lane.plan.steps.len() => lane.certain.union_with(&touched()),
            UpstreamEnd::Skipped | UpstreamEnd::Changed | UpstreamEnd::Unchanged => {}
        }
        Ok(())
    }

    /// Frees the steps of a reader that wait for nothing more.
    fn release(
        &mut self,
        number: usize,
        (reader, edge): (usize, usize),
        ended: &PartitionSet,
        news: &mut News,
    ) -> Result<()> {
        // Readers come after what they read, or are what they read.
        let (before, from) = self.lanes.split_at_mut(reader);
        let lane = &mut from[0];
        let upstream = before.get(number).map_or(&lane.steps, |lane| &lane.steps);
        let edges = self.wiring.edges.get_mut(reader);
        let released = edges[edge].release(ended, upstream);
        let free = lane.unhindered(released.intersect(lane.steps.get(StepState::Blocked)), edges);
        self.free(reader, &free, news)
    }

    /// Steps that wait for nothing more become ready, or are skipped for want of a value, or are left alone when nothing
    /// that they read has changed.
    fn free(&mut self, number: usize, steps: &PartitionSet, news: &mut News) -> Result<()> {
        if steps.is_empty() {
            return Ok(());
        }
        let lane = &mut self.lanes[number];
        if lane.withheld.is_empty() && steps.is_subset(&lane.certain) {
            // Mostly so: each of them had a reason of its own to be planned.
            self.ready.insert(number);
            return lane.steps.shift(StepState::Blocked, StepState::Ready, steps);
        }
        let withheld = steps.intersect(&lane.withheld);
        let wanted = steps.difference(&withheld);
        let ready = wanted.intersect(&lane.certain);
        let unchanged = wanted.difference(&lane.certain);
        lane.steps.shift(StepState::Blocked, StepState::Skipped, &withheld)?;
        news.add(number, UpstreamEnd::Skipped, &withheld);
        if !ready.is_empty() {
            lane.steps.shift(StepState::Blocked, StepState::Ready, &ready)?;
            self.ready.insert(number);
        }
        lane.steps.shift(StepState::Blocked, StepState::Skipped, &unchanged)?;
        news.add(number, UpstreamEnd::Unchanged, &unchanged);
        Ok(())
    }

    /// Frees every blocked step that waits for nothing, lane by lane.
    pub(in crate::run) fn release_unhindered(&mut self) -> Result<()> {
        for number in 0..self.lanes.len() {
            let lane = &self.lanes[number];
            let free = lane.unhindered(
                lane.steps.get(StepState::Blocked).clone(),
                self.wiring.edges.get(number),
            );
            let mut news = News::default();
            self.free(number, &free, &mut news)?;
            self.spread(news)?;
        }
        Ok(())
    }
}
