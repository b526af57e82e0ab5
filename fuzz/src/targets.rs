//! What bytes from outside are thrown at.

mod codecs;
mod csv_rows;
mod items;
mod keys;
mod parquet_rows;
mod selections;
mod stored;

/// One reader of bytes from outside.
#[derive(Debug)]
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// Inputs to start from; good ones, and some that were bad once.
    pub corpus: fn() -> Vec<Vec<u8>>,
    /// Reads the input and says whether it was taken; a panic is a crash.
    pub run: fn(&[u8]) -> bool,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    keys::TEXT,
    keys::BINARY,
    keys::SPACES,
    selections::SELECTIONS,
    selections::RANGES,
    stored::PLANS,
    stored::REQUESTS,
    stored::SETS,
    stored::JSON,
    codecs::CODECS,
    csv_rows::CSV,
    parquet_rows::PARQUET,
    items::JSON_LINES,
    items::ROWS,
    items::PARQUET_ROWS,
    items::CURSORS,
];

/// Texts as inputs.
fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A folder whose files lie in memory, where the machine has one.
fn memory() -> std::path::PathBuf {
    let in_memory = std::path::PathBuf::from("/dev/shm");
    if in_memory.is_dir() {
        in_memory
    } else {
        std::env::temp_dir()
    }
}
