//! A pull by a real containerd, watched from outside: its content store grows on disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::meter::Meter;

/// Time between two looks at the content store: the resolution of the first byte and of stalls.
const LOOK: Duration = Duration::from_millis(20);
/// Depth of the content store's directories: `ingest/<key>/data` and `blobs/sha256/<hex>`.
const DEPTH: u32 = 3;

/// What to pull and where, see [`super::protocol::ClientOrder::Containerd`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Pull<'a> {
    pub(super) socket: &'a Path,
    pub(super) hosts: &'a Path,
    pub(super) content: &'a Path,
    pub(super) reference: &'a str,
    pub(super) small_bytes: u64,
}

/// Pulls and unpacks; containerd checks every digest before it commits a blob.
pub(super) async fn pull(pull: Pull<'_>, meter: &Meter) -> anyhow::Result<()> {
    let counted = stored_bytes(pull.content, DEPTH)? + pull.small_bytes;
    let mut growth = Growth { content: pull.content.to_owned(), counted };
    let mut command = Command::new("ctr");
    command.arg("--address").arg(pull.socket).args(["images", "pull", "--hosts-dir"]).arg(pull.hosts);
    command.args(["--snapshotter", "overlayfs", pull.reference]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().context("cannot run ctr (Debian package containerd)")?;
    let mut end = std::pin::pin!(child.wait_with_output());
    let mut looks = tokio::time::interval(LOOK);
    let output = loop {
        tokio::select! {
            output = &mut end => break output.context("cannot wait for ctr")?,
            _ = looks.tick() => growth.count(meter)?,
        }
    };
    growth.count(meter)?;
    ensure!(output.status.success(), "ctr: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

struct Growth {
    content: PathBuf,
    counted: u64,
}

impl Growth {
    fn count(&mut self, meter: &Meter) -> anyhow::Result<()> {
        let stored = stored_bytes(&self.content, DEPTH)?;
        meter.count(stored.saturating_sub(self.counted));
        self.counted = self.counted.max(stored);
        Ok(())
    }
}

/// Bytes of all files of content below `directory`. A file that moves from `ingest` to `blobs` meanwhile may be missed once;
/// it is not counted twice, because `blobs` is looked at first.
fn stored_bytes(directory: &Path, depth: u32) -> anyhow::Result<u64> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", directory.display())),
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut bytes = 0;
    for entry in entries {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            bytes += if depth > 1 { stored_bytes(&entry.path(), depth - 1)? } else { 0 };
        } else if depth == 1 && is_content(&entry.path()) {
            bytes += metadata.len();
        }
    }
    Ok(bytes)
}

/// Neither the small files that containerd keeps beside an ingest.
fn is_content(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == "data" || name.len() == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_content_counts() {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: usize| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; bytes]).unwrap();
        };
        assert_eq!(stored_bytes(&directory.path().join("absent"), DEPTH).unwrap(), 0);
        write("ingest/one/data", 100);
        write("ingest/one/ref", 7);
        write(&format!("blobs/sha256/{}", "0".repeat(64)), 20);
        assert_eq!(stored_bytes(directory.path(), DEPTH).unwrap(), 120);
    }

    #[test]
    fn what_is_committed_meanwhile_is_not_counted_twice() {
        let directory = tempfile::tempdir().unwrap();
        // Whichever was made first may be listed first.
        let (ingest, blobs) = (directory.path().join("ingest/one"), directory.path().join("blobs/sha256"));
        fs::create_dir_all(&ingest).unwrap();
        fs::create_dir_all(&blobs).unwrap();
        let (data, blob) = (ingest.join("data"), blobs.join("0".repeat(64)));
        for _ in 0..2000 {
            fs::write(&data, [0; 10]).unwrap();
            std::thread::scope(|scope| {
                let commit = scope.spawn(|| fs::rename(&data, &blob).unwrap());
                while !commit.is_finished() {
                    assert!(stored_bytes(directory.path(), DEPTH).unwrap() <= 10);
                }
            });
            assert_eq!(stored_bytes(directory.path(), DEPTH).unwrap(), 10);
            fs::remove_file(&blob).unwrap();
        }
    }
}
