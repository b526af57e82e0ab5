//! Drives a real program as a person and a script would: through its arguments, streams, signals and exit codes.

mod backfilling;
mod cancelling;
mod collecting;
mod gate;
mod json;
mod partitions;
mod program;
mod redefining;
mod resuming;
mod saving;
mod scattering;
mod talking;
mod usage;
