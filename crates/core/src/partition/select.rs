//! Which partitions a person means by words that apply to several assets at once.
//!
//! A time literal means an interval of time, so `2013-01` is the days of January for a daily asset, that month for a
//! monthly one and 2013 for a yearly one. Only windows that are over can be selected.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::dynamic::RETIRED;
use super::literal::TimeLiteral;
use super::product::{ProductSpace, is_tuple, split_outside_quotes};
use super::projection::cross;
use super::set::{PartitionSet, check_len};
use super::space::{PartitionSpace, no_time};
use super::window::WindowSpace;
use crate::{Error, ErrorKind, Result, ResultExt};

const ALL: &str = "*";
const RANGE: &str = "..";

/// Partitions as chosen on a command line, for assets that may be partitioned differently.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionSelector {
    /// All partitions that there are.
    #[default]
    All,
    /// One label, canonical text, or time literal; `*` stands for all of a dimension.
    Key(String),
    /// Two of them as `first..last`, both included; either may be missing.
    Range(String),
}

impl PartitionSpace {
    /// The partitions that `selector` means here at `now`.
    ///
    /// For time windows a literal selects the windows within its interval, or if there is none, those that overlap it.
    /// An asset that is not partitioned is always selected whole. In a product the parts stand in order, as
    /// `2013-01|EWR`, and a part that fits only one dimension may stand alone.
    ///
    /// # Errors
    ///
    /// What the space does not hold, windows that are not over at `now`, a range that runs backwards or crosses the
    /// ends of the space, a retired partition by its name. Ranges and `*` leave retired partitions out.
    pub fn select(&self, selector: &PartitionSelector, now: Timestamp) -> Result<PartitionSet> {
        choose(self, selector, Some(now))
    }

    /// The partitions of a range as `2013-01-01..2013-01-31`, both ends included, whether they are over or not.
    ///
    /// # Errors
    ///
    /// As [`PartitionSpace::select`]; also a missing last end where the space has none, and any range on an asset that
    /// is not partitioned.
    pub fn parse_range(&self, text: &str) -> Result<PartitionSet> {
        match self {
            Self::Unit => self.parse(text).map(PartitionSet::single),
            space => choose(space, &PartitionSelector::Range(text.to_owned()), None),
        }
    }
}

/// Without a `now` every window counts as over.
fn choose(space: &PartitionSpace, selector: &PartitionSelector, now: Option<Timestamp>) -> Result<PartitionSet> {
    let len = match (now, space) {
        (Some(now), space) => space.len_at(now),
        (None, PartitionSpace::Dynamic(space)) => space.len(),
        (None, space) => space.capacity(),
    };
    match (space, selector) {
        (_, PartitionSelector::All) => match now {
            Some(now) => space.existing_at(now).during("select"),
            None => {
                check_len(len.into()).during("select")?;
                Ok(PartitionSet::full(len))
            }
        },
        (PartitionSpace::Dynamic(set), PartitionSelector::Key(text)) => {
            let index = set.parse(text)?;
            if now.is_some() {
                set.refuse_retired(index)?;
            }
            Ok(PartitionSet::single(index).below(len))
        }
        (PartitionSpace::Dynamic(set), PartitionSelector::Range(text)) => {
            let (first, last) = split_range(text)?;
            let lo = first.map_or(Ok(0), |text| set.parse(text))?;
            let hi = last.map_or(Ok(len.saturating_sub(1)), |text| set.parse(text))?;
            if lo > hi {
                return Err(backwards(text));
            }
            let chosen = PartitionSet::from_range(lo..len.min(hi + 1));
            Ok(if now.is_some() {
                chosen.intersect(&set.existing())
            } else {
                chosen
            })
        }
        (PartitionSpace::Unit, _) => Ok(PartitionSet::full(1)),
        (PartitionSpace::Static(_), PartitionSelector::Key(text)) => space.parse(text).map(PartitionSet::single),
        (PartitionSpace::Static(_), PartitionSelector::Range(text)) => {
            let (first, last) = split_range(text)?;
            let lo = first.map_or(Ok(0), |text| space.parse(text))?;
            let hi = last.map_or(Ok(len.saturating_sub(1)), |text| space.parse(text))?;
            if lo > hi {
                Err(backwards(text))
            } else {
                Ok(PartitionSet::from_range(lo..len.min(hi + 1)))
            }
        }
        (PartitionSpace::Window(space), PartitionSelector::Key(text)) => {
            let literal = time(space, text)?;
            between(space, len, text, Some(literal), Some(literal))
        }
        (PartitionSpace::Window(space), PartitionSelector::Range(text)) => {
            let (first, last) = split_range(text)?;
            let first = first.map(|text| time(space, text)).transpose()?;
            let last = last.map(|text| time(space, text)).transpose()?;
            if now.is_none() && last.is_none() && space.end().is_none() {
                return Err(
                    range_error(text, "the range has no last end, and neither has the space")
                        .fix("write both ends, as 2013-01-01..2013-01-31"),
                );
            }
            between(space, len, text, first, last)
        }
        (PartitionSpace::Product(space), selector) => choose_product(space, selector, now),
    }
}

fn time(space: &WindowSpace, text: &str) -> Result<TimeLiteral> {
    TimeLiteral::parse(text).ok_or_else(|| no_time(space, text))
}

/// The first `len` windows from one literal to another, both included.
fn between(
    space: &WindowSpace,
    len: u64,
    text: &str,
    first: Option<TimeLiteral>,
    last: Option<TimeLiteral>,
) -> Result<PartitionSet> {
    if len == 0 {
        return Err(range_error(text, "no window of the space is over yet").about(space.ends()));
    }
    let start = space.interval_of(0).0;
    let end = space.interval_of(len - 1).1;
    let first_interval = first.map_or((start, start), |literal| literal.interval(space.zone()));
    let last_interval = last.map_or((end, end), |literal| literal.interval(space.zone()));
    if first_interval.0 > last_interval.0 {
        return Err(backwards(text));
    }
    for (literal, (from, to)) in [(first, first_interval), (last, last_interval)] {
        if literal.is_some() && from < start && to <= start {
            return Err(space.outside(text));
        }
        if literal.is_some() && from >= end {
            return Err(beyond(space, len, text, from));
        }
    }

    // Keys of the space itself mean their windows, even where a week reads as its first day.
    let index = |literal: Option<TimeLiteral>| literal.map(|literal| space.index_of(&literal.key_in(space)).ok());
    let lo = index(first).unwrap_or(Some(0));
    let hi = index(last).unwrap_or(Some(len - 1));
    if let (Some(lo), Some(hi)) = (lo, hi) {
        if hi >= len {
            return Err(beyond(space, len, text, space.interval_of(hi).0));
        }
        return Ok(PartitionSet::from_range(lo..=hi));
    }

    let (from, to) = (first_interval.0, last_interval.1);
    let overlapping = space.indices_overlapping(from, to);
    let overlapping = overlapping.start.min(len)..overlapping.end.min(len);
    let mut within = overlapping.clone();
    while !within.is_empty() && space.interval_of(within.start).0 < from {
        within.start += 1;
    }
    while !within.is_empty() && space.interval_of(within.end - 1).1 > to {
        within.end -= 1;
    }
    let chosen = if within.is_empty() { overlapping } else { within };
    if chosen.is_empty() {
        Err(space.outside(text))
    } else {
        Ok(PartitionSet::from_range(chosen))
    }
}

fn choose_product(
    product: &ProductSpace,
    selector: &PartitionSelector,
    now: Option<Timestamp>,
) -> Result<PartitionSet> {
    if let PartitionSelector::Key(text) = selector
        && is_tuple(text)
    {
        let index = product.parse(text)?;
        for (dimension, digit) in product.digits(index) {
            if let (PartitionSpace::Dynamic(set), Some(_)) = (&dimension.space, now) {
                set.refuse_retired(digit)?;
            }
        }
        return Ok(PartitionSet::single(index));
    }
    match per_dimension(product, selector)? {
        Some(selectors) => {
            let spaces = product.dimensions().map(|(_, space)| space);
            let sets = spaces
                .zip(&selectors)
                .map(|(space, selector)| choose(space, selector, now));
            cross(product, &sets.collect::<Result<Vec<_>>>()?)
        }
        None => choose_alone(product, selector, now),
    }
}

/// One selector per dimension, or none if the text has a single part that belongs to one of them.
fn per_dimension(product: &ProductSpace, selector: &PartitionSelector) -> Result<Option<Vec<PartitionSelector>>> {
    let width = product.dimensions().len();
    let one = |part: &str| {
        if part == ALL {
            PartitionSelector::All
        } else {
            PartitionSelector::Key(part.to_owned())
        }
    };
    match selector {
        PartitionSelector::All => Ok(Some(vec![PartitionSelector::All; width])),
        PartitionSelector::Key(text) => match split_outside_quotes(text, "|").as_slice() {
            parts if parts.len() == width => Ok(Some(parts.iter().map(|part| one(part)).collect())),
            [_] => Ok(None),
            _ => Err(product.wrong_shape(text)),
        },
        PartitionSelector::Range(text) => {
            let (first, last) = split_range(text)?;
            let parts = |end: Option<&str>| match end.map(|end| split_outside_quotes(end, "|")) {
                None => vec![String::new(); width],
                Some(parts) => parts.into_iter().map(str::to_owned).collect(),
            };
            let (first, last) = (parts(first), parts(last));
            if first.len() == width && last.len() == width {
                let pairs = first.iter().zip(&last).map(|(first, last)| match first == last {
                    true => one(first),
                    false => PartitionSelector::Range(format!("{first}{RANGE}{last}")),
                });
                return Ok(Some(pairs.collect()));
            }
            let alone = |parts: &[String]| parts.len() == 1 || parts.iter().all(String::is_empty);
            if alone(&first) && alone(&last) {
                Ok(None)
            } else {
                Err(product.wrong_shape(text))
            }
        }
    }
}

/// The partitions of the one dimension that understands the selector, with all of the others.
fn choose_alone(product: &ProductSpace, selector: &PartitionSelector, now: Option<Timestamp>) -> Result<PartitionSet> {
    let (PartitionSelector::Key(text) | PartitionSelector::Range(text)) = selector else {
        return choose_product(product, &PartitionSelector::All, now);
    };
    let mut chosen = None;
    let mut refused = None;
    for (position, (_, space)) in product.dimensions().enumerate() {
        match choose(space, selector, now) {
            Ok(set) if chosen.is_none() => chosen = Some((position, set)),
            Ok(_) => return Err(product.wrong_shape(text)),
            Err(error) if error.kind() == ErrorKind::OutOfRange || error.stable_code() == RETIRED => {
                refused = Some(error);
            }
            Err(_) => {}
        }
    }
    let Some((chosen, set)) = chosen else {
        return Err(refused.unwrap_or_else(|| product.wrong_shape(text)));
    };
    let all = product
        .dimensions()
        .map(|(_, space)| choose(space, &PartitionSelector::All, now));
    let mut sets = all.collect::<Result<Vec<_>>>()?;
    sets[chosen] = set;
    cross(product, &sets)
}

/// The ends of `first..last`; a missing one is none.
fn split_range(text: &str) -> Result<(Option<&str>, Option<&str>)> {
    match split_outside_quotes(text, RANGE).as_slice() {
        ["", ""] => Err(range_error(text, "it has no ends").fix("write both ends, as 2013-01-01..2013-01-31")),
        [first, last] => Ok((
            Some(*first).filter(|end| !end.is_empty()),
            Some(*last).filter(|end| !end.is_empty()),
        )),
        _ => Err(range_error(text, "it is no range").fix("write both ends, as 2013-01-01..2013-01-31")),
    }
}

fn backwards(text: &str) -> Error {
    let error = range_error(text, "the range runs backwards").code("partition_range_backwards");
    match split_range(text) {
        Ok((Some(first), Some(last))) => error.fix(format!("write it as {last}{RANGE}{first}")),
        _ => error.fix("the last end lies before the first partition"),
    }
}

fn beyond(space: &WindowSpace, len: u64, text: &str, from: Timestamp) -> Error {
    if len == space.capacity() || from >= space.interval_of(space.capacity() - 1).1 {
        return space.outside(text);
    }
    let last = space.label(len - 1);
    Error::new(ErrorKind::OutOfRange, format!("the last window that is over is {last}"))
        .code("partition_not_over")
        .during("select")
        .about(text)
        .fix("wait until the window is over, or choose an earlier one")
}

fn range_error(text: &str, message: &str) -> Error {
    Error::new(ErrorKind::Invalid, message)
        .code("partition_range_invalid")
        .during("select")
        .about(format!("{:?}", text.chars().take(80).collect::<String>()))
}
