//! A store that does to some records what the test says.

use std::sync::Arc;

use async_trait::async_trait;
use flowstone_core::memory::MemoryStore;
use flowstone_core::store::{Record, RefusedRuns, Store};
use flowstone_core::{Error, ErrorKind, Result};
use flowstone_testkit::around::{AroundCommit, StoreAround};
use tokio::sync::watch;

/// What becomes of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Taken,
    /// It is refused, and with it what follows of its run in the group.
    Refused,
    /// Its group waits until the store is released, and then it is refused.
    HeldAndRefused,
    /// Its group fails, in this way.
    Fails(ErrorKind),
    /// Its group is stored, and the answer is lost.
    AnswerLost,
    /// Its group waits until the store is released.
    Held,
}

type Decision = Box<dyn Fn(&Record) -> Fate + Send + Sync>;

/// Decides what becomes of records.
pub(crate) struct Doctor {
    fate: Decision,
    is_released: watch::Sender<bool>,
    is_holding: watch::Sender<bool>,
}

pub(crate) type Doctored = StoreAround<Doctor>;

pub(crate) fn doctored(fate: impl Fn(&Record) -> Fate + Send + Sync + 'static) -> Arc<Doctored> {
    doctored_on(Arc::new(MemoryStore::default()), fate)
}

pub(crate) fn doctored_on(
    store: Arc<MemoryStore>,
    fate: impl Fn(&Record) -> Fate + Send + Sync + 'static,
) -> Arc<Doctored> {
    let doctor = Doctor {
        fate: Box::new(fate),
        is_released: watch::Sender::new(false),
        is_holding: watch::Sender::new(false),
    };
    Arc::new(StoreAround::new(store, doctor))
}

impl Doctor {
    /// Waits until a group is held.
    pub(crate) async fn holds(&self) {
        self.is_holding.subscribe().wait_for(|holds| *holds).await.unwrap();
    }

    pub(crate) fn release(&self) {
        self.is_released.send_replace(true);
    }
}

pub(crate) fn is_progress(record: &Record) -> bool {
    matches!(record, Record::ChunkProgress(_))
}

pub(crate) fn is_claim(record: &Record) -> bool {
    matches!(record, Record::ChunkClaimed(_))
}

#[async_trait]
impl AroundCommit for Doctor {
    async fn commit(&self, store: &dyn Store, records: &[Record]) -> Result<Vec<Result<()>>> {
        let fates: Vec<_> = records.iter().map(&self.fate).collect();
        if fates
            .iter()
            .any(|fate| matches!(fate, Fate::Held | Fate::HeldAndRefused))
        {
            self.is_holding.send_replace(true);
            self.is_released
                .subscribe()
                .wait_for(|released| *released)
                .await
                .unwrap();
        }
        for fate in &fates {
            if *fate == Fate::AnswerLost {
                drop(store.commit(records).await);
                return Err(Error::new(ErrorKind::Unavailable, "the answer is lost"));
            }
            if let Fate::Fails(kind) = fate {
                return Err(Error::new(*kind, "the disk is on fire"));
            }
        }
        let mut refused = RefusedRuns::default();
        let mut verdicts = Vec::new();
        for (record, fate) in records.iter().zip(fates) {
            let own = match fate {
                Fate::Refused | Fate::HeldAndRefused => Err(Error::new(ErrorKind::Conflict, "it was refused")),
                _ => Ok(()),
            };
            let verdict = match refused.judge(record, || own) {
                Ok(()) => store.commit(std::slice::from_ref(record)).await?.remove(0),
                refused => refused,
            };
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }
}
