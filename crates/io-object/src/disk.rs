//! Durable files on the local disk.
//!
//! A file is written under a staged name, synced, given its final name, and its folder is synced; only then is it
//! reported as stored. New folders are synced up to the root once, before anything in them is. Everything here blocks:
//! callers run it beside the executor.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flowstone_core::Result;

use crate::ObjectPath;
use crate::error::{sort_io, wrong_len};

/// The folder below which all files lie.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    /// Folders whose entries up to the root are known to be on disk.
    durable: Mutex<HashSet<PathBuf>>,
}

/// A file that is being written. Dropped without being published, it is removed.
#[derive(Debug)]
pub(crate) struct StagedFile {
    disk: Arc<Disk>,
    path: ObjectPath,
    file: File,
    len: u64,
    published: bool,
}

impl Disk {
    /// Uses `root`, making it durably when it does not exist.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        if root.exists() && !root.is_dir() {
            return Err(sort_io(io::ErrorKind::NotADirectory.into(), root.display()));
        }
        make_durable(root).map_err(|error| sort_io(error, root.display()))?;
        let root = root.canonicalize().map_err(|error| sort_io(error, root.display()))?;
        Ok(Self {
            root,
            durable: Mutex::default(),
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where `path` lies in the file system.
    pub(crate) fn locate(&self, path: &ObjectPath) -> PathBuf {
        self.root.join(path.to_string())
    }

    /// Begins the file for `path`, or for the first call after it that is free.
    pub(crate) fn stage(self: &Arc<Self>, mut path: ObjectPath) -> Result<StagedFile> {
        loop {
            let target = self.locate(&path);
            match self.create_new(&path.staged()) {
                // Whoever publishes a path holds its staged name, so with the staged name in hand the answer to
                // whether the path is free cannot change any more.
                Ok(file) if !target.exists() => {
                    return Ok(StagedFile {
                        disk: Arc::clone(self),
                        path,
                        file,
                        len: 0,
                        published: false,
                    });
                }
                Ok(_) => {
                    let staged = self.locate(&path.staged());
                    fs::remove_file(&staged).map_err(|error| sort_io(error, staged.display()))?;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(sort_io(error, target.display())),
            }
            path = path.next_call();
        }
    }

    fn create_new(&self, path: &ObjectPath) -> io::Result<File> {
        let file = self.locate(path);
        let folder = file.parent().unwrap_or(&self.root);
        let create = || OpenOptions::new().write(true).create_new(true).open(&file);
        self.ensure_durable(folder)?;
        match create() {
            // Someone removed the folder since it was made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.durable.lock().unwrap_or_else(PoisonError::into_inner).clear();
                self.ensure_durable(folder)?;
                create()
            }
            done => done,
        }
    }

    /// Makes `folder` and syncs the entries that lead to it from the root. A folder that is there already may have been
    /// made by a process that died before syncing it, so each is synced once by each process. The lock is held
    /// meanwhile: nobody may use a folder that another thread has made but not synced yet.
    fn ensure_durable(&self, folder: &Path) -> io::Result<()> {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.contains(folder) {
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        let mut synced = Vec::new();
        for made in folder.ancestors().take_while(|above| *above != self.root) {
            if !durable.contains(made) {
                sync_folder(made.parent().unwrap_or(&self.root))?;
                synced.push(made.to_owned());
            }
        }
        durable.extend(synced);
        Ok(())
    }
}

impl StagedFile {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| self.sort(error))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Syncs the file, gives it its final name, syncs the name, and compares the size that the disk reports.
    pub(crate) fn publish(mut self) -> Result<ObjectPath> {
        let target = self.disk.locate(&self.path);
        self.file.sync_all().map_err(|error| self.sort(error))?;
        fs::rename(self.disk.locate(&self.path.staged()), &target).map_err(|error| self.sort(error))?;
        self.published = true;
        sync_folder(target.parent().unwrap_or(&self.disk.root)).map_err(|error| self.sort(error))?;
        let found = fs::metadata(&target).map_err(|error| self.sort(error))?.len();
        if found != self.len {
            return Err(wrong_len(found, self.len, target.display()));
        }
        Ok(self.path.clone())
    }

    fn sort(&self, error: io::Error) -> flowstone_core::Error {
        sort_io(error, self.disk.locate(&self.path).display())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is listed as not whole, and collected later.
            drop(fs::remove_file(self.disk.locate(&self.path.staged())));
        }
    }
}

/// Makes `folder` with everything above it, and syncs each folder that got a new entry.
fn make_durable(folder: &Path) -> io::Result<()> {
    let is_named = |path: &&Path| !path.as_os_str().is_empty();
    let missing: Vec<_> = folder
        .ancestors()
        .filter(is_named)
        .take_while(|above| !above.is_dir())
        .collect();
    fs::create_dir_all(folder)?;
    for made in missing {
        sync_folder(made.parent().filter(is_named).unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened for syncing; the file system orders its own entries.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
