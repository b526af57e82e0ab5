//! Where a file lies: on the local disk, or in an object store.

use std::fmt;
use std::path::PathBuf;
#[cfg(feature = "object")]
use std::sync::Arc;

#[cfg(feature = "object")]
use object_store::ObjectStore;

/// Where a file lies.
#[derive(Clone)]
pub(crate) enum Place {
    Disk(PathBuf),
    #[cfg(feature = "object")]
    Store(Arc<dyn ObjectStore>, object_store::path::Path),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(path) => path.display().fmt(f),
            #[cfg(feature = "object")]
            Self::Store(_, path) => path.fmt(f),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}
