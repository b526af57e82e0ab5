//! The program, and a folder for each test to run it in.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// No condition that a test waits for takes this long, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(100);

pub(crate) struct Workspace {
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Workspace {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    /// One whose program finds this in its environment.
    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The program with `line` as its arguments, about to be started in this folder.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowstone-cli-sample"));
        command
            .args(line.split_whitespace())
            .current_dir(self.path())
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FLOWSTONE_") || name == "COLUMNS" {
                command.env_remove(name);
            }
        }
        command.envs(self.variables.iter().copied());
        command
    }

    pub(crate) fn run(&self, line: &str) -> Ended {
        Ended::from(self.command(line).output().unwrap())
    }

    /// Runs a command that is to end with `code`, and gives its stdout as JSON.
    pub(crate) fn json(&self, code: i32, line: &str) -> Value {
        let ended = self.run(&format!("{line} --output json"));
        assert_eq!(ended.code, Some(code), "{line}: {ended:#?}");
        ended.json()
    }

    /// Starts a command that goes on while the test does other things.
    pub(crate) fn start(&self, command: &mut Command) -> Running {
        Running(Some(
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(),
        ))
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Ended {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// A program that is running; killed when the test ends without waiting for it.
pub(crate) struct Running(Option<Child>);

impl Running {
    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it was not waited for yet")
    }

    /// Sends a signal by its name, as `INT`.
    pub(crate) fn signal(&mut self, name: &str) {
        let pid = self.child().id().to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    pub(crate) fn kill(mut self) {
        self.child().kill().unwrap();
        self.child().wait().unwrap();
        self.0 = None;
    }

    pub(crate) fn wait(mut self) -> Ended {
        Ended::from(
            self.0
                .take()
                .expect("it was not waited for yet")
                .wait_with_output()
                .unwrap(),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Looks until `found` finds something.
pub(crate) fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}
