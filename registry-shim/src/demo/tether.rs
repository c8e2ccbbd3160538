//! Ties a process to the one that started it, so that a demo which is killed outright leaves no node behind.
//!
//! Linux sends the parent-death signal that a process chose for itself, and keeps the choice across `exec`. So the demo
//! starts itself as `shoal demo --tethered <parent> <arguments>`, which makes the choice and then becomes `shoal <arguments>`.
//! The kernel watches the *thread* that started the child: start children from a thread that lives as long as the demo.

use std::{ffi::OsString, io, os::unix::process::CommandExt, path::PathBuf, process::Command};

use anyhow::{Context, bail};
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// The program that is running.
pub(crate) fn program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Arguments after the program's name that start it again, tied to this process.
pub(crate) fn prefix() -> [OsString; 3] {
    ["demo".into(), "--tethered".into(), getpid().to_string().into()]
}

/// Ties this process to its parent and becomes the program with `arguments`, whose first names the parent. Returns only
/// where that fails.
pub(crate) fn become_tethered(arguments: &[OsString]) -> anyhow::Result<()> {
    let Some((parent, rest)) = arguments.split_first() else {
        bail!("the process to be tied to is missing");
    };
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot be tied to the starting process")?;
    // The parent may have died before the choice was made; then somebody else is the parent now.
    if getppid().map(|parent| parent.to_string()).as_deref() != parent.to_str() {
        bail!("the starting process has ended");
    }
    let program = program().context("cannot find this program")?;
    let error = Command::new(&program).args(rest).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
