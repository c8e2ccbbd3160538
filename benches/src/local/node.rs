//! A real `shoal node`.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::ChildStdout,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::{
    process::{Process, tethered},
    usage::Usage,
};

/// Time for two nodes to find each other.
const MEET: Duration = Duration::from_secs(10);
/// Pause between two looks at whether they have.
const LOOK: Duration = Duration::from_millis(10);

/// A running node.
#[derive(Debug)]
pub(super) struct Node {
    process: Process,
    addresses: Addresses,
    /// Kept open: a node that prints once more must not die of a closed pipe.
    _output: BufReader<ChildStdout>,
}

#[derive(Debug, Deserialize)]
struct Addresses {
    http: SocketAddr,
    swarm: SocketAddr,
}

/// What a node has counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    /// Bytes of pieces from peers.
    pub(super) from_peers: u64,
    /// Bytes of content from the registry.
    pub(super) from_upstream: u64,
}

impl Node {
    /// Starts a node whose data are `<home>/<name>`, and waits until it says where it listens.
    pub(super) fn start(program: &Path, home: &Path, name: &str, seed: Option<&Self>) -> anyhow::Result<Self> {
        let path = |file: &str| home.join(file).display().to_string();
        let mut arguments: Vec<String> =
            ["node", "--json", "--listen", "127.0.0.1:0", "--swarm-listen", "127.0.0.1:0", "--spool-limit", "1TiB"]
                .map(str::to_owned)
                .into();
        arguments.extend(["--data-dir".to_owned(), path(name), "--secret-file".to_owned(), path("secret")]);
        arguments.extend(["--registries".to_owned(), path("registries.yaml")]);
        if let Some(seed) = seed {
            arguments.extend(["--join".to_owned(), seed.addresses.swarm.to_string()]);
        }
        let mut process = start(program, &arguments, name, &home.join(format!("{name}.log")))?;
        let mut output = BufReader::new(process.take_stdout().context("the output is read already")?);
        let mut line = String::new();
        output.read_line(&mut line).context("cannot read what a node says")?;
        let Ok(addresses) = serde_json::from_str(&line) else {
            bail!("node {name} did not start{}", process.log_tail());
        };
        Ok(Self { process, addresses, _output: output })
    }

    /// What its process has used.
    pub(super) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.process.id())
    }

    /// The URL of its mirror, or of a page.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.addresses.http)
    }

    /// Waits until it knows `members` members, itself included.
    pub(super) async fn meets(&self, members: usize) -> anyhow::Result<()> {
        #[derive(Deserialize)]
        struct Status {
            members: Vec<serde_json::Value>,
        }
        let begin = Instant::now();
        loop {
            let text = reqwest::get(self.url("status")).await?.text().await?;
            let known = serde_json::from_str::<Status>(&text)?.members.len();
            if known == members {
                return Ok(());
            }
            if begin.elapsed() > MEET {
                bail!("a node knows {known} members instead of {members} after {MEET:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What it has counted.
    pub(super) async fn received(&self) -> anyhow::Result<Received> {
        let page = reqwest::get(self.url("metrics")).await?.text().await?;
        let value = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok()).with_context(|| format!("the metrics page has no {name}"))
        };
        Ok(Received {
            from_peers: value("shoal_peer_received_bytes_total")?,
            from_upstream: value("shoal_upstream_received_bytes_total")?,
        })
    }
}

/// Starts a program of the measurement, which no setting of the caller's environment may change.
pub(super) fn start(program: &Path, arguments: &[String], name: &str, log: &Path) -> anyhow::Result<Process> {
    let mut command = tethered(None, program.as_os_str());
    command.args(arguments).env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|variable| variable.starts_with("SHOAL_")) {
            command.env_remove(variable);
        }
    }
    Ok(Process::start_piped(name, command, log)?)
}
