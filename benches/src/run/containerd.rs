//! A real containerd in a node's namespace, as the client of a run.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

use super::{systems::Door, upstream::write};
use crate::{
    agent::protocol::ClientOrder,
    network::{Host, Network},
    process::Process,
};

/// Time to start serving.
const START: Duration = Duration::from_secs(30);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);

/// A running containerd with its files in a directory of its own.
#[derive(Debug)]
pub(crate) struct Containerd {
    process: Process,
    directory: PathBuf,
}

impl Containerd {
    /// Starts one at a node. Images of `registry` come through the node's door and from nowhere else.
    pub(crate) fn start(
        network: &Network,
        directory: &Path,
        node: u32,
        registry: &str,
        door: &Door,
    ) -> anyhow::Result<Self> {
        let directory = directory.join(format!("containerd-{node}"));
        write_hosts(&directory, registry, door)?;
        // CRI wants a network plug-in and the others want devices or file systems that a machine may lack.
        let config = format!(
            "version = 2\nroot = '{dir}/root'\nstate = '{dir}/state'\n\
             disabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.internal.v1.opt', \
             'io.containerd.snapshotter.v1.aufs', 'io.containerd.snapshotter.v1.btrfs', \
             'io.containerd.snapshotter.v1.devmapper', 'io.containerd.snapshotter.v1.zfs']\n\
             [grpc]\n  address = '{dir}/containerd.sock'\n[ttrpc]\n  address = '{dir}/ttrpc.sock'\n",
            dir = directory.display(),
        );
        let config = write(&directory, "config.toml", &config)?;
        let mut command = network.command(Host::Node(node), OsStr::new("containerd"));
        command.arg("--config").arg(config);
        let log = directory.join("containerd.log");
        let process = Process::start(&format!("the containerd of node {node}"), command, &log)?;
        Ok(Self { process, directory })
    }

    /// Waits until it serves.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        while !self.socket().exists() {
            if let Some(status) = self.process.exited()? {
                bail!("{} ended with {status}{}", self.process.name(), self.process.log_tail());
            }
            if start.elapsed() > START {
                bail!("{} does not serve within {START:?}{}", self.process.name(), self.process.log_tail());
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// The order for an agent to pull the image `reference` through it, whose manifest and configuration have `small_bytes`.
    pub(crate) fn order(&self, reference: String, small_bytes: u64) -> ClientOrder {
        ClientOrder::Containerd {
            socket: self.socket(),
            hosts: self.directory.join("hosts"),
            content: self.directory.join("root/io.containerd.content.v1.content"),
            reference,
            small_bytes,
        }
    }

    /// Asks it to end. It is waited for when it is dropped.
    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("containerd.sock")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // It fails only where it has ended already.
        self.process.kill().ok();
        unmount_below(&self.directory);
    }
}

/// `hosts.toml`: `server` is the door too, or containerd would fall back to the registry itself.
fn write_hosts(directory: &Path, registry: &str, door: &Door) -> anyhow::Result<()> {
    // Colons may not be in the folder's name, see containerd's documentation of hosts.
    let folder = directory.join("hosts").join(registry.replacen(':', "_", 1) + "_");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let url = format!("http://{}", door.endpoint);
    let text = format!("server = {url:?}\n\n[host.{url:?}]\n  capabilities = [\"pull\", \"resolve\"]\n");
    write(&folder, "hosts.toml", &text)?;
    Ok(())
}

/// A containerd that was killed in the middle of unpacking leaves its mount.
fn unmount_below(directory: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let targets = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for target in targets.filter(|target| Path::new(target).starts_with(directory)) {
        if let Err(error) = rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH) {
            eprintln!("shoal-lab: cannot unmount {target}: {error}");
        }
    }
}
