//! The directory of one invocation: everything it writes but its result. Whoever is killed outright cannot remove it; the
//! next invocation does, for a lock tells whether its owner lives.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::Context;
use tempfile::TempDir;

/// Start of the directories' names.
const PREFIX: &str = "shoal-lab-";
/// The file whose lock the owner holds.
const LOCK: &str = "lock";

/// A directory that goes when its owner does.
#[derive(Debug)]
pub(crate) struct Scratch {
    directory: TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes a directory in the system's place for temporary files (`TMPDIR`).
    pub(crate) fn create() -> anyhow::Result<Self> {
        Self::create_in(&std::env::temp_dir())
    }

    fn create_in(place: &Path) -> anyhow::Result<Self> {
        let error = || format!("cannot create a directory in {} (set TMPDIR to another place)", place.display());
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(place).with_context(error)?;
        let lock = File::create(directory.path().join(LOCK)).with_context(error)?;
        lock.lock().with_context(error)?;
        Ok(Self { directory, _lock: lock })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A new directory in it.
    pub(crate) fn create_dir(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path().join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }
}

/// Removes the directories of invocations that were killed, and returns their paths.
pub(crate) fn remove_leftovers() -> anyhow::Result<Vec<PathBuf>> {
    remove_leftovers_in(&std::env::temp_dir())
}

fn remove_leftovers_in(place: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for entry in fs::read_dir(place).with_context(|| format!("cannot read {}", place.display()))?.flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if is_ours && is_abandoned(&path) {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            removed.push(path);
        }
    }
    Ok(removed)
}

/// A directory without a lock file may be about to get one, so it is left alone.
fn is_abandoned(directory: &Path) -> bool {
    File::open(directory.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_without_an_owner_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let alive = Scratch::create_in(place.path()).unwrap();
        let dead = Scratch::create_in(place.path()).unwrap();
        let left = dead.path().to_owned();
        let Scratch { directory, _lock: lock } = dead;
        // As after a kill: the directory stays, the lock goes.
        let _ = directory.keep();
        drop(lock);
        fs::create_dir(place.path().join("shoal-lab-new")).unwrap();
        fs::create_dir(place.path().join("other")).unwrap();
        assert_eq!(remove_leftovers_in(place.path()).unwrap(), [left]);
        assert!(alive.path().exists() && place.path().join("shoal-lab-new").exists());
    }

    #[test]
    fn the_directory_goes_with_its_owner() {
        let place = tempfile::tempdir().unwrap();
        let scratch = Scratch::create_in(place.path()).unwrap();
        scratch.create_dir("a/b").unwrap();
        drop(scratch);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
