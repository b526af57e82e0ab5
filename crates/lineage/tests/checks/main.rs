//! Lineage against the reference store, and how graphs look.

mod ledger;
mod names;
mod pictures;
mod queries;
