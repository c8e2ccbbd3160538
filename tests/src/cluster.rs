//! Several nodes with one secret.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    image::SplitMix64,
    node::{NodeOptions, ShoalNode},
    stage::Stage,
};

/// Nodes that have found each other.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, in the order of their start. A test may kill or take out some.
    pub nodes: Vec<ShoalNode>,
    name: String,
    options: NodeOptions,
}

impl Cluster {
    /// Starts `count` nodes, of which the later ones join by the first, and waits until each sees all.
    pub async fn start(stage: &Stage, name: &str, count: usize, options: &NodeOptions) -> Result<Self> {
        let options = NodeOptions { secret_file: Some(write_secret(stage, name, 1)?), ..options.clone() };
        let mut cluster = Self { nodes: Vec::new(), name: name.to_owned(), options };
        for _ in 0..count {
            cluster.add_node(stage).await?;
        }
        cluster.wait_until_whole().await?;
        Ok(cluster)
    }

    /// Starts one more node, which joins by the first. Does not wait until it is seen.
    pub async fn add_node(&mut self, stage: &Stage) -> Result<()> {
        let name = format!("{}-{}", self.name, self.nodes.len());
        let join = self.nodes.first().map(|first| first.swarm).into_iter().collect();
        let node = ShoalNode::start(stage, &name, &NodeOptions { join, ..self.options.clone() }).await?;
        self.nodes.push(node);
        Ok(())
    }

    /// Waits until each node counts all nodes as members.
    pub async fn wait_until_whole(&self) -> Result<()> {
        for node in &self.nodes {
            node.wait_for_members(self.nodes.len()).await?;
        }
        Ok(())
    }

    /// Sum of a metric over the nodes.
    pub async fn metric(&self, name: &str) -> Result<u64> {
        let mut sum = 0;
        for node in &self.nodes {
            sum += node.metric(name).await?;
        }
        Ok(sum)
    }
}

/// Writes a file with the secret that belongs to `seed`.
pub fn write_secret(stage: &Stage, name: &str, seed: u64) -> Result<PathBuf> {
    let mut generator = SplitMix64(seed);
    let secret = (0..4).fold(String::new(), |text, _| format!("{text}{:016x}", generator.next_u64()));
    let path = stage.write(&format!("{name}.secret"), secret + "\n")?;
    // The node may refuse a secret that others can read.
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(path)
}
