//! Child processes that never outlive the test.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        LazyLock,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    stage::{Stage, search_path},
    wait,
};

/// Time that a process gets to end after SIGTERM when its owner goes out of scope. Then it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A running child. Dropping it stops and reaps it: SIGTERM, then SIGKILL.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `<name>.out.log` and `<name>.err.log` of the stage. The kernel kills it
    /// should the test's own process be killed.
    pub fn start(stage: &Stage, name: &str, command: &Command) -> Result<Self> {
        let stdout = stage.path().join(format!("{name}.out.log"));
        let stderr = stage.path().join(format!("{name}.err.log"));
        let mut guarded = bound_to_this_process(command);
        guarded.stdin(Stdio::null());
        guarded.stdout(append(&stdout)?);
        guarded.stderr(append(&stderr)?);
        let child = spawn(guarded).with_context(|| format!("cannot start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, stdout, stderr })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> Result<String> {
        read_log(&self.stdout)
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> Result<String> {
        read_log(&self.stderr)
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        wait::until(&what, wait::SOON, async || self.exited()).await
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait().await
    }

    /// Sends SIGKILL and reaps it.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().and_then(|()| self.child.wait()).with_context(|| format!("cannot kill {}", self.name))?;
        Ok(())
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.exited()?.is_none() {
            let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("a child has a positive id")?;
            kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child is reaped in every case, so errors here can only mean that it has ended already.
        self.signal(Signal::TERM).ok();
        let start = Instant::now();
        while start.elapsed() < GRACE {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        eprintln!("{} did not end within {GRACE:?} of SIGTERM and is killed", self.name);
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The same command under util-linux' `setpriv`, which makes the kernel kill it when its parent dies, and then becomes it.
fn bound_to_this_process(command: &Command) -> Command {
    let mut guarded = Command::new("setpriv");
    guarded.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    if let Ok(path) = std::env::join_paths(search_path()) {
        guarded.env("PATH", path);
    }
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => guarded.env(key, value),
            None => guarded.env_remove(key),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        guarded.current_dir(dir);
    }
    guarded
}

/// Spawns from one thread that lives as long as the process: the parent-death signal is that of the spawning thread.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, SyncSender<io::Result<Child>>);
    static SPAWNER: LazyLock<SyncSender<Order>> = LazyLock::new(|| {
        let (orders, inbox) = sync_channel::<Order>(1);
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                reply.send(command.spawn()).ok();
            }
        });
        orders
    });
    let (reply, answer) = sync_channel(1);
    SPAWNER.send((command, reply)).map_err(io::Error::other)?;
    answer.recv().map_err(io::Error::other)?
}

fn append(path: &Path) -> Result<File> {
    File::options().create(true).append(true).open(path).with_context(|| format!("cannot open {}", path.display()))
}

fn read_log(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A TCP and UDP port of loopback that was free a moment ago, for programs that cannot take port 0.
pub fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").context("no free TCP port")?;
        let address = tcp.local_addr()?;
        if std::net::UdpSocket::bind(address).is_ok() {
            return Ok(address.port());
        }
    }
    anyhow::bail!("no port is free for both TCP and UDP")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> Stage {
        Stage::begin("process", &[]).expect("begins").expect("needs nothing")
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn is_alive(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    #[tokio::test]
    async fn a_process_that_ignores_sigterm_is_killed_and_reaped_when_dropped() {
        let stage = stage();
        let script = "trap '' TERM; echo deaf; while :; do sleep 1; done";
        let process = Process::start(&stage, "deaf", &shell(script)).expect("starts");
        let pid = process.pid();
        wait::until("it ignores SIGTERM", wait::SOON, async || Ok(process.stdout()?.contains("deaf").then_some(())))
            .await
            .expect("it says so");
        drop(process);
        assert!(!is_alive(pid));
        stage.passed();
    }

    #[test]
    fn a_panic_stops_the_process() {
        let stage = stage();
        let process = Process::start(&stage, "sleeper", &shell("exec sleep 600")).expect("starts");
        let pid = process.pid();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = process;
            panic!("on purpose");
        }));
        assert!(result.is_err());
        assert!(!is_alive(pid));
        stage.passed();
    }

    #[tokio::test]
    async fn output_and_exit_status_are_those_of_the_command() {
        let stage = stage();
        let mut process = Process::start(&stage, "talker", &shell("echo out; echo err >&2; exit 3")).expect("starts");
        let status = process.wait().await.expect("ends");
        assert_eq!(status.code(), Some(3));
        assert_eq!((process.stdout().expect("log"), process.stderr().expect("log")), ("out\n".into(), "err\n".into()));
        stage.passed();
    }
}
