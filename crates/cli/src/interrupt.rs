//! Hears Ctrl-C and the request to terminate. What they mean is for the listener to say.

use flowstone_core::{Error, ErrorKind, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of this process, from the moment it listens.
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    heard: u32,
}

impl Interrupts {
    /// Starts to listen; from now on the signals no longer end the process by themselves.
    pub(crate) fn listen() -> Result<Self> {
        let open = |kind| {
            signal(kind).map_err(|error| {
                Error::new(ErrorKind::Unavailable, error.to_string())
                    .during("listen for")
                    .about("signals")
            })
        };
        Ok(Self {
            interrupt: open(SignalKind::interrupt())?,
            terminate: open(SignalKind::terminate())?,
            heard: 0,
        })
    }

    /// Waits for the next one, and says how many there were.
    pub(crate) async fn next(&mut self) -> u32 {
        let heard = tokio::select! {
            heard = self.interrupt.recv() => heard,
            heard = self.terminate.recv() => heard,
        };
        if heard.is_none() {
            // The driver of signals is gone, and with it the runtime.
            std::future::pending::<()>().await;
        }
        self.heard += 1;
        self.heard
    }

    /// How many were heard so far.
    pub(crate) fn heard(&self) -> u32 {
        self.heard
    }
}
