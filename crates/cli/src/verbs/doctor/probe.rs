//! Looks at the machine: the folder, its disk, its lock, the time zones.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind as IoErrorKind, Read as _};
use std::path::{Path, PathBuf};

use flowstone_core::{Error, ErrorKind, Result};
use flowstone_store::LOCK_FILE;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::control::{Answer, Ask, ask};

/// The most files whose sizes are summed up.
const FILES_MAX: usize = 1_000_000;

/// The process that holds the state.
#[derive(Debug, Serialize)]
pub(super) struct LockHolder {
    pid: Option<u32>,
    /// What it does and since when, if it said so.
    verb: Option<String>,
    since: Option<Timestamp>,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("another process")?,
        }
        match (&self.verb, self.since) {
            (Some(verb), Some(since)) => write!(f, ", `{verb}` since {since:.0}"),
            _ => f.write_str(", which does not listen"),
        }
    }
}

/// Who holds the state: whoever answers, or else whoever has the lock.
pub(super) async fn lock_holder(dir: &Path) -> Result<Option<LockHolder>> {
    if let Some(Answer::Holder(holder)) = ask(dir, &Ask::Who).await? {
        return Ok(Some(LockHolder {
            pid: Some(holder.pid),
            verb: Some(holder.verb),
            since: Some(holder.since),
        }));
    }
    let Ok(mut file) = File::open(dir.join(LOCK_FILE)) else {
        return Ok(None);
    };
    // Taken for a moment and shared: a lock that can be had is nobody's. It goes with the file.
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            drop((&mut file).take(32).read_to_string(&mut text));
            Ok(Some(LockHolder {
                pid: text.trim().parse().ok(),
                verb: None,
                since: None,
            }))
        }
        Err(TryLockError::Error(error)) => Err(Error::new(ErrorKind::Unavailable, error.to_string())
            .during("look at the lock of")
            .about(dir.display())),
    }
}

/// Whether state can be written, in `dir` or where it would be made. Leaves nothing behind.
pub(super) fn is_writable(dir: &Path) -> Result<()> {
    let place = nearest_existing(dir);
    if !place.is_dir() {
        return Err(
            Error::new(ErrorKind::Invalid, format!("{} is no folder", place.display()))
                .code("state_folder_invalid")
                .about(format!("state folder {}", dir.display()))
                .fix("name a folder; what stands there is something else"),
        );
    }
    let probe = place.join(format!(".flowstone-probe-{}", std::process::id()));
    match fs::OpenOptions::new().write(true).create_new(true).open(&probe) {
        Ok(file) => {
            drop(file);
            drop(fs::remove_file(&probe));
            Ok(())
        }
        Err(error) => {
            let kind = match error.kind() {
                IoErrorKind::StorageFull => ErrorKind::StorageFull,
                _ => ErrorKind::PermissionDenied,
            };
            Err(Error::new(kind, error.to_string())
                .during("write in")
                .about(place.display())
                .fix("make the folder writable for this user, or name another with `--state-dir`"))
        }
    }
}

/// What is free on the disk of `dir`.
pub(super) fn free_bytes(dir: &Path) -> Result<u64> {
    let place = nearest_existing(dir);
    fs4::available_space(&place).map_err(|error| {
        Error::new(ErrorKind::Unavailable, error.to_string())
            .during("ask for free space on the disk of")
            .about(place.display())
    })
}

/// The folder itself, or the nearest one above it that there is.
fn nearest_existing(dir: &Path) -> PathBuf {
    let above = dir.ancestors().map(|path| {
        if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        }
    });
    above
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or(Path::new("."))
        .to_owned()
}

/// The sizes of all files below `dir`; none when it cannot be read, or holds too many to count.
pub(super) fn size_of_folder(dir: &Path) -> Option<u64> {
    let mut sum = 0;
    let mut count = 0;
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).ok()? {
            let entry = entry.ok()?;
            count += 1;
            if count > FILES_MAX {
                return None;
            }
            let kind = entry.file_type().ok()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if let Ok(facts) = entry.metadata() {
                // A file may be taken away by the process that runs.
                sum += facts.len();
            }
        }
    }
    Some(sum)
}

/// Which time zone database is used, and whether it works.
pub(super) fn time_zones() -> (String, Result<()>) {
    let database = format!("{:?}", jiff::tz::db());
    let inner = database
        .strip_prefix("TimeZoneDatabase(")
        .and_then(|rest| rest.strip_suffix(')'));
    let works = TimeZone::get("America/New_York").map(drop).map_err(|error| {
        Error::new(ErrorKind::NotFound, error.to_string())
            .during("find")
            .about("the time zone America/New_York")
            .fix("install the system's time zone data")
    });
    (inner.unwrap_or(&database).to_owned(), works)
}
