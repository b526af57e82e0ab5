//! Checks a mapping against two spaces and chooses how it is computed.

use std::sync::Arc;

use jiff::Timestamp;

use super::bound::{BoundMapping, CHECKED_LEN_MAX, Pairs, Plan};
use super::custom::SAMPLE_LEN;
use super::key::PartitionKey;
use super::mapping::Mapping;
use super::projection::Axis;
use super::set::PartitionSet;
use super::space::PartitionSpace;
use crate::{Error, ErrorKind, Result};

/// As of when two spaces are bound.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lengths {
    /// As they are at a time.
    At(Timestamp),
    /// As far as their definitions let them grow, and as a check needs to look.
    Capacity,
}

impl Lengths {
    fn len(self, space: &PartitionSpace) -> u64 {
        match (self, space) {
            (Self::At(now), space) => space.len_at(now),
            (Self::Capacity, PartitionSpace::Static(space)) => space.len(),
            (Self::Capacity, space) => space.capacity().min(CHECKED_LEN_MAX),
        }
    }

    fn existing(self, space: &PartitionSpace) -> Result<PartitionSet> {
        match self {
            Self::At(now) => space.existing_at(now),
            Self::Capacity => Ok(PartitionSet::full(self.len(space))),
        }
    }
}

pub(super) fn bind(mapping: &Mapping, down: &PartitionSpace, up: &PartitionSpace, at: Lengths) -> Result<BoundMapping> {
    let len = |space: &PartitionSpace| at.len(space);
    let plan = match (mapping, down, up) {
        (Mapping::Identity, _, _) if down == up => Plan::Shift(0),
        (Mapping::Identity, PartitionSpace::Static(down), PartitionSpace::Static(up))
            if down.is_prefix_of(up) || up.is_prefix_of(down) =>
        {
            Plan::Shift(0)
        }
        (Mapping::Identity, _, _) => {
            return Err(refused("the spaces differ").fix("leave the mapping out to have it inferred, or give another"));
        }
        (Mapping::Window, PartitionSpace::Window(down), PartitionSpace::Window(up)) => match down.shift_to(up) {
            Some(shift) => Plan::Shift(shift),
            None => Plan::Overlap {
                down: Box::new(down.clone()),
                up: Box::new(up.clone()),
            },
        },
        (Mapping::Offset(offset), PartitionSpace::Window(down), PartitionSpace::Window(up)) => {
            let shift = down.shift_to(up).ok_or_else(cut_differently)?;
            Plan::Shift(
                shift
                    .checked_add(*offset)
                    .ok_or_else(|| refused("the offset is too large"))?,
            )
        }
        (Mapping::Offset(offset), PartitionSpace::Product(product), _) if down == up => {
            let stride = product.time_stride().ok_or_else(|| {
                refused("the product neither grows along a time dimension nor has it first")
                    .fix("name the time dimension first, or give Mapping::Table(pairs)")
            })?;
            let shift = i64::try_from(stride)
                .ok()
                .and_then(|stride| stride.checked_mul(*offset));
            Plan::Shift(shift.ok_or_else(|| refused("the offset is too large"))?)
        }
        (Mapping::Trailing(0) | Mapping::Preceding(0), _, _) => {
            return Err(refused("it reads no windows").fix("give at least one window"));
        }
        (Mapping::Trailing(count), PartitionSpace::Window(down), PartitionSpace::Window(up)) => {
            match (down.shift_to(up).ok_or_else(cut_differently)?, *count) {
                (shift, 1) => Plan::Shift(shift),
                (shift, count) => Plan::Trailing { shift, count },
            }
        }
        (Mapping::Preceding(count), PartitionSpace::Window(down), PartitionSpace::Window(up)) => {
            match (down.shift_to(up).ok_or_else(cut_differently)? - 1, *count) {
                (shift, 1) => Plan::Shift(shift),
                (shift, count) => Plan::Trailing { shift, count },
            }
        }
        (Mapping::Window | Mapping::Offset(_) | Mapping::Trailing(_) | Mapping::Preceding(_), _, _) => {
            return Err(refused("both must be partitioned by time").fix("give Mapping::All or Mapping::Table(pairs)"));
        }
        (Mapping::All, _, _) => Plan::Broadcast(at.existing(up)?),
        (Mapping::Last, _, _) => Plan::Broadcast(at.existing(up)?.max().map(PartitionSet::single).unwrap_or_default()),
        (Mapping::Table(pairs), _, _) => pairs_plan(pairs, down, up, at)?,
        (Mapping::Custom(custom), _, _) => Plan::Pairs(match at {
            Lengths::At(_) => custom.pairs(down, up, (len(down), len(up)))?,
            Lengths::Capacity => {
                let lens = (len(down).min(SAMPLE_LEN), len(up));
                custom.check_sample(down, lens.0)?;
                return Ok(BoundMapping {
                    plan: Plan::Pairs(custom.pairs(down, up, lens)?),
                    down_len: lens.0,
                    up_len: lens.1,
                });
            }
        }),
        (Mapping::Dimension(name), PartitionSpace::Product(product), other)
            if !matches!(other, PartitionSpace::Product(_)) =>
        {
            let (Some(axis), Some(space)) = (Axis::of(product, name), product.dimension(name)) else {
                return Err(no_dimension(name, product.dimensions().map(|(name, _)| name)));
            };
            Plan::DownDigit {
                axis,
                inner: Box::new(bind(&Mapping::infer(space, other)?, space, other, at)?),
            }
        }
        (Mapping::Dimension(name), other, PartitionSpace::Product(product))
            if !matches!(other, PartitionSpace::Product(_)) =>
        {
            let (Some(axis), Some(space)) = (Axis::of(product, name), product.dimension(name)) else {
                return Err(no_dimension(name, product.dimensions().map(|(name, _)| name)));
            };
            Plan::UpDigit {
                axis,
                inner: Box::new(bind(&Mapping::infer(other, space)?, other, space, at)?),
                retired: PartitionSet::full(len(up)).difference(&at.existing(up)?),
            }
        }
        (Mapping::Dimension(_), _, _) => {
            return Err(refused("exactly one side must be a product").fix("give Mapping::All or Mapping::Table(pairs)"));
        }
    };
    Ok(BoundMapping {
        plan,
        down_len: len(down),
        up_len: len(up),
    })
}

fn pairs_plan(
    pairs: &[(PartitionKey, PartitionKey)],
    down: &PartitionSpace,
    up: &PartitionSpace,
    at: Lengths,
) -> Result<Plan> {
    let len = |space: &PartitionSpace| at.len(space);
    let mut table = Pairs::default();
    for (down_key, up_key) in pairs {
        let (Some(reader), Some(read)) = (place_of(down_key, down)?, place_of(up_key, up)?) else {
            continue;
        };
        if reader < len(down) && read < len(up) {
            table.insert(reader, read);
        }
    }
    Ok(Plan::Pairs(Arc::new(table)))
}

/// The index of a key. One that a dynamic set does not have may be added later, and nothing reads it until then.
pub(super) fn place_of(key: &PartitionKey, space: &PartitionSpace) -> Result<Option<u64>> {
    match space.index_of(key) {
        Err(error) if error.kind() == ErrorKind::NotFound && !space.dynamic_sets().is_empty() => Ok(None),
        found => found.map(Some),
    }
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message).code("partition_mapping_invalid")
}

fn cut_differently() -> Error {
    refused("the windows are not cut at the same places")
        .fix("give both sides the same granularity and time zone, or use Mapping::Window")
}

fn no_dimension<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no dimension {name:?}"))
        .code("partition_mapping_invalid")
        .fix(format!("use one of {}", names.collect::<Vec<_>>().join(", ")))
}
