//! Ties a process to the one that started it, and puts it into a network namespace.

use std::{
    convert::Infallible,
    ffi::{OsStr, OsString},
    fs::File,
    os::{fd::AsFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, anyhow, bail};
use rustix::{
    process::{Signal, getpid, getppid, set_parent_process_death_signal},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// First argument of `shoal-lab` by which it becomes another program, tied to the process that started it.
pub const TETHERED: &str = "tethered";

/// What stands for "no namespace" among the arguments.
const HERE: &str = "-";

static LAUNCHER: OnceLock<PathBuf> = OnceLock::new();

/// Names the `shoal-lab` that children are started through; without, it is the running program. For programs that use
/// this library under another name. The first call counts.
pub fn use_launcher(program: PathBuf) {
    LAUNCHER.set(program).ok();
}

/// The `shoal-lab` that children are started through.
pub fn launcher() -> PathBuf {
    // Linux knows the running program under this name even where its file has been replaced by a newer one.
    LAUNCHER.get().cloned().unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

/// A command that runs `program`, looked for in `PATH`, tied to this process; inside the network namespace with the file
/// `namespace` where one is given. Arguments, environment, directory and streams are added as to any command. Start it
/// with [`super::spawn`].
pub fn tethered(namespace: Option<&Path>, program: &OsStr) -> Command {
    let mut command = Command::new(launcher());
    command.arg(TETHERED).arg(getpid().to_string());
    command.arg(namespace.map_or(OsStr::new(HERE), Path::as_os_str)).arg(program);
    command
}

/// Does what the arguments after [`TETHERED`] say: the parent's id, the file of a network namespace or `-`, a program and
/// its arguments. Returns only where that fails. Call it before any thread is started.
pub fn become_tethered(arguments: &[OsString]) -> anyhow::Result<Infallible> {
    let [parent, namespace, program, rest @ ..] = arguments else {
        bail!("`{TETHERED}` is for the laboratory's own use: <parent> <namespace> <program> [<argument>...]");
    };
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot be tied to the starting process")?;
    // The parent may have died before the choice was made; then somebody else is the parent now.
    if getppid().map(|parent| parent.to_string()).as_deref() != parent.to_str() {
        bail!("the starting process has ended");
    }
    if namespace != HERE {
        let file = File::open(namespace).with_context(|| format!("no network namespace {}", namespace.display()))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("cannot enter the network namespace {}", namespace.display()))?;
    }
    let error = Command::new(program).args(rest).exec();
    Err(anyhow!(error).context(format!("cannot run {}", program.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(arguments: &[&str]) -> String {
        let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
        // On a thread of its own: the choice of a parent-death signal is made before it is found to be vain.
        std::thread::spawn(move || become_tethered(&arguments).unwrap_err().to_string()).join().unwrap()
    }

    #[test]
    fn only_a_child_can_be_tied() {
        assert!(refusal(&["1", "-"]).contains("<parent> <namespace> <program>"));
    }
}
