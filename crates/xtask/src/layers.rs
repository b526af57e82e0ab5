//! Who may depend on whom, and who alone knows a heavy dependency.

mod rules;
mod table;

pub use rules::check;
pub use table::{BENCH, LAYERS, Layer, OWNERSHIPS, Ownership, TEST_ONLY};
