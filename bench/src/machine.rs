//! Names the machine, and how busy it is: a figure means little without it.

use std::fs;
use std::path::Path;

use flowstone_core::Result;

use crate::disk;

const APPENDS: u32 = 100;

/// One line: processor, cores, load, and what an fsync costs in `folder` right now.
pub(crate) fn describe(folder: &Path) -> Result<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let fsync_us = disk::append_and_sync_us(folder, APPENDS)?;
    let model = cpu_model().unwrap_or_else(|| format!("{} {}", std::env::consts::ARCH, std::env::consts::OS));
    let load = load_average().unwrap_or_else(|| "unknown".to_owned());
    Ok(format!(
        "{model}, {cores} cores, load average {load}, append + fdatasync {fsync_us:.0} µs"
    ))
}

/// The load of the last minute.
pub(crate) fn load_average() -> Option<String> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next().map(str::to_owned)
}

/// The most memory that this process ever held.
pub(crate) fn memory_most_mb() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    let (_, model) = line.split_once(':')?;
    Some(model.split_whitespace().collect::<Vec<_>>().join(" "))
}
