//! What is made of what the items gave: all of it in order, or folded up as it comes.

use std::marker::PhantomData;

use flowstone_core::asset::{Argument, FromStep, ItemPart, Outcome, Step};
use flowstone_core::codec::{Codec, Json};
use flowstone_core::fan_out::{BarrierCounts, ItemOutcome, ItemResult, Outcomes, RawOutcome};
use flowstone_core::{AssetValue, Error, ErrorKind, ErrorRecord, Result, TypeInfo};
use futures::Stream;

use crate::carrier::Carrier;
use crate::inputs::Given;
use crate::item::not_given;

/// How one item of a scatter ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered<R> {
    /// Its number, from 0.
    pub index: u64,
    /// Its key.
    pub key: String,
    /// What it gave, or how it failed for good. Only a scatter that tolerates failures gathers any.
    pub outcome: Result<Outcome<R>, ErrorRecord>,
}

impl<R> Gathered<R> {
    /// Its value, if it gave one.
    pub fn into_value(self) -> Option<R> {
        match self.outcome {
            Ok(Outcome::Value(value)) => Some(value),
            Ok(Outcome::Skipped(_)) | Err(_) => None,
        }
    }

    /// True when it failed.
    pub fn is_failed(&self) -> bool {
        self.outcome.is_err()
    }
}

impl<R: AssetValue> Gathered<R> {
    pub(crate) fn read(raw: RawOutcome) -> Result<Self> {
        let RawOutcome { index, item, outcome } = raw;
        let outcome = match outcome {
            ItemOutcome::Ended(ItemResult::Skipped(reason)) => Ok(Outcome::Skipped(reason)),
            ItemOutcome::Ended(ItemResult::Value(value)) => {
                let value = Json.decode(&value, TypeInfo::of::<R>());
                let value = value.map_err(|error| unreadable(&item.key, &error))?;
                Ok(Outcome::Value(value.take()?))
            }
            ItemOutcome::Failed(error) => Err(error),
        };
        Ok(Self {
            index,
            key: item.key,
            outcome,
        })
    }
}

fn unreadable(key: &str, error: &Error) -> Error {
    Error::new(ErrorKind::TypeMismatch, error.message())
        .code("item_value_type")
        .during("read the value of item")
        .about(key)
        .fix("gather the type that the function for an item returns")
}

/// What the items of a scatter gave, in the order of the items; an argument of the function that gathers.
///
/// It is read page by page, so that a million items take no more memory than a thousand.
///
/// ```
/// use flowstone_core::Result;
/// use flowstone_scatter::Gather;
///
/// async fn total(mut fares: Gather<u64>) -> Result<u64> {
///     let mut total = 0;
///     while let Some(fare) = fares.next().await? {
///         total += fare.into_value().unwrap_or(0);
///     }
///     Ok(total)
/// }
/// # let _ = total;
/// ```
#[derive(Debug)]
pub struct Gather<R> {
    outcomes: Outcomes,
    value: PhantomData<fn() -> R>,
}

impl<R: AssetValue> Gather<R> {
    pub(crate) fn new(outcomes: Outcomes) -> Self {
        Self {
            outcomes,
            value: PhantomData,
        }
    }

    /// How many items ended in which way.
    pub fn counts(&self) -> &BarrierCounts {
        self.outcomes.counts()
    }

    /// The next item, or `None` after the last.
    ///
    /// # Errors
    /// What reading it gives; `TypeMismatch` when its value is no `R`.
    pub async fn next(&mut self) -> Result<Option<Gathered<R>>> {
        self.outcomes.next().await?.map(Gathered::read).transpose()
    }

    /// The next value, leaving out what was skipped or failed, or `None` after the last.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_value(&mut self) -> Result<Option<R>> {
        while let Some(gathered) = self.next().await? {
            if let Some(value) = gathered.into_value() {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// All of them at once, for when they fit in memory.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn collect(mut self) -> Result<Vec<Gathered<R>>> {
        let mut all = Vec::new();
        while let Some(gathered) = self.next().await? {
            all.push(gathered);
        }
        Ok(all)
    }

    /// The same as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Result<Gathered<R>>> + Send {
        futures::stream::try_unfold(self, |mut gather| async move {
            Ok(gather.next().await?.map(|gathered| (gathered, gather)))
        })
    }
}

impl<R: AssetValue> FromStep for Gather<R> {
    fn argument() -> Argument {
        Argument::Item(ItemPart::Outcomes)
    }

    async fn from_step(step: &Step, _: usize) -> Result<Self> {
        let outcomes = Given::Outcomes.draw::<Carrier<Outcomes>>(step).await?;
        let outcomes = outcomes.ok_or_else(|| not_given("the function does not gather"))?;
        Ok(Self::new(outcomes.take()?))
    }
}

/// Combines values pairwise, as a tree: no more are held at a time than the logarithm of their number.
pub(crate) struct Tree<R, F> {
    /// Combined values, each of twice as many as the one behind it.
    combined: Vec<(u32, R)>,
    combine: F,
}

impl<R, F: Fn(R, R) -> R> Tree<R, F> {
    pub(crate) fn new(combine: F) -> Self {
        Self {
            combined: Vec::new(),
            combine,
        }
    }

    pub(crate) fn add(&mut self, value: R) {
        let (mut height, mut value) = (0, value);
        while let Some((_, left)) = self.combined.pop_if(|(other, _)| *other == height) {
            value = (self.combine)(left, value);
            height += 1;
        }
        self.combined.push((height, value));
    }

    pub(crate) fn finish(mut self) -> Option<R> {
        let (_, mut value) = self.combined.pop()?;
        while let Some((_, left)) = self.combined.pop() {
            value = (self.combine)(left, value);
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_tree_keeps_the_order_and_holds_few(values in prop::collection::vec("[a-z]", 0..200)) {
            let mut tree = Tree::new(|left: String, right: String| left + &right);

            for (count, value) in (1_u32..).zip(&values) {
                tree.add(value.clone());
                prop_assert!(tree.combined.len() <= (u32::BITS - count.leading_zeros()) as usize);
            }

            prop_assert_eq!(tree.finish(), (!values.is_empty()).then(|| values.concat()));
        }
    }
}
