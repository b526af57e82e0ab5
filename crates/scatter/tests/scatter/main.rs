//! Scatters, driven through the trait that the engine drives.

mod authoring;
mod batching;
mod by_macro;
mod complaints;
mod drive;
mod mistakes;
mod nested;
