//! `latency`: manifests that only a peer has, one after the other.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde::Serialize;
use sha2::{Digest, Sha256};
use shoal_core::units::Size;

use super::{
    Options,
    content::{self, digest_text},
    pair::{Pair, ensure_from_peer},
};
use shoal_sim::statistics::percentile;

/// How long a manifest takes that only a peer has
///
/// Node A gets as many manifests as there are requests from the registry, while B is a member already. Then a client asks B for each
/// of them once, by digest, one after the other on one connection, so that none can come from B's own spool; B's
/// counters say that all came from A.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Number of requests, each for another manifest
    #[arg(long, default_value_t = 200, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub requests: u32,
    /// Size of each manifest, at least 512 bytes and at most 4 MiB
    #[arg(long, default_value = "4KiB", value_name = "SIZE", value_parser = manifest_size)]
    pub size: Size,
    /// What all commands take.
    #[command(flatten)]
    pub options: Options,
}

fn manifest_size(text: &str) -> Result<Size, String> {
    let size: Size = text.parse().map_err(|error: shoal_core::units::UnitError| error.to_string())?;
    let allowed = 512..=4 * 1024 * 1024;
    if allowed.contains(&size.0) { Ok(size) } else { Err("a manifest has 512B to 4MiB".to_owned()) }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Size of each manifest in bytes.
    pub size: u64,
    /// Seconds from each request to the last byte of its answer, in order.
    pub seconds: Vec<f64>,
    /// Their median.
    pub p50_s: f64,
    /// The value that 99 of 100 do not exceed.
    pub p99_s: f64,
    /// The longest.
    pub max_s: f64,
}

/// Measures and prints.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let size = usize::try_from(args.size.0)?;
    let make = |shelf: &std::path::Path| {
        (0..args.requests)
            .map(|number| content::write_manifest(shelf, size, number))
            .collect::<anyhow::Result<Vec<_>>>()
    };
    let (pair, digests) = Pair::start(&args.options, "manifests", make).await?;
    let node = pair.fresh("b").await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    for digest in &digests {
        get(&http, &pair.mirrored(pair.holder(), "manifests", digest), digest).await?;
    }
    let mut seconds = Vec::new();
    for digest in &digests {
        seconds.push(get(&http, &pair.mirrored(&node, "manifests", digest), digest).await?.as_secs_f64());
    }
    ensure_from_peer(&node, args.size.0 * u64::from(args.requests)).await?;
    let [p50_s, p99_s, max_s] =
        [50, 99, 100].map(|percent| percentile(seconds.iter().copied(), percent).unwrap_or_default());
    args.options.print(&Outcome { size: args.size.0, seconds, p50_s, p99_s, max_s })
}

async fn get(http: &reqwest::Client, url: &str, digest: &str) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let response = http.get(url).send().await?.error_for_status().with_context(|| format!("{url} failed"))?;
    let body = response.bytes().await.with_context(|| format!("{url} broke off"))?;
    let took = begin.elapsed();
    let found = digest_text(Sha256::new_with_prefix(&body));
    ensure!(found == digest, "{url} has the digest {found} instead of {digest}");
    Ok(took)
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |seconds: f64| seconds * 1e3;
        write!(
            f,
            "{} manifests of {} bytes from a peer: p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
            self.seconds.len(),
            self.size,
            milliseconds(self.p50_s),
            milliseconds(self.p99_s),
            milliseconds(self.max_s)
        )
    }
}
