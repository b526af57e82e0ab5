//! How a space is stored: versioned, and checked again when it is read.

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use super::dynamic::DynamicSpace;
use super::granularity::Granularity;
use super::key::PartitionKey;
use super::product::ProductSpace;
use super::space::PartitionSpace;
use super::static_space::StaticSpace;
use super::window::WindowSpace;
use crate::{Error, ErrorKind, Result};

const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
pub(super) struct StoredSpace {
    version: u16,
    space: StoredKind,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredKind {
    Unit,
    Static {
        keys: Vec<PartitionKey>,
    },
    Window {
        granularity: Granularity,
        zone: String,
        start: DateTime,
        end: Option<DateTime>,
    },
    Product {
        dimensions: Vec<(String, StoredKind)>,
    },
    Dynamic {
        set: String,
    },
}

impl From<PartitionSpace> for StoredSpace {
    fn from(space: PartitionSpace) -> Self {
        Self {
            version: VERSION,
            space: StoredKind::from(&space),
        }
    }
}

impl From<&PartitionSpace> for StoredKind {
    fn from(space: &PartitionSpace) -> Self {
        match space {
            PartitionSpace::Unit => Self::Unit,
            PartitionSpace::Static(space) => Self::Static {
                keys: space.keys().to_vec(),
            },
            PartitionSpace::Dynamic(space) => Self::Dynamic {
                set: space.name().to_owned(),
            },
            PartitionSpace::Window(space) => Self::Window {
                granularity: space.granularity().clone(),
                zone: space.zone_name().to_owned(),
                start: space.start(),
                end: space.end(),
            },
            PartitionSpace::Product(space) => Self::Product {
                dimensions: space
                    .dimensions()
                    .map(|(name, space)| (name.to_owned(), Self::from(space)))
                    .collect(),
            },
        }
    }
}

impl TryFrom<StoredSpace> for PartitionSpace {
    type Error = Error;

    fn try_from(stored: StoredSpace) -> Result<Self> {
        if stored.version != VERSION {
            let message = format!(
                "the format version is {}, and this build reads version {VERSION}",
                stored.version
            );
            return Err(Error::new(ErrorKind::Corrupt, message)
                .code("partition_space_version")
                .during("read partition space")
                .fix("use the build that wrote it, or a newer one"));
        }
        PartitionSpace::try_from(stored.space)
    }
}

impl TryFrom<StoredKind> for PartitionSpace {
    type Error = Error;

    fn try_from(stored: StoredKind) -> Result<Self> {
        match stored {
            StoredKind::Unit => Ok(Self::Unit),
            StoredKind::Static { keys } => StaticSpace::new(keys).map(Self::Static),
            StoredKind::Dynamic { set } => DynamicSpace::new(set).map(Self::Dynamic),
            StoredKind::Window {
                granularity,
                zone,
                start,
                end,
            } => WindowSpace::new(granularity, &zone, start, end).map(Self::Window),
            StoredKind::Product { dimensions } => {
                let spaces = dimensions
                    .into_iter()
                    .map(|(name, space)| Ok((name, Self::try_from(space)?)));
                ProductSpace::new(spaces.collect::<Result<Vec<_>>>()?).map(Self::Product)
            }
        }
    }
}
