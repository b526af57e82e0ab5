//! The figures of Flowstone.

fn main() {}
