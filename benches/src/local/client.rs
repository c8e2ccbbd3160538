//! The client of all measurements, of a node and of nginx alike.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::content::digest_text;

/// What a client does with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    /// As containerd: each part is read, hashed and written to a file, one after the other, and the digest compared.
    Store,
    /// It counts them.
    Discard,
}

/// Gets `url`, whose content has `size` bytes and the digest `digest`, and returns the time from the request to the
/// last byte dealt with. `file` is written, and removed outside of that time.
pub(super) async fn pull(client: Client, url: &str, digest: &str, size: u64, file: &Path) -> anyhow::Result<Duration> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let begin = Instant::now();
    let mut response = http.get(url).send().await?.error_for_status().with_context(|| format!("{url} failed"))?;
    let mut received = 0;
    let took = if client == Client::Store {
        let mut output = File::create(file).with_context(|| format!("cannot create {}", file.display()))?;
        let mut hasher = Sha256::new();
        while let Some(chunk) = response.chunk().await.with_context(|| format!("{url} broke off"))? {
            hasher.update(&chunk);
            output.write_all(&chunk).context("cannot write what was pulled")?;
            received += chunk.len() as u64;
        }
        let found = digest_text(hasher);
        let took = begin.elapsed();
        std::fs::remove_file(file).context("cannot remove what was pulled")?;
        ensure!(found == digest, "{url} has the digest {found} instead of {digest}");
        took
    } else {
        while let Some(chunk) = response.chunk().await.with_context(|| format!("{url} broke off"))? {
            received += chunk.len() as u64;
        }
        begin.elapsed()
    };
    ensure!(received == size, "{url} has {received} bytes instead of {size}");
    Ok(took)
}
