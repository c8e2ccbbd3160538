//! The nodes of the demo and the files that they need.

use std::{io::Read, net::SocketAddr, os::unix::fs::OpenOptionsExt, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use futures_util::future::{join_all, select_all};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{
    client::plain_http,
    plan::Plan,
    process::{Addresses, NodeProcess, NodeSettings},
};

/// How long the nodes may take to find each other.
const GATHER: Duration = Duration::from_mins(1);
/// Time between two looks at a node's members.
const GATHER_POLL: Duration = Duration::from_millis(50);

/// Nodes and files. Dropping it kills the nodes, then removes the files; [`Cluster::stop`] does so in order.
#[derive(Debug)]
pub(crate) struct Cluster {
    // In this order: the processes end before their files go.
    nodes: Vec<NodeProcess>,
    addresses: Vec<Addresses>,
    home: Option<TempDir>,
}

#[derive(Deserialize)]
struct Status {
    members: Vec<serde_json::Value>,
}

impl Cluster {
    /// No node and no file yet.
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), addresses: Vec::new(), home: None }
    }

    /// Starts the nodes, with `registry` as their upstream.
    pub(crate) async fn start(&mut self, plan: &Plan, registry: SocketAddr) -> anyhow::Result<()> {
        let home = tempfile::Builder::new().prefix("shoal-demo-").tempdir();
        let home = home.with_context(|| format!("cannot create a directory in {}", std::env::temp_dir().display()))?;
        let directory = self.home.insert(home).path().to_owned();
        let secret = directory.join("cluster.secret");
        write_secret(&secret).context("cannot write the cluster's secret")?;
        let registries = directory.join("registries.yaml");
        let mirrors = format!("mirrors:\n  \"{registry}\":\n    endpoint:\n      - \"http://{registry}\"\n");
        std::fs::write(&registries, mirrors).context("cannot write registries.yaml")?;

        let image_bytes: u64 = plan.layers.iter().sum();
        let settings = |number, seed| NodeSettings {
            number,
            home: &directory,
            secret: &secret,
            registries: &registries,
            seed,
            link_bytes_per_s: plan.link_bytes_per_s,
            spool_bytes: image_bytes.saturating_mul(2),
        };
        self.nodes.push(NodeProcess::spawn(&settings(1, None))?);
        let first = self.nodes[0].started().await?;
        for number in 2..=plan.nodes {
            self.nodes.push(NodeProcess::spawn(&settings(number, Some(first.swarm)))?);
        }
        self.addresses.push(first);
        for node in &mut self.nodes[1..] {
            self.addresses.push(node.started().await?);
        }
        Ok(())
    }

    /// Waits until each node counts all others as members.
    pub(crate) async fn gather(&mut self) -> anyhow::Result<()> {
        let http = plain_http().timeout(Duration::from_secs(5)).build().context("cannot set up an HTTP client")?;
        let addresses: Vec<SocketAddr> = self.addresses.iter().map(|addresses| addresses.http).collect();
        let everyone = addresses.len();
        let gathered = join_all(addresses.iter().map(|address| see_everyone(&http, *address, everyone)));
        tokio::select! {
            results = gathered => {
                for (node, result) in self.nodes.iter().zip(results) {
                    result.with_context(|| format!("node {} has not found the others{}", node.number(), node.log_tail()))?;
                }
                Ok(())
            }
            death = self.death() => Err(death),
        }
    }

    /// Where the nodes answer containerd, in the order of their numbers.
    pub(crate) fn http(&self) -> Vec<SocketAddr> {
        self.addresses.iter().map(|addresses| addresses.http).collect()
    }

    /// Process ids of the nodes.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(NodeProcess::id).collect()
    }

    /// The last words of node `number`, for an error about it.
    pub(crate) fn log_tail(&self, number: u32) -> String {
        self.nodes.iter().find(|node| node.number() == number).map(NodeProcess::log_tail).unwrap_or_default()
    }

    /// Waits until a node ends, which it should not, and says why. Cancel safe.
    pub(crate) async fn death(&mut self) -> anyhow::Error {
        if self.nodes.is_empty() {
            return std::future::pending().await;
        }
        let ends = self.nodes.iter_mut().map(|node| Box::pin(node.ended()));
        let (status, index, others) = select_all(ends).await;
        drop(others);
        let node = &self.nodes[index];
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        anyhow::anyhow!("node {} ended in the middle of the demo ({how}){}", node.number(), node.log_tail())
    }

    /// Stops all nodes, and removes their files. Cancelled, it can be called again.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        for node in &self.nodes {
            node.terminate();
        }
        join_all(self.nodes.iter_mut().map(NodeProcess::reap)).await;
        self.clear()
    }

    /// Kills all nodes, and removes their files.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        join_all(self.nodes.iter_mut().map(NodeProcess::kill)).await;
        self.clear()
    }

    fn clear(&mut self) -> anyhow::Result<()> {
        self.nodes.clear();
        self.addresses.clear();
        let Some(home) = self.home.take() else { return Ok(()) };
        let path: PathBuf = home.path().to_owned();
        home.close().with_context(|| format!("cannot remove {}", path.display()))
    }
}

async fn see_everyone(http: &reqwest::Client, address: SocketAddr, everyone: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + GATHER;
    loop {
        let seen = members(http, address).await;
        match &seen {
            Ok(count) if *count == everyone => return Ok(()),
            _ if Instant::now() < deadline => sleep(GATHER_POLL).await,
            Ok(count) => bail!("it knows {count} of {everyone} members after {GATHER:?}"),
            Err(_) => return seen.map(drop),
        }
    }
}

async fn members(http: &reqwest::Client, address: SocketAddr) -> anyhow::Result<usize> {
    let response = http.get(format!("http://{address}/status")).send().await?.error_for_status()?;
    let status: Status = serde_json::from_slice(&response.bytes().await?)?;
    Ok(status.members.len())
}

/// Writes 32 random bytes as hex digits into a file that only the user reads.
fn write_secret(path: &std::path::Path) -> std::io::Result<()> {
    use std::io::Write;
    let mut random = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    for byte in random {
        write!(file, "{byte:02x}")?;
    }
    writeln!(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_new_each_time_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let paths = [directory.path().join("a"), directory.path().join("b")];
        for path in &paths {
            write_secret(path).unwrap();
        }
        let secrets = paths.each_ref().map(|path| std::fs::read_to_string(path).unwrap());
        assert_ne!(secrets[0], secrets[1]);
        assert!(secrets[0].trim().len() == 64 && secrets[0].trim().bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_eq!(std::fs::metadata(&paths[0]).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_cluster_that_never_started_stops_without_a_word() {
        let mut cluster = Cluster::new();
        cluster.stop().await.unwrap();
        cluster.kill().await.unwrap();
    }
}
