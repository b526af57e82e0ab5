//! Whose items go first.

use std::sync::Arc;
use std::time::Duration;

use flowstone::RunHandle;
use flowstone::fan_out::ItemOrder;
use flowstone::prelude::*;
use tokio::sync::Semaphore;

use crate::support::{Notes, World};

/// Where something arrives, and waits until it is let through.
#[derive(Clone)]
struct Gate(Arc<(Semaphore, Semaphore)>);

impl Gate {
    fn new() -> Self {
        Self(Arc::new((Semaphore::new(0), Semaphore::new(0))))
    }

    async fn pass(&self) {
        self.0.0.add_permits(1);
        self.0.1.acquire().await.expect("nobody closes it").forget();
    }

    async fn arrived(&self, count: u32) {
        self.0.0.acquire_many(count).await.expect("nobody closes it").forget();
    }

    fn let_through(&self, count: usize) {
        self.0.1.add_permits(count);
    }
}

/// Three items of `name`, known once they are let through.
fn three(name: &'static str, (priority, order): (i32, ItemOrder), known: &Gate, notes: &Notes) -> Asset {
    let (known, notes) = (known.clone(), notes.clone());
    let items = move || {
        let known = known.clone();
        async move {
            known.pass().await;
            vec![0_u64, 1, 2]
        }
    };
    Scatter::items((), items)
        .priority(priority)
        .order(order)
        .each((), move |number: Item<u64>| {
            notes.add(&name);
            async move { number.into_inner() }
        })
        .asset(name)
}

/// Keeps a worker until it is let go.
fn busy(name: &str, gate: &Gate) -> Asset {
    let gate = gate.clone();
    Asset::new(name).run(move || {
        let gate = gate.clone();
        async move { gate.pass().await }
    })
}

fn of(assets: [&str; 2]) -> RunRequest {
    RunRequest {
        assets: assets.map(|name| name.parse().expect("it is a name")).into(),
        ..RunRequest::default()
    }
}

async fn until_known(run: &RunHandle, items: u64) {
    while run.items().is_none_or(|known| known.counts.total < items) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The order in which one worker comes to the items of two scatters that are known by then, the first of them opened first.
async fn served(first: (i32, ItemOrder), second: (i32, ItemOrder)) -> Result<String> {
    let notes = Notes::default();
    let [first_known, second_known, workers] = [Gate::new(), Gate::new(), Gate::new()];
    let world = World::new([
        three("first", first, &first_known, &notes),
        three("second", second, &second_known, &notes),
        busy("one", &workers),
        busy("other", &workers),
    ])
    .await?;
    let run = world.engine.submit(of(["first", "second"])).await?;
    first_known.arrived(1).await;
    second_known.arrived(1).await;
    let keeps_both_workers = world.engine.submit(of(["one", "other"])).await?;
    workers.arrived(2).await;
    first_known.let_through(1);
    until_known(&run, 3).await;
    second_known.let_through(1);
    until_known(&run, 6).await;

    workers.let_through(1);
    while notes.count() < 6 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    workers.let_through(1);
    keeps_both_workers.wait().await?;
    run.wait().await?;
    Ok(notes.take().join(" "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priority_goes_before_order_and_order_before_age() -> Result<()> {
    use ItemOrder::{Breadth, Depth};
    let (first, second) = (
        "first first first second second second",
        "second second second first first first",
    );
    for (one, other, expected) in [
        ((0, Breadth), (0, Breadth), first),
        ((0, Breadth), (1, Breadth), second),
        ((0, Depth), (0, Depth), second),
        ((1, Depth), (0, Depth), first),
        ((0, Breadth), (0, Depth), second),
    ] {
        let served = tokio::time::timeout(Duration::from_secs(60), served(one, other)).await;
        assert_eq!(served.expect("it hangs")?, expected, "{one:?} {other:?}");
    }
    Ok(())
}
