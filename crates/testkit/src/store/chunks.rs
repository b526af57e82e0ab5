//! Chunks: claims raise the fence, progress must match it.

use flowstone_core::store::{AssetStatus, ChunkProgress, ChunkRow, ChunkState, Record, Store};
use flowstone_core::{AssetId, ErrorKind, Incarnation, RunId};

use super::StoreUnderTest;
use super::fixture::{assets, claim, claimed, commit, failure, made, many, progress, refused, running, set, taken};

/// A claim under the fence of an earlier one, or a lower one, is refused; a higher one replaces it.
pub async fn a_claim_must_raise_the_fence<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = running(&*store, 1).await;
    commit(&*store, &[claimed(run, asset, 0, 5, set([0, 1, 2]))]).await;

    for fence in [5, 4, 0] {
        assert_eq!(
            refused(&*store, claimed(run, asset, 0, fence, set([0]))).await,
            ErrorKind::Fenced
        );
    }
    assert_eq!(
        only_chunk(&*store, run).await.claim,
        claim(run, asset, 0, 5, set([0, 1, 2]))
    );
    let mut later = claim(run, asset, 0, 9, set([1, 2]));
    later.crashes = 2;
    commit(&*store, &[Record::ChunkClaimed(later.clone())]).await;
    let row = only_chunk(&*store, run).await;
    assert_eq!((row.claim, row.state), (later, ChunkState::Running));
}

/// Progress under any other fence than the claim's is refused and leaves no trace.
pub async fn a_late_holder_moves_nothing<S: Store>(store: StoreUnderTest<S>) {
    let [asset, upstream] = assets(&*store).await;
    let run = running(&*store, 1).await;
    commit(
        &*store,
        &[
            claimed(run, asset, 0, 3, set([0, 1])),
            claimed(run, asset, 0, 7, set([0, 1])),
        ],
    )
    .await;
    let before = all_that_may_move(&*store, run, asset).await;
    for fence in [3, 6, 8] {
        let late = ChunkProgress {
            materialized: vec![made(run, asset, 0, 1)],
            inputs: vec![many((asset, (0, 0), 1), (upstream, (0, 9), 1))],
            skipped: set([1]),
            failed: vec![failure(asset, 1, 1, true)],
            outdated: vec![(upstream, set([0]))],
            state: ChunkState::Ended,
            ..progress(run, asset, 0, fence)
        };

        assert_eq!(refused(&*store, Record::ChunkProgress(late)).await, ErrorKind::Fenced);
    }
    assert_eq!(all_that_may_move(&*store, run, asset).await, before);
    assert_eq!(
        store
            .inputs_of(asset, 0, flowstone_core::Version(1))
            .await
            .expect("inputs"),
        []
    );
}

/// Once somebody else has taken the run, whoever drove it before claims and moves nothing, whatever chunk it holds.
pub async fn an_earlier_incarnation_moves_nothing<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = running(&*store, 1).await;
    let (first, second) = (Incarnation::NONE.next(), Incarnation::NONE.next().next());
    let (old, new) = (first.first_fence().0, second.first_fence().0);
    let making = |chunk, fence| {
        Record::ChunkProgress(ChunkProgress {
            materialized: vec![made(run, asset, chunk, 1)],
            ..progress(run, asset, chunk, fence)
        })
    };
    commit(
        &*store,
        &[
            taken(run, first),
            claimed(run, asset, 0, old, set([0])),
            taken(run, second),
        ],
    )
    .await;
    let before = all_that_may_move(&*store, run, asset).await;

    assert_eq!(refused(&*store, making(0, old)).await, ErrorKind::Fenced);
    let late = claimed(run, asset, 1, old + 1, set([1]));
    assert_eq!(refused(&*store, late).await, ErrorKind::Fenced);
    assert_eq!(all_that_may_move(&*store, run, asset).await, before);
    commit(
        &*store,
        &[
            claimed(run, asset, 0, new, set([0])),
            making(0, new),
            claimed(run, asset, 1, new + 1, set([1])),
            making(1, new + 1),
        ],
    )
    .await;
    assert_eq!(store.status(asset).await.expect("status").materialized(), set([0, 1]));
}

/// There is no progress without a claim.
pub async fn progress_needs_a_claim<S: Store>(store: StoreUnderTest<S>) {
    let [asset, other] = assets(&*store).await;
    let run = running(&*store, 1).await;
    commit(&*store, &[claimed(run, asset, 0, 1, set([0]))]).await;

    for (asset, chunk) in [(asset, 1), (other, 0)] {
        let stray = Record::ChunkProgress(progress(run, asset, chunk, 1));
        assert_eq!(refused(&*store, stray).await, ErrorKind::Fenced);
    }
}

/// A chunk that is over is over, until somebody claims it again.
pub async fn an_ended_chunk_takes_no_progress<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = running(&*store, 1).await;
    let end = |fence| {
        Record::ChunkProgress(ChunkProgress {
            state: ChunkState::Ended,
            ..progress(run, asset, 0, fence)
        })
    };
    commit(&*store, &[claimed(run, asset, 0, 1, set([0])), end(1)]).await;

    assert_eq!(refused(&*store, end(1)).await, ErrorKind::Fenced);
    commit(&*store, &[claimed(run, asset, 0, 2, set([0])), end(2)]).await;
    assert_eq!(only_chunk(&*store, run).await.state, ChunkState::Ended);
}

/// What a chunk's steps came to is the sum of its reports, whoever held it.
pub async fn progress_adds_up<S: Store>(store: StoreUnderTest<S>) {
    let [asset] = assets(&*store).await;
    let run = running(&*store, 1).await;
    let first = ChunkProgress {
        materialized: vec![made(run, asset, 0, 1), made(run, asset, 4, 1)],
        skipped: set([1]),
        ..progress(run, asset, 0, 1)
    };
    let second = ChunkProgress {
        materialized: vec![made(run, asset, 2, 1)],
        skipped: set([5]),
        unchanged: set([3]),
        state: ChunkState::Ended,
        ..progress(run, asset, 0, 2)
    };

    commit(
        &*store,
        &[claimed(run, asset, 0, 1, set(0..6)), Record::ChunkProgress(first)],
    )
    .await;
    commit(
        &*store,
        &[claimed(run, asset, 0, 2, set(0..6)), Record::ChunkProgress(second)],
    )
    .await;

    let row = only_chunk(&*store, run).await;
    assert_eq!(
        (row.succeeded, row.unchanged, row.skipped),
        (set([0, 2, 4]), set([3]), set([1, 5]))
    );
    assert_eq!(row.state, ChunkState::Ended);
}

/// The chunks of one run, and of no other.
pub async fn chunks_are_listed_by_asset_and_number<S: Store>(store: StoreUnderTest<S>) {
    let [first, second] = assets(&*store).await;
    let (run, other) = (running(&*store, 1).await, running(&*store, 2).await);
    for (run, asset, chunk) in [(run, second, 0), (run, first, 10), (other, first, 0), (run, first, 9)] {
        commit(&*store, &[claimed(run, asset, chunk, 1, set([chunk]))]).await;
    }

    let rows = store.chunks(run).await.expect("chunks");

    let places: Vec<_> = rows.iter().map(|row| (row.claim.asset, row.claim.chunk.0)).collect();
    assert_eq!(places, [(first, 9), (first, 10), (second, 0)]);
    assert!(
        rows.iter()
            .all(|row| row.claim.run == run && row.claim.steps == set([row.claim.chunk.0]))
    );
}

async fn only_chunk(store: &impl Store, run: RunId) -> ChunkRow {
    let mut rows = store.chunks(run).await.expect("chunks");
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

async fn all_that_may_move(
    store: &impl Store,
    run: RunId,
    asset: AssetId,
) -> (Vec<ChunkRow>, AssetStatus, usize, usize) {
    (
        store.chunks(run).await.expect("chunks"),
        store.status(asset).await.expect("a status"),
        store.failures(run).await.expect("failures").len(),
        store.events(0, 1000).await.expect("events").len(),
    )
}
