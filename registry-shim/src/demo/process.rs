//! One real `shoal node` process of the demo.

use std::{
    io::{Read, Seek, SeekFrom},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::tether;

/// How long a node may take until it says that it has started.
const START: Duration = Duration::from_secs(20);
/// How long a node may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(5);
/// Lines of a node's log that an error shows, and the bytes that are read for them.
const TAIL_LINES: usize = 15;
const TAIL_BYTES: u64 = 16 * 1024;
/// Prefix of the environment variables that are settings of a node.
const SETTINGS_PREFIX: &str = "SHOAL_";

/// What a node is started with.
#[derive(Debug)]
pub(crate) struct NodeSettings<'a> {
    /// Number of the node, from 1.
    pub(crate) number: u32,
    /// Directory that exists: the node's data and its log go there.
    pub(crate) home: &'a Path,
    /// File with the cluster's secret.
    pub(crate) secret: &'a Path,
    /// The `registries.yaml`.
    pub(crate) registries: &'a Path,
    /// Member to join through; none for the first node.
    pub(crate) seed: Option<SocketAddr>,
    /// Limit up and down, in bytes per second.
    pub(crate) link_bytes_per_s: u64,
    /// Limit of the spool, in bytes.
    pub(crate) spool_bytes: u64,
}

/// A running node. It is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct NodeProcess {
    number: u32,
    log: PathBuf,
    child: Child,
    // Kept open: a node that prints once more must not die of a closed pipe.
    stdout: BufReader<ChildStdout>,
}

/// Addresses that a node listens on.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Addresses {
    /// For containerd.
    pub(crate) http: SocketAddr,
    /// For other nodes.
    pub(crate) swarm: SocketAddr,
}

impl NodeProcess {
    /// Starts a node on free ports of the loopback interface. Call it from a thread that outlives the node.
    pub(crate) fn spawn(settings: &NodeSettings<'_>) -> anyhow::Result<Self> {
        let number = settings.number;
        let log = settings.home.join(format!("node-{number}.log"));
        let stderr = std::fs::File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut child = command(settings)?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start node {number}"))?;
        let stdout = child.stdout.take().map(BufReader::new).context("a node without an output")?;
        Ok(Self { number, log, child, stdout })
    }

    /// Waits until the node says where it listens.
    pub(crate) async fn started(&mut self) -> anyhow::Result<Addresses> {
        let mut line = String::new();
        match timeout(START, self.stdout.read_line(&mut line)).await {
            Ok(Ok(length)) if length > 0 => {}
            Ok(_) => bail!("node {} ended before it had started{}", self.number, self.log_tail()),
            Err(_) => bail!("node {} has not started within {START:?}{}", self.number, self.log_tail()),
        }
        serde_json::from_str(&line)
            .with_context(|| format!("node {} said {line:?} instead of where it listens", self.number))
    }

    /// Number of the node, from 1.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Process id, until the node has ended.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the node ends. Cancel safe.
    pub(crate) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks the node to stop.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // It fails only where the node has just ended, which is what is wanted.
            kill_process(id, Signal::TERM).ok();
        }
    }

    /// Waits until a node that was asked to stop has ended, and kills it where that takes too long.
    pub(crate) async fn reap(&mut self) {
        if timeout(STOP, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Kills the node and waits for its end.
    pub(crate) async fn kill(&mut self) {
        // It fails only where the node has ended already.
        drop(self.child.kill().await);
    }

    /// The last lines of the node's log, as the end of an error message.
    pub(crate) fn log_tail(&self) -> String {
        match tail(&self.log) {
            Ok(lines) if !lines.is_empty() => format!(". Its last words:\n{lines}"),
            _ => " and its log is empty".to_owned(),
        }
    }
}

fn command(settings: &NodeSettings<'_>) -> anyhow::Result<Command> {
    let mut command = Command::new(tether::program().context("cannot find this program")?);
    command.args(tether::prefix()).args(["node", "--json", "--listen", "127.0.0.1:0", "--swarm-listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(settings.home.join(format!("node-{}", settings.number)));
    command.arg("--secret-file").arg(settings.secret).arg("--registries").arg(settings.registries);
    let rate = format!("{}B", settings.link_bytes_per_s);
    command.args(["--upload-limit", &rate, "--download-limit", &rate]);
    command.arg("--spool-limit").arg(format!("{}B", settings.spool_bytes));
    if let Some(seed) = settings.seed {
        command.arg("--join").arg(seed.to_string());
    }
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with(SETTINGS_PREFIX)) {
            command.env_remove(name);
        }
    }
    // A proxy of the user's must not come between a node and the demo's registry. The group of its own keeps the
    // terminal's Ctrl-C from the node: the demo stops it in order.
    command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1").process_group(0).kill_on_drop(true);
    Ok(command)
}

fn tail(log: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(log)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_log_is_its_last_lines_however_long_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let lines: Vec<String> = (0..10_000).map(|line| format!("line {line}")).collect();
        std::fs::write(&log, lines.join("\n")).unwrap();
        assert_eq!(tail(&log).unwrap(), lines[10_000 - TAIL_LINES..].join("\n"));
        std::fs::write(&log, "only one\n").unwrap();
        assert_eq!(tail(&log).unwrap(), "only one");
    }
}
