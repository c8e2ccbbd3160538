//! Child processes that never outlive this one, and what they cost.

use std::{
    fs::{File, read_to_string},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Time that a process has to end after SIGTERM, before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// Pause between two looks at whether it has.
const LOOK: Duration = Duration::from_millis(5);
/// Lines of a log that an error shows.
const TAIL_LINES: usize = 15;

/// A running child. Dropping it ends it: SIGTERM, then SIGKILL.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with its error output in `log`. The kernel kills it when this process is killed, which
    /// `setpriv` arranges before it becomes the program: so start it from a thread that lives as long.
    pub(super) fn start(program: &Path, arguments: &[String], log: PathBuf) -> anyhow::Result<Self> {
        let errors = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("SHOAL_")) {
                command.env_remove(name);
            }
        }
        let child = command
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1")
            .spawn()
            .context("cannot start setpriv, of the package util-linux")?;
        Ok(Self { child, log })
    }

    /// Its output.
    pub(super) fn stdout(&mut self) -> anyhow::Result<std::process::ChildStdout> {
        self.child.stdout.take().context("the output is read already")
    }

    /// An error that ends with the last lines of the log.
    pub(super) fn failed(&self, what: &str) -> anyhow::Error {
        let log = read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        anyhow::anyhow!("{what}. The end of {}:\n{tail}", self.log.display())
    }

    /// Processor time that it has used, in seconds, with the kernel's on its behalf (proc(5), fields 14 and 15 of stat).
    pub(super) fn cpu_s(&self) -> anyhow::Result<f64> {
        let path = format!("/proc/{}/stat", self.child.id());
        let text = read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        // The name, in parentheses, may have spaces.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        let (Some(user), Some(system)) = (ticks(11), ticks(12)) else { bail!("{path} has no times: {text}") };
        Ok((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// The most memory that it had resident, in bytes.
    pub(super) fn resident_max_bytes(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        Ok(kib.with_context(|| format!("{path} has no VmHWM"))? * 1024)
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It fails only where the process has ended already.
        id.map(|id| kill_process(id, signal).ok());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        self.signal(Signal::TERM);
        let begin = Instant::now();
        while begin.elapsed() < GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
