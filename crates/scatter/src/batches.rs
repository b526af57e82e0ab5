//! Which items a call is for, where it is for several.
//!
//! Batches are cut when a page of items is read, and are stored with it, so that they are the same whenever a call is
//! made again. None spans two pages: the last one of a page may be short.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use flowstone_core::fan_out::{AdaptiveBatches, Batching};
use flowstone_core::reader::Item;
use flowstone_core::{Error, ErrorClass, ErrorKind, Result};
use serde::de::DeserializeOwned;

use crate::limits::zero;

/// How many items a batch has unless told otherwise.
const BATCH_LEN: u32 = 10;
/// How many items are named in a message.
const NAMED_MAX: usize = 3;

/// The number of the group that each item is of, counted as they are first seen.
type Groups = Arc<dyn Fn(&[Item]) -> Result<Vec<usize>> + Send + Sync>;
type Custom = Arc<dyn Fn(&[Item]) -> Result<Vec<Vec<usize>>> + Send + Sync>;

/// How items are put together for calls; 10 to a call unless told otherwise.
///
/// No batch spans two pages of the source, so a page that is not a multiple of the batch ends with a short one.
///
/// ```
/// use flowstone_scatter::Batches;
///
/// let ten = Batches::count(10);
/// let small = Batches::count(100).bytes_max(64 << 10);
/// let of_an_airline = Batches::group(|(airline, _): &(String, u32)| airline.clone()).count_max(50);
/// # let _ = (ten, small, of_an_airline);
/// ```
#[derive(Clone)]
pub struct Batches {
    by: By,
    count_max: Option<u32>,
    bytes_max: Option<u64>,
}

#[derive(Clone)]
enum By {
    /// As they come.
    Order,
    Groups(Groups),
    Custom(Custom),
    /// As long as a call should take.
    Time(Duration),
}

impl Default for Batches {
    fn default() -> Self {
        Self::count(BATCH_LEN)
    }
}

impl Batches {
    fn by(by: By) -> Self {
        Self {
            by,
            count_max: None,
            bytes_max: None,
        }
    }

    /// So many items.
    pub fn count(items: u32) -> Self {
        Self::by(By::Order).count_max(items)
    }

    /// As many items as have so many bytes of JSON text together. An item that has more is a batch of its own.
    pub fn bytes(bytes: u64) -> Self {
        Self::by(By::Order).bytes_max(bytes)
    }

    /// Items of one page with the same key, in the order in which the keys are first seen. A group that is larger than
    /// [`count_max`](Self::count_max) or [`bytes_max`](Self::bytes_max) allows is split.
    pub fn group<T, K, F>(key: F) -> Self
    where
        T: DeserializeOwned + 'static,
        K: Eq + Hash + 'static,
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        Self::try_group(move |item| Ok(key(item)))
    }

    /// The same with a key that may not be found, which fails the whole scatter.
    pub fn try_group<T, K, F>(key: F) -> Self
    where
        T: DeserializeOwned + 'static,
        K: Eq + Hash + 'static,
        F: Fn(&T) -> Result<K> + Send + Sync + 'static,
    {
        let groups = move |items: &[Item]| {
            let mut seen: HashMap<K, usize> = HashMap::new();
            let number = |item: &Item| {
                let key = key(&item.read()?);
                let key = key.map_err(|error| error.during("find the group of item").about(&item.key))?;
                let next = seen.len();
                Ok(*seen.entry(key).or_insert(next))
            };
            items.iter().map(number).collect()
        };
        Self::by(By::Groups(Arc::new(groups)))
    }

    /// As a function says: it is handed the items of a page and gives batches of their places, from 0, each place in
    /// exactly one. Batches that are anything else fail the whole scatter, and the error says which items.
    pub fn custom<T, F>(batches: F) -> Self
    where
        T: DeserializeOwned + 'static,
        F: Fn(&[T]) -> Result<Vec<Vec<usize>>> + Send + Sync + 'static,
    {
        Self::by(By::Custom(Arc::new(move |items| {
            let read: Result<Vec<T>> = items.iter().map(Item::read).collect();
            batches(&read?)
        })))
    }

    /// As many items as make a call take `call_time`, by how long the calls before took; at most `items_max`.
    pub fn adaptive(call_time: Duration, items_max: u32) -> Self {
        Self::by(By::Time(call_time)).count_max(items_max)
    }

    /// At most so many items.
    #[must_use]
    pub fn count_max(mut self, items: u32) -> Self {
        self.count_max = Some(items);
        self
    }

    /// At most so many bytes of JSON text together; an item that has more is a batch of its own.
    #[must_use]
    pub fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = Some(bytes);
        self
    }

    /// What is wrong with them, where pages have `page_len` items.
    pub(crate) fn check(&self, page_len: u32) -> Vec<Error> {
        let mut complaints = Vec::new();
        if self.count_max == Some(0) || self.bytes_max == Some(0) {
            complaints.push(zero("batches", "a call is for at least one item"));
        }
        if matches!(self.by, By::Time(time) if time.is_zero()) {
            complaints.push(zero("call_time", "no call ends in no time"));
        }
        let (what, fix) = match &self.by {
            By::Custom(_) if self.count_max.or(self.bytes_max.map(|_| 1)).is_some() => (
                "by a function, which has no bound beside it",
                "let the function split what is too large",
            ),
            By::Time(_) if self.bytes_max.is_some() => {
                ("by measured time, which knows no bytes", "leave the bytes out")
            }
            _ => ("", ""),
        };
        if !what.is_empty() {
            complaints.push(
                Error::new(ErrorKind::Invalid, format!("batches are cut {what}"))
                    .code("batch_bounds")
                    .fix(fix),
            );
        }
        if let Some(items) = self.count_max.filter(|items| *items > page_len) {
            complaints.push(
                Error::new(
                    ErrorKind::OutOfRange,
                    format!("batches have up to {items} items, and pages {page_len}: no batch spans two pages"),
                )
                .code("batch_over_page")
                .fix(format!(
                    "read `.page_len({items})` items at once, or give smaller batches"
                )),
            );
        }
        complaints
    }

    /// How many items calls are for, where that is measured.
    pub(crate) fn adaptive_batches(&self) -> Option<AdaptiveBatches> {
        match self.by {
            By::Time(call_time) => Some(AdaptiveBatches {
                call_time,
                items_max: self.count_max.unwrap_or(u32::MAX),
            }),
            _ => None,
        }
    }

    /// Cuts what belongs together into batches that keep within the bounds.
    fn split(&self, together: &[usize], items: &[Item], batches: &mut Vec<Vec<usize>>) {
        let count_max = self.count_max.map_or(usize::MAX, |count| count as usize);
        let bytes_max = self.bytes_max.unwrap_or(u64::MAX);
        let (mut batch, mut bytes) = (Vec::new(), 0_u64);
        for place in together {
            let len = items[*place].json.len() as u64;
            if !batch.is_empty() && (batch.len() >= count_max || bytes + len > bytes_max) {
                batches.push(std::mem::take(&mut batch));
                bytes = 0;
            }
            batch.push(*place);
            bytes += len;
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
    }
}

impl Batching for Batches {
    fn batches(&self, items: &[Item]) -> Result<Vec<Vec<usize>>> {
        let together: Vec<Vec<usize>> = match &self.by {
            By::Custom(custom) => {
                let given = custom(items)?;
                check_places(items, &given)?;
                return Ok(given);
            }
            By::Groups(groups) => {
                let mut members: Vec<Vec<usize>> = Vec::new();
                for (place, group) in groups(items)?.into_iter().enumerate() {
                    if group == members.len() {
                        members.push(Vec::new());
                    }
                    members[group].push(place);
                }
                members
            }
            By::Order | By::Time(_) => vec![(0..items.len()).collect()],
        };
        let mut batches = Vec::new();
        for together in &together {
            self.split(together, items, &mut batches);
        }
        Ok(batches)
    }
}

/// Says of which items a function made no batch, or several.
fn check_places(items: &[Item], batches: &[Vec<usize>]) -> Result<()> {
    let mut times = vec![0_u32; items.len()];
    let mut invented = Vec::new();
    for place in batches.iter().flatten() {
        match times.get_mut(*place) {
            Some(times) => *times += 1,
            None => invented.push(format!("place {place}")),
        }
    }
    let named = |wanted: fn(u32) -> bool| -> Vec<String> {
        let places = times.iter().zip(items).filter(|(times, _)| wanted(**times));
        places.map(|(_, item)| format!("{:?}", item.key)).collect()
    };
    let wrong = [
        ("leave out", named(|times| times == 0)),
        ("have twice", named(|times| times > 1)),
        ("have, though there is no such item,", invented),
    ];
    let told: Vec<String> = wrong
        .iter()
        .filter(|(_, which)| !which.is_empty())
        .map(|(how, which)| format!("{how} {}", some_of(which)))
        .collect();
    let is_empty = batches.iter().any(Vec::is_empty);
    if told.is_empty() && !is_empty {
        return Ok(());
    }
    let told = if told.is_empty() {
        "have none in one of them".to_owned()
    } else {
        told.join(" and ")
    };
    Err(Error::new(
        ErrorKind::Invalid,
        format!("the batches of {} items {told}", items.len()),
    )
    .class(ErrorClass::Contract)
    .code("batches_invalid")
    .during("put items into batches")
    .fix("let the function give each place of the list in exactly one batch"))
}

/// The first few of `names`, and how many more there are.
pub(crate) fn some_of(names: &[impl Display]) -> String {
    let first: Vec<String> = names.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    match names.len().saturating_sub(NAMED_MAX) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items(texts: &[&str]) -> Vec<Item> {
        let named = texts.iter().enumerate();
        named
            .map(|(place, text)| Item::new(place.to_string(), text).expect("short"))
            .collect()
    }

    fn sizes(batches: &Batches, count: usize) -> Vec<usize> {
        let cut = batches.batches(&items(&vec!["x"; count])).unwrap();
        cut.iter().map(Vec::len).collect()
    }

    #[test]
    fn a_page_of_one_less_exactly_and_one_more_than_a_batch() {
        let ten = Batches::default();

        assert_eq!(sizes(&ten, 0), [0; 0]);
        assert_eq!(sizes(&ten, 1), [1]);
        assert_eq!(sizes(&ten, 9), [9]);
        assert_eq!(sizes(&ten, 10), [10]);
        assert_eq!(sizes(&ten, 11), [10, 1]);
    }

    #[test]
    fn the_tighter_of_two_bounds_ends_a_batch() {
        // Each text has its quotes too: 3, 3, 6, 3, 3, 3 bytes.
        let page = items(&["a", "b", "cccc", "d", "e", "f"]);

        let both = Batches::count(3).bytes_max(9).batches(&page).unwrap();
        let bytes = Batches::bytes(9).batches(&page).unwrap();
        let tiny = Batches::bytes(1).batches(&page).unwrap();

        assert_eq!(both, [vec![0, 1], vec![2, 3], vec![4, 5]]);
        assert_eq!(bytes, both);
        assert_eq!(tiny.len(), 6);
    }

    #[test]
    fn items_without_a_byte_are_held_by_the_count_alone() {
        let empty = Item {
            key: String::new(),
            json: bytes::Bytes::new(),
        };
        let page = vec![empty; 7];

        assert_eq!(Batches::bytes(1).batches(&page).unwrap().len(), 1);
        assert_eq!(Batches::bytes(1).count_max(3).batches(&page).unwrap().len(), 3);
    }

    #[test]
    fn groups_stand_as_first_seen_and_large_ones_are_split() {
        let page = items(&["b1", "a1", "b2", "c1", "b3", "a2"]);
        let by_letter = Batches::group(|text: &String| text.chars().next());

        assert_eq!(by_letter.batches(&page).unwrap(), [vec![0, 2, 4], vec![1, 5], vec![3]]);
        assert_eq!(
            by_letter.count_max(2).batches(&page).unwrap(),
            [vec![0, 2], vec![4], vec![1, 5], vec![3]]
        );
    }

    #[test]
    fn a_key_that_is_not_found_names_its_item() {
        let keyless = Batches::try_group(|text: &String| text.parse::<u8>().map_err(Error::from));
        let mistyped = Batches::group(|number: &u8| *number);

        let error = keyless.batches(&items(&["1", "x"])).unwrap_err();

        assert_eq!(
            (error.operation(), error.subject()),
            (Some("find the group of item"), Some("1"))
        );
        assert_eq!(
            mistyped.batches(&items(&["x"])).unwrap_err().stable_code(),
            "item_invalid"
        );
    }

    #[test]
    fn a_function_that_drops_repeats_or_invents_items_is_refused_by_name() {
        let told = |given: Vec<Vec<usize>>| {
            let custom = Batches::custom(move |_: &[String]| Ok(given.clone()));
            custom
                .batches(&items(&["a", "b", "c"]))
                .map_err(|error| error.message().to_owned())
        };

        assert_eq!(told(vec![vec![2, 0], vec![1]]).unwrap(), [vec![2, 0], vec![1]]);
        assert!(told(vec![vec![0], vec![2]]).unwrap_err().ends_with("leave out \"1\""));
        assert!(
            told(vec![vec![0, 1], vec![1, 2]])
                .unwrap_err()
                .ends_with("have twice \"1\"")
        );
        assert!(
            told(vec![vec![0, 1, 2, 7]])
                .unwrap_err()
                .ends_with("no such item, place 7")
        );
        assert!(
            told(vec![vec![0, 1, 2], vec![]])
                .unwrap_err()
                .ends_with("have none in one of them")
        );
    }

    #[test]
    fn bounds_that_cannot_be_kept_are_complained_of() {
        let complaints = |batches: Batches| batches.check(1_000).len();

        assert_eq!(complaints(Batches::count(1_000)), 0);
        assert_eq!(complaints(Batches::count(1_001)), 1);
        assert_eq!(complaints(Batches::count(0)), 1);
        assert_eq!(complaints(Batches::bytes(0)), 1);
        assert_eq!(complaints(Batches::adaptive(Duration::ZERO, 0)), 2);
        assert_eq!(complaints(Batches::adaptive(Duration::from_secs(1), 9).bytes_max(9)), 1);
        assert_eq!(complaints(Batches::custom(|_: &[u8]| Ok(Vec::new())).count_max(1)), 1);
    }

    proptest! {
        #[test]
        fn every_item_is_in_one_batch_and_the_same_items_give_the_same_batches(
            texts in prop::collection::vec("[a-c]{0,6}", 0..50), count in 1_u32..9, bytes in 1_u64..40, grouped: bool,
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let page = items(&texts);
            let batches = if grouped {
                Batches::group(|text: &String| text.len())
            } else {
                Batches::count(count)
            };
            let batches = batches.count_max(count).bytes_max(bytes);

            let cut = batches.batches(&page).unwrap();

            prop_assert!(check_places(&page, &cut).is_ok());
            prop_assert_eq!(&cut, &batches.batches(&page).unwrap());
            for batch in &cut {
                let len: usize = batch.iter().map(|place| page[*place].json.len()).sum();
                prop_assert!(batch.len() <= count as usize && (len as u64 <= bytes || batch.len() == 1));
            }
        }
    }
}
