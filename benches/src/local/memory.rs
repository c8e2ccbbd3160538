//! `memory`: how much memory a node takes while it pulls a large blob.

use std::fmt;

use serde::Serialize;
use shoal_core::units::Size;

use super::{
    Options,
    client::{self, Client},
    content,
    pair::{Pair, ensure_from_peer},
};

/// How much memory a node takes while it pulls a large blob
///
/// Node A pulls it from nginx, then node B from A, at full speed; the client discards it. The figures are the most that
/// was resident in the whole life of each process (VmHWM).
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Size of the blob
    #[arg(long, default_value = "10GiB", value_name = "SIZE")]
    pub size: Size,
    /// What all commands take.
    #[command(flatten)]
    pub options: Options,
}

/// The most that each process had resident, in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Size of the blob in bytes.
    pub size: u64,
    /// Of A, after it had pulled from the registry.
    pub from_registry_bytes: u64,
    /// Of A, after it had also served B.
    pub serving_bytes: u64,
    /// Of B, which pulled from A.
    pub from_peer_bytes: u64,
}

/// Measures and prints.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let size = args.size.0;
    let (pair, digest) = Pair::start(&args.options, "blobs", |shelf| content::write_blob(shelf, size, 1)).await?;
    let through_a = pair.mirrored(pair.holder(), "blobs", &digest);
    client::pull(Client::Discard, &through_a, &digest, size, &pair.scratch()).await?;
    let from_registry_bytes = pair.holder().usage()?.rss_max_bytes;
    let node = pair.fresh("b").await?;
    let through_b = pair.mirrored(&node, "blobs", &digest);
    client::pull(Client::Discard, &through_b, &digest, size, &pair.scratch()).await?;
    ensure_from_peer(&node, size).await?;
    let from_peer_bytes = node.usage()?.rss_max_bytes;
    let serving_bytes = pair.holder().usage()?.rss_max_bytes;
    args.options.print(&Outcome { size, from_registry_bytes, serving_bytes, from_peer_bytes })
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "most resident memory of a node for a blob of {:.0} MiB: {:.1} MiB from the registry, {:.1} MiB from a peer, \
             {:.1} MiB after serving it as well",
            mib(self.size),
            mib(self.from_registry_bytes),
            mib(self.from_peer_bytes),
            mib(self.serving_bytes)
        )
    }
}
