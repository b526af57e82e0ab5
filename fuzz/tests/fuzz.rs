//! A bounded run over every target. `FLOWSTONE_FUZZ=<count>` throws more at each, `FLOWSTONE_FUZZ_SEED=<seed>` others.

use std::io::Write as _;

use flowstone_fuzz::{TARGETS, throw};

#[test]
fn nothing_from_outside_crashes_what_reads_it() {
    let number = |name: &str, usual: u64| {
        let given = std::env::var(name).ok();
        given.map_or(usual, |text| {
            text.parse().unwrap_or_else(|_| panic!("{name} is a number"))
        })
    };
    let (count, seed) = (number("FLOWSTONE_FUZZ", 500), number("FLOWSTONE_FUZZ_SEED", 1));
    let (mut executions, mut crashes) = (0, Vec::new());
    for target in TARGETS {
        let thrown = throw(target, count, seed);
        executions += thrown.executions;
        writeln!(
            std::io::stdout(),
            "{}: {} of {} were taken",
            target.name,
            thrown.taken,
            thrown.executions
        )
        .expect("somebody listens");
        assert!(thrown.taken > 0, "{} takes nothing, so nothing is tried", target.name);
        if let Some(crash) = thrown.crash {
            let shown = String::from_utf8_lossy(&crash.input);
            crashes.push(format!(
                "{}: {} for {:?} = {shown:?}",
                target.name, crash.what, crash.input
            ));
        }
    }

    let told = format!(
        "figure fuzz_executions {executions}\nfigure fuzz_crashes {}\n",
        crashes.len()
    );
    std::io::stdout().write_all(told.as_bytes()).expect("somebody listens");
    assert!(crashes.is_empty(), "{}", crashes.join("\n"));
}

#[test]
fn every_target_can_be_led_by_coverage() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("coverage");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("it is text");
    for target in TARGETS {
        let name = target.name;
        let file = format!("targets/{name}.rs");
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"{file}\"")),
            "{name}"
        );
        let text = std::fs::read_to_string(folder.join(&file)).expect("it is text");
        assert!(text.contains(&format!("lead!(\"{name}\")")), "{file}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}
