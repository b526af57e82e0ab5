//! The only writer to the store: commits whatever has gathered while the last commit ran.
//!
//! Senders queue records in order and go on; who needs to know that they are on disk asks for a receipt. While nobody
//! does, the ledger lets records gather for a moment, so that it need not be woken for each. When the store fails for
//! good, nothing more is committed, and everybody who waits is told.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flowstone_core::run::RunState;
use flowstone_core::store::{Record, Store};
use flowstone_core::{Error, ErrorClass, ErrorKind, ErrorRecord, Result};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{error, warn};

use crate::run_actor::RunMessage;

/// How many entries may wait; who queues more waits himself.
const QUEUE_LEN_MAX: usize = 1024;
/// How many entries go into one commit.
const GROUP_LEN_MAX: usize = 512;
/// How long records may gather while nobody waits for a receipt.
const GATHER: Duration = Duration::from_millis(1);
/// The waits between tries when the store fails in a way that may pass.
const STORE_RETRIES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// Whom to tell that an entry is on disk. The run's actor hears of every record that was refused.
pub(crate) enum Receipt {
    /// Nobody.
    None,
    /// Whoever waits at the other end.
    Once(oneshot::Sender<Result<()>>),
    /// The run's actor: its run is over.
    End(RunState),
    /// Both.
    EndAndOnce(RunState, oneshot::Sender<Result<()>>),
}

impl Receipt {
    fn is_awaited(&self) -> bool {
        !matches!(self, Self::None)
    }
}

/// The right to queue one entry, without waiting.
pub(crate) struct Permit<'a> {
    place: mpsc::Permit<'a, Entry>,
    /// True when the queue is filling up.
    is_pressing: bool,
    signals: &'a Signals,
}

/// What the two ends of the queue tell each other.
#[derive(Default)]
struct Signals {
    /// Somebody waits for what was queued.
    urgent: Notify,
    /// The next entry wakes the ledger.
    is_idle: AtomicBool,
}

impl Permit<'_> {
    /// Queues `entry` behind all that were sent before; true when that woke the ledger.
    pub(crate) fn send(self, entry: Entry) -> bool {
        let Signals { urgent, is_idle } = self.signals;
        let is_urgent = self.is_pressing || entry.receipt.is_awaited();
        self.place.send(entry);
        if is_urgent {
            urgent.notify_one();
        }
        is_urgent || is_idle.load(Ordering::Relaxed)
    }
}

/// Records that are committed together.
pub(crate) struct Entry {
    pub(crate) records: Vec<Record>,
    pub(crate) run: Option<ActorRef<RunMessage>>,
    pub(crate) receipt: Receipt,
}

/// The way to the ledger.
#[derive(Clone)]
pub(crate) struct LedgerHandle {
    queue: mpsc::Sender<Entry>,
    signals: Arc<Signals>,
    failure: watch::Receiver<Option<ErrorRecord>>,
}

impl LedgerHandle {
    /// Waits while the queue is full.
    pub(crate) async fn permit(&self) -> Result<Permit<'_>> {
        let place = self.queue.reserve().await.map_err(|_| self.closed())?;
        Ok(Permit {
            place,
            is_pressing: self.queue.capacity() < QUEUE_LEN_MAX / 2,
            signals: &self.signals,
        })
    }

    /// Commits `records` and waits until they are on disk.
    pub(crate) async fn commit(&self, records: Vec<Record>) -> Result<()> {
        let (sender, receipt) = oneshot::channel();
        self.permit().await?.send(Entry {
            records,
            run: None,
            receipt: Receipt::Once(sender),
        });
        receipt.await.map_err(|_| self.closed())?
    }

    /// Changes when the store fails for good.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<ErrorRecord>> {
        self.failure.clone()
    }

    /// Why nothing can be queued any more.
    pub(crate) fn closed(&self) -> Error {
        match &*self.failure.borrow() {
            Some(record) => record.clone().into_error(),
            None => Error::new(ErrorKind::Cancelled, "the engine has stopped").code("engine_stopped"),
        }
    }
}

/// The actor: owns the writing task, so that the tree of actors knows when it is gone.
pub(crate) struct Ledger;

/// The writing task, which ends with its actor.
pub(crate) struct LedgerState(JoinHandle<()>);

pub(crate) struct LedgerArguments {
    store: Arc<dyn Store>,
    queue: Queue,
    failure: watch::Sender<Option<ErrorRecord>>,
}

/// The ledger's end of the queue.
struct Queue {
    entries: mpsc::Receiver<Entry>,
    signals: Arc<Signals>,
}

impl Queue {
    /// Waits for entries; none when nobody can send any more.
    async fn wait(&mut self, group: &mut Vec<Entry>) {
        self.signals.is_idle.store(true, Ordering::Relaxed);
        self.entries.recv_many(group, GROUP_LEN_MAX).await;
        self.signals.is_idle.store(false, Ordering::Relaxed);
    }

    /// Lets entries gather until somebody waits for one, but not for long. None when there are none.
    async fn gather(&mut self, group: &mut Vec<Entry>) {
        tokio::select! {
            biased;
            () = self.signals.urgent.notified() => {}
            () = tokio::time::sleep(GATHER) => {}
        }
        while group.len() < GROUP_LEN_MAX
            && let Ok(entry) = self.entries.try_recv()
        {
            group.push(entry);
        }
    }
}

/// Makes the two ends of a ledger.
pub(crate) fn ledger(store: Arc<dyn Store>) -> (LedgerHandle, LedgerArguments) {
    let (sender, entries) = mpsc::channel(QUEUE_LEN_MAX);
    let (failure, health) = watch::channel(None);
    let signals = Arc::new(Signals::default());
    let queue = Queue {
        entries,
        signals: Arc::clone(&signals),
    };
    (
        LedgerHandle {
            queue: sender,
            signals,
            failure: health,
        },
        LedgerArguments { store, queue, failure },
    )
}

impl Actor for Ledger {
    type Msg = ();
    type State = LedgerState;
    type Arguments = LedgerArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        LedgerArguments { store, queue, failure }: LedgerArguments,
    ) -> Result<LedgerState, ActorProcessingErr> {
        let writer = tokio::spawn(async move {
            write(&*store, queue, &failure).await;
            myself.stop(None);
        });
        Ok(LedgerState(writer))
    }

    /// Whoever waits for this actor finds that the task does not hold the store any more.
    async fn post_stop(&self, _: ActorRef<()>, state: &mut LedgerState) -> Result<(), ActorProcessingErr> {
        state.0.abort();
        drop((&mut state.0).await);
        Ok(())
    }
}

impl Drop for LedgerState {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn write(store: &dyn Store, mut queue: Queue, failure: &watch::Sender<Option<ErrorRecord>>) {
    let mut group = Vec::with_capacity(GROUP_LEN_MAX);
    let mut records = Vec::new();
    let mut refused = RefusedActors::default();
    loop {
        queue.gather(&mut group).await;
        if group.is_empty() {
            queue.wait(&mut group).await;
        }
        if group.is_empty() {
            return;
        }
        refused.drop_late(&mut group);
        records.clear();
        let mut ends = Vec::with_capacity(group.len());
        for entry in &mut group {
            records.append(&mut entry.records);
            ends.push(records.len());
        }
        match commit(store, &records).await {
            Ok(verdicts) => {
                let mut verdicts = verdicts.into_iter();
                let mut start = 0;
                for (entry, end) in group.drain(..).zip(ends) {
                    let verdict = verdicts.by_ref().take(end - start).fold(Ok(()), Result::and);
                    start = end;
                    refused.note(&entry, &verdict);
                    tell(entry, verdict);
                }
            }
            Err(failed) => {
                error!(error = %failed, "the store failed; nothing more is committed");
                let record = failed.to_record();
                failure.send_replace(Some(record.clone()));
                queue.entries.close();
                for entry in group.drain(..) {
                    tell(entry, Err(record.clone().into_error()));
                }
                while let Some(entry) = queue.entries.recv().await {
                    tell(entry, Err(record.clone().into_error()));
                }
                return;
            }
        }
    }
}

/// The actors of runs of which a record was refused: what else they had queued rests on it and is dropped. The actor ends
/// when it hears of the refusal, and its run goes on with another from what is on disk.
#[derive(Default)]
struct RefusedActors(HashSet<ActorId>);

impl RefusedActors {
    fn note(&mut self, entry: &Entry, verdict: &Result<()>) {
        if let (Err(_), Some(run)) = (verdict, &entry.run) {
            self.0.insert(run.get_id());
        }
    }

    fn drop_late(&self, group: &mut Vec<Entry>) {
        if self.0.is_empty() {
            return;
        }
        let is_late = |entry: &mut Entry| entry.run.as_ref().is_some_and(|run| self.0.contains(&run.get_id()));
        for entry in group.extract_if(.., is_late) {
            let why = Error::new(ErrorKind::Fenced, "an earlier record of this run was refused").code("run_refused");
            tell(entry, Err(why));
        }
    }
}

async fn commit(store: &dyn Store, records: &[Record]) -> Result<Vec<Result<()>>> {
    for wait in STORE_RETRIES {
        match store.commit(records).await {
            Err(failed) if matches!(failed.retry(), ErrorClass::Infra | ErrorClass::Transient) => {
                warn!(error = %failed, "a commit failed and is tried again");
                tokio::time::sleep(wait).await;
            }
            verdicts => return verdicts,
        }
    }
    store.commit(records).await
}

fn tell(entry: Entry, verdict: Result<()>) {
    let refused = verdict.as_ref().err().map(|error| error.to_record().into_error());
    let ended = match entry.receipt {
        Receipt::None => None,
        Receipt::End(state) => Some(state),
        Receipt::Once(sender) => {
            drop(sender.send(verdict));
            None
        }
        Receipt::EndAndOnce(state, sender) => {
            drop(sender.send(verdict));
            Some(state)
        }
    };
    let Some(run) = entry.run else { return };
    if let Some(refused) = refused {
        drop(run.cast(RunMessage::Refused(refused)));
    } else if let Some(state) = ended {
        drop(run.cast(RunMessage::Ended(state)));
    }
}
