//! Looks at a mapping from both sides: what a partition reads, and who reads it, must say the same.

use flowstone_core::partition::{BoundMapping, Mapping, PartitionSet, PartitionSpace};
use flowstone_core::{Error, ErrorKind, Result};
use jiff::Timestamp;

/// How many partitions of each side are looked at.
const PARTITIONS_LOOKED_AT: u64 = 2_000;

/// Checks that the two directions of a mapping agree, one partition at a time and in sets, between two spaces as they are
/// at `now`. For the tests of whoever writes a [`Mapping::custom`].
///
/// ```
/// use flowstone_core::partition::{Mapping, PartitionKey, Partitions};
/// use flowstone_testkit::check_mapping;
///
/// let numbers = Partitions::keys(0..10).build()?;
/// let half = Mapping::custom("half", "1", |number: &PartitionKey| match number {
///     PartitionKey::Int(number) => Some(PartitionKey::Int(number / 2)),
///     _ => None,
/// });
/// check_mapping(&half, &numbers, &numbers, jiff::Timestamp::now())?;
///
/// let twice = Mapping::custom("twice", "1", |number: &PartitionKey| match number {
///     PartitionKey::Int(number) => Some(PartitionKey::Int(number * 2)),
///     _ => None,
/// });
/// let refused = check_mapping(&twice, &numbers, &numbers, jiff::Timestamp::now()).unwrap_err();
/// assert!(refused.to_string().contains("lets 5 read 10"), "{refused}");
/// # Ok::<(), flowstone_core::Error>(())
/// ```
///
/// # Errors
/// What the spaces refuse, and what a custom mapping's function is refused for: it panics, leaves the space, or answers
/// otherwise when it is asked again. `Internal` when the directions do not agree.
pub fn check_mapping(mapping: &Mapping, down: &PartitionSpace, up: &PartitionSpace, now: Timestamp) -> Result<()> {
    BoundMapping::at_capacity(mapping, down, up)?;
    let bound = BoundMapping::new(mapping, down, up, now)?;
    let disagree = |what: String| Error::new(ErrorKind::Internal, what).code("partition_mapping_disagrees");
    let mut all = PartitionSet::new();
    let readers = bound.down_len().min(PARTITIONS_LOOKED_AT);
    for reader in 0..readers {
        let read = bound.upstream_of_one(reader);
        if asked_again(mapping, down, up, reader)?.is_some_and(|again| again.below(bound.up_len()) != read) {
            return Err(disagree(format!(
                "what {} reads is not always the same",
                down.label(reader)
            )));
        }
        all.union_with(&read);
        let looked_at = read.clone().split_off_first(PARTITIONS_LOOKED_AT);
        for one in looked_at.iter() {
            if !bound.downstream_of(&PartitionSet::single(one)).contains(reader) {
                let (reader, one) = (down.label(reader), up.label(one));
                return Err(disagree(format!("{reader} reads {one}, and is not among its readers")));
            }
        }
    }
    if bound.upstream_of(&PartitionSet::from_range(0..readers)) != all {
        return Err(disagree("a set reads something else than its members".to_owned()));
    }
    for read in 0..bound.up_len().min(PARTITIONS_LOOKED_AT) {
        for reader in bound.downstream_of(&PartitionSet::single(read)).below(readers).iter() {
            if !bound.upstream_of_one(reader).contains(read) {
                let (reader, read) = (down.label(reader), up.label(read));
                return Err(disagree(format!(
                    "{reader} is among the readers of {read}, and does not read it"
                )));
            }
        }
    }
    Ok(())
}

/// What the function of a custom mapping says of one partition now.
fn asked_again(
    mapping: &Mapping,
    down: &PartitionSpace,
    up: &PartitionSpace,
    reader: u64,
) -> Result<Option<PartitionSet>> {
    let Mapping::Custom(custom) = mapping else {
        return Ok(None);
    };
    let keys = custom.reads(&down.key_of(reader)?)?;
    keys.iter().map(|key| up.index_of(key)).collect::<Result<_>>().map(Some)
}
