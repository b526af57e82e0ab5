//! The conformance suite of [`LineageSink`]: one test for each promise, adopted with [`sink_conformance!`].
//!
//! [`sink_conformance!`]: crate::sink_conformance

use std::fmt;
use std::sync::Arc;
use std::task::Poll;

use flowstone_core::io::{Address, Stored};
use flowstone_core::lineage::{LineageCommit, LineageSink};
use flowstone_core::store::{LineageInput, Materialization};
use flowstone_core::{AssetId, BoxFuture, CodeVersion, DataVersion, RunId, Version};
use jiff::Timestamp;
use uuid::Uuid;

/// A materialization that a sink has kept: asset, partition, version.
pub type Kept = (AssetId, u64, Version);

type Look = Box<dyn Fn() -> BoxFuture<'static, Vec<Kept>> + Send + Sync>;

/// A sink, and the way to look at what it has kept.
pub struct SinkUnderTest {
    sink: Arc<dyn LineageSink>,
    look: Look,
}

impl SinkUnderTest {
    /// Tests `sink`; `look` gives everything that it has kept so far, each thing as often as it is kept.
    pub fn new(
        sink: Arc<dyn LineageSink>,
        look: impl Fn() -> BoxFuture<'static, Vec<Kept>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            sink,
            look: Box::new(look),
        }
    }

    async fn receive(&self, commit: &LineageCommit) {
        self.sink.receive(commit).await.expect("it is received");
    }

    /// What is kept, in order.
    async fn kept(&self) -> Vec<Kept> {
        let mut kept = (self.look)().await;
        kept.sort_unstable();
        kept
    }
}

impl fmt::Debug for SinkUnderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkUnderTest").finish_non_exhaustive()
    }
}

/// `partitions` of an asset, each made from its counterpart of the asset before it.
fn commit(asset: u32, partitions: std::ops::Range<u64>, version: u64) -> LineageCommit {
    let at = Timestamp::constant(1_704_067_200, 0);
    let (id, version) = (AssetId(asset), Version(version));
    let made = |partition| Materialization {
        asset: id,
        partition,
        version,
        run: RunId(Uuid::from_u128(7)),
        stored: Stored {
            address: Address::Location(format!("{asset}/{partition}/{version}").into()),
            data_version: DataVersion(u128::from(partition) + 1),
            bytes: 9,
            rows: Some(3),
            manifest: None,
        },
        code_version: CodeVersion(1),
        attempt: 1,
        started_at: at,
        ended_at: at,
    };
    let interval = (partitions.start, partitions.end.saturating_sub(1));
    let input = LineageInput {
        asset: id,
        partitions: interval,
        version,
        upstream: AssetId(asset.saturating_sub(1)),
        from: interval,
        one_to_one: true,
        upstream_version: Version(1),
    };
    LineageCommit {
        inputs: if partitions.is_empty() { Vec::new() } else { vec![input] },
        materialized: partitions.map(made).collect(),
    }
}

fn of(commits: &[&LineageCommit]) -> Vec<Kept> {
    let all = commits.iter().flat_map(|commit| &commit.materialized);
    let mut kept: Vec<Kept> = all.map(|made| (made.asset, made.partition, made.version)).collect();
    kept.sort_unstable();
    kept
}

/// What is received is kept, all of it.
pub async fn what_is_received_is_kept(sink: SinkUnderTest) {
    let (first, second) = (commit(1, 0..3, 1), commit(2, 5..6, 1));

    sink.receive(&first).await;
    sink.receive(&second).await;

    assert_eq!(sink.kept().await, of(&[&first, &second]));
}

/// After a crash the last commits come again, some of them, in their order: they are kept once.
pub async fn a_commit_received_twice_is_kept_once(sink: SinkUnderTest) {
    let commits: Vec<LineageCommit> = (0..4).map(|number| commit(1, number * 2..number * 2 + 2, 1)).collect();
    for commit in &commits {
        sink.receive(commit).await;
    }

    for commit in &commits[2..] {
        sink.receive(commit).await;
    }

    assert_eq!(sink.kept().await, of(&commits.iter().collect::<Vec<_>>()));
}

/// A later version is kept beside the earlier one.
pub async fn versions_are_kept_side_by_side(sink: SinkUnderTest) {
    let (first, second) = (commit(1, 0..2, 1), commit(1, 0..2, 2));

    sink.receive(&first).await;
    sink.receive(&second).await;
    sink.receive(&first).await;

    assert_eq!(sink.kept().await, of(&[&first, &second]));
}

/// A commit that made nothing is nothing.
pub async fn an_empty_commit_is_nothing(sink: SinkUnderTest) {
    sink.receive(&commit(1, 0..0, 1)).await;

    assert_eq!(sink.kept().await, []);
}

/// Large commits and the largest ids are like any other.
pub async fn large_commits_and_ids_are_kept(sink: SinkUnderTest) {
    let large = commit(1, 0..2_000, 1);
    let last = commit(u32::MAX, u64::MAX - 1..u64::MAX, u64::MAX);

    sink.receive(&large).await;
    sink.receive(&last).await;

    assert_eq!(sink.kept().await, of(&[&large, &last]));
}

/// A receive that is given up half-way does no harm: the commit comes again.
pub async fn a_dropped_receive_does_no_harm(sink: SinkUnderTest) {
    let commit = commit(1, 0..3, 1);
    for polls in 0..4 {
        let mut receiving = sink.sink.receive(&commit);
        for _ in 0..polls {
            let is_done = futures::future::poll_fn(|cx| Poll::Ready(receiving.as_mut().poll(cx).is_ready())).await;
            if is_done {
                break;
            }
            tokio::task::yield_now().await;
        }
    }

    sink.receive(&commit).await;

    assert_eq!(sink.kept().await, of(&[&commit]));
}

/// Writes one test for each promise of [`LineageSink`](flowstone_core::lineage::LineageSink).
///
/// Takes an expression that makes a [`SinkUnderTest`](crate::sink::SinkUnderTest) over an empty sink; it may await, and
/// is evaluated for each test.
#[macro_export]
macro_rules! sink_conformance {
    ($make:expr) => {
        $crate::sink_conformance! { @tests $make;
            a_commit_received_twice_is_kept_once
            a_dropped_receive_does_no_harm
            an_empty_commit_is_nothing
            large_commits_and_ids_are_kept
            versions_are_kept_side_by_side
            what_is_received_is_kept
        }
    };
    (@tests $make:expr; $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::run(async { $crate::sink::$name($make).await });
            }
        )*
    };
}
