//! Runs everything that proves the promises, and prints one table of figures.
//!
//! The tests themselves decide what holds; they print their figures as lines that begin with `figure`, which are
//! gathered here. A figure that must be zero and is not, or a test that fails, makes the whole fail.

use std::io::{self, BufRead as _, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// How much is played: usually, and in a long run.
const AMOUNTS: [(&str, &str, &str); 3] = [
    ("FLOWSTONE_SEEDS", "500", "10000"),
    ("FLOWSTONE_KILLS", "20", "200"),
    ("FLOWSTONE_FUZZ", "500", "85000"),
];

/// What is run, with cargo: what it is, and its arguments.
const RUNS: [(&str, &[&str]); 4] = [
    (
        "simulation",
        &[
            "test",
            "-p",
            "flowstone-testkit",
            "--test",
            "testkit",
            "simulation",
            "--",
            "--nocapture",
        ],
    ),
    (
        "the flights example",
        &["build", "-p", "flowstone", "--example", "flights"],
    ),
    (
        "kills",
        &[
            "test",
            "-p",
            "flowstone",
            "--test",
            "crash",
            "--",
            "--nocapture",
            "--test-threads=1",
        ],
    ),
    (
        "fuzzing",
        &["test", "-p", "flowstone-fuzz", "--test", "fuzz", "--", "--nocapture"],
    ),
];

/// Everything that has property tests, with cargo. Where their cases come from is fixed in `.cargo/config.toml`, so that a
/// change is not refused for what it did not touch; here each round draws new ones.
const PROPERTIES: &[&str] = &[
    "test",
    "-p",
    "flowstone-core",
    "-p",
    "flowstone-store",
    "-p",
    "flowstone-io-object",
    "-p",
    "flowstone-io-parquet",
    "-p",
    "flowstone-readers",
    "-p",
    "flowstone-scatter",
    "--lib",
    "--tests",
    "--no-fail-fast",
];

/// How many rounds of cases are drawn: usually, and in a long run.
const ROUNDS: (u64, u64) = (1, 10);

/// What each figure is called in the table, in its order, and whether it must be zero.
const FIGURES: [(&str, &str, bool); 17] = [
    ("simulated_seeds", "seeds simulated", false),
    ("simulated_events", "events, each checked", false),
    ("simulated_crashes", "simulated crashes", false),
    ("simulated_violations", "promises broken", true),
    ("planted_bugs", "bugs planted", false),
    ("planted_bugs_found", "planted bugs found", false),
    ("planted_bugs_waiting", "bugs that wait for their feature", false),
    ("kills", "processes killed", false),
    ("kills_at_fail_points", "of them at named points", false),
    ("kills_lost", "results lost", true),
    ("kills_doubled", "results doubled", true),
    ("kills_half_visible", "values half visible", true),
    ("power_cuts", "power cuts", false),
    ("skipped", "skipped on this machine", false),
    ("property_seeds", "seeds of the property tests", false),
    ("fuzz_executions", "fuzz executions", false),
    ("fuzz_crashes", "fuzz crashes", true),
];

/// Runs all proofs and prints their table to `out`, what goes on to `talk`; true when every promise held.
///
/// # Errors
/// When cargo cannot be started, or nobody listens.
pub fn run(is_long: bool, out: &mut impl Write, talk: &mut impl Write) -> io::Result<bool> {
    let mut gathered = Vec::new();
    let mut is_proven = true;
    let rounds = if is_long { ROUNDS.1 } else { ROUNDS.0 };
    let first = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let properties = (first..first + rounds).map(|seed| ("properties", PROPERTIES, Some(seed)));
    let others = RUNS.into_iter().map(|(what, arguments)| (what, arguments, None));
    for (what, arguments, seed) in properties.chain(others) {
        writeln!(talk, "xtask proof: {what}")?;
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments).stdout(Stdio::piped()).stdin(Stdio::null());
        for (name, usual, long) in AMOUNTS {
            if is_long || std::env::var_os(name).is_none() {
                cargo.env(name, if is_long { long } else { usual });
            }
        }
        if std::env::var_os("CRASH_SEED").is_none() {
            cargo.env("CRASH_SEED", first.to_string());
        }
        if let Some(seed) = seed {
            writeln!(talk, "PROPTEST_RNG_SEED={seed}")?;
            cargo.env("PROPTEST_RNG_SEED", seed.to_string());
            gathered.push(("property_seeds".to_owned(), 1));
        }
        let mut running = cargo.spawn()?;
        let said = running.stdout.take().map(BufReader::new);
        for line in said.into_iter().flat_map(BufReader::lines) {
            let line = line?;
            gathered.extend(figure(&line));
            writeln!(talk, "{line}")?;
        }
        is_proven &= running.wait()?.success();
    }
    let (table, is_zero) = table(&gathered);
    write!(out, "{table}")?;
    Ok(is_proven && is_zero)
}

/// `figure <name> <value>`; what was skipped counts together.
fn figure(line: &str) -> Option<(String, u64)> {
    // A test's name may stand before what it says.
    let (_, said) = line.split_once("figure ")?;
    let (name, value) = said.trim().split_once(' ')?;
    let name = if name.starts_with("skipped") { "skipped" } else { name };
    Some((name.to_owned(), value.parse().ok()?))
}

/// The table, and whether everything is zero that must be.
fn table(gathered: &[(String, u64)]) -> (String, bool) {
    let mut text = String::from("| proof | figure |\n|---|---|\n");
    let mut is_zero = true;
    for (name, label, must_be_zero) in FIGURES {
        let mut values = gathered
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, value)| *value)
            .peekable();
        let value = match (values.peek(), name) {
            (None, "skipped") => Some(0),
            (None, _) => None,
            (Some(_), _) => Some(values.sum::<u64>()),
        };
        is_zero &= value.is_some() && !(must_be_zero && value != Some(0));
        let shown = value.map_or_else(|| "missing".to_owned(), |value| value.to_string());
        text.push_str(&format!("| {label} | {shown} |\n"));
    }
    (text, is_zero)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(value: u64) -> Vec<(String, u64)> {
        FIGURES
            .iter()
            .map(|(name, _, zero)| ((*name).to_owned(), if *zero { 0 } else { value }))
            .collect()
    }

    #[test]
    fn a_figure_is_found_behind_the_name_of_its_test() {
        let line = "test cycles::a_kill ... figure kills_lost 3";

        assert_eq!(figure(line), Some(("kills_lost".to_owned(), 3)));
        assert_eq!(figure("figure skipped_power_cuts 1"), Some(("skipped".to_owned(), 1)));
        assert_eq!(figure("test it ... ok"), None);
    }

    #[test]
    fn what_must_be_zero_and_is_not_or_is_missing_is_no_proof() {
        let (text, is_proven) = table(&all(7));
        assert!(is_proven, "{text}");
        assert!(text.contains("| seeds simulated | 7 |"), "{text}");

        let mut lost = all(7);
        lost.push(("kills_lost".to_owned(), 1));
        assert!(!table(&lost).1);
        let (text, is_proven) = table(&all(7)[1..]);
        assert!(!is_proven && text.contains("| seeds simulated | missing |"), "{text}");
    }
}
