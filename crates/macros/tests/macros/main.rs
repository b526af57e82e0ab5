//! What the macros write, against the builder; what they say of mistakes; and that what they write runs.

mod assets;
mod definitions;
mod mistakes;
mod steps;
