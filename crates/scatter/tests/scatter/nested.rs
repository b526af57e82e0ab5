//! Scatters within the items of scatters.

use std::sync::Arc;

use flowstone_core::asset::In;
use flowstone_core::{Error, Value};
use flowstone_scatter::{Gather, Item, Makes, Results, Scatter};

use crate::drive::Lab;

/// The numbers below the outer item, each times a factor, summed up.
fn below() -> Scatter<Makes<u64>> {
    Scatter::items((), |outer: Item<u64>| async move { (0..*outer).collect::<Vec<u64>>() })
        .each("factor", |number: Item<u64>, factor: Arc<u64>| async move {
            *number * *factor
        })
        .fold(0, |sum, gathered| sum + gathered.into_value().unwrap_or(0))
}

#[test]
fn what_the_inner_scatter_makes_is_the_value_of_the_outer_item() {
    let asset = Scatter::items("numbers", |In(numbers): In<Vec<u64>>| async move { numbers })
        .each_scatter(below())
        .gather("last", |In(last): In<u64>, mut sums: Gather<u64>| async move {
            let mut all = Vec::new();
            while let Some(sum) = sums.next_value().await? {
                all.push(sum);
            }
            all.push(last);
            Ok::<_, Error>(all)
        })
        .asset("sums");
    let upstreams = vec![
        ("numbers", Value::new(vec![3_u64, 0, 4])),
        ("factor", Value::new(10_u64)),
        ("last", Value::new(7_u64)),
    ];

    let lab = Lab::new(asset, upstreams).unwrap();

    assert_eq!(lab.run().unwrap().value::<Vec<u64>>(), [30, 0, 60, 7]);
    // The factor is not loaded again for each of the outer items.
    assert_eq!(lab.loads(), 3);
}

#[test]
fn an_inner_scatter_without_a_gather_gives_its_results() {
    let inner = Scatter::items((), |outer: Item<u64>| async move { vec![*outer; 2] })
        .each((), |number: Item<u64>| async move { *number });
    let asset = Scatter::items("numbers", |In(numbers): In<Vec<u64>>| async move { numbers })
        .each_scatter(inner)
        .asset("pairs");
    let lab = Lab::new(asset, vec![("numbers", Value::new(vec![8_u64, 9]))]).unwrap();

    let results = lab.run().unwrap().value::<Results<Results<u64>>>();

    let pairs: Vec<Vec<u64>> = results.into_values().map(|pair| pair.into_values().collect()).collect();
    assert_eq!(pairs, [[8, 8], [9, 9]]);
}
