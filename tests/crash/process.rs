//! Processes to be killed, moments to do so, and waiting with a deadline.

use std::io::Write as _;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// No condition that a test waits for takes this long, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(100);
/// Leaves the cores to what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Where the moments of kills come from; `xtask proof` names others.
const SEED: u64 = 2013;

/// Sends a signal; false if there is nobody to get it.
pub(crate) fn send(signal: &str, pid: u32) -> bool {
    let sent = Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    sent.is_ok_and(|status| status.success())
}

/// How it ended, or nothing if it was killed because it had not by then.
pub(crate) fn wait_at_most(mut child: Child, moment: Duration) -> Option<ExitStatus> {
    let (sender, ended) = sync_channel(1);
    let pid = child.id();
    let waiting = std::thread::spawn(move || {
        let status = child.wait().unwrap();
        // Nobody listens when it was killed.
        let _ = sender.send(status);
    });
    let status = ended.recv_timeout(moment).unwrap_or_else(|_| {
        // It may have ended just now; then there is nobody to kill.
        send("KILL", pid);
        ended.recv().unwrap()
    });
    waiting.join().unwrap();
    // A process that was killed has no code.
    status.code().is_some().then_some(status)
}

/// How it ended, or nothing if it was killed because it had not when something came to be so.
pub(crate) fn wait_until(mut child: Child, is_so: impl Fn() -> bool) -> Option<ExitStatus> {
    let started = Instant::now();
    while !is_so() {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        assert!(started.elapsed() < DEADLINE, "waited in vain");
        std::thread::park_timeout(LOOK_EVERY);
    }
    // It may have ended just now; then there is nobody to kill.
    child.kill().unwrap();
    let status = child.wait().unwrap();
    status.code().is_some().then_some(status)
}

/// What it said and how it ended; it is killed if it has not by then.
pub(crate) fn output_at_most(child: Child, moment: Duration) -> Output {
    let (sender, ended) = sync_channel(1);
    let pid = child.id();
    let waiting = std::thread::spawn(move || {
        // Nobody listens when it was killed.
        let _ = sender.send(child.wait_with_output().unwrap());
    });
    let output = ended.recv_timeout(moment).unwrap_or_else(|_| {
        send("KILL", pid);
        ended.recv().unwrap()
    });
    waiting.join().unwrap();
    output
}

pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Numbers from 0 to 1 that are the same for the same seed (SplitMix64, Steele and others, 2014).
pub(crate) struct Random(u64);

impl Random {
    /// From the seed that the environment names, or from that of every day.
    pub(crate) fn from_env() -> Self {
        let given = std::env::var("CRASH_SEED")
            .ok()
            .map(|text| text.parse().expect("CRASH_SEED is a number"));
        let seed = given.unwrap_or(SEED);
        let told = format!("to kill at the same moments again: CRASH_SEED={seed}\n");
        std::io::stderr().write_all(told.as_bytes()).unwrap();
        Self(seed)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
    }
}

/// How often to kill; the environment may ask for more.
pub(crate) fn kills(usual: u32) -> u32 {
    let asked = std::env::var("FLOWSTONE_KILLS");
    asked.map_or(usual, |count| count.parse().expect("FLOWSTONE_KILLS is a number"))
}

/// A figure for the table of proofs; seen with `--nocapture`.
pub(crate) fn figure(name: &str, value: u64) {
    writeln!(std::io::stdout(), "figure {name} {value}").expect("somebody listens");
}
