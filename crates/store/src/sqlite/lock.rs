//! The lock that makes one process the owner of a ledger.
//!
//! A lock of the operating system on a file beside the ledger: it ends with its holder, however that ends. The file
//! holds the owner's process id, for the message only. Readers take no lock.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::process;
use std::time::Duration;

use flowstone_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep};

use crate::error::sort_io;

/// A store that was dropped gives its lock back when its connection has been closed, on another thread; the next one
/// of the same process waits this long for that.
const OWN_CLOSE_WAIT_MAX: Duration = Duration::from_secs(2);
const OWN_CLOSE_PROBE_EVERY: Duration = Duration::from_millis(2);

/// How long a lock that another process seems to hold is looked at again before it is refused: who looks whether anybody
/// holds it does so by taking it for a moment, and so does a process that was just started by its last owner.
const OTHER_WAIT_MAX: Duration = Duration::from_millis(100);

/// Held for as long as somebody may write the ledger.
#[derive(Debug)]
pub(super) struct OwnerLock {
    file: File,
}

impl Drop for OwnerLock {
    /// Closing the file is not enough: a process that is being started by another thread has a copy of it for a moment.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "the lock goes with its file");
        }
    }
}

impl OwnerLock {
    /// Takes the lock at `path`.
    ///
    /// # Errors
    /// `Locked` when another process, or another store of this one, holds it.
    pub(super) async fn take(path: &Path) -> Result<Self> {
        let denied = |error: &std::io::Error| sort_io(error).during("lock").about(path.display());
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| denied(&error))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(denied(&error)),
                Err(TryLockError::WouldBlock) => {
                    let holder = holder_of(&mut file);
                    let wait_max = match holder == Some(process::id()) {
                        true => OWN_CLOSE_WAIT_MAX,
                        false => OTHER_WAIT_MAX,
                    };
                    if begun.elapsed() >= wait_max {
                        return Err(held(path, holder));
                    }
                    sleep(OWN_CLOSE_PROBE_EVERY).await;
                }
            }
        }
        if let Err(error) = write_holder(&mut file) {
            // The lock holds all the same, and a full disk must not keep anybody from opening what is there.
            tracing::debug!(%error, "the lock file does not name its holder");
        }
        Ok(Self { file })
    }
}

fn held(path: &Path, holder: Option<u32>) -> Error {
    let (by, fix) = match holder {
        Some(pid) if pid == process::id() => (
            format!("this process ({pid}) has it open already"),
            "share one store within a process, or close the first before opening it again".to_owned(),
        ),
        Some(pid) => (
            format!("process {pid} owns it"),
            format!("stop process {pid}, or wait until it ends; `status` and `runs` work meanwhile"),
        ),
        None => (
            "another process owns it".to_owned(),
            "stop the other process, or wait until it ends; `status` and `runs` work meanwhile".to_owned(),
        ),
    };
    Error::new(ErrorKind::Locked, by)
        .code("state_locked")
        .during("lock")
        .about(path.display())
        .fix(fix)
}

/// The process id in the file; `None` when it cannot be told, as on systems whose locks keep readers out.
fn holder_of(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_that_was_dropped_is_free_though_a_process_that_begins_has_a_copy_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = OwnerLock::take(&path).await.unwrap();
        // What a process has from the moment it is made until it becomes another program.
        let _copy = lock.file.try_clone().unwrap();

        drop(lock);

        assert!(File::open(&path).unwrap().try_lock().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_looks_whether_it_is_held_keeps_nobody_from_taking_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, "4194305\n").unwrap();
        let looking = File::open(&path).unwrap();
        looking.lock_shared().unwrap();

        let (taken, ()) = tokio::join!(OwnerLock::take(&path), async {
            sleep(OTHER_WAIT_MAX / 2).await;
            looking.unlock().unwrap();
        });

        assert!(taken.is_ok(), "{taken:?}");
    }
}
