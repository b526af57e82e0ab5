//! What a function gives back for the items of a call.

use std::collections::BTreeMap;
use std::fmt::Debug;

use flowstone_core::asset::Outcome;
use flowstone_core::fan_out::{ItemResult, ItemResults};
use flowstone_core::{AssetValue, Error, ErrorClass, ErrorKind, Result, Value};
use serde::{Deserialize, Serialize};

use crate::Item;
use crate::batches::some_of;
use crate::carrier::Carrier;

/// What a function that is called for several items gives back: of each item a value, "nothing to do", or a failure.
///
/// One item that fails does not take the others along: it alone is tried again.
///
/// ```
/// use flowstone_core::Error;
/// use flowstone_scatter::{ItemBatch, ItemOutcomes};
///
/// async fn lengths(words: ItemBatch<String>) -> ItemOutcomes<usize> {
///     let mut outcomes = ItemOutcomes::new();
///     for word in &words {
///         match word.len() {
///             0 => outcomes.skip(word, "it is empty"),
///             1..=20 => outcomes.value(word, word.len()),
///             _ => outcomes.fail(word, Error::permanent("nobody says that")),
///         }
///     }
///     outcomes
/// }
/// # let _ = lengths;
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
#[must_use = "what is not returned is not made"]
pub struct ItemOutcomes<R>(Carrier<Given<R>>);

/// The outcomes of items by number and key.
type Given<R> = Vec<(u64, String, Result<Outcome<R>>)>;

impl<R> ItemOutcomes<R> {
    /// No outcome yet.
    pub fn new() -> Self {
        Self(Carrier::new(Vec::new()))
    }

    /// The item gave this value.
    pub fn value<T>(&mut self, item: &Item<T>, value: R) {
        self.set(item, Ok(Outcome::Value(value)));
    }

    /// There was nothing to do for the item, with the reason.
    pub fn skip<T>(&mut self, item: &Item<T>, reason: impl Into<String>) {
        self.set(item, Ok(Outcome::skip(reason)));
    }

    /// The item failed. It is tried again if the error is one that is; the others are not.
    pub fn fail<T>(&mut self, item: &Item<T>, error: impl Into<Error>) {
        self.set(item, Err(error.into()));
    }

    /// The item ended like this.
    pub fn set<T>(&mut self, item: &Item<T>, outcome: Result<Outcome<R>>) {
        let ended = (item.index(), item.key().to_owned(), outcome);
        self.0.with(|given| given.push(ended));
    }
}

impl<R> Default for ItemOutcomes<R> {
    fn default() -> Self {
        Self::new()
    }
}

/// What a function that is called for several items may return: a `Vec` with one value for each of them, in their order,
/// or [`ItemOutcomes`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how each item of the call ended",
    label = "return `Vec<R>` with a value for each item, `ItemOutcomes<R>`, or a `Result` of either"
)]
pub trait IntoItemResults: AssetValue {
    /// The type of the value of one item.
    type Item: AssetValue;

    /// The result of each item of a call, by number.
    ///
    /// # Errors
    /// `Invalid` when there is not one for each.
    fn into_item_results(self, items: &[u64]) -> Result<ItemResults>;
}

impl<R: AssetValue> IntoItemResults for Vec<R> {
    type Item = R;

    fn into_item_results(self, items: &[u64]) -> Result<ItemResults> {
        if self.len() != items.len() {
            let (given, asked) = (self.len(), items.len());
            return Err(contract(
                format!("the call gave {given} values for {asked} items"),
                "batch_values",
            )
            .fix("give a value for each item in their order, or return `ItemOutcomes`"));
        }
        let values = items.iter().zip(self);
        Ok(values
            .map(|(index, value)| (*index, ItemResult::of(Outcome::Value(Value::new(value)))))
            .collect())
    }
}

impl<R: AssetValue> IntoItemResults for ItemOutcomes<R> {
    type Item = R;

    fn into_item_results(self, items: &[u64]) -> Result<ItemResults> {
        let mut given: BTreeMap<u64, Vec<Result<Outcome<R>>>> = BTreeMap::new();
        let mut strangers = Vec::new();
        for (index, key, outcome) in self.0.take()? {
            if items.contains(&index) {
                given.entry(index).or_default().push(outcome);
            } else {
                strangers.push(format!("{key:?}"));
            }
        }
        if !strangers.is_empty() {
            let message = format!(
                "the call gave outcomes for {}, which it was not for",
                some_of(&strangers)
            );
            return Err(contract(message, "batch_strangers").fix("give outcomes for the items of the call only"));
        }
        let sort = |index: &u64| {
            let mut outcomes = given.remove(index).unwrap_or_default();
            let result = match (outcomes.pop(), outcomes.is_empty()) {
                (Some(outcome), true) => outcome.and_then(result_of),
                (Some(_), false) => Err(
                    contract("the call gave two outcomes for it".to_owned(), "item_outcome_twice")
                        .fix("give each item of the call one outcome"),
                ),
                (None, _) => Err(
                    contract("the call gave no outcome for it".to_owned(), "item_outcome_missing")
                        .fix("give each item of the call an outcome: a value, `skip` or `fail`"),
                ),
            };
            (*index, result)
        };
        Ok(items.iter().map(sort).collect())
    }
}

fn result_of<R: AssetValue>(outcome: Outcome<R>) -> Result<ItemResult> {
    ItemResult::of(match outcome {
        Outcome::Value(value) => Outcome::Value(Value::new(value)),
        Outcome::Skipped(reason) => Outcome::Skipped(reason),
    })
}

fn contract(message: String, code: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, message)
        .class(ErrorClass::Contract)
        .code(code)
}
