//! Does something to the state: through the process that holds it, or here when nobody does.

use std::path::Path;
use std::time::Duration;

use flowstone_core::{Error, ErrorKind, Result};

use super::{Answer, Ask, ask};

/// How often is looked again while the process that holds the state begins or ends, and so does not listen.
const LOOKS_MAX: u32 = 50;
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who did it.
pub(crate) enum Reached<T> {
    /// The process that holds the state, and this is its answer.
    There(Answer),
    /// This one.
    Here(T),
}

/// Asks the process that holds the state in `dir`; without one does `here`, which takes the state or says `Locked`.
///
/// # Errors
/// What the other process or `here` say; `Locked` when somebody holds the state and does not answer.
pub(crate) async fn reach<T>(dir: &Path, asked: &Ask, here: impl AsyncFn() -> Result<T>) -> Result<Reached<T>> {
    for look in 0..LOOKS_MAX {
        if look > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        match ask(dir, asked).await? {
            Some(Answer::Error(record)) => return Err(record.into_error()),
            Some(answer) => return Ok(Reached::There(answer)),
            None => {}
        }
        match here().await {
            Ok(done) => return Ok(Reached::Here(done)),
            // Its owner does not listen yet, or no longer.
            Err(error) if error.kind() == ErrorKind::Locked => {}
            Err(error) => return Err(error),
        }
    }
    Err(
        Error::new(ErrorKind::Locked, "the process that holds the state does not answer")
            .code("state_locked")
            .about(dir.display())
            .fix("see `doctor` for the process, and try again when it has ended"),
    )
}
