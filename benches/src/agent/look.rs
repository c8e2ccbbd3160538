//! Reads a node's `/status` and `/metrics`.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::{http::plain_http, protocol::Page};

/// Time for a page. A node under load answers late, and the clock has stopped when it is asked.
const ANSWER: Duration = Duration::from_secs(10);
/// Largest page that is read, in bytes.
const PAGE_BYTES_MAX: usize = 4 << 20;

#[derive(Deserialize)]
struct Status {
    id: String,
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    id: String,
}

/// What the node at `address` says about itself.
pub(super) async fn look(address: SocketAddr) -> anyhow::Result<Page> {
    let http = plain_http().timeout(ANSWER).build().context("cannot set up an HTTP client")?;
    let status = page(&http, address, "status").await?;
    let status: Status = serde_json::from_str(&status).with_context(|| format!("/status of {address}"))?;
    let metrics = page(&http, address, "metrics").await?;
    Ok(Page {
        id: status.id,
        members: status.members.into_iter().map(|member| member.id).collect(),
        from_upstream_bytes: counter(&metrics, "shoal_upstream_received_bytes_total")?,
        from_peers_bytes: counter(&metrics, "shoal_peer_received_bytes_total")?,
        duplicate_bytes: counter(&metrics, "shoal_duplicate_received_bytes_total")?,
    })
}

async fn page(http: &reqwest::Client, address: SocketAddr, name: &str) -> anyhow::Result<String> {
    let url = format!("http://{address}/{name}");
    let response = http.get(&url).send().await.and_then(reqwest::Response::error_for_status);
    let mut response = response.with_context(|| format!("cannot read {url}"))?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.with_context(|| format!("cannot read {url}"))? {
        bytes.extend_from_slice(&chunk);
        ensure!(bytes.len() <= PAGE_BYTES_MAX, "{url} has more than {PAGE_BYTES_MAX} bytes");
    }
    String::from_utf8(bytes).with_context(|| format!("{url} is no text"))
}

/// Value of a counter without labels in the text format of Prometheus.
fn counter(page: &str, name: &str) -> anyhow::Result<u64> {
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.with_context(|| format!("the node has no metric {name}"))?;
    value.trim().parse().with_context(|| format!("metric {name} has the value {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let page = "# TYPE shoal_a counter\nshoal_a_total_other 9\nshoal_a_total 12\nshoal_b_total many\n# EOF\n";
        assert_eq!(counter(page, "shoal_a_total").unwrap(), 12);
        assert!(counter(page, "shoal_c_total").unwrap_err().to_string().contains("shoal_c_total"));
        assert!(counter(page, "shoal_b_total").is_err());
    }
}
