//! The checks run on this workspace, and each rule on a small workspace that breaks it.

mod layers;
mod sample;
mod tidy;
mod workspace;
