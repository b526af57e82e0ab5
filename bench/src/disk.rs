//! The bare limit of everything durable: append a block to a file and wait until it is on disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

/// About what a commit of one step appends to a log.
const BLOCK_LEN: usize = 4_096;

/// Mean microseconds of one append + fdatasync, over `appends` of them to a new file in `folder`.
pub(crate) fn append_and_sync_us(folder: &Path, appends: u32) -> io::Result<f64> {
    let path = folder.join("bare-append");
    let mut file = File::create(&path)?;
    let block = vec![7_u8; BLOCK_LEN];
    let started = Instant::now();
    for _ in 0..appends {
        file.write_all(&block)?;
        file.sync_data()?;
    }
    let mean = started.elapsed().as_secs_f64() * 1e6 / f64::from(appends);
    fs::remove_file(path)?;
    Ok(mean)
}

/// The bytes of all files in `folder` and below.
pub(crate) fn bytes_below(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            bytes_below(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(bytes)
}
