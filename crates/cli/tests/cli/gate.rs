//! Where gated steps wait: each says who it is, and goes on when it is let through.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};

use crate::program::{DEADLINE, Workspace};

pub(crate) struct Gate {
    pub(crate) path: PathBuf,
    arrivals: Receiver<Arrival>,
}

/// A step that waits.
pub(crate) struct Arrival {
    /// Asset, partition and attempt.
    pub(crate) step: String,
    stream: UnixStream,
}

impl Gate {
    pub(crate) fn open(workspace: &Workspace) -> Self {
        let path = workspace.socket("gate");
        drop(std::fs::remove_file(&path));
        let listener = UnixListener::bind(&path).unwrap();
        let (arrived, arrivals) = sync_channel(64);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut step = String::new();
                let read = BufReader::new(&stream).read_line(&mut step);
                let step = step.trim_end().to_owned();
                if read.is_ok() && arrived.send(Arrival { step, stream }).is_err() {
                    return;
                }
            }
        });
        Self { path, arrivals }
    }

    /// The next step that arrives.
    pub(crate) fn next(&self) -> Arrival {
        self.arrivals.recv_timeout(DEADLINE).expect("a step arrives in time")
    }

    /// The steps that have arrived and were not asked for yet; none of them is let through.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.arrivals.try_iter().map(|arrival| arrival.step).collect()
    }
}

impl Arrival {
    pub(crate) fn pass(mut self) {
        // A program that was killed needs no leave.
        drop(self.stream.write_all(b"pass\n"));
    }
}
