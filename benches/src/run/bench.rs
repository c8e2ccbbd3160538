//! One run's bench: a network, an upstream, an agent at each node, and a system that has started. Nothing of it is kept
//! from one run to the next, not even what the kernel remembers of addresses.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, bail};
use shoal_sim::scenario::Scenario;
use tokio::time::{Instant, sleep};

use super::{
    ClientKind,
    containerd::Containerd,
    content::Stock,
    crew::Crew,
    systems::{Running, Stage, System},
    tracks::Tracks,
    upstream::Upstream,
};
use crate::{
    agent::protocol::{ClientOrder, Order, Page, PullOrder, Report},
    network::{Network, NetworkPlan, Shaper},
};

/// Time for the members of a cluster to find each other.
const GATHER: Duration = Duration::from_mins(2);
/// Pause between two looks at all nodes.
const GATHER_POLL: Duration = Duration::from_millis(100);

/// What a run is made of.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) stock: &'a Stock,
    pub(crate) system: &'a dyn System,
    pub(crate) client: ClientKind,
    pub(crate) shaper: Shaper,
    /// Directory of this run, new.
    pub(crate) directory: &'a Path,
}

/// Everything that runs. Dropping it ends and removes all of it; [`Bench::finish`] does so in order.
#[derive(Debug)]
pub(crate) struct Bench {
    // In this order: clients, nodes, upstream, links.
    pub(crate) crew: Crew,
    pub(crate) containerds: Vec<Containerd>,
    pub(crate) running: Running,
    pub(crate) upstream: Upstream,
    pub(crate) network: Network,
}

impl Bench {
    /// Builds the network and starts everything on it.
    pub(crate) async fn build(setup: &Setup<'_>) -> anyhow::Result<Self> {
        let Setup { scenario, stock, system, shaper, directory, .. } = *setup;
        let network = Network::build(&NetworkPlan::of(scenario, shaper))?;
        let upstream = Upstream::start(&network, directory, stock, scenario.upstream.ranges).await?;
        let stage = Stage { network: &network, scenario, directory, upstream: upstream.address() };
        let running = system.start(&stage).await.with_context(|| format!("{} does not start", system.name()))?;
        let crew = Crew::start(&network, directory, scenario.nodes)?;
        let mut bench = Self { crew, containerds: Vec::new(), running, upstream, network };
        bench.gather().await?;
        if setup.client == ClientKind::Containerd {
            bench.start_containerds(directory).await?;
        }
        Ok(bench)
    }

    async fn start_containerds(&mut self, directory: &Path) -> anyhow::Result<()> {
        let registry = self.upstream.address().to_string();
        for (node, door) in (0..).zip(&self.running.doors) {
            self.containerds.push(Containerd::start(&self.network, directory, node, &registry, door)?);
        }
        for containerd in &mut self.containerds {
            containerd.ready().await?;
        }
        Ok(())
    }

    /// Waits until each node knows as many members as it is to know.
    async fn gather(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let pages = self.pages(|_| true).await?;
            let nodes = self.running.nodes.iter().zip(&pages);
            let gathered =
                |page: &Result<Page, String>, members| page.as_ref().is_ok_and(|page| page.members.len() == members);
            let missing = (0..).zip(nodes).find_map(|(number, (node, page))| match (node, page) {
                (Some(node), Some(page)) if !gathered(page, node.members) => Some((number, page)),
                _ => None,
            });
            let Some((number, page)): Option<(usize, _)> = missing else { return Ok(()) };
            if start.elapsed() > GATHER {
                let tail = self.running.nodes[number].as_ref().map(|node| node.process.log_tail()).unwrap_or_default();
                match page {
                    Ok(page) => bail!("node {number} knows {} members after {GATHER:?}{tail}", page.members.len()),
                    Err(error) => bail!("node {number} does not answer: {error}{tail}"),
                }
            }
            sleep(GATHER_POLL).await;
        }
    }

    /// The pages of those nodes that have one and are chosen, while nothing is pulled.
    pub(crate) async fn pages(
        &mut self,
        chosen: impl Fn(u32) -> bool,
    ) -> anyhow::Result<Vec<Option<Result<Page, String>>>> {
        let nodes = (0..).zip(&self.running.nodes);
        let asked: Vec<(u32, SocketAddr)> = nodes
            .filter_map(|(number, node)| Some((number, node.as_ref()?.page)))
            .filter(|(number, _)| chosen(*number))
            .collect();
        let mut pages = vec![None; self.running.nodes.len()];
        for ((number, _), page) in asked.iter().zip(self.crew.look(&asked).await?) {
            pages[*number as usize] = Some(page);
        }
        Ok(pages)
    }

    /// Lets the first `warm` nodes pull everything, and fails unless they do.
    pub(crate) async fn warm_up(&mut self, setup: &Setup<'_>, warm: u32) -> anyhow::Result<()> {
        let mut tracks = Tracks::new((0..warm).map(|_| 0), 0, setup.stock.bytes());
        for node in 0..warm {
            self.order_pull(setup, node)?;
            tracks.begin(node, 0.0);
        }
        while tracks.at_work() > 0 {
            let said = self.crew.next().await?;
            match said.report {
                Some(Report::Pulled(pulled)) => match pulled.error {
                    None => tracks.end(said.node, &pulled),
                    Some(error) => bail!("node {} was to be warm, but its pull failed: {error}", said.node),
                },
                Some(_) => {}
                None => bail!("the agent of node {} has ended{}", said.node, self.crew.log_tail(said.node)),
            }
        }
        Ok(())
    }

    /// Lets a node's client pull now.
    pub(crate) fn order_pull(&mut self, setup: &Setup<'_>, node: u32) -> anyhow::Result<()> {
        let door = &self.running.doors[node as usize];
        let client = match self.containerds.get(node as usize) {
            Some(containerd) => {
                let reference = Stock::reference(&self.upstream.address().to_string());
                containerd.order(reference, setup.stock.small_bytes())
            }
            None => ClientOrder::Http {
                endpoint: door.endpoint,
                mirror_of: door.mirror_of.clone(),
                ranges_at_once: door.ranges_at_once,
                files: client_files(setup, node)?,
            },
        };
        self.crew.order(node, &Order::Pull(PullOrder { what: setup.stock.wanted(), client }))
    }
}

/// Where a client keeps what it pulls, where it is to keep it.
fn client_files(setup: &Setup<'_>, node: u32) -> anyhow::Result<Option<std::path::PathBuf>> {
    if setup.client != ClientKind::HttpToFiles {
        return Ok(None);
    }
    let files = setup.directory.join(format!("client-{node}"));
    std::fs::create_dir_all(&files).with_context(|| format!("cannot create {}", files.display()))?;
    Ok(Some(files))
}
