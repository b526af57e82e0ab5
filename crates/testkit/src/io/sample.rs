//! Values to store: many of each type, told apart by number.

use std::fmt;

use flowstone_core::{AssetValue, TypeInfo, Value};
use serde::{Deserialize, Serialize};

/// A kind of values: equal numbers give equal values, other numbers other values, and a larger number a larger value.
///
/// Number 0 is the emptiest value that the type has.
#[derive(Clone, Copy)]
pub struct Sample {
    ty: TypeInfo,
    make: MakeValue,
    is_equal: fn(&Value, &Value) -> bool,
}

#[derive(Clone, Copy)]
struct MakeValue(fn(fn(), u64) -> Value, fn());

impl Sample {
    /// The type of the values.
    pub fn ty(&self) -> TypeInfo {
        self.ty
    }
}
