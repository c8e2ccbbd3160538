//! A system that the laboratory does not know: an executable starts and stops it. The contract is in docs/laboratory.md.

use std::{
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::{Door, Running, Stage, System};
use crate::{
    network::Host,
    process::{Process, tethered},
    run::upstream::write,
};

/// Version of the contract.
const CONTRACT: u32 = 1;
/// Time for `start` and for `stop`.
const CALL: Duration = Duration::from_mins(2);
/// Pause between two looks at a call.
const POLL: Duration = Duration::from_millis(20);
/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// Range requests at once that an adapter may ask for.
const RANGES_MAX: u32 = 64;

/// Calls an executable.
#[derive(Debug)]
pub(super) struct Adapter {
    name: String,
    executable: PathBuf,
}

/// What the executable is told, in a file.
#[derive(Debug, Serialize)]
struct Task {
    contract: u32,
    directory: PathBuf,
    upstream: Place,
    cache: Place,
    nodes: Vec<Place>,
}

/// A host of the network.
#[derive(Debug, Serialize)]
struct Place {
    /// File of its network namespace, for `nsenter --net=`.
    namespace: PathBuf,
    /// Its address, with the registry's port for the upstream.
    address: String,
    zone: u32,
}

/// What `start` prints.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// For each node, whom its client asks: `address:port`.
    endpoints: Vec<SocketAddr>,
    /// Whether they are mirrors, which are told the registry by `?ns=`.
    #[serde(default = "yes")]
    mirrors: bool,
    /// Range requests at once for each blob.
    #[serde(default = "one")]
    ranges_at_once: u32,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

/// A system that was started by an adapter. Dropping it kills what the adapter left in its process group.
#[derive(Debug)]
pub(super) struct Started {
    executable: PathBuf,
    directory: PathBuf,
    task: PathBuf,
    // `start` leads the process group of all that it leaves running, unless they leave the group.
    starter: Process,
}

impl Adapter {
    pub(super) fn new(name: &str, executable: &Path) -> anyhow::Result<Self> {
        let executable = executable.canonicalize().with_context(|| format!("cannot find {}", executable.display()))?;
        Ok(Self { name: name.to_owned(), executable })
    }
}

#[async_trait(?Send)]
impl System for Adapter {
    fn name(&self) -> &str {
        &self.name
    }

    fn keeps_content(&self) -> bool {
        true
    }

    async fn start(&self, stage: &Stage<'_>) -> anyhow::Result<Running> {
        let task = serde_json::to_string_pretty(&Task::on(stage)).context("a task is not JSON")?;
        let task = write(stage.directory, "adapter.json", &task)?;
        let (mut starter, answer) = call(&self.executable, "start", stage.directory, &task)?;
        // The starter may stay, as the parent of what it started: its answer is what is waited for.
        let answer = answered(&mut starter, &answer, stage.scenario.nodes as usize).await;
        let called =
            Started { executable: self.executable.clone(), directory: stage.directory.to_owned(), task, starter };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // Whatever it has started by then is to be stopped as well; the first error is the one to tell.
                called.stop().await.ok();
                return Err(error);
            }
        };
        let mirror_of = answer.mirrors.then(|| stage.upstream.to_string());
        let door = |endpoint: &SocketAddr| Door {
            endpoint: *endpoint,
            mirror_of: mirror_of.clone(),
            ranges_at_once: answer.ranges_at_once,
        };
        let mut running = Running::without_processes(answer.endpoints.iter().map(door).collect());
        running.adapter = Some(called);
        Ok(running)
    }
}

impl Task {
    fn on(stage: &Stage<'_>) -> Self {
        let place = |host, zone, port: &str| Place {
            namespace: stage.network.namespace(host),
            address: format!("{}{port}", stage.network.address(host)),
            zone,
        };
        let nodes = 0..stage.scenario.nodes;
        Self {
            contract: CONTRACT,
            directory: stage.directory.to_owned(),
            upstream: place(Host::Upstream, 0, &format!(":{}", stage.upstream.port())),
            cache: place(Host::Cache, 0, ""),
            nodes: nodes.map(|node| place(Host::Node(node), stage.scenario.zone_of(node), "")).collect(),
        }
    }
}

impl Started {
    /// Calls the executable with `stop`, and kills what it leaves.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let (mut stopper, _) = call(&self.executable, "stop", &self.directory, &self.task)?;
        let status = ended(&mut stopper).await?;
        self.starter.kill()?;
        ensure!(status.success(), "{} stop: {status}{}", self.executable.display(), stopper.log_tail());
        Ok(())
    }
}

/// Calls the executable with its standard output in a file, whose path is returned.
fn call(executable: &Path, verb: &str, directory: &Path, task: &Path) -> anyhow::Result<(Process, PathBuf)> {
    let answer = directory.join(format!("adapter-{verb}.out"));
    let mut command: Command = tethered(None, OsStr::new("sh"));
    // The shell gives each stream a place of its own; `exec` makes it the adapter itself.
    command.args(["-c", r#"exec "$0" "$1" "$2" >"$3""#]).arg(executable).arg(verb).arg(task).arg(&answer);
    command.current_dir(directory);
    let log = directory.join(format!("adapter-{verb}.log"));
    Ok((Process::start(&format!("the adapter {}", executable.display()), command, &log)?, answer))
}

async fn answered(starter: &mut Process, answer: &Path, nodes: usize) -> anyhow::Result<Answer> {
    let start = Instant::now();
    loop {
        let ended = starter.exited()?;
        if let Some(status) = ended {
            ensure!(status.success(), "{} ended with {status}{}", starter.name(), starter.log_tail());
        }
        let text = match fs::metadata(answer) {
            Ok(metadata) if metadata.len() > ANSWER_BYTES_MAX => {
                bail!("{} printed more than {ANSWER_BYTES_MAX} bytes", starter.name())
            }
            Ok(_) => fs::read_to_string(answer).with_context(|| format!("cannot read {}", answer.display()))?,
            Err(_) => String::new(),
        };
        if ended.is_some() || text.ends_with('\n') {
            return understood(&text, nodes).with_context(|| format!("{} printed {text:?}", starter.name()));
        }
        ensure!(start.elapsed() < CALL, "{} did not print endpoints within {CALL:?}", starter.name());
        sleep(POLL).await;
    }
}

fn understood(text: &str, nodes: usize) -> anyhow::Result<Answer> {
    let answer: Answer =
        serde_json::from_str(text).context("expected one line {\"endpoints\": [\"10.0.0.1:80\", ...]}")?;
    ensure!(answer.endpoints.len() == nodes, "{} endpoints for {nodes} nodes", answer.endpoints.len());
    ensure!((1..=RANGES_MAX).contains(&answer.ranges_at_once), "ranges_at_once must be 1 to {RANGES_MAX}");
    Ok(answer)
}

async fn ended(process: &mut Process) -> anyhow::Result<std::process::ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = process.exited()? {
            return Ok(status);
        }
        ensure!(start.elapsed() < CALL, "{} did not end within {CALL:?}{}", process.name(), process.log_tail());
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_one_endpoint_for_each_node() {
        let answer = understood(r#"{"endpoints": ["127.0.0.1:5000", "10.0.0.2:80"]}"#, 2).unwrap();
        assert_eq!((answer.endpoints.len(), answer.mirrors, answer.ranges_at_once), (2, true, 1));
        let answer = understood(r#"{"endpoints": ["[::1]:1"], "mirrors": false, "ranges_at_once": 8}"#, 1).unwrap();
        assert_eq!((answer.mirrors, answer.ranges_at_once), (false, 8));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for (text, nodes) in [
            ("", 1),
            ("ready", 1),
            (r#"{"endpoints": ["127.0.0.1:5000"]}"#, 2),
            (r#"{"endpoints": ["localhost:5000"]}"#, 1),
            (r#"{"endpoints": ["127.0.0.1:5000"], "ranges_at_once": 0}"#, 1),
            (r#"{"endpoints": ["127.0.0.1:5000"], "other": 1}"#, 1),
        ] {
            assert!(understood(text, nodes).is_err(), "{text}");
        }
    }
}
