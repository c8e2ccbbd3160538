//! Names of the namespaces of one network, and the removal of those whose laboratory has ended.
//!
//! A name is `shoal-lab-<process>-<its start>-<number>-<host>`. The start, in the kernel's ticks, tells a laboratory from
//! a later process with the same id.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    error::NetworkError,
    plan::{Host, NetworkPlan},
    tools::{AfterFailure, batch},
};
use crate::process::ended_within;

/// Where iproute2 keeps a file for each named network namespace.
const DIRECTORY: &str = "/run/netns";
/// Beginning of all names.
const FAMILY: &str = "shoal-lab-";
/// How long a killed process may take to end.
const KILLED: Duration = Duration::from_secs(5);
/// How often processes in a namespace are looked for: those that were being started meanwhile are found later.
const ROUNDS: u32 = 10;

/// Names of one network's namespaces.
#[derive(Debug)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    /// Names that no other network has.
    pub(super) fn new() -> Result<Self, NetworkError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let id = std::process::id();
        let start = running_since(id).ok_or_else(|| NetworkError::File {
            path: "/proc/self/stat".into(),
            source: io::Error::other("it does not say when this process started; is /proc mounted?"),
        })?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Ok(Self { prefix: format!("{FAMILY}{id}-{start}-{number}-") })
    }

    /// Namespace of a host.
    pub(super) fn host(&self, host: Host) -> String {
        format!("{}{host}", self.prefix)
    }

    /// Namespace of all switches.
    pub(super) fn switch(&self) -> String {
        format!("{}switch", self.prefix)
    }

    /// File of a host's namespace.
    pub(super) fn file(&self, host: Host) -> PathBuf {
        Path::new(DIRECTORY).join(self.host(host))
    }

    /// File of the namespace of all switches.
    pub(super) fn switch_file(&self) -> PathBuf {
        Path::new(DIRECTORY).join(self.switch())
    }

    /// Makes the namespaces of a plan.
    pub(super) fn create(&self, plan: &NetworkPlan) -> Result<(), NetworkError> {
        let mut lines = format!("netns add {}\n", self.switch());
        for host in plan.hosts() {
            lines += "netns add ";
            lines += &self.host(host);
            lines.push('\n');
        }
        batch("ip", None, &lines, AfterFailure::Stop, "making network namespaces")
    }

    /// Makes the namespace of the switches alone.
    pub(super) fn create_switch(&self) -> Result<(), NetworkError> {
        let line = format!("netns add {}\n", self.switch());
        batch("ip", None, &line, AfterFailure::Stop, "making a network namespace")
    }

    /// Ends the processes in these namespaces and removes those that are there.
    pub(super) fn remove(&self) -> Result<(), NetworkError> {
        remove(&existing(&self.prefix)?)
    }
}

/// Removes the namespaces of processes that are gone, and says which.
pub(super) fn remove_leftovers() -> Result<Vec<String>, NetworkError> {
    let mut left = existing(FAMILY)?;
    left.retain(|name| owner(name).is_some_and(|(id, start)| running_since(id) != Some(start)));
    remove(&left)?;
    Ok(left)
}

/// Names of namespaces with this beginning.
fn existing(prefix: &str) -> Result<Vec<String>, NetworkError> {
    let error = |source| NetworkError::File { path: DIRECTORY.into(), source };
    let entries = match fs::read_dir(DIRECTORY) {
        // Nobody has made a namespace since the machine started.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(error)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(error)?.file_name();
        names.extend(name.to_str().filter(|name| name.starts_with(prefix)).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Process id and start of the laboratory that made a namespace with this name.
fn owner(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(FAMILY)?.split('-');
    let (id, start) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next()?.parse::<u32>().ok()?;
    Some((id, start))
}

/// When a process started, in ticks since the machine did; none where it is gone, or has ended and is not reaped.
fn running_since(id: u32) -> Option<u64> {
    since(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// See proc_pid_stat(5): the second field is the program's name in parentheses, which may contain both.
fn since(stat: &str) -> Option<u64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // State is the 3rd field, the start is the 22nd.
    fields.nth(18)?.parse().ok()
}

fn remove(names: &[String]) -> Result<(), NetworkError> {
    let namespaces: Vec<Namespace> =
        names.iter().filter_map(|name| Namespace::of(&Path::new(DIRECTORY).join(name))).collect();
    end_processes(&namespaces)?;
    let lines: String = names.iter().flat_map(|name| ["netns delete ", name, "\n"]).collect();
    let removed = batch("ip", None, &lines, AfterFailure::GoOn, "removing network namespaces");
    // Another laboratory that starts at the same time removes leftovers as well.
    if names.iter().any(|name| Path::new(DIRECTORY).join(name).exists()) { removed } else { Ok(()) }
}

/// What tells a namespace from all others: the device and the inode of any file that stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Namespace(u64, u64);

impl Namespace {
    /// None where there is no such file (any more).
    fn of(file: &Path) -> Option<Self> {
        fs::metadata(file).ok().map(|file| Self(file.dev(), file.ino()))
    }
}

/// Kills all processes in these namespaces and waits for their end.
fn end_processes(namespaces: &[Namespace]) -> Result<(), NetworkError> {
    for _ in 0..ROUNDS {
        let inside = processes_in(namespaces)?;
        if inside.is_empty() {
            break;
        }
        for id in &inside {
            // It fails only where the process has just ended, which is what is wanted.
            kill_process(*id, Signal::KILL).ok();
        }
        for id in inside {
            ended_within(id, KILLED).map_err(NetworkError::system("wait for the end of a killed process"))?;
        }
    }
    Ok(())
}

fn processes_in(namespaces: &[Namespace]) -> Result<Vec<Pid>, NetworkError> {
    let error = |source| NetworkError::File { path: "/proc".into(), source };
    let own = Namespace::of(Path::new("/proc/self/ns/net"));
    let mut inside = Vec::new();
    for entry in fs::read_dir("/proc").map_err(error)? {
        let entry = entry.map_err(error)?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        // A process that ends meanwhile has no namespace any more.
        let Some(namespace) = Namespace::of(&entry.path().join("ns/net")) else { continue };
        if namespaces.contains(&namespace) && own != Some(namespace) {
            inside.push(id);
        }
    }
    Ok(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_who_made_it() {
        let names = Names::new().unwrap();
        let id = std::process::id();
        assert_eq!(owner(&names.host(Host::Node(3))), Some((id, running_since(id).unwrap())));
        assert_eq!(owner(&names.switch()).unwrap().0, id);
        assert_ne!(names.switch(), Names::new().unwrap().switch());
        for other in ["shoal-lab-", "shoal-lab-x-1-0-switch", "shoal-lab-1-2", "shoal-lab-1-2-a", "other-1-2-0-switch"]
        {
            assert_eq!(owner(other), None, "{other}");
        }
    }

    #[test]
    fn the_start_of_a_process_is_found_behind_any_name() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(since(&format!("12 (a) b) ) S {rest}")), Some(4711));
        assert_eq!(since(&format!("12 (cat) Z {rest}")), None);
        assert_eq!(since("12 (cat) S 1 2"), None);
        assert_eq!(since(""), None);
    }
}
