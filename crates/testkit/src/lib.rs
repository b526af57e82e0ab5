//! Part of Flowstone.
