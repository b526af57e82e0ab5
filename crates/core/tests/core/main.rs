//! The pure core, entered by its public interface alone.

mod draw;
mod golden;
mod pipeline;
mod planner;
mod requests;
mod simulation;
mod sketch;
