//! Attempts, backoff, and panics.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowstone_core::asset::{Asset, AssetContext, Retry};
use flowstone_core::run::RunState;
use flowstone_core::{Error, ErrorKind};
use tokio::time::Instant;

use crate::support::{Count, all_of, engine, numbered, within};

#[tokio::test(start_paused = true)]
async fn a_passing_error_is_tried_again_until_there_are_no_attempts_left() {
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&attempts);
    let engine = engine([Asset::new("flaky")
        .retry(Retry::exponential(3))
        .run(move |context: AssetContext| {
            noting.lock().unwrap().push((context.attempt(), Instant::now()));
            async move { Err::<i64, _>(Error::transient(format!("try {}", context.attempt()))) }
        })])
    .await;

    let report = within(engine.run(all_of(&["flaky"]))).await.unwrap();

    assert_eq!((report.state, report.counts.failed), (RunState::Failed, 1));
    let attempts = attempts.lock().unwrap().clone();
    assert_eq!(
        attempts.iter().map(|(attempt, _)| *attempt).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    for (pair, ceiling) in attempts.windows(2).zip([30, 90]) {
        // Timers are a millisecond coarse.
        assert!(pair[1].1 - pair[0].1 <= Duration::from_secs(ceiling) + Duration::from_millis(2));
    }
    let failures = engine.store().failures(report.run).await.unwrap();
    let listed: Vec<_> = failures
        .iter()
        .map(|failure| (failure.attempt, failure.is_final))
        .collect();
    assert_eq!(listed, [(1, false), (2, false), (3, true)]);
    for failure in &failures {
        assert!(
            failure.error.message.contains(&format!("try {}", failure.attempt)),
            "{failure:?}"
        );
    }
    assert_eq!((report.failures.len(), report.failures[0].attempt), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_the_other_side_asked_for_is_kept() {
    let started = Instant::now();
    let engine = engine([Asset::new("limited").run(|context: AssetContext| async move {
        match context.attempt() {
            1 => Err(Error::rate_limited("slow down", Duration::from_secs(400))),
            attempt => Ok(attempt),
        }
    })])
    .await;

    let report = within(engine.run(all_of(&["limited"]))).await.unwrap();

    assert_eq!((report.state, report.counts.succeeded), (RunState::Succeeded, 1));
    assert!(started.elapsed() >= Duration::from_secs(400));
    assert_eq!(engine.load::<u32>("limited", "").await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn thousands_that_wait_for_another_attempt_cost_little() {
    let engine = engine([Asset::new("flaky")
        .partitions(numbered(3_000))
        .run(|context: AssetContext| async move {
            // A step of its own length, so that each is reported by itself and waits for a time of its own.
            tokio::time::sleep(Duration::from_millis(3)).await;
            match context.attempt() {
                1 => Err(Error::transient("not yet")),
                _ => Ok(()),
            }
        })])
    .await;

    let report = within(engine.run(all_of(&["flaky"]))).await.unwrap();

    assert_eq!((report.state, report.counts.succeeded), (RunState::Succeeded, 3_000));
}

#[tokio::test]
async fn an_error_that_nobody_called_passing_fails_at_once() {
    let tries = Count::default();
    let counting = tries.clone();
    let engine = engine([Asset::new("wrong").retry(Retry::exponential(5)).run(move || {
        counting.add();
        async { Err::<i64, _>(Error::permanent("it is wrong")) }
    })])
    .await;

    let report = within(engine.run(all_of(&["wrong"]))).await.unwrap();

    assert_eq!((report.counts.failed, tries.get()), (1, 1));
    assert_eq!(engine.store().failures(report.run).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_panic_fails_its_own_step_and_no_other() {
    let odd = |context: &AssetContext| context.partition_label().parse::<u32>().unwrap() % 2 == 1;
    let engine = engine([
        Asset::new("awaits")
            .partitions(numbered(20))
            .run(move |context: AssetContext| async move {
                assert!(!odd(&context), "odd one out");
                1_i64
            }),
        Asset::new("blocks")
            .partitions(numbered(20))
            .run_blocking(move |context: AssetContext| {
                assert!(!odd(&context), "odd one out");
                1_i64
            }),
        Asset::new("at_once").run(|| -> std::future::Ready<i64> { panic!("before it is even a future") }),
    ])
    .await;

    let report = within(engine.run(all_of(&["awaits", "blocks", "at_once"])))
        .await
        .unwrap();

    assert_eq!((report.counts.failed, report.counts.succeeded), (21, 20), "{report:?}");
    for failed in &report.failures {
        assert_eq!(failed.error.kind, ErrorKind::Panicked);
        assert!(
            failed.error.message.contains("odd one out") || failed.asset.as_str() == "at_once",
            "{failed:?}"
        );
    }
    assert_eq!(engine.load::<i64>("blocks", "18").await.unwrap(), 1);
}
