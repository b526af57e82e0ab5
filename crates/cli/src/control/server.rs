//! Listens for as long as this process holds the state.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flowstone_core::{Error, ErrorKind, Result};
use flowstone_runtime::Engine;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::place::{Address, SOCKET_NAME};
use super::{Answer, Ask, Holder, LINE_LEN_MAX, LiveItems};

/// The most callers at a time; the next ones wait in the system's queue.
const CALLERS_MAX: usize = 16;
/// How long a caller may take to ask, or to take its answer.
const CALL_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a process that ends waits for its callers to take their answers.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(2);

/// The listening socket. Dropped or closed, it is taken away.
pub(crate) struct ControlServer {
    path: PathBuf,
    closing: CancellationToken,
    listening: Option<JoinHandle<()>>,
}

impl ControlServer {
    /// Listens in `state_dir`, whose lock this process holds: a socket that lies there is a dead process's.
    pub(crate) fn open(state_dir: &Path, engine: Arc<Engine>, holder: Holder) -> Result<Self> {
        let listener = bind(state_dir).map_err(|error| {
            Error::new(ErrorKind::Unavailable, error.to_string())
                .code("control_socket")
                .during("listen on")
                .about(state_dir.join(SOCKET_NAME).display())
        })?;
        let closing = CancellationToken::new();
        let listening = tokio::spawn(listen(listener, engine, holder, closing.clone()));
        Ok(Self {
            path: state_dir.join(SOCKET_NAME),
            closing,
            listening: Some(listening),
        })
    }

    /// Takes the socket away and lets callers take the answers that are due.
    pub(crate) async fn close(mut self) {
        self.take_away();
        if let Some(mut listening) = self.listening.take()
            && timeout(CLOSE_WAIT_MAX, &mut listening).await.is_err()
        {
            listening.abort();
            drop(listening.await);
        }
    }

    fn take_away(&self) {
        self.closing.cancel();
        // A socket that stays behind is recognized by the next process.
        drop(fs::remove_file(&self.path));
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.take() {
            self.take_away();
            listening.abort();
        }
    }
}

/// Binds in a folder that only the owner may enter, and moves the socket to its place when its own mode is right: there
/// is no moment at which others could connect, and a dead process's socket is replaced in one step.
fn bind(state_dir: &Path) -> io::Result<UnixListener> {
    let private = format!(".control-{}", std::process::id());
    let folder = state_dir.join(&private);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let bound = (|| {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        let at = folder.join("s");
        if at.try_exists()? {
            fs::remove_file(&at)?;
        }
        let address = Address::in_folder(state_dir, &format!("{private}/s"))?;
        let listener = UnixListener::bind(&address.path)?;
        fs::set_permissions(&at, Permissions::from_mode(0o600))?;
        fs::rename(&at, state_dir.join(SOCKET_NAME))?;
        Ok(listener)
    })();
    drop(fs::remove_dir_all(&folder));
    bound
}

async fn listen(listener: UnixListener, engine: Arc<Engine>, holder: Holder, closing: CancellationToken) {
    let mut callers = JoinSet::new();
    loop {
        while callers.try_join_next().is_some() {}
        tokio::select! {
            biased;
            () = closing.cancelled() => break,
            Some(_) = callers.join_next(), if callers.len() >= CALLERS_MAX => {}
            accepted = listener.accept(), if callers.len() < CALLERS_MAX => match accepted {
                Ok((stream, _)) => {
                    callers.spawn(serve(stream, Arc::clone(&engine), holder.clone(), closing.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a caller could not be heard");
                    // Out of descriptors, most likely: a caller that ends frees one.
                    if callers.join_next().await.is_none() {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            },
        }
    }
    while callers.join_next().await.is_some() {}
}

/// Hears one line and answers with one.
async fn serve(stream: UnixStream, engine: Arc<Engine>, holder: Holder, closing: CancellationToken) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut bounded = BufReader::new(read.take(LINE_LEN_MAX));
    let heard = tokio::select! {
        biased;
        heard = timeout(CALL_WAIT_MAX, bounded.read_line(&mut line)) => matches!(heard, Ok(Ok(1..))),
        () = closing.cancelled() => false,
    };
    if !heard {
        return;
    }
    let answer = match serde_json::from_str(&line) {
        Ok(Ask::Who) => Answer::Holder(holder),
        Ok(ask) => match perform(&engine, ask).await {
            Ok(answer) => answer,
            Err(error) => Answer::Error(error.to_record()),
        },
        Err(error) => Answer::Error(
            Error::new(ErrorKind::Invalid, error.to_string())
                .code("control_line")
                .to_record(),
        ),
    };
    let Ok(mut text) = serde_json::to_string(&answer) else {
        return;
    };
    text.push('\n');
    // A caller that went away needs no answer.
    drop(timeout(CALL_WAIT_MAX, write.write_all(text.as_bytes())).await);
}

async fn perform(engine: &Engine, ask: Ask) -> Result<Answer> {
    match ask {
        Ask::Cancel(run) => {
            let handle = engine.active(run).await?;
            handle.cancel().await?;
            Ok(Answer::Cancelled(handle.progress().state))
        }
        Ask::Pause(run) => {
            let handle = engine.active(run).await?;
            handle.pause().await?;
            Ok(Answer::Turned(handle.progress().state))
        }
        Ask::Resume(run) => {
            let handle = engine.active(run).await?;
            handle.resume().await?;
            Ok(Answer::Turned(handle.progress().state))
        }
        Ask::Redrive(run) => Ok(Answer::Redriven(engine.redrive(run).await?.run_id())),
        Ask::Items(fan_outs) => {
            let live = fan_outs
                .into_iter()
                .filter_map(|id| Some(LiveItems::new(id, engine.fan_out_progress(id)?)));
            Ok(Answer::Items(live.collect()))
        }
        Ask::ChangeFanOut(fan_out, change) => {
            let options = engine.change_fan_out(fan_out, change).await?;
            Ok(Answer::FanOutChanged(Box::new(options)))
        }
        Ask::CancelFanOut(fan_out) => engine.cancel_fan_out(fan_out).await.map(|()| Answer::FanOutCancelled),
        Ask::RedriveFanOut(fan_out) => Ok(Answer::Redriven(engine.redrive_fan_out(fan_out).await?.run_id())),
        Ask::CollectGarbage => Ok(Answer::Collected(engine.collect_garbage(false).await?.into())),
        Ask::Partitions { set, keys, adds } => {
            let changed = match adds {
                true => engine.add_partitions(&set, keys).await?,
                false => engine.retire_partitions(&set, keys).await?,
            };
            Ok(Answer::Partitions(changed))
        }
        Ask::Who => Err(Error::new(ErrorKind::Internal, "who holds the state is no work")),
    }
}
