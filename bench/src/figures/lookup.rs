//! `key_lookup_us`: one way between a key and its index.
//!
//! Keys to indices and back, spread over spaces of a million partitions and more: minutes, days in a zone with clock
//! changes, windows by a cron expression, 1,000,000 named keys, as many of a dynamic set, and a product. The value is that of
//! the slowest of them; the note tells all.

use std::hint::black_box;
use std::time::Instant;

use flowstone_core::Result;
use flowstone_core::partition::{Cron, Daily, DynamicKey, DynamicSpace, EveryMinutes, PartitionSpace, Partitions};

use super::{Figure, Measured, Setup};
use crate::rounds;

const ROUNDS: usize = 5;
const LOOKUPS: u64 = 100_000;
const NAMED: u64 = 1_000_000;

pub(crate) const FIGURE: Figure = Figure {
    name: "key_lookup_us",
    unit: "µs",
    what: "from a key to its index, or back, in the slowest kind of space",
    measure,
};

fn measure(_: &Setup) -> Result<Measured> {
    let named = Partitions::keys((0..NAMED).map(|no| format!("customer_{no}")));
    let dynamic = DynamicSpace::new("customers")?;
    let added_at = "2024-01-01T00:00:00Z".parse()?;
    dynamic.learn((0..NAMED).map(|index| DynamicKey {
        index,
        key: format!("customer_{index}").into(),
        added_at,
        retired_at: None,
    }))?;
    let spaces: [(&str, Partitions); 5] = [
        ("minutes", EveryMinutes::from(1, "2000-01-01T00").into()),
        (
            "days in a zone",
            Daily::from("0001-01-01").zone("America/New_York").into(),
        ),
        (
            "cron",
            Cron::from("*/5 6-20 * * MON-FRI", "2000-01-01")
                .zone("America/New_York")
                .into(),
        ),
        ("named", named.clone()),
        (
            "product",
            Partitions::dimension("day", Daily::from("2000-01-01")).by("name", named),
        ),
    ];
    let mut built = vec![("dynamic", PartitionSpace::Dynamic(dynamic))];
    for (name, partitions) in spaces {
        built.push((name, partitions.build()?));
    }
    let mut notes = Vec::new();
    let mut slowest: f64 = 0.0;
    for (name, space) in built {
        let mut taken = Vec::new();
        for _ in 0..ROUNDS {
            taken.push(look_up(&space)?);
        }
        let taken = rounds::median(taken);
        notes.push(format!("{name} {taken:.2}"));
        slowest = slowest.max(taken);
    }
    Ok(Measured {
        value: Some(slowest),
        rounds: ROUNDS,
        doubt: None,
        note: notes.join(", "),
    })
}

/// Microseconds for one way, on average.
fn look_up(space: &PartitionSpace) -> Result<f64> {
    let step = (space.capacity().min(1 << 20) / LOOKUPS).max(1);
    let started = Instant::now();
    for number in 0..LOOKUPS {
        let index = number * step;
        let key = space.key_of(black_box(index))?;
        assert_eq!(space.index_of(black_box(&key))?, index, "a key leads back to its index");
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / (2 * LOOKUPS) as f64)
}
