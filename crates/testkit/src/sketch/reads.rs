//! What one partition reads, found by looking at every upstream partition: by keys, and by the time that each covers. Retired
//! ones are read only by name.

use flowstone_core::partition::{Mapping, PartitionKey, PartitionSpace};
use jiff::Timestamp;

use super::now;

/// How many windows are looked at to see how two spaces lie to each other.
const WINDOWS_COMPARED: u64 = 48;

/// The upstream partitions that there are now and that `partition` reads, in order.
pub(super) fn reads(mapping: &Mapping, down: &PartitionSpace, up: &PartitionSpace, partition: u64) -> Vec<u64> {
    let key = down.key_of(partition).expect("a partition of the space");
    let len = up.len_at(now());
    let existing = up.existing_at(now()).expect("few partitions");
    let that = |fits: &dyn Fn(u64) -> bool| (0..len).filter(|upstream| fits(*upstream)).collect();
    match mapping {
        Mapping::Identity => that(&|upstream| up.key_of(upstream).unwrap() == key),
        Mapping::Window => {
            let (start, end) = down.window_of(partition).unwrap();
            that(&|upstream| {
                let (up_start, up_end) = up.window_of(upstream).unwrap();
                up_start < end && start < up_end
            })
        }
        Mapping::Offset(offset) => match (&key, down) {
            (PartitionKey::Tuple(_), PartitionSpace::Product(product)) => {
                let day = product.dimension("day").unwrap();
                let digit = |upstream| {
                    parts(up, upstream).map(|(name, key)| match name.as_str() {
                        "day" => PartitionKey::int(day.index_of(&key).unwrap() as i64 - offset).unwrap(),
                        _ => key,
                    })
                };
                let wanted: Vec<_> = parts(down, partition)
                    .map(|(name, key)| match name.as_str() {
                        "day" => PartitionKey::int(day.index_of(&key).unwrap()).unwrap(),
                        _ => key,
                    })
                    .collect();
                that(&|upstream| digit(upstream).collect::<Vec<_>>() == wanted)
            }
            _ => between(down, up, partition, (*offset, *offset), len),
        },
        Mapping::Trailing(count) => between(down, up, partition, (1 - i64::from(*count), 0), len),
        Mapping::Preceding(count) => between(down, up, partition, (-i64::from(*count), -1), len),
        Mapping::All => that(&|upstream| existing.contains(upstream)),
        Mapping::Last => that(&|upstream| existing.max() == Some(upstream)),
        Mapping::Table(pairs) => that(&|upstream| {
            let up_key = up.key_of(upstream).unwrap();
            pairs.iter().any(|pair| *pair == (key.clone(), up_key.clone()))
        }),
        Mapping::Custom(custom) => {
            let read = custom.reads(&key).unwrap();
            that(&|upstream| read.contains(&up.key_of(upstream).unwrap()))
        }
        Mapping::Dimension(name) => match (down, up) {
            (PartitionSpace::Product(product), _) => {
                let space = product.dimension(name).unwrap();
                let (_, key) = parts(down, partition).find(|(part, _)| part == name).unwrap();
                reads(
                    &Mapping::infer(space, up).unwrap(),
                    space,
                    up,
                    space.index_of(&key).unwrap(),
                )
            }
            (_, PartitionSpace::Product(product)) => {
                let space = product.dimension(name).unwrap();
                let wanted = reads(&Mapping::infer(down, space).unwrap(), down, space, partition);
                that(&|upstream| {
                    let (_, key) = parts(up, upstream).find(|(part, _)| part == name).unwrap();
                    existing.contains(upstream) && wanted.contains(&space.index_of(&key).unwrap())
                })
            }
            _ => panic!("one side is a product"),
        },
        other => panic!("{other} is not looked at here"),
    }
}

/// The windows from `first` to `last` windows after that of `partition`.
fn between(
    down: &PartitionSpace,
    up: &PartitionSpace,
    partition: u64,
    (first, last): (i64, i64),
    len: u64,
) -> Vec<u64> {
    let starts = |space: &PartitionSpace| -> Vec<Timestamp> {
        let all = 0..space.capacity().min(WINDOWS_COMPARED);
        all.map(|index| space.window_of(index).unwrap().0).collect()
    };
    let (down, up) = (starts(down), starts(up));
    let alike = |start: &Timestamp| up.iter().position(|other| start == other);
    let found = down
        .iter()
        .enumerate()
        .find_map(|(one, start)| Some((one, alike(start)?)));
    let (one, other) = found.expect("the windows are cut at the same places");
    let own = partition as i64 + other as i64 - one as i64;
    let wanted = (own + first).max(0)..=own + last;
    (0..len)
        .filter(|upstream| wanted.contains(&(*upstream as i64)))
        .collect()
}

/// The keys of a product's dimensions, with their names.
fn parts(space: &PartitionSpace, partition: u64) -> impl Iterator<Item = (String, PartitionKey)> {
    let PartitionSpace::Product(product) = space else {
        panic!("the space is a product");
    };
    let Ok(PartitionKey::Tuple(keys)) = space.key_of(partition) else {
        panic!("a product's key is a tuple");
    };
    let names: Vec<_> = product.dimensions().map(|(name, _)| name.to_owned()).collect();
    names.into_iter().zip(keys)
}
