//! A real `shoal node` in each node's namespace, with the settings that it has by itself.

use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use async_trait::async_trait;
use shoal_core::rng::Stream;
use tokio::time::{Instant, sleep};

use super::{Door, Node, Running, Stage, System};
use crate::{network::Host, process::Process, run::upstream::write};

/// Port of the mirror, on loopback of its namespace.
const HTTP_PORT: u16 = 5050;
/// Port of the swarm.
const SWARM_PORT: u16 = 5001;
/// Time for a node to say that it has started.
const START: Duration = Duration::from_secs(30);
/// Pause between two looks at a node's log.
const POLL: Duration = Duration::from_millis(20);
/// What a node prints when it has started.
const STARTED: &str = "\"event\":\"started\"";
/// Start of the names of environment variables that are settings of a node.
const SETTINGS: &str = "SHOAL_";

/// Shoal, as one cluster or as clusters of one.
#[derive(Debug)]
pub(super) struct Shoal {
    binary: PathBuf,
    together: bool,
}

impl Shoal {
    /// All nodes in one cluster.
    pub(super) fn cluster(binary: &Path) -> Self {
        Self { binary: binary.to_owned(), together: true }
    }

    /// Each node for itself: what the engine costs without peers.
    pub(super) fn alone(binary: &Path) -> Self {
        Self { binary: binary.to_owned(), together: false }
    }

    fn start_node(&self, stage: &Stage<'_>, files: &Files, number: u32) -> anyhow::Result<Node> {
        let host = Host::Node(number);
        let data = stage.directory.join(format!("node-{number}"));
        let page = SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT));
        let swarm = SocketAddr::from((stage.network.address(host), SWARM_PORT));
        let mut command = stage.network.command(host, self.binary.as_os_str());
        // What the environment configures for the user's own nodes must not reach these.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with(SETTINGS)) {
                command.env_remove(name);
            }
        }
        command.args(["node", "--json", "--data-dir"]).arg(&data);
        command.args(["--listen", &page.to_string(), "--swarm-listen", &swarm.to_string()]);
        command.arg("--registries").arg(&files.registries).arg("--secret-file").arg(&files.secret);
        command.args(["--spool-limit", &format!("{}B", files.spool_bytes)]);
        if stage.scenario.zones.is_some() {
            command.args(["--zone", &format!("zone-{}", stage.scenario.zone_of(number))]);
        }
        if self.together && number > 0 {
            let seed = SocketAddr::from((stage.network.address(Host::Node(0)), SWARM_PORT));
            command.args(["--join", &seed.to_string()]);
        }
        command.env("NO_PROXY", "*").env("no_proxy", "*");
        let log = stage.directory.join(format!("node-{number}.log"));
        let process = Process::start(&format!("node {number}"), command, &log)?;
        let members = if self.together { stage.scenario.nodes as usize } else { 1 };
        Ok(Node { process, page, members, data })
    }
}

#[async_trait(?Send)]
impl System for Shoal {
    fn name(&self) -> &str {
        if self.together { "shoal" } else { "shoal-no-peers" }
    }

    fn keeps_content(&self) -> bool {
        self.together
    }

    async fn start(&self, stage: &Stage<'_>) -> anyhow::Result<Running> {
        let files = Files::write(stage)?;
        let door = Door {
            endpoint: SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT)),
            mirror_of: Some(stage.upstream.to_string()),
            ranges_at_once: 1,
        };
        let mut running = Running::without_processes(vec![door; stage.scenario.nodes as usize]);
        for (number, place) in (0..).zip(&mut running.nodes) {
            let node = place.insert(self.start_node(stage, &files, number)?);
            if number == 0 {
                // The others join through it.
                until_started(node, stage.directory, number).await?;
            }
        }
        for (number, node) in (0..).zip(&mut running.nodes) {
            if let Some(node) = node {
                until_started(node, stage.directory, number).await?;
            }
        }
        Ok(running)
    }
}

/// What all nodes share.
struct Files {
    registries: PathBuf,
    secret: PathBuf,
    spool_bytes: u64,
}

impl Files {
    fn write(stage: &Stage<'_>) -> anyhow::Result<Self> {
        let upstream = stage.upstream;
        let registries = format!("mirrors:\n  \"{upstream}\":\n    endpoint:\n      - \"http://{upstream}\"\n");
        let registries = write(stage.directory, "registries.yaml", &registries)?;
        let secret = stage.directory.join("cluster.secret");
        // Guards nothing but a network that only the laboratory reaches.
        let mut random = Stream::new(stage.scenario.seed, "secret");
        let text = (0..4).fold(String::new(), |text, _| format!("{text}{:016x}", random.bits())) + "\n";
        let file = fs::File::options().write(true).create_new(true).mode(0o600).open(&secret);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", secret.display()))?;
        // Nothing is evicted in a run: room for the content, and as much again.
        let spool_bytes = stage.scenario.content.bytes().saturating_mul(2).max(1 << 30);
        Ok(Self { registries, secret, spool_bytes })
    }
}

async fn until_started(node: &mut Node, directory: &Path, number: u32) -> anyhow::Result<()> {
    let log = directory.join(format!("node-{number}.log"));
    let start = Instant::now();
    while !fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?.contains(STARTED) {
        if let Some(status) = node.process.exited()? {
            bail!("node {number} ended with {status} before it had started{}", node.process.log_tail());
        }
        if start.elapsed() > START {
            bail!("node {number} has not started within {START:?}{}", node.process.log_tail());
        }
        sleep(POLL).await;
    }
    Ok(())
}
