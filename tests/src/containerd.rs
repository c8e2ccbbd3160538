//! A containerd daemon of its own: root, state, socket and mirror configuration in the directory of the test.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{
    image::{Image, blob_path, digest_of_file},
    process::Process,
    stage::{Need, Stage},
    wait,
};

/// What [`Containerd`] needs.
pub const NEEDS: [Need; 3] = [Need::Root, Need::Program("containerd"), Need::Program("ctr")];

/// Snapshotter into which images are unpacked.
const SNAPSHOTTER: &str = "overlayfs";

/// A running containerd.
#[derive(Debug)]
pub struct Containerd {
    _process: Process,
    socket: PathBuf,
    root: PathBuf,
    hosts: PathBuf,
}

impl Containerd {
    /// Starts a containerd and waits until it serves.
    pub async fn start(stage: &Stage, name: &str) -> Result<Self> {
        let dir = stage.create_dir(name)?;
        let (root, socket, hosts) =
            (dir.join("root"), dir.join("containerd.sock"), stage.create_dir(&format!("{name}/hosts"))?);
        // CRI wants a network plug-in and the others want devices or file systems that a test machine may lack.
        let config = format!(
            "version = 2\nroot = '{dir}/root'\nstate = '{dir}/state'\n\
             disabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.internal.v1.opt', \
             'io.containerd.snapshotter.v1.aufs', 'io.containerd.snapshotter.v1.btrfs', \
             'io.containerd.snapshotter.v1.devmapper', 'io.containerd.snapshotter.v1.zfs']\n\
             [grpc]\n  address = '{dir}/containerd.sock'\n[ttrpc]\n  address = '{dir}/ttrpc.sock'\n",
            dir = dir.display(),
        );
        let config = stage.write(&format!("{name}/config.toml"), config)?;
        let mut command = Command::new("containerd");
        command.arg("--config").arg(config);
        let containerd = Self { _process: Process::start(stage, name, &command)?, socket, root, hosts };
        wait::until(&format!("{name} serves"), wait::SOON, async || Ok(containerd.ctr(&["version"]).await.ok()))
            .await?;
        Ok(containerd)
    }

    /// Writes a `hosts.toml` by which images of `registry` come from `mirror`, a URL, and from nowhere else: `server` is
    /// the mirror too, or containerd would fall back to the registry itself.
    pub fn mirror(&self, registry: &str, mirror: &str) -> Result<()> {
        let dir = self.hosts.join(registry.replacen(':', "_", 1) + if registry.contains(':') { "_" } else { "" });
        fs::create_dir_all(&dir)?;
        let content = format!("server = {mirror:?}\n\n[host.{mirror:?}]\n  capabilities = [\"pull\", \"resolve\"]\n");
        fs::write(dir.join("hosts.toml"), content).with_context(|| format!("cannot write {}", dir.display()))
    }

    /// Pulls and unpacks an image by its full reference.
    pub async fn pull(&self, reference: &str) -> Result<()> {
        let hosts = self.hosts.to_string_lossy();
        let arguments = ["images", "pull", "--hosts-dir", &hosts, "--snapshotter", SNAPSHOTTER, reference];
        wait::within(&format!("{reference} is pulled"), wait::PULL, self.ctr(&arguments)).await?;
        Ok(())
    }

    /// Checks that the image is complete and unpacked in containerd's own view, and that each blob in its content store has
    /// its digest.
    pub async fn check(&self, reference: &str, image: &Image) -> Result<()> {
        let report = self.ctr(&["images", "check", "--snapshotter", SNAPSHOTTER]).await?;
        let line = report.lines().find(|line| line.starts_with(reference)).unwrap_or_default();
        ensure!(line.contains("complete") && !line.contains("incomplete"), "{reference} is not complete: {report}");
        ensure!(line.trim_end().ends_with("true"), "{reference} is not unpacked: {report}");
        let store = self.root.join("io.containerd.content.v1.content");
        for blob in image.blobs() {
            let found = digest_of_file(&blob_path(&store, &blob.digest))?;
            ensure!(found == (blob.digest.clone(), blob.size), "{blob:?} is stored as {found:?}");
        }
        Ok(())
    }

    async fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let output = tokio::process::Command::new("ctr")
            .arg("--address")
            .arg(&self.socket)
            .args(arguments)
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run ctr")?;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "ctr {arguments:?} failed: {stderr}\n{stdout}");
        Ok(stdout.into_owned())
    }
}
