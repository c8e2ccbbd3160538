//! `throughput`: a large blob through two nodes, against plain HTTP from nginx.

use std::{fmt, time::Duration};

use serde::Serialize;
use shoal_core::units::Size;

use super::{
    Options,
    client::{self, Client},
    content,
    pair::{Pair, ensure_from_peer},
};
use shoal_sim::{
    scenario::parse_duration,
    statistics::{median, percentile},
};

/// How fast a blob comes through two nodes, and what it costs
///
/// Node A has the blob; a client pulls it through node B, which is new each time. Before and after that, the same client
/// pulls it from nginx with one connection. No link is limited.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Size of the blob
    #[arg(long, default_value = "4GiB", value_name = "SIZE")]
    pub size: Size,
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repeats: u32,
    /// Rest before each pull, in which a host that takes free memory back can do so
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = parse_duration)]
    pub rest: Duration,
    /// What the client does with the bytes; by default each in turn
    #[arg(long, value_enum)]
    pub client: Option<Client>,
    /// What all commands take.
    #[command(flatten)]
    pub options: Options,
}

/// One pull through the nodes, and those from nginx before and after it.
///
/// What a pull finds depends on what the one before left: the kernel hands out pages that were freed a moment ago much
/// faster than others. nginx in both places takes that out of the comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Repeat {
    /// What the client did.
    pub client: Client,
    /// Bytes per second through the nodes.
    pub swarm_bytes_per_s: f64,
    /// Bytes per second from nginx, before and after.
    pub nginx_bytes_per_s: [f64; 2],
    /// The mean time of both pulls from nginx over the time of the pull through the nodes.
    pub ratio: f64,
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
    let clients = args.client.map_or(vec![Client::Store, Client::Discard], |client| vec![client]);
    let mut repeats = Vec::new();
    for _ in 0..args.repeats {
        for &client in &clients {
            repeats.push(measure(&pair, client, &digest, args).await?);
        }
    }
    args.options.print(&Outcome { size, repeats })
}

async fn measure(pair: &Pair, client: Client, digest: &str, args: &Args) -> anyhow::Result<Repeat> {
    let size = args.size.0;
    let pull = async |url: String| {
        pair.settle()?;
        tokio::time::sleep(args.rest).await;
        client::pull(client, &url, digest, size, &pair.scratch()).await
    };
    let nginx_before = pull(pair.plain("blobs", digest)).await?;
    let node = pair.fresh("b").await?;
    let (holder, puller) = (|| pair.holder().usage(), || node.usage());
    let before = (holder()?.cpu_s, puller()?.cpu_s);
    let swarm = pull(pair.mirrored(&node, "blobs", digest)).await?;
    let after = (holder()?.cpu_s, puller()?.cpu_s);
    ensure_from_peer(&node, size).await?;
    let puller_resident_max_bytes = puller()?.rss_max_bytes;
    pair.retire(node, "b").await?;
    let nginx_after = pull(pair.plain("blobs", digest)).await?;
    let gigabytes = size as f64 / 1e9;
    let rate = |took: Duration| size as f64 / took.as_secs_f64();
    Ok(Repeat {
        client,
        swarm_bytes_per_s: rate(swarm),
        nginx_bytes_per_s: [rate(nginx_before), rate(nginx_after)],
        ratio: (nginx_before + nginx_after).as_secs_f64() / 2.0 / swarm.as_secs_f64(),
        holder_cpu_s_per_gb: (after.0 - before.0) / gigabytes,
        puller_cpu_s_per_gb: (after.1 - before.1) / gigabytes,
        puller_resident_max_bytes,
    })
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "client    swarm MB/s  nginx MB/s before, after  ratio  A CPU-s/GB  B CPU-s/GB  B MiB (medians; ratio min - max)"
        )?;
        for (name, client) in [("store", Client::Store), ("discard", Client::Discard)] {
            let of: Vec<&Repeat> = self.repeats.iter().filter(|repeat| repeat.client == client).collect();
            if of.is_empty() {
                continue;
            }
            let all = |value: &dyn Fn(&Repeat) -> f64| of.iter().map(|repeat| value(repeat)).collect::<Vec<_>>();
            let median = |value: &dyn Fn(&Repeat) -> f64| median(all(value)).unwrap_or_default();
            writeln!(
                f,
                "{name:8} {:11.0} {:18.0} {:6.0} {:6.3} {:11.2} {:11.2} {:6.0}  ({:.3} - {:.3})",
                median(&|repeat| repeat.swarm_bytes_per_s / 1e6),
                median(&|repeat| repeat.nginx_bytes_per_s[0] / 1e6),
                median(&|repeat| repeat.nginx_bytes_per_s[1] / 1e6),
                median(&|repeat| repeat.ratio),
                median(&|repeat| repeat.holder_cpu_s_per_gb),
                median(&|repeat| repeat.puller_cpu_s_per_gb),
                median(&|repeat| repeat.puller_resident_max_bytes as f64 / f64::from(1 << 20)),
                percentile(all(&|repeat| repeat.ratio), 0).unwrap_or_default(),
                percentile(all(&|repeat| repeat.ratio), 100).unwrap_or_default(),
            )?;
        }
        Ok(())
    }
}
