//! What the nodes and the system say about the nodes.

use std::net::SocketAddr;

use anyhow::Context;
use futures_util::future::try_join_all;

/// Traffic of nodes by their own counters, in bytes since they started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Received from the upstream.
    pub(crate) upstream: u64,
    /// Received from peers.
    pub(crate) peers: u64,
    /// Received, but not needed.
    pub(crate) duplicate: u64,
}

/// What nodes have used of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Processor time of all nodes, user and system, in seconds.
    pub(crate) cpu_s: f64,
    /// Most memory that one node has had, in bytes.
    pub(crate) rss_max_bytes: u64,
}

impl Traffic {
    /// Sum over the nodes at `addresses`.
    pub(crate) async fn of(http: &reqwest::Client, addresses: &[SocketAddr]) -> anyhow::Result<Self> {
        let pages = try_join_all(addresses.iter().map(|address| metrics(http, *address))).await?;
        let mut sum = Self::default();
        for page in &pages {
            sum.upstream += counter(page, "shoal_upstream_received_bytes_total")?;
            sum.peers += counter(page, "shoal_peer_received_bytes_total")?;
            sum.duplicate += counter(page, "shoal_duplicate_received_bytes_total")?;
        }
        Ok(sum)
    }

    /// Share of the received bytes that nobody needed.
    pub(crate) fn duplicate_ratio(&self) -> f64 {
        let received = self.upstream + self.peers;
        if received == 0 { 0.0 } else { self.duplicate as f64 / received as f64 }
    }
}

async fn metrics(http: &reqwest::Client, address: SocketAddr) -> anyhow::Result<String> {
    let url = format!("http://{address}/metrics");
    let response = http.get(&url).send().await.and_then(reqwest::Response::error_for_status);
    let response = response.with_context(|| format!("cannot read {url}"))?;
    response.text().await.with_context(|| format!("cannot read {url}"))
}

/// Value of a counter in Prometheus' text format, summed over its labels.
fn counter(page: &str, name: &str) -> anyhow::Result<u64> {
    let mut found = None;
    for line in page.lines() {
        let Some(rest) = line.strip_prefix(name) else { continue };
        let value = match rest.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once('}').map(|(_, value)| value),
            None => rest.strip_prefix(' '),
        };
        let Some(value) = value else { continue };
        let value: u64 = value.trim().parse().with_context(|| format!("metric {name} has the value {value:?}"))?;
        found = Some(found.unwrap_or(0) + value);
    }
    found.with_context(|| format!("a node has no metric {name}"))
}

impl Usage {
    /// Of the processes `ids`, which must be running.
    pub(crate) fn of(ids: &[u32]) -> anyhow::Result<Self> {
        let mut usage = Self::default();
        for id in ids {
            let stat = read_proc(*id, "stat")?;
            let ticks = cpu_ticks(&stat).with_context(|| format!("/proc/{id}/stat reads {stat:?}"))?;
            usage.cpu_s += ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
            let status = read_proc(*id, "status")?;
            let peak = peak_bytes(&status).with_context(|| format!("/proc/{id}/status has no VmHWM"))?;
            usage.rss_max_bytes = usage.rss_max_bytes.max(peak);
        }
        Ok(usage)
    }
}

fn read_proc(id: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{id}/{file}");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}

/// User and system time in clock ticks: fields 14 and 15 (proc(5)). The name in field 2 may contain anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Peak of the resident set, in bytes.
fn peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP shoal_peer_received_bytes Bytes.\n# TYPE shoal_peer_received_bytes counter\n\
        shoal_peer_received_bytes_total 12\nshoal_peer_received_bytes_total_other 99\n\
        shoal_requests_total{method=\"GET\",path=\"}\"} 3\nshoal_requests_total{method=\"HEAD\"} 4\n# EOF\n";

    #[test]
    fn counters_are_read_by_their_whole_name_and_summed_over_labels() {
        assert_eq!(counter(PAGE, "shoal_peer_received_bytes_total").unwrap(), 12);
        assert_eq!(counter(PAGE, "shoal_requests_total").unwrap(), 7);
        assert!(counter(PAGE, "shoal_absent_total").unwrap_err().to_string().contains("shoal_absent_total"));
        assert!(counter("shoal_x_total many", "shoal_x_total").is_err());
    }

    #[test]
    fn processor_time_is_found_behind_a_hostile_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 5 0 1000";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_used_memory() {
        let usage = Usage::of(&[std::process::id()]).unwrap();
        assert!(usage.rss_max_bytes > 100_000 && usage.cpu_s >= 0.0);
        assert!(Usage::of(&[u32::MAX]).is_err());
    }

    #[test]
    fn duplicates_are_a_share_of_what_was_received() {
        let traffic = Traffic { upstream: 100, peers: 300, duplicate: 4 };
        assert!((traffic.duplicate_ratio() - 0.01).abs() < 1e-12);
        assert!(Traffic::default().duplicate_ratio().abs() < 1e-12);
    }
}
