//! A mapping that is a function of the author's: which upstream keys a key reads.
//!
//! The function is asked once for each partition, when the mapping is bound to its spaces; both directions are looked up
//! in what it said, so they cannot disagree, and whatever is wrong with it is found before anything is planned. What
//! binding to the same spaces gave is remembered.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use super::bind::place_of;
use super::bound::Pairs;
use super::key::PartitionKey;
use super::space::PartitionSpace;
use crate::{Error, ErrorKind, Result};

/// How many partitions a custom mapping may be asked for.
pub const CUSTOM_LEN_MAX: u64 = 1 << 20;

/// Of so many partitions a definition is looked at, and each is asked for twice.
pub(super) const SAMPLE_LEN: u64 = 512;

/// Which upstream keys a key reads, as a function of the author's; see [`Mapping::custom`](super::Mapping::custom).
#[derive(Clone)]
pub struct CustomMapping {
    name: String,
    version: String,
    reads: Arc<Reads>,
    last: Arc<Mutex<Option<Asked>>>,
}

type Reads = dyn Fn(&PartitionKey) -> Vec<PartitionKey> + Send + Sync;

/// What the function said between two spaces.
type Asked = (Ends, Arc<Pairs>);

/// The spaces that a mapping was bound to, and how long they were.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ends {
    down: PartitionSpace,
    up: PartitionSpace,
    lens: (u64, u64),
}

impl CustomMapping {
    pub(super) fn new<K: IntoIterator<Item = PartitionKey>>(
        name: impl Into<String>,
        version: impl Into<String>,
        reads: impl Fn(&PartitionKey) -> K + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            reads: Arc::new(move |key| reads(key).into_iter().collect()),
            last: Arc::default(),
        }
    }

    /// The name that was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version that was given.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The upstream keys that `key` reads, whether there are such partitions or not.
    ///
    /// # Errors
    /// `Panicked` when the function does.
    pub fn reads(&self, key: &PartitionKey) -> Result<Vec<PartitionKey>> {
        catch_unwind(AssertUnwindSafe(|| (self.reads)(key))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied());
            Error::new(
                ErrorKind::Panicked,
                format!("its function panicked at {key}: {}", text.unwrap_or("without text")),
            )
            .code("partition_mapping_panicked")
            .fix("give an empty list for a key that reads nothing")
        })
    }

    /// Who reads whom between spaces of these lengths.
    pub(super) fn pairs(&self, down: &PartitionSpace, up: &PartitionSpace, lens: (u64, u64)) -> Result<Arc<Pairs>> {
        if lens.0 > CUSTOM_LEN_MAX {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!(
                    "its function is asked for each of {} partitions, {CUSTOM_LEN_MAX} are the most",
                    lens.0
                ),
            )
            .code("partition_mapping_too_large")
            .fix("give a mapping that is arithmetic: Mapping::Window, Mapping::Offset, Mapping::Trailing"));
        }
        let ends = Ends {
            down: down.clone(),
            up: up.clone(),
            lens,
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pairs)) = last.as_ref().filter(|(known, _)| *known == ends) {
            return Ok(Arc::clone(pairs));
        }
        let pairs = Arc::new(self.ask(down, up, lens)?);
        *last = Some((ends, Arc::clone(&pairs)));
        Ok(pairs)
    }

    fn ask(&self, down: &PartitionSpace, up: &PartitionSpace, lens: (u64, u64)) -> Result<Pairs> {
        let mut pairs = Pairs::default();
        for reader in 0..lens.0 {
            let key = down.key_of(reader)?;
            for up_key in self.reads(&key)? {
                let read = place_of(&up_key, up).map_err(|error| out_of_space(&key, &up_key, &error))?;
                if let Some(read) = read.filter(|read| *read < lens.1) {
                    pairs.insert(reader, read);
                }
            }
        }
        Ok(pairs)
    }

    /// Refuses a function that does not always give one answer, as far as the first partitions of a definition tell.
    pub(super) fn check_sample(&self, down: &PartitionSpace, len: u64) -> Result<()> {
        for partition in 0..len {
            let key = down.key_of(partition)?;
            if self.reads(&key)? != self.reads(&key)? {
                return Err(
                    Error::new(ErrorKind::Invalid, format!("its function gave two answers for {key}"))
                        .code("partition_mapping_impure")
                        .fix("let the answer follow from the key alone, without clocks and counters"),
                );
            }
        }
        Ok(())
    }
}

fn out_of_space(key: &PartitionKey, up_key: &PartitionKey, error: &Error) -> Error {
    let why = error.message();
    Error::new(
        ErrorKind::OutOfRange,
        format!("its function lets {key} read {up_key}, which the upstream does not have: {why}"),
    )
    .code("partition_mapping_out_of_space")
    .fix("leave out keys that are no partitions of the upstream")
}

impl PartialEq for CustomMapping {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.version) == (&other.name, &other.version)
    }
}

impl Eq for CustomMapping {}

impl fmt::Debug for CustomMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomMapping")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
