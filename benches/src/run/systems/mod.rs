//! Ways to bring content to nodes: each starts what it needs on a network and says whom the clients ask.

mod adapter;
mod pull_through;
mod shoal;
mod single;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::bail;
use async_trait::async_trait;
use shoal_sim::scenario::Scenario;

use crate::{network::Network, process::Process};

/// Names of the systems that are built in, in the order in which tables show them.
pub const BUILT_IN: [&str; 5] = ["single", "single-parallel", "pull-through", "shoal", "shoal-no-peers"];

/// Time for a process to end after SIGTERM when a run is over.
const STOP: Duration = Duration::from_secs(5);

/// One way to bring content to nodes.
#[async_trait(?Send)]
pub(crate) trait System {
    /// Its name, as on the command line.
    fn name(&self) -> &str;

    /// Whether a pull leaves content that helps later ones, so that warm nodes make a difference.
    fn keeps_content(&self) -> bool;

    /// Starts it on the stage, with its files in the stage's directory.
    async fn start(&self, stage: &Stage<'_>) -> anyhow::Result<Running>;
}

/// What a system is started on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage<'a> {
    /// The links.
    pub(crate) network: &'a Network,
    /// What is run.
    pub(crate) scenario: &'a Scenario,
    /// A new directory for this run.
    pub(crate) directory: &'a Path,
    /// The registry.
    pub(crate) upstream: SocketAddr,
}

/// A system that runs. Dropping it ends its processes.
#[derive(Debug)]
pub(crate) struct Running {
    /// For each node, whom its client asks.
    pub(crate) doors: Vec<Door>,
    /// Its process at each node, for those nodes that have one.
    pub(crate) nodes: Vec<Option<Node>>,
    /// Processes elsewhere.
    services: Vec<Process>,
    adapter: Option<adapter::Started>,
}

/// Whom a client asks, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Door {
    /// Address, as seen from the node.
    pub(crate) endpoint: SocketAddr,
    /// Registry for which it is a mirror; `None` where it is the registry itself.
    pub(crate) mirror_of: Option<String>,
    /// Range requests at once for each blob.
    pub(crate) ranges_at_once: u32,
}

/// The process of a system at one node.
#[derive(Debug)]
pub(crate) struct Node {
    /// The process.
    pub(crate) process: Process,
    /// Where it has `/status` and `/metrics`.
    pub(crate) page: SocketAddr,
    /// Members that it must know before the clock starts.
    pub(crate) members: usize,
    /// Directory of its data.
    pub(crate) data: PathBuf,
}

impl Running {
    fn without_processes(doors: Vec<Door>) -> Self {
        let nodes = doors.iter().map(|_| None).collect();
        Self { doors, nodes, services: Vec::new(), adapter: None }
    }

    /// Ends all processes: asks all, then waits for each, and kills those that do not end in time.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(adapter) = self.adapter.take() {
            adapter.stop().await?;
        }
        self.ask_all_to_end();
        for process in self.processes() {
            process.stop(STOP)?;
        }
        Ok(())
    }

    fn ask_all_to_end(&mut self) {
        for process in self.processes() {
            process.terminate();
        }
    }

    fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        self.nodes.iter_mut().flatten().map(|node| &mut node.process).chain(&mut self.services)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Each process is waited for when it is dropped; asked together, they end together.
        self.ask_all_to_end();
    }
}

/// The system of a name that is built in. `binary` is the `shoal` to run.
pub(crate) fn built_in(name: &str, binary: &Path) -> Option<Box<dyn System>> {
    Some(match name {
        "single" => Box::new(single::Single::plain()),
        "single-parallel" => Box::new(single::Single::parallel()),
        "pull-through" => Box::new(pull_through::PullThrough),
        "shoal" => Box::new(shoal::Shoal::cluster(binary)),
        "shoal-no-peers" => Box::new(shoal::Shoal::alone(binary)),
        _ => return None,
    })
}

/// A system that an executable starts and stops.
pub(crate) fn adapted(name: &str, executable: &Path) -> anyhow::Result<Box<dyn System>> {
    if !executable.is_file() {
        bail!("the adapter {} of the system {name} is no file", executable.display());
    }
    Ok(Box::new(adapter::Adapter::new(name, executable)?))
}
