//! Asks the process that holds the state.

use std::io::ErrorKind as IoErrorKind;
use std::path::Path;
use std::time::Duration;

use flowstone_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::place::{Address, SOCKET_NAME};
use super::{Answer, Ask, LINE_LEN_MAX};

/// How long the other process may take to answer: it commits first, and its disk may be busy.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// The same for what may be long work.
const WORK_WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Asks whoever listens in `state_dir`; none when nobody does.
pub(crate) async fn ask(state_dir: &Path, ask: &Ask) -> Result<Option<Answer>> {
    let failed = |message: String| {
        Error::new(ErrorKind::Unavailable, message)
            .code("control_socket")
            .during("ask the running process on")
            .about(state_dir.join(SOCKET_NAME).display())
    };
    let connected = match Address::in_folder(state_dir, SOCKET_NAME) {
        Ok(address) => UnixStream::connect(&address.path).await,
        Err(error) => Err(error),
    };
    let stream = match connected {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), IoErrorKind::NotFound | IoErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    let mut line = serde_json::to_string(ask).map_err(|error| failed(error.to_string()))?;
    line.push('\n');
    let (read, mut write) = stream.into_split();
    let mut answer = String::new();
    let asked = async {
        write.write_all(line.as_bytes()).await?;
        BufReader::new(read.take(LINE_LEN_MAX)).read_line(&mut answer).await
    };
    let wait_max = match ask {
        Ask::CollectGarbage => WORK_WAIT_MAX,
        _ => ANSWER_WAIT_MAX,
    };
    match timeout(wait_max, asked).await {
        Err(_) => Err(failed("it did not answer in time".to_owned())),
        // It ended before it heard the question…
        Ok(Err(error)) if matches!(error.kind(), IoErrorKind::ConnectionReset | IoErrorKind::BrokenPipe) => Ok(None),
        Ok(Err(error)) => Err(failed(error.to_string())),
        // … or before it could answer.
        Ok(Ok(0)) => Ok(None),
        Ok(Ok(_)) => serde_json::from_str(&answer)
            .map(Some)
            .map_err(|error| failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_process_that_ends_before_it_hears_the_question_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET_NAME)).unwrap();
        let ends = async {
            let (stream, _) = listener.accept().await.unwrap();
            stream.readable().await.unwrap();
        };

        let (answer, ()) = tokio::join!(ask(folder.path(), &Ask::Who), ends);

        assert!(matches!(answer, Ok(None)), "{answer:?}");
    }
}
