//! `throughput`: a large blob through two nodes, against plain HTTP from nginx.

use std::fmt;

use serde::Serialize;
use shoal_core::units::Size;

use super::{
    Options,
    client::{self, Client},
    content,
    pair::{Pair, ensure_from_peer},
};
use shoal_sim::statistics::{median, percentile};

/// How fast a blob comes through two nodes, and what it costs
///
/// Node A has the blob; a client pulls it through node B, which is new each time. In turn with that, the same client
/// pulls it from nginx with one connection. No link is limited.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Size of the blob
    #[arg(long, default_value = "4GiB", value_name = "SIZE")]
    pub size: Size,
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repeats: u32,
    /// Only with a client that discards what it reads, and not also with one that does what containerd does
    #[arg(long)]
    pub discard_only: bool,
    /// What all commands take.
    #[command(flatten)]
    pub options: Options,
}

/// One pull through the nodes, and the one from nginx after it.
#[derive(Clone, Debug, Serialize)]
pub struct Repeat {
    /// What the client did.
    pub client: Client,
    /// Bytes per second through the nodes.
    pub swarm_bytes_per_s: f64,
    /// Bytes per second from nginx.
    pub nginx_bytes_per_s: f64,
    /// Processor seconds of node A for 10^9 bytes.
    pub holder_cpu_s_per_gb: f64,
    /// Processor seconds of node B for 10^9 bytes.
    pub puller_cpu_s_per_gb: f64,
    /// Most resident memory of node B, in bytes.
    pub puller_resident_max_bytes: u64,
}

/// All repeats.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Size of the blob in bytes.
    pub size: u64,
    /// In the order of measurement.
    pub repeats: Vec<Repeat>,
}

/// Measures, and prints the medians.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let size = args.size.0;
    let (pair, digest) = Pair::start(&args.options, "blobs", |shelf| content::write_blob(shelf, size, 1)).await?;
    // Through A once: now A has it.
    let warm = pair.mirrored(pair.holder(), "blobs", &digest);
    client::pull(Client::Discard, &warm, &digest, size, &pair.scratch()).await?;
    let clients: &[Client] = if args.discard_only { &[Client::Discard] } else { &[Client::Store, Client::Discard] };
    let mut repeats = Vec::new();
    for _ in 0..args.repeats {
        for &client in clients {
            repeats.push(measure(&pair, client, &digest, size).await?);
        }
    }
    args.options.print(&Outcome { size, repeats })
}

async fn measure(pair: &Pair, client: Client, digest: &str, size: u64) -> anyhow::Result<Repeat> {
    let node = pair.fresh("b").await?;
    pair.settle()?;
    let gigabytes = size as f64 / 1e9;
    let (holder, puller) = (|| pair.holder().usage(), || node.usage());
    let before = (holder()?.cpu_s, puller()?.cpu_s);
    let url = pair.mirrored(&node, "blobs", digest);
    let swarm = client::pull(client, &url, digest, size, &pair.scratch()).await?;
    let after = (holder()?.cpu_s, puller()?.cpu_s);
    ensure_from_peer(&node, size).await?;
    let puller_resident_max_bytes = puller()?.rss_max_bytes;
    pair.retire(node, "b").await?;
    pair.settle()?;
    let nginx = client::pull(client, &pair.plain("blobs", digest), digest, size, &pair.scratch()).await?;
    Ok(Repeat {
        client,
        swarm_bytes_per_s: size as f64 / swarm.as_secs_f64(),
        nginx_bytes_per_s: size as f64 / nginx.as_secs_f64(),
        holder_cpu_s_per_gb: (after.0 - before.0) / gigabytes,
        puller_cpu_s_per_gb: (after.1 - before.1) / gigabytes,
        puller_resident_max_bytes,
    })
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "client    swarm MB/s  nginx MB/s  ratio  A CPU-s/GB  B CPU-s/GB  B MiB (medians; ratio min - max)"
        )?;
        for (name, client) in [("store", Client::Store), ("discard", Client::Discard)] {
            let of: Vec<&Repeat> = self.repeats.iter().filter(|repeat| repeat.client == client).collect();
            if of.is_empty() {
                continue;
            }
            let all = |value: &dyn Fn(&Repeat) -> f64| of.iter().map(|repeat| value(repeat)).collect::<Vec<_>>();
            let median = |value: &dyn Fn(&Repeat) -> f64| median(all(value)).unwrap_or_default();
            let ratio = |repeat: &Repeat| repeat.swarm_bytes_per_s / repeat.nginx_bytes_per_s;
            writeln!(
                f,
                "{name:8} {:11.0} {:11.0} {:6.3} {:11.2} {:11.2} {:6.0}  ({:.3} - {:.3})",
                median(&|repeat| repeat.swarm_bytes_per_s / 1e6),
                median(&|repeat| repeat.nginx_bytes_per_s / 1e6),
                median(&ratio),
                median(&|repeat| repeat.holder_cpu_s_per_gb),
                median(&|repeat| repeat.puller_cpu_s_per_gb),
                median(&|repeat| repeat.puller_resident_max_bytes as f64 / f64::from(1 << 20)),
                percentile(all(&ratio), 0).unwrap_or_default(),
                percentile(all(&ratio), 100).unwrap_or_default(),
            )?;
        }
        Ok(())
    }
}
