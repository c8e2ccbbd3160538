//! What is read before the clock starts and after it has stopped.

use std::collections::BTreeMap;

use super::{bench::Bench, tracks::Tracks};
use crate::usage::Usage;
use crate::{
    agent::protocol::Page,
    network::{LinkTraffic, Traffic},
    result::{NodeResult, UpstreamResult, ZoneResult},
};

/// Payload bytes in a full frame of 1514 bytes: MTU 1500 without the headers of IP and TCP with time stamps.
const PAYLOAD_SHARE: f64 = 1448.0 / 1514.0;

/// Counters at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Readings {
    traffic: Traffic,
    usages: Vec<Option<Usage>>,
    pages: Vec<Option<Page>>,
}

impl Readings {
    /// Reads all counters; the pages only of those nodes whose agent and process are there, `alive`.
    pub(crate) async fn take(bench: &mut Bench, alive: impl Fn(u32) -> bool) -> anyhow::Result<Self> {
        let traffic = bench.network.traffic()?;
        let usages = (0..).zip(&bench.running.nodes).map(|(number, node)| match node {
            // One that ended by itself has no /proc; its pull has failed and says so.
            Some(node) if alive(number) => Usage::of(node.process.id()).ok(),
            _ => None,
        });
        let usages = usages.collect();
        let pages = bench.pages(alive).await?;
        let pages = pages.into_iter().map(|page| page.and_then(Result::ok)).collect();
        Ok(Self { traffic, usages, pages })
    }

    /// Bytes of frames that have left the upstream.
    pub(crate) fn upstream_up_bytes(&self) -> u64 {
        self.traffic.upstream.up_bytes
    }

    /// Ids of the members at each node.
    pub(crate) fn ids(&self) -> Vec<Option<String>> {
        self.pages.iter().map(|page| page.as_ref().map(|page| page.id.clone())).collect()
    }

    /// Writes what happened between `self` and `after` into the results of the nodes. `gone` has what nodes had used
    /// when they were lost.
    pub(crate) fn complete(&self, after: &Self, gone: &BTreeMap<u32, Usage>, tracks: &mut Tracks) {
        for result in tracks.results_mut() {
            let node = result.node as usize;
            let links = (self.traffic.nodes.get(node), after.traffic.nodes.get(node));
            if let (Some(before), Some(after)) = links {
                result.link_up_bytes = after.up_bytes - before.up_bytes;
                result.link_down_bytes = after.down_bytes - before.down_bytes;
            }
            let used = after.usages[node].or_else(|| gone.get(&result.node).copied());
            if let (Some(before), Some(used)) = (self.usages[node], used) {
                result.cpu_s = (used.cpu_s - before.cpu_s).max(0.0);
                result.rss_max_bytes = used.rss_max_bytes;
            }
            if let (Some(before), Some(after)) = (&self.pages[node], &after.pages[node]) {
                count_payload(result, before, after);
            }
        }
    }

    /// What crossed the uplinks of the zones until `after`.
    pub(crate) fn zones(&self, after: &Self) -> Vec<ZoneResult> {
        let pairs = self.traffic.zones.iter().zip(&after.traffic.zones);
        let crossed = |(before, after): (&LinkTraffic, &LinkTraffic)| ZoneResult {
            in_bytes: after.down_bytes - before.down_bytes,
            out_bytes: after.up_bytes - before.up_bytes,
        };
        pairs.map(crossed).collect()
    }

    /// Where the upstream was killed, its log lacks what it was sending: its link says how much that was, headers of
    /// manifests and of HTTP included.
    pub(crate) fn correct_killed_upstream(&self, after: &Self, upstream: &mut UpstreamResult) {
        let frames = after.traffic.upstream.up_bytes - self.traffic.upstream.up_bytes;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a number of bytes")]
        let payload = (frames as f64 * PAYLOAD_SHARE) as u64;
        upstream.blob_bytes = upstream.blob_bytes.max(payload);
    }
}

fn count_payload(result: &mut NodeResult, before: &Page, after: &Page) {
    result.from_upstream_bytes = after.from_upstream_bytes.saturating_sub(before.from_upstream_bytes);
    result.from_peers_bytes = after.from_peers_bytes.saturating_sub(before.from_peers_bytes);
    result.duplicate_bytes = after.duplicate_bytes.saturating_sub(before.duplicate_bytes);
}
