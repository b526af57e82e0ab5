//! Lets libFuzzer throw what it comes to at the targets of `flowstone-fuzz`.
//!
//! Decides nothing about inputs: what a target makes of them, and what it starts from, is its own.

#[doc(hidden)]
pub use libfuzzer_sys;

use std::path::Path;

use flowstone_fuzz::{TARGETS, Target};

/// The binary of one target.
#[macro_export]
macro_rules! lead {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(
            init: $crate::sow($name),
            |input: &[u8]| { $crate::read($name, input); }
        );
    };
}

/// Throws one input at a target; a panic is a crash.
pub fn read(name: &str, input: &[u8]) {
    (target(name).run)(input);
}

/// Writes the seeds of a target into the corpus folder that the fuzzer was given.
pub fn sow(name: &str) {
    let given = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let Some(folder) = given.map(std::path::PathBuf::from).find(|path| path.is_dir()) else {
        return;
    };
    for (number, seed) in (target(name).corpus)().iter().enumerate() {
        write(&folder.join(format!("seed_{number:03}")), seed);
    }
}

fn write(path: &Path, seed: &[u8]) {
    if let Err(error) = std::fs::write(path, seed) {
        panic!("cannot write {}: {error}", path.display());
    }
}

fn target(name: &str) -> &'static Target {
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("no target is called {name}"))
}
