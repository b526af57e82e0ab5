//! `flowstone.toml`: what may stand in it, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind as IoErrorKind, Read as _};
use std::path::Path;

use flowstone_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::retention::RetentionSettings;

/// The name of the file, in the current folder.
pub(crate) const FILE_NAME: &str = "flowstone.toml";

/// The longest file, in bytes.
const FILE_LEN_MAX: u64 = 1024 * 1024;

/// What the file sets.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileSettings {
    pub(crate) state_dir: Option<String>,
    pub(crate) workers: Option<i64>,
    pub(crate) cancel_grace: Option<String>,
    pub(crate) log: Option<String>,
    pub(crate) retention: Option<RetentionSettings>,
    pub(crate) pools: Option<BTreeMap<String, u32>>,
}

impl FileSettings {
    /// Reads the file at `path`; a file that is not there sets nothing.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let unreadable = |message: String| {
            Error::new(ErrorKind::Invalid, message)
                .code("settings_file")
                .during("read")
                .about(path.display())
                .fix("make it a file that can be read, or take it away")
        };
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        let mut text = String::new();
        let read = file.take(FILE_LEN_MAX + 1).read_to_string(&mut text);
        let read = read.map_err(|error| unreadable(error.to_string()))?;
        if read as u64 > FILE_LEN_MAX {
            return Err(unreadable(format!("it is longer than {FILE_LEN_MAX} bytes")));
        }
        Self::parse(&text)
    }

    /// Reads the text of the file.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            Error::new(ErrorKind::Invalid, error.to_string().trim_end())
                .code("settings_file")
                .during("read")
                .about(FILE_NAME)
                .fix(
                    "the keys are `state_dir`, `workers`, `cancel_grace`, `log` and the tables `retention` and `pools`",
                )
        })
    }
}
