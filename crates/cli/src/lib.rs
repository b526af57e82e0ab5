//! Every verb of Flowstone on the user's own binary.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use flowstone_core::pipeline::Pipeline;
//! use flowstone_core::asset::Asset;
//!
//! fn pipeline() -> flowstone_core::Result<Pipeline> {
//!     Pipeline::builder("hello").asset(Asset::new("answer").run(|| async { 42_i64 })).build()
//! }
//!
//! fn main() -> ExitCode {
//!     flowstone_cli::main(pipeline)
//! }
//! ```
//!
//! A verb parses what was typed, asks core, the store or the runtime, and says what came of it: data on stdout, talk on
//! stderr. What a selection, a plan or a run means is decided elsewhere.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | something failed |
//! | 2 | `plan` found something to do, or a run was paused |
//! | 64 | the command line, the configuration or what was asked for is not well formed |
//! | 130 | interrupted |

mod args;
mod config_arg;
mod control;
mod entry;
mod exit;
mod interrupt;
mod labels;
mod logs;
mod output;
mod progress;
mod redefined;
mod request;
mod session;
mod settings;
mod state;
mod verbs;

pub use entry::{main, main_with, open, state_dir};
