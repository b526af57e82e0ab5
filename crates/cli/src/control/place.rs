//! Where the socket lies. The address of a socket is short on every system, and a path need not be.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// The name of the socket in the state folder.
pub(super) const SOCKET_NAME: &str = "control.sock";

/// What fits everywhere: the shortest limit is 104 bytes, the end mark included.
const ADDRESS_LEN_MAX: usize = 100;

/// A path to something in a folder that is short enough for a socket's address.
pub(super) struct Address {
    pub(super) path: PathBuf,
    /// The path goes through this when it would be too long otherwise.
    _folder: Option<File>,
}

impl Address {
    pub(super) fn in_folder(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        if path.as_os_str().len() <= ADDRESS_LEN_MAX {
            return Ok(Self { path, _folder: None });
        }
        let folder = File::open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        Ok(Self {
            path,
            _folder: Some(folder),
        })
    }
}
