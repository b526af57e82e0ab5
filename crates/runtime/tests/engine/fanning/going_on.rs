//! Fan-outs that are stopped, changed, or tried again.

use super::*;

#[tokio::test]
async fn only_what_did_not_succeed_is_redriven() {
    let runs: Arc<Mutex<BTreeMap<u64, u32>>> = Arc::default();
    let is_mended = Arc::new(AtomicU32::new(0));
    let (counted, mended) = (Arc::clone(&runs), Arc::clone(&is_mended));
    let numbers = Numbers::new(3_000, move |number, _| {
        *counted.lock().unwrap().entry(number).or_default() += 1;
        let is_mended = mended.load(Ordering::Relaxed) > 0;
        async move {
            match number % 1_000 {
                7 if !is_mended => Err(Error::permanent("broken")),
                _ => Ok(Outcome::Value(number)),
            }
        }
    });
    let numbers = numbers.with(|options| options.failure = FailurePolicy::tolerate_count(3));
    let store = Arc::new(MemoryStore::default());
    let engine = engine_on(Arc::clone(&store) as _, 2, [numbers.asset()]).await;
    let first = engine.run(sum_of_all()).await.unwrap();
    let row = fan_outs(&store, first.run).await.pop().unwrap();
    assert_eq!(row.state, BarrierState::Partial);
    is_mended.store(1, Ordering::Relaxed);

    let second = engine.redrive_fan_out(row.fan_out).await.unwrap().wait().await.unwrap();

    assert_eq!(second.state, RunState::Succeeded, "{second:?}");
    assert_eq!(value(&engine).await, (sum_to(3_000), 0, vec![]));
    let again = fan_outs(&store, second.run).await.pop().unwrap();
    assert_eq!(
        (again.fan_out, again.epoch, again.state),
        (row.fan_out, 2, BarrierState::Complete)
    );
    let nothing_left = engine.redrive_fan_out(row.fan_out).await.unwrap_err();
    assert_eq!(nothing_left.kind(), ErrorKind::Conflict);
    let runs = runs.lock().unwrap();
    assert!(
        runs.iter()
            .all(|(number, runs)| *runs == if number % 1_000 == 7 { 2 } else { 1 })
    );
}

#[tokio::test]
async fn a_failed_run_is_redriven_from_its_items() {
    let is_mended = Arc::new(AtomicU32::new(0));
    let (ran, mended) = (Arc::new(AtomicU32::new(0)), Arc::clone(&is_mended));
    let counted = Arc::clone(&ran);
    let numbers = Numbers::new(500, move |number, _| {
        let is_mended = mended.load(Ordering::Relaxed) > 0;
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            match number {
                450 if !is_mended => Err(Error::permanent("broken")),
                _ => Ok(Outcome::Value(number)),
            }
        }
    });
    let engine = engine([numbers.asset()]).await;
    let first = engine.run(sum_of_all()).await.unwrap();
    assert_eq!(first.state, RunState::Failed);
    let before = ran.swap(0, Ordering::Relaxed);
    is_mended.store(1, Ordering::Relaxed);

    let second = engine.redrive(first.run).await.unwrap().wait().await.unwrap();

    assert_eq!(second.state, RunState::Succeeded, "{second:?}");
    assert_eq!(value(&engine).await, (sum_to(500), 0, vec![]));
    assert!(
        before > 100 && ran.load(Ordering::Relaxed) < 400,
        "{before} ran at first"
    );
}

/// A hundred numbers of which one fails until it is mended.
fn mended_later() -> (Numbers, Arc<AtomicU32>) {
    let is_mended = Arc::new(AtomicU32::new(0));
    let mended = Arc::clone(&is_mended);
    let numbers = Numbers::new(100, move |number, _| {
        let is_mended = mended.load(Ordering::Relaxed) > 0;
        async move {
            match number {
                99 if !is_mended => Err(Error::permanent("broken")),
                _ => Ok(Outcome::Value(number)),
            }
        }
    });
    (numbers, is_mended)
}

/// A redrive of the run succeeds with the fan-out of the first one, which was opened so often then.
async fn succeeds(engine: &Engine, of: RunId, epoch: u32) {
    let last = engine.redrive(of).await.unwrap().wait().await.unwrap();

    assert_eq!(last.state, RunState::Succeeded, "{last:?}");
    assert_eq!(value(engine).await, (sum_to(100), 0, vec![]));
    let assets = engine.store().assets().await.unwrap();
    let sum = assets.iter().find(|asset| asset.key.as_str() == "sum").unwrap();
    let all = engine.store().fan_outs(FanOutFilter::OfStep(sum.id, 0)).await.unwrap();
    let epochs: Vec<u32> = all.iter().map(|row| row.epoch).collect();
    assert_eq!(epochs, [epoch]);
}

#[tokio::test]
async fn a_run_that_is_redriven_twice_goes_on_with_its_items() {
    let (numbers, is_mended) = mended_later();
    let engine = engine([numbers.asset()]).await;
    let first = engine.run(sum_of_all()).await.unwrap();
    let second = engine.redrive(first.run).await.unwrap().wait().await.unwrap();
    assert_eq!((first.state, second.state), (RunState::Failed, RunState::Failed));
    is_mended.store(1, Ordering::Relaxed);

    succeeds(&engine, first.run, 3).await;
}

#[tokio::test]
async fn a_redrive_that_came_to_nothing_is_redriven_from_the_items_of_the_first_run() {
    let ((numbers, is_mended), gate) = (mended_later(), Gate::new());
    let waits = gate.clone();
    let held = Asset::new("held").run(move || {
        let waits = waits.clone();
        async move { waits.pass().await }
    });
    let engine = engine_on(Arc::new(MemoryStore::default()), 1, [numbers.asset(), held]).await;
    let first = engine.run(sum_of_all()).await.unwrap();
    // The only worker is busy, so the redrive ends before it has begun.
    let busy = engine.submit(all_of(&["held"])).await.unwrap();
    gate.arrived().await;
    let second = engine.redrive(first.run).await.unwrap();
    second.cancel().await.unwrap();
    assert_eq!(second.wait().await.unwrap().state, RunState::Cancelled);
    gate.let_through(1);
    busy.wait().await.unwrap();
    is_mended.store(1, Ordering::Relaxed);

    succeeds(&engine, second.run_id(), 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_starts_no_more_items() {
    let started = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&started);
    let numbers = Numbers::new(1_000, move |number, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(Outcome::Value(number))
        }
    });
    let store = Arc::new(MemoryStore::default());
    let engine = engine_on(Arc::clone(&store) as _, 2, [numbers.asset()]).await;
    let run = engine.submit(sum_of_all()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;

    run.cancel().await.unwrap();

    let before = started.load(Ordering::Relaxed);
    let report = run.wait().await.unwrap();
    assert_eq!(report.state, RunState::Cancelled);
    assert_eq!(started.load(Ordering::Relaxed), before);
    let row = fan_outs(&store, report.run).await.pop().unwrap();
    assert_eq!(row.state, BarrierState::Cancelled);
    assert!(row.counts.adds_up() && row.counts.cancelled > 0, "{:?}", row.counts);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stops_leaves_a_fan_out_that_goes_on_in_the_next() {
    let runs: Arc<Mutex<BTreeMap<u64, u32>>> = Arc::default();
    let numbers = |delay: u64| {
        let counted = Arc::clone(&runs);
        Numbers::new(5_000, move |number, _| {
            *counted.lock().unwrap().entry(number).or_default() += 1;
            async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                Ok(Outcome::Value(number))
            }
        })
    };
    let store = Arc::new(MemoryStore::default());
    let kept = Kept::default();
    let open = |delay| engine_with(Arc::clone(&store), kept.clone(), numbers(delay));
    let first = open(100).await;
    let run = first.submit(sum_of_all()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    first.shutdown().await.unwrap();
    let row = fan_outs(&store, run.run_id()).await.pop().unwrap();
    assert!(!row.state.is_terminal(), "{row:?}");
    assert!(row.counts.succeeded > 500, "{row:?}");

    let second = open(0).await;
    let report = second.recovered()[0].wait().await.unwrap();

    assert_eq!(report.state, RunState::Succeeded, "{report:?}");
    assert_eq!(value(&second).await.0, sum_to(5_000));
    let runs = runs.lock().unwrap();
    let twice = runs.values().filter(|runs| **runs > 1).count();
    assert!(twice <= 64, "{twice} ran twice");
}

#[tokio::test(start_paused = true)]
async fn a_paused_run_reads_and_starts_no_items_until_it_goes_on() {
    let started = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&started);
    let numbers = Numbers::new(2_000, move |number, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(Outcome::Value(number))
        }
    });
    let engine = engine([numbers.asset()]).await;
    let run = engine.submit(sum_of_all()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(350)).await;
    run.pause().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = started.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(started.load(Ordering::Relaxed), before);

    run.resume().await.unwrap();

    assert_eq!(run.wait().await.unwrap().state, RunState::Succeeded);
    assert_eq!(value(&engine).await.0, sum_to(2_000));
}

#[tokio::test(start_paused = true)]
async fn options_change_while_it_runs() {
    let numbers = Numbers::new(1_000, |number, _| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(Outcome::Value(number))
    });
    let numbers = numbers.with(|options| options.max_concurrent = NonZeroU32::MIN);
    let store = Arc::new(MemoryStore::default());
    let engine = engine_on(Arc::clone(&store) as _, 2, [numbers.asset()]).await;
    let begun = tokio::time::Instant::now();
    let run = engine.submit(sum_of_all()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let row = fan_outs(&store, run.run_id()).await.pop().unwrap();

    let change = OptionsChange {
        max_concurrent: NonZeroU32::new(500),
        ..OptionsChange::default()
    };
    engine.change_fan_out(row.fan_out, change).await.unwrap();

    assert_eq!(run.wait().await.unwrap().state, RunState::Succeeded);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let row = fan_outs(&store, run.run_id()).await.pop().unwrap();
    assert_eq!(row.options.max_concurrent.get(), 500);
}

#[tokio::test]
async fn no_more_items_are_taken_than_may_and_a_redrive_with_more_reads_on() {
    for max in [0, 1, 999, 1_000, 1_500] {
        let store = Arc::new(MemoryStore::default());
        let kept = Kept::default();
        let open = |items_max: u64| {
            let numbers = Numbers::plain(2_000).with(|options| options.items_max = Some(items_max));
            engine_with(Arc::clone(&store), kept.clone(), numbers)
        };
        let engine = open(max).await;
        let first = engine.run(sum_of_all()).await.unwrap();
        assert_eq!(value(&engine).await.0, sum_to(max), "{max}");
        engine.shutdown().await.unwrap();
        let row = fan_outs(&store, first.run).await.pop().unwrap();

        let engine = open(1_800).await;
        let again = engine.redrive_fan_out(row.fan_out).await.unwrap();

        assert_eq!(again.wait().await.unwrap().state, RunState::Succeeded);
        assert_eq!(value(&engine).await.0, sum_to(1_800), "{max}, then more");
    }
}
