//! nginx, a node that has the content, and a fresh node to pull through.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use super::{Options, nginx::Nginx, node::Node};

/// Path of the only repository below a mirror or registry.
const REPOSITORY: &str = "v2/lab/content";

/// nginx and node A. Fields end in this order: processes before their files.
#[derive(Debug)]
pub(super) struct Pair {
    holder: Node,
    nginx: Nginx,
    program: PathBuf,
    home: TempDir,
}

impl Pair {
    /// Makes content by `make`, which is given the directory of blobs or manifests (`kind`), and starts nginx and A.
    pub(super) async fn start<T>(
        options: &Options,
        kind: &str,
        make: impl FnOnce(&Path) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Self, T)> {
        let program = options.program()?;
        let home = tempfile::Builder::new().prefix("shoal-lab-local-").tempdir_in(&options.directory);
        let home = home.with_context(|| format!("cannot make a directory in {}", options.directory.display()))?;
        let directory = home.path().join("registry").join(REPOSITORY).join(kind);
        fs::create_dir_all(&directory)?;
        let content = make(&directory)?;
        let nginx = Nginx::start(home.path()).await?;
        let host = nginx.host();
        let mirrors = format!("mirrors:\n  \"{host}\":\n    endpoint:\n      - \"http://{host}\"\n");
        fs::write(home.path().join("registries.yaml"), mirrors)?;
        // Everybody on this machine may know the secret of nodes that listen on loopback and hold made-up bytes.
        fs::write(home.path().join("secret"), "5a".repeat(32))?;
        let holder = Node::start(&program, home.path(), "a", None)?;
        Ok((Self { holder, nginx, program, home }, content))
    }

    /// Node A.
    pub(super) fn holder(&self) -> &Node {
        &self.holder
    }

    /// Starts a node without content, of that name, and waits until it and A know each other.
    pub(super) async fn fresh(&self, name: &str) -> anyhow::Result<Node> {
        let node = Node::start(&self.program, self.home.path(), name, Some(&self.holder))?;
        node.meets(2).await?;
        self.holder.meets(2).await?;
        Ok(node)
    }

    /// Ends a node and removes its data.
    pub(super) async fn retire(&self, node: Node, name: &str) -> anyhow::Result<()> {
        drop(node);
        self.holder.meets(1).await?;
        fs::remove_dir_all(self.home.path().join(name)).context("cannot remove the data of a node")
    }

    /// Where content is to be had through `node`, as containerd asks a mirror.
    pub(super) fn mirrored(&self, node: &Node, kind: &str, digest: &str) -> String {
        node.url(&format!("{REPOSITORY}/{kind}/{digest}?ns={}", self.nginx.host()))
    }

    /// Where content is to be had from nginx.
    pub(super) fn plain(&self, kind: &str, digest: &str) -> String {
        self.nginx.url(&format!("{REPOSITORY}/{kind}/{digest}"))
    }

    /// A file for a client to write.
    pub(super) fn scratch(&self) -> PathBuf {
        self.home.path().join("pulled")
    }

    /// Waits until the disk has everything, so that no measurement pays for the one before.
    pub(super) fn settle(&self) -> anyhow::Result<()> {
        let home = fs::File::open(self.home.path())?;
        rustix::fs::syncfs(&home).context("cannot write back what is in memory")?;
        Ok(())
    }
}

/// Checks that a node got `bytes` from its peer and nothing from the registry.
pub(super) async fn ensure_from_peer(node: &Node, bytes: u64) -> anyhow::Result<()> {
    let received = node.received().await?;
    if received.from_upstream > 0 {
        bail!(
            "the node took {} of {bytes} bytes from the registry instead of its peer: not a measurement of the path \
             between nodes",
            received.from_upstream
        );
    }
    ensure!(received.from_peers >= bytes, "the node got {} of {bytes} bytes from its peer", received.from_peers);
    Ok(())
}
