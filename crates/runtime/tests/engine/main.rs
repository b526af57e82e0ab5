//! The engine through its public face: what somebody who runs pipelines can count on.

mod batching;
mod cancelling;
mod deadlines;
mod doctored;
mod dynamic;
mod failing;
mod fanning;
mod moved;
mod outcomes;
mod own_past;
mod pausing;
mod pooling;
mod recovering;
mod refusing;
mod sharing;
mod sizes;
mod sources;
mod stopping;
mod support;
