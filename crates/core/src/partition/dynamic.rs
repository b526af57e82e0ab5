//! A space of named partitions that is kept in the store and grows while everything runs.
//!
//! Keys are added behind the others and never leave: a key that is retired keeps its index, its heads and its lineage,
//! and is not planned any more. The store has the truth; this is what a process knows of it. What a plan saw of it is a
//! [`SetSnapshot`], so that a plan stays as it is whatever is added or retired later.

mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::table::{KeyTable, Place};
use super::key::PartitionKey;
use super::set::PartitionSet;
use super::static_space::{label, similar};
use crate::{Error, ErrorKind, Result};

/// The most keys that a set may ever have.
pub const DYNAMIC_LEN_MAX: u64 = 1 << 32;
/// The most keys that are added or retired at once.
pub const KEYS_PER_CALL_MAX: usize = 65_536;
/// The most bytes that keys which are added or retired at once may take.
pub const KEY_BYTES_PER_CALL_MAX: usize = 16 * 1024 * 1024;
/// The longest name of a set, in bytes.
const NAME_LEN_MAX: usize = 512;
/// The most characters of a key that a message shows.
const SHOWN_LEN_MAX: usize = 80;

/// A key of a dynamic set, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicKey {
    /// Its index, for ever.
    pub index: u64,
    /// The key.
    pub key: PartitionKey,
    /// When it was added.
    pub added_at: Timestamp,
    /// When it was retired, if it is.
    pub retired_at: Option<Timestamp>,
}

/// What was known of a dynamic set at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetSnapshot {
    /// The name of the set.
    pub name: String,
    /// How many keys it had.
    pub len: u64,
    /// Those of them that were retired.
    pub retired: PartitionSet,
}

/// Named partitions that are added and retired while everything runs.
///
/// Copies share what is known of the keys. Spaces are equal if their sets are called the same: a set that grew is the same
/// set.
#[derive(Clone)]
pub struct DynamicSpace {
    name: Arc<str>,
    known: Arc<RwLock<Known>>,
    /// Set where the set is seen as it was.
    seen: Option<Arc<SetSnapshot>>,
}

#[derive(Default)]
struct Known {
    keys: KeyTable,
    /// When keys were added: the first index of each run of equal times.
    added: Vec<(u64, Timestamp)>,
    retired: BTreeMap<u64, Timestamp>,
    retired_set: PartitionSet,
}

impl DynamicSpace {
    /// The set called `name`, of which nothing is known yet; refuses a name that is empty or longer than 512 bytes.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        let refuse = |kind, message: String| {
            Err(Error::new(kind, message)
                .code("partition_set_name")
                .during("define")
                .about("dynamic partitions")
                .fix("give the set a short name, as `customers`"))
        };
        match name.len() {
            0 => refuse(ErrorKind::Invalid, "the set needs a name".to_owned()),
            1..=NAME_LEN_MAX => Ok(Self {
                name: name.into(),
                known: Arc::default(),
                seen: None,
            }),
            len => refuse(
                ErrorKind::LimitExceeded,
                format!("the name of a set has at most {NAME_LEN_MAX} bytes, this one has {len}"),
            ),
        }
    }

    /// The name, by which assets share the set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Refuses keys that break a limit, and more of them than may be added or retired at once. Stores ask this first.
    ///
    /// # Errors
    /// `LimitExceeded`, and what [`PartitionKey::check`] says.
    pub fn check_call(keys: &[PartitionKey]) -> Result<()> {
        let too_many = |message: String| {
            Error::new(ErrorKind::LimitExceeded, message)
                .code("partition_call_too_large")
                .fix("do it in several calls: each is kept, and adding a key again changes nothing")
        };
        if keys.len() > KEYS_PER_CALL_MAX {
            let message = format!("{} keys are more than {KEYS_PER_CALL_MAX} at once", keys.len());
            return Err(too_many(message));
        }
        let mut bytes = 0;
        for key in keys {
            key.check()?;
            bytes += key.encoded_len();
        }
        if bytes > KEY_BYTES_PER_CALL_MAX {
            let message = format!("the keys take {bytes} bytes, more than {KEY_BYTES_PER_CALL_MAX} at once");
            return Err(too_many(message));
        }
        Ok(())
    }

    /// Learns keys as the store has them, by index. Those that are known already may be retired or taken back; new ones
    /// must follow them.
    ///
    /// # Errors
    /// `Corrupt` when a key has another index than before, comes twice, or leaves a gap.
    pub fn learn(&self, rows: impl IntoIterator<Item = DynamicKey>) -> Result<()> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            let place = match row.index {
                0..DYNAMIC_LEN_MAX => known.keys.place(&row.key.encode(), row.index),
                _ => None,
            };
            let Some(place) = place else {
                let message = format!("its key {} does not belong at {}", self.show(&row.key), row.index);
                return Err(Error::new(ErrorKind::Corrupt, message)
                    .code("partition_set_corrupt")
                    .during("read the partitions of")
                    .about(&self.name));
            };
            let is_other_time = known.added.last().is_none_or(|(_, at)| *at != row.added_at);
            if place == Place::New && is_other_time {
                known.added.push((row.index, row.added_at));
            }
            known.mark(row.index, row.retired_at);
        }
        Ok(())
    }

    /// How many keys it has, retired ones included.
    pub fn len(&self) -> u64 {
        match &self.seen {
            Some(seen) => seen.len,
            None => self.known().keys.len(),
        }
    }

    /// True if it has no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those that are retired.
    pub fn retired(&self) -> PartitionSet {
        match &self.seen {
            Some(seen) => seen.retired.clone(),
            None => self.known().retired_set.clone(),
        }
    }

    /// Those that are not retired.
    pub fn existing(&self) -> PartitionSet {
        let snapshot = self.snapshot();
        PartitionSet::full(snapshot.len).difference(&snapshot.retired)
    }

    /// What is known of it now.
    pub fn snapshot(&self) -> SetSnapshot {
        if let Some(seen) = &self.seen {
            return SetSnapshot::clone(seen);
        }
        let known = self.known();
        SetSnapshot {
            name: self.name.as_ref().to_owned(),
            len: known.keys.len(),
            retired: known.retired_set.clone(),
        }
    }

    /// The same set as it was then: of the same length for ever, with the same keys retired.
    #[must_use]
    pub fn as_of(&self, snapshot: &SetSnapshot) -> Self {
        Self {
            seen: Some(Arc::new(snapshot.clone())),
            ..self.clone()
        }
    }

    /// The index of `key`, retired or not.
    pub fn index_of(&self, key: &PartitionKey) -> Result<u64> {
        self.find(key).ok_or_else(|| self.unknown(&label(key)))
    }

    /// The index of `key`, retired or not, if it was ever added.
    pub fn find(&self, key: &PartitionKey) -> Option<u64> {
        self.known().keys.find(&key.encode())
    }

    /// The key of an index, if there is one.
    pub fn key_of(&self, index: u64) -> Option<PartitionKey> {
        let known = self.known();
        let encoded = known.keys.get(index)?;
        Some(PartitionKey::decode(encoded).expect("keys are learned as they were encoded"))
    }

    /// A key with all that is known of it now.
    pub fn entry(&self, index: u64) -> Option<DynamicKey> {
        let key = self.key_of(index)?;
        let known = self.known();
        let run = known.added.partition_point(|(first, _)| *first <= index);
        Some(DynamicKey {
            index,
            key,
            added_at: known.added.get(run.checked_sub(1)?)?.1,
            retired_at: known.retired.get(&index).copied(),
        })
    }

    /// The index of a label or of canonical text.
    pub(super) fn parse(&self, text: &str) -> Result<u64> {
        let canonical = text.parse().ok().and_then(|key: PartitionKey| self.find(&key));
        let found = canonical.or_else(|| self.find(&PartitionKey::from(text)));
        found.ok_or_else(|| self.unknown(text))
    }

    /// Refuses a retired partition.
    pub(super) fn refuse_retired(&self, index: u64) -> Result<()> {
        if !self.retired().contains(index) {
            return Ok(());
        }
        let name = self
            .key_of(index)
            .map_or_else(|| format!("#{index}"), |key| self.show(&key));
        let message = match self.known().retired.get(&index) {
            Some(at) => format!("it was retired at {at:.0}"),
            None => "it was retired when this was planned".to_owned(),
        };
        Err(Error::new(ErrorKind::Invalid, message)
            .code(RETIRED)
            .during("select")
            .about(&name)
            .fix(format!(
                "choose another one, or take it back: `partitions add {} {name}`",
                self.name
            )))
    }

    /// What is said of a key that the set does not have.
    fn unknown(&self, text: &str) -> Error {
        let message = match self.len() {
            0 => format!("the set {} has no partitions yet", self.name),
            1 => format!("the set {} has one partition, and not this one", self.name),
            len => format!("the set {} has {len} partitions, and not this one", self.name),
        };
        let len = self.known().keys.len();
        let labels = (0..len).map_while(|index| self.key_of(index)).map(|key| label(&key));
        let mend = format!("add it: `partitions add {}`", self.name);
        let fix = match similar(labels, text) {
            Some(near) => format!("did you mean {near}? Else {mend}"),
            None => mend,
        };
        Error::new(ErrorKind::NotFound, message)
            .code("partition_unknown")
            .during("find partition")
            .about(format!("{:?}", text.chars().take(SHOWN_LEN_MAX).collect::<String>()))
            .fix(fix)
    }

    fn show(&self, key: &PartitionKey) -> String {
        label(key).chars().take(SHOWN_LEN_MAX).collect()
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The code of what is said of a retired partition.
pub(super) const RETIRED: &str = "partition_retired";

impl Known {
    fn mark(&mut self, index: u64, retired_at: Option<Timestamp>) {
        match retired_at {
            Some(at) => {
                self.retired.insert(index, at);
                self.retired_set.insert(index);
            }
            None if self.retired.remove(&index).is_some() => {
                self.retired_set.remove(index);
            }
            None => {}
        }
    }
}

impl PartialEq for DynamicSpace {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for DynamicSpace {}

impl fmt::Debug for DynamicSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSpace")
            .field("name", &self.name)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
