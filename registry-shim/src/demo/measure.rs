//! The two measured runs: through the swarm, and straight from the upstream.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use shoal_runtime::Digest;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    client::{Client, Pull, plain_http},
    cluster::Cluster,
    image::Image,
    link::Link,
    plan::Plan,
    progress::Board,
    registry::{Registry, Sent},
    scrape::{Traffic, Usage},
    timeline::{SAMPLE, Timeline},
};

/// Time between two looks at the nodes' counters, for the terminal only.
const PEERS_POLL: Duration = Duration::from_secs(1);

/// N pulls at once.
#[derive(Debug)]
pub(crate) struct Run {
    /// From the start of the first pull to the end of the last, in seconds.
    pub(crate) total_s: f64,
    /// The pulls, by node.
    pub(crate) pulls: Vec<Pull>,
    /// What the upstream has sent for them.
    pub(crate) sent: Sent,
    /// Bytes over time.
    pub(crate) timeline: Timeline,
}

/// N pulls at once through the swarm.
#[derive(Debug)]
pub(crate) struct SwarmRun {
    /// As seen by the clients and the upstream.
    pub(crate) run: Run,
    /// As seen by the nodes.
    pub(crate) traffic: Traffic,
    /// What the nodes used, from the start of the pulls to their end.
    pub(crate) usage: Usage,
    /// From the start of the first node until each knew all others, in seconds.
    pub(crate) gather_s: f64,
}

/// A pull that failed.
struct Failure {
    number: u32,
    error: anyhow::Error,
}

/// Starts the nodes in `cluster`, and pulls the image through all of them at once.
pub(crate) async fn through_the_swarm(
    plan: &Plan,
    image: &Arc<Image>,
    cluster: &mut Cluster,
) -> anyhow::Result<SwarmRun> {
    let registry = Registry::start(Arc::clone(image), plan.link_bytes_per_s).await.context(NO_REGISTRY)?;
    let start = Instant::now();
    {
        let _board = Board::working_on(&format!("starting {} nodes", plan.nodes));
        cluster.start(plan, registry.address()).await?;
        cluster.gather().await?;
    }
    let gather_s = start.elapsed().as_secs_f64();
    let addresses = cluster.http();
    let processes = cluster.process_ids();
    let clients = addresses.iter().map(|address| Client::of_mirror(*address, registry.address()));
    let clients: Vec<Client> = clients.collect::<anyhow::Result<_>>()?;
    let before = Usage::of(&processes)?;
    let board = Board::new("shoal", plan.nodes, image.bytes());
    let peer_rate = PeerRate::default();
    let run = tokio::select! {
        run = pull_all(clients, image.manifest().digest, &registry, &board, Some(&peer_rate)) => run,
        error = peer_rate.follow(&addresses, &board) => return Err(error),
        death = cluster.death() => return Err(death),
    };
    drop(board);
    let run = run.map_err(|failure| {
        let tail = cluster.log_tail(failure.number);
        failure.error.context(format!("the pull through node {} failed{tail}", failure.number))
    })?;
    let after = Usage::of(&processes)?;
    let usage = Usage { cpu_s: after.cpu_s - before.cpu_s, ..after };
    let http = plain_http().build().context("cannot set up an HTTP client")?;
    let traffic = Traffic::of(&http, &addresses).await?;
    Ok(SwarmRun { run, traffic, usage, gather_s })
}

/// Pulls the image on every node straight from the same upstream, through a link of its own for each node.
pub(crate) async fn from_the_single_source(plan: &Plan, image: &Arc<Image>) -> anyhow::Result<Run> {
    let registry = Registry::start(Arc::clone(image), plan.link_bytes_per_s).await.context(NO_REGISTRY)?;
    let clients = (0..plan.nodes).map(|_| Client::of_registry(registry.address(), Link::new(plan.link_bytes_per_s)));
    let clients: Vec<Client> = clients.collect::<anyhow::Result<_>>()?;
    let board = Board::new("single source", plan.nodes, image.bytes());
    let run = pull_all(clients, image.manifest().digest, &registry, &board, None).await;
    run.map_err(|failure| failure.error.context(format!("pull {} from the single source failed", failure.number)))
}

const NO_REGISTRY: &str = "cannot start the demo's registry on the loopback interface";

async fn pull_all(
    clients: Vec<Client>,
    expected: Digest,
    registry: &Registry,
    board: &Board,
    peer_rate: Option<&PeerRate>,
) -> Result<Run, Failure> {
    let delivered: Vec<Arc<AtomicU64>> = clients.iter().map(Client::delivered).collect();
    let mut timeline = Timeline::new();
    let mut ticks = interval(SAMPLE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let start = Instant::now();
    let mut pulling = JoinSet::new();
    for (number, client) in (1..).zip(clients) {
        pulling.spawn(async move { (number, client.pull(expected).await) });
    }
    let mut pulls = Vec::new();
    loop {
        tokio::select! {
            ended = pulling.join_next() => match ended {
                Some(ended) => pulls.push(unwrap_pull(ended)?),
                None => break,
            },
            _ = ticks.tick() => {
                let delivered: Vec<u64> = delivered.iter().map(|bytes| bytes.load(Ordering::Relaxed)).collect();
                timeline.push(registry.sent().blob_bytes, &delivered);
                let peers = peer_rate.map(PeerRate::get);
                board.show(start.elapsed(), &delivered, timeline.upstream_bytes_per_s(), peers);
            }
        }
    }
    let total_s = start.elapsed().as_secs_f64();
    pulls.sort_by_key(|(number, _)| *number);
    let pulls = pulls.into_iter().map(|(_, pull)| pull).collect();
    Ok(Run { total_s, pulls, sent: registry.sent(), timeline })
}

type Ended = Result<(u32, anyhow::Result<Pull>), tokio::task::JoinError>;

fn unwrap_pull(ended: Ended) -> Result<(u32, Pull), Failure> {
    match ended {
        Ok((number, Ok(pull))) => Ok((number, pull)),
        Ok((number, Err(error))) => Err(Failure { number, error }),
        Err(panic) => Err(Failure { number: 0, error: panic.into() }),
    }
}

/// Rate at which all nodes together receive from peers, in bytes per second.
#[derive(Debug, Default)]
struct PeerRate(AtomicU64);

impl PeerRate {
    fn get(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64
    }

    /// Keeps the rate up to date while somebody sees it. Returns only where that is impossible.
    async fn follow(&self, addresses: &[SocketAddr], board: &Board) -> anyhow::Error {
        if !board.is_visible() {
            return std::future::pending().await;
        }
        let http = match plain_http().build() {
            Ok(http) => http,
            Err(error) => return error.into(),
        };
        let (mut last, mut last_at) = (0, Instant::now());
        loop {
            sleep(PEERS_POLL).await;
            // A node that does not answer in time is no reason to stop: the rate stays as it was.
            let Ok(traffic) = Traffic::of(&http, addresses).await else { continue };
            let elapsed_us = u64::try_from(last_at.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
            let rate = traffic.peers.saturating_sub(last).saturating_mul(1_000_000) / elapsed_us;
            self.0.store(rate, Ordering::Relaxed);
            (last, last_at) = (traffic.peers, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_single_source_sends_every_copy_and_takes_the_time_of_its_link() {
        let plan = Plan {
            nodes: 4,
            layers: vec![512 << 10, 256 << 10],
            link_bytes_per_s: 4_000_000,
            seed: 9,
            single_source: true,
        };
        let image = Arc::new(Image::generate(&plan.layers, plan.seed).await.unwrap());
        let run = from_the_single_source(&plan, &image).await.unwrap();
        assert_eq!(run.sent.blob_bytes, 4 * image.bytes());
        assert!((run.sent.most_copies - 4.0).abs() < 1e-9);
        assert!(run.pulls.iter().all(|pull| pull.wrong.is_empty() && pull.right == image.digests()));
        let least_s = plan.distribution(image.bytes()).single_source_s();
        assert!(run.total_s >= least_s, "{} s is less than the {least_s} s that the link needs", run.total_s);
    }
}
