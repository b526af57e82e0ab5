//! The durable stores of Flowstone: implementations of [`Store`](flowstone_core::store::Store) that survive power loss.
//!
//! A store decides nothing about runs. It keeps what the runtime commits, whole or not at all, and refuses what breaks
//! the rules that the trait states. With the feature `sqlite` (on by default) there is [`SqliteStore`], the ledger of
//! one process in one file.

#[cfg(feature = "sqlite")]
mod error;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "sqlite")]
pub use sqlite::{LEDGER_FILE, LOCK_FILE, SqliteStore};
