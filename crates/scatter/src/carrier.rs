//! Hands things over by the road that values take, though they are no values of assets.
//!
//! What a handler gives back and what a loader loads are values, which can be stored. A source of items, or the stream of
//! their outcomes, cannot; it is carried in a shell that looks like a value and is opened within the same call.

use std::any::type_name;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowstone_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// One `T`, for whoever takes it first. Clones share it; it is never stored.
pub(crate) struct Carrier<T>(Arc<Mutex<Option<T>>>);

impl<T> Carrier<T> {
    pub(crate) fn new(carried: T) -> Self {
        Self(Arc::new(Mutex::new(Some(carried))))
    }

    /// What is carried.
    ///
    /// # Errors
    /// `Invalid` when it was taken before.
    pub(crate) fn take(&self) -> Result<T> {
        self.lock().take().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "it is handed out once in each call")
                .code("taken_twice")
                .fix("take it as one argument only")
        })
    }

    /// Does something with what is carried, if it is still there.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.lock().as_mut().map(work)
    }

    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Carrier<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Carrier<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Carrier<{}>", type_name::<T>())
    }
}

impl<T> Serialize for Carrier<T> {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom(NEVER_STORED))
    }
}

impl<'de, T> Deserialize<'de> for Carrier<T> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom(NEVER_STORED))
    }
}

const NEVER_STORED: &str = "it is handed over within a call and never stored";
