//! Bytes from outside, thrown at everything that reads them.
//!
//! A target is a plain function of bytes: it must not panic, and what it takes in must come out again as it was. The
//! driver of this crate throws mutations of a seed corpus at it, so many as it is told; `coverage`, which
//! is outside of the workspace, lets a fuzzer that is led by coverage call the same functions.

mod driver;
mod targets;

pub use driver::{Crash, Thrown, throw};
pub use targets::{TARGETS, Target};
