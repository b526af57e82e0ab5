//! Partitions that are defined anew: what is the same moves with everything that is known of it, the rest stays.

use flowstone_core::partition::{PartitionMoves, PartitionSpace, SpaceChange, StaticSpace};
use flowstone_core::store::{
    AssetRow, AssetStatus, ChunkProgress, LineageInput, Materialization, Record, Redefinition, Store,
};
use flowstone_core::{AssetId, ErrorKind, Version};

use super::StoreUnderTest;
use super::fixture::{at, claimed, commit, failure, key, made, make, many, one_to_one, progress, running, set};

fn names(names: &[&str]) -> PartitionSpace {
    PartitionSpace::Static(StaticSpace::new(names.iter().copied()).expect("a space"))
}

/// What is known of all partitions of an asset under one number, in an order of its own.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    status: AssetStatus,
    history: Vec<Materialization>,
    inputs: Vec<LineageInput>,
    uses: Vec<LineageInput>,
}

async fn known(store: &impl Store, asset: AssetId) -> Known {
    let mut status = store.status(asset).await.expect("a status");
    status.heads.sort_by_key(|head| (head.version, head.code_version));
    let all = set(0..10);
    let mut history = store.history(asset, &all).await.expect("a history");
    history.sort_by_key(|made| (made.partition, made.version));
    let (mut inputs, mut uses) = (Vec::new(), Vec::new());
    for partition in all.iter() {
        for version in 1..4 {
            let found = store.inputs_of(asset, partition, Version(version)).await;
            inputs.extend(found.expect("inputs"));
        }
        uses.extend(store.uses_of(asset, partition, None).await.expect("uses"));
    }
    for rows in [&mut inputs, &mut uses] {
        rows.sort_by_key(|row| (row.asset, row.partitions, row.version, row.upstream, row.from));
        rows.dedup();
    }
    Known {
        status,
        history,
        inputs,
        uses,
    }
}

fn moves(pairs: &[(u64, u64)]) -> PartitionMoves {
    let mut moves = PartitionMoves::default();
    for (from, to) in pairs {
        moves.push(*from, *from, *to);
    }
    moves
}

async fn redefine(
    store: &impl Store,
    of: AssetId,
    space: PartitionSpace,
    moves: Vec<(AssetId, PartitionMoves)>,
) -> AssetId {
    let change = Redefinition {
        key: key("up"),
        of,
        space,
        moves,
        outdated: Vec::new(),
    };
    store.redefine(&[change]).await.expect("it is defined anew")[0]
}

/// `up` has `a`, `b`, `c`, of which `b` was made twice and `c` is stale; `d` failed. `down` was made of each of them, and
/// its fourth partition of all.
async fn pipeline(store: &impl Store) -> (AssetId, AssetId) {
    let declared = [
        (key("up"), names(&["a", "b", "c", "d"])),
        (key("down"), names(&["a", "b", "c", "all"])),
    ];
    let ids = store.declare_assets(&declared).await.expect("ids");
    let (up, down) = (ids[0], ids[1]);
    let run = running(store, 1).await;
    make(store, (run, 0), up, 0..3, 1).await;
    make(store, (run, 1), up, [1], 2).await;
    let of_down = ChunkProgress {
        materialized: (0..4).map(|partition| made(run, down, partition, 1)).collect(),
        inputs: vec![
            one_to_one((down, (0, 2), 1), (up, 0, 1)),
            many((down, (3, 3), 1), (up, (0, 2), 1)),
            many((down, (3, 3), 1), (up, (1, 1), 2)),
        ],
        outdated: vec![(up, set([2]))],
        ..progress(run, down, 0, 1)
    };
    let of_up = ChunkProgress {
        failed: vec![failure(up, 3, 1, true)],
        inputs: vec![one_to_one((up, (1, 2), 1), (up, 0, 1))],
        ..progress(run, up, 2, 1)
    };
    commit(
        store,
        &[
            claimed(run, down, 0, 1, set(0..4)),
            Record::ChunkProgress(of_down),
            claimed(run, up, 2, 1, set([3])),
            Record::ChunkProgress(of_up),
        ],
    )
    .await;
    (up, down)
}

/// Versions, marks and lineage in both directions go along; what stays is found where it was; others are not touched.
pub async fn what_moves_takes_along_all_that_is_known_of_it<S: Store>(store: StoreUnderTest<S>) {
    let (up, down) = pipeline(&*store).await;
    let before = known(&*store, up).await;

    let now = redefine(
        &*store,
        up,
        names(&["x", "c", "d", "a"]),
        vec![(up, moves(&[(0, 3), (2, 1), (3, 2)]))],
    )
    .await;

    assert_eq!(now, AssetId(2), "the next number");
    let rows = store.assets().await.expect("assets");
    let listed: Vec<_> = rows
        .iter()
        .map(|row| (row.id.0, row.key.as_str(), row.is_former))
        .collect();
    assert_eq!(listed, [(0, "up", true), (1, "down", false), (2, "up", false)]);
    assert_eq!(
        (&rows[0].space, &rows[2].space),
        (&names(&["a", "b", "c", "d"]), &names(&["x", "c", "d", "a"]))
    );

    let (left, there) = (known(&*store, up).await, known(&*store, now).await);
    assert_eq!(there.status.materialized(), set([1, 3]));
    assert_eq!((&there.status.stale, &there.status.failed), (&set([1]), &set([2])));
    let moved = |partition: u64, to: u64| Materialization {
        asset: now,
        partition: to,
        ..before
            .history
            .iter()
            .find(|made| made.partition == partition)
            .expect("it was made")
            .clone()
    };
    assert_eq!(there.history, [moved(2, 1), moved(0, 3)]);
    let own = |made, from| one_to_one((now, (made, made), 1), (from, 1, 1));
    assert_eq!(there.inputs, [own(1, up)], "c was made of b, which has stayed");

    assert_eq!(left.status.materialized(), set([1]));
    assert!(left.status.stale.is_empty() && left.status.failed.is_empty());
    let versions: Vec<_> = left
        .history
        .iter()
        .map(|made| (made.partition, made.version.0))
        .collect();
    assert_eq!(versions, [(1, 1), (1, 2)]);
    assert_eq!(
        left.inputs,
        [one_to_one((up, (1, 1), 1), (now, 3, 1))],
        "b was made of a, which has moved"
    );

    let inputs = async |partition| {
        let rows = store.inputs_of(down, partition, Version(1)).await.expect("inputs");
        let mut places: Vec<_> = rows
            .iter()
            .map(|row| (row.upstream, row.upstream_of(partition), row.upstream_version.0))
            .collect();
        places.sort_unstable();
        places
    };
    assert_eq!(inputs(0).await, [(now, Some((3, 3)), 1)]);
    assert_eq!(inputs(1).await, [(up, Some((1, 1)), 1)]);
    assert_eq!(inputs(2).await, [(now, Some((1, 1)), 1)]);
    let of_all = [
        (up, Some((1, 1)), 1),
        (up, Some((1, 1)), 2),
        (now, Some((1, 1)), 1),
        (now, Some((3, 3)), 1),
    ];
    assert_eq!(inputs(3).await, of_all);
    let made_of_a = there
        .uses
        .iter()
        .filter(|row| row.asset == down && row.downstream_of(3).is_some());
    assert_eq!(made_of_a.count(), 2, "its counterpart and the one that was made of all");

    let run = running(&*store, 2).await;
    make(&*store, (run, 0), now, [1, 0], 2).await;
    assert_eq!(
        store.status(now).await.expect("a status").materialized(),
        set([0, 1, 3]),
        "work goes on"
    );
}

/// Defining the partitions as they were before gives every answer as before, but for the number.
pub async fn changing_a_definition_back_brings_all_back<S: Store>(store: StoreUnderTest<S>) {
    let (up, down) = pipeline(&*store).await;
    let before = (known(&*store, up).await, known(&*store, down).await);
    let there = moves(&[(0, 3), (2, 1), (3, 2)]);
    let other = redefine(&*store, up, names(&["x", "c", "d", "a"]), vec![(up, there)]).await;

    let back = vec![(other, moves(&[(1, 2), (2, 3), (3, 0)])), (up, moves(&[(1, 1)]))];
    let again = redefine(&*store, other, names(&["a", "b", "c", "d"]), back).await;

    assert_eq!(again, AssetId(3));
    let renumbered = |known: Known| {
        let named = |asset| if asset == up { again } else { asset };
        let row = |row: LineageInput| LineageInput {
            asset: named(row.asset),
            upstream: named(row.upstream),
            ..row
        };
        Known {
            history: known
                .history
                .into_iter()
                .map(|made| Materialization {
                    asset: named(made.asset),
                    ..made
                })
                .collect(),
            inputs: facts(known.inputs.into_iter().map(row)),
            uses: facts(known.uses.into_iter().map(row)),
            ..known
        }
    };
    assert_eq!(renumbered(known(&*store, again).await), renumbered(before.0));
    assert_eq!(renumbered(known(&*store, down).await), renumbered(before.1));
    for empty in [up, other] {
        let known = known(&*store, empty).await;
        assert!(known.history.is_empty() && known.status.materialized().is_empty() && known.uses.is_empty());
    }
}

/// Rows with one partition at each end: intervals may be cut, as long as they say the same.
fn facts(rows: impl Iterator<Item = LineageInput>) -> Vec<LineageInput> {
    let mut facts: Vec<LineageInput> = rows
        .flat_map(|row| {
            (row.partitions.0..=row.partitions.1).flat_map(move |made| {
                let (first, last) = row.upstream_of(made).expect("it is covered");
                (first..=last).map(move |from| LineageInput {
                    partitions: (made, made),
                    from: (from, from),
                    one_to_one: false,
                    ..row
                })
            })
        })
        .collect();
    facts.sort_by_key(|row| {
        (
            row.asset,
            row.partitions,
            row.version,
            row.upstream,
            row.from,
            row.upstream_version,
        )
    });
    facts.dedup();
    facts
}

/// What was orphaned and comes back behind the end moves under the number that the asset has.
pub async fn what_comes_back_behind_the_end_keeps_the_number<S: Store>(store: StoreUnderTest<S>) {
    let (up, _) = pipeline(&*store).await;
    let short = redefine(&*store, up, names(&["a"]), vec![(up, moves(&[(0, 0)]))]).await;

    let longer = redefine(&*store, short, names(&["a", "c", "x"]), vec![(up, moves(&[(2, 1)]))]).await;

    assert_eq!(longer, short);
    let rows = store.assets().await.expect("assets");
    let current: Vec<&AssetRow> = rows
        .iter()
        .filter(|row| row.key == key("up") && !row.is_former)
        .collect();
    assert_eq!((current.len(), &current[0].space), (1, &names(&["a", "c", "x"])));
    let known = known(&*store, short).await;
    assert_eq!(
        (known.status.materialized(), known.status.stale),
        (set([0, 1]), set([1]))
    );
    let head = store
        .materialization(short, 1, None)
        .await
        .expect("an answer")
        .expect("a head");
    assert_eq!((head.version, head.ended_at), (Version(1), at(3)));
}

/// What rests on something that is orphaned is stale by then, under the number that it has then, if it has a value.
pub async fn what_rests_on_what_is_orphaned_goes_stale<S: Store>(store: StoreUnderTest<S>) {
    let (up, down) = pipeline(&*store).await;
    let change = Redefinition {
        key: key("up"),
        of: up,
        space: names(&["c", "a"]),
        moves: vec![(up, moves(&[(0, 1), (2, 0)]))],
        outdated: vec![(key("down"), set([1, 3, 7])), (key("up"), set([1, 9]))],
    };
    let unknown = Redefinition {
        outdated: vec![(key("none"), set([0]))],
        ..change.clone()
    };

    let refused = store.redefine(&[unknown]).await.expect_err("it is refused");
    let now = store.redefine(&[change]).await.expect("it is defined anew")[0];

    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert_eq!(store.status(down).await.expect("a status").stale, set([1, 3]));
    assert_eq!(
        store.status(now).await.expect("a status").stale,
        set([0, 1]),
        "c was stale before"
    );
}

/// Two at one place, a place that there is not, another asset's partitions, a number that is not current: all is refused, and
/// of several changes none is carried out.
pub async fn a_redefinition_that_does_not_fit_changes_nothing<S: Store>(store: StoreUnderTest<S>) {
    let (up, down) = pipeline(&*store).await;
    let before = (
        store.assets().await.expect("assets"),
        known(&*store, up).await,
        known(&*store, down).await,
    );
    let good = Redefinition {
        key: key("up"),
        of: up,
        space: names(&["b", "a"]),
        moves: vec![(up, moves(&[(0, 1), (1, 0)]))],
        outdated: Vec::new(),
    };
    let with = |moves: Vec<(AssetId, PartitionMoves)>| Redefinition { moves, ..good.clone() };
    let bad = [
        (with(vec![(up, moves(&[(0, 1), (1, 1)]))]), ErrorKind::Conflict),
        (with(vec![(up, moves(&[(0, 7)]))]), ErrorKind::Invalid),
        (with(vec![(down, moves(&[(0, 1)]))]), ErrorKind::Invalid),
        (
            with(vec![(up, moves(&[(0, 1)])), (up, moves(&[(1, 0)]))]),
            ErrorKind::Invalid,
        ),
        (
            Redefinition {
                of: down,
                ..good.clone()
            },
            ErrorKind::Conflict,
        ),
        (
            Redefinition {
                key: key("none"),
                ..good.clone()
            },
            ErrorKind::Conflict,
        ),
    ];

    for (change, kind) in bad {
        let refused = store.redefine(&[change]).await.expect_err("it is refused");
        assert_eq!(refused.kind(), kind, "{refused}");
    }
    let refused = store.redefine(&[good.clone(), good]).await.expect_err("it is refused");
    assert_eq!(refused.kind(), ErrorKind::Conflict);

    let after = (
        store.assets().await.expect("assets"),
        known(&*store, up).await,
        known(&*store, down).await,
    );
    assert_eq!(after, before);
    let space = names(&["b", "a"]);
    let change = SpaceChange::between(&before.0[0].space, &space, &set(0..3), at(0));
    redefine(&*store, up, space, vec![(up, change.homes)]).await;
    assert_eq!(
        store.assets().await.expect("assets").len(),
        3,
        "what fits is carried out still"
    );
}
