//! Values in any object store, on the local disk unless told otherwise.
//!
//! [`ObjectArea`] decides where an attempt's object lies, writes it durably and verifies it; [`Object`] keeps any serde
//! value there through a codec, and small ones not there at all but inline in the ledger. Which object is current is
//! not known here: the ledger says so.
//!
//! ```
//! use flowstone_core::TypeInfo;
//! use flowstone_core::io::{IoEnv, IoFactory};
//! use flowstone_io_object::Object;
//!
//! let json = Object::json();
//! assert!(json.accepts(TypeInfo::of::<Vec<i64>>()).is_ok());
//! let manager = json.open(&IoEnv { data_dir: None })?;
//! # drop(manager);
//! # Ok::<(), flowstone_core::Error>(())
//! ```

mod area;
mod disk;
mod error;
mod layout;
mod manager;
mod object;
mod parts;
mod sequence;
mod staged;

pub use area::{ListedObject, ObjectArea};
pub use layout::ObjectPath;
pub use object::{Object, ObjectFormats};
pub use staged::StagedObject;
