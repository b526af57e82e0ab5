//! The pure core, entered by its public interface alone.

mod batches;
mod fan_out;
mod golden;
mod pipeline;
mod planner;
mod requests;
