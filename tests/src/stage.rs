//! The place of one test: its directory, its requirements, and its logs when it fails.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Bytes of each log that are printed when a test fails.
const LOG_TAIL_BYTES: usize = 12_000;

/// Environment variable by which `tests/run` says that everything is installed: a missing requirement then fails the test.
const REQUIRE_ALL: &str = "SHOAL_TESTS_REQUIRE_ALL";

/// What a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The user root: containerd mounts file systems.
    Root,
    /// A program in the search path.
    Program(&'static str),
}

/// Owns the directory of a test. Create it first, so that it goes last, after the processes that use it.
#[derive(Debug)]
pub struct Stage {
    name: String,
    dir: TempDir,
    passed: AtomicBool,
}

impl Stage {
    /// Begins the test `name`. Where something is missing, says so on stderr and returns `None`: the test is skipped.
    ///
    /// # Panics
    /// When something is missing although `tests/run` has installed everything.
    pub fn begin(name: &str, needs: &[Need]) -> Result<Option<Self>> {
        if let Some(missing) = needs.iter().find_map(Need::missing) {
            assert!(std::env::var_os(REQUIRE_ALL).is_none(), "{name} cannot run: {missing}");
            // Written past the capture of the test harness: a skipped test must not look like a passed one.
            writeln!(std::io::stderr(), "SKIPPED {name}: {missing}")?;
            return Ok(None);
        }
        let dir = tempfile::Builder::new()
            .prefix(&format!("shoal-{name}-"))
            .tempdir()
            .context("no directory for the test")?;
        Ok(Some(Self { name: name.to_owned(), dir, passed: AtomicBool::new(false) }))
    }

    /// Directory of the test.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A new directory `name` in the directory of the test.
    pub fn create_dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// Writes a file into the directory of the test.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Marks the test as passed: its logs are not printed.
    pub fn passed(&self) {
        self.passed.store(true, Ordering::Relaxed);
    }

    fn print_logs(&self) {
        let mut logs: Vec<PathBuf> = fs::read_dir(self.path())
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        logs.sort();
        eprintln!("{} failed; its logs follow", self.name);
        for log in logs {
            let content = fs::read(&log).unwrap_or_default();
            let tail = &content[content.len().saturating_sub(LOG_TAIL_BYTES)..];
            eprintln!("---- {} (last {} of {} bytes)", log.display(), tail.len(), content.len());
            eprintln!("{}", String::from_utf8_lossy(tail));
        }
    }

    /// Unmounts what a containerd that was killed has left below the directory, so that it can be removed.
    fn unmount_leftovers(&self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let targets = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for target in targets.filter(|target| Path::new(target).starts_with(self.path())) {
            if let Err(error) = Command::new("umount").arg("--lazy").arg(target).status() {
                eprintln!("cannot unmount {target}: {error}");
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.passed.load(Ordering::Relaxed) {
            self.print_logs();
        }
        self.unmount_leftovers();
    }
}

impl Need {
    /// Says what is missing, if it is.
    fn missing(&self) -> Option<String> {
        match self {
            Self::Root => {
                (!rustix::process::geteuid().is_root()).then(|| "it needs root (containerd mounts)".to_owned())
            }
            Self::Program(program) => find_program(program)
                .is_none()
                .then(|| format!("the program {program} is not installed (tests/run installs it)")),
        }
    }
}

/// Where programs are looked for: in the search path, and where Debian keeps servers.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect()
}

fn find_program(program: &str) -> Option<PathBuf> {
    search_path().into_iter().map(|place| place.join(program)).find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let missing = Need::Program("no-such-program").missing().expect("it does not exist");
        assert!(missing.contains("no-such-program"), "{missing}");
        assert_eq!(Need::Program("sh").missing(), None);
    }

    #[test]
    fn the_directory_goes_with_the_stage() {
        let stage = Stage::begin("directory", &[]).expect("begins").expect("needs nothing");
        let file = stage.write("some.log", "text").expect("writes");
        stage.passed();
        drop(stage);
        assert!(!file.exists(), "{} was left behind", file.display());
    }
}
