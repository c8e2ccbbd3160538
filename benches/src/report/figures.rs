//! What one run says.

use serde::Serialize;
use shoal_sim::{
    scenario::{Arrival, Bounds, Scenario},
    statistics::{gini, jain, median},
};

use crate::result::{NodeResult, Outcome, RunResult};

/// Payload bytes of a full TCP frame, and its bytes as interfaces count them.
const PAYLOAD_OF_FRAME: f64 = 1448.0 / 1514.0;

/// Figures of one run. Each is about the nodes that pulled to the end, where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RunFigures {
    /// From the first start to the last end, in seconds.
    pub makespan_s: f64,
    /// The bound that the run was compared with, in seconds.
    pub bound_s: f64,
    /// `bound_s / makespan_s`: 1 is the optimum.
    pub ratio_to_bound: f64,
    /// Blob bytes that the upstream sent, in copies of the content.
    pub upstream_copies: f64,
    /// Requests that the upstream answered.
    pub upstream_requests: f64,
    /// Bytes that arrived twice for each byte that arrived; none where the system does not say what arrived.
    pub duplicate_ratio: Option<f64>,
    /// Until the first byte of a blob, the median node, in seconds.
    pub first_byte_p50_s: Option<f64>,
    /// The same for the slowest node.
    pub first_byte_max_s: Option<f64>,
    /// Processor seconds of the system at the nodes for each 10^9 bytes delivered; none where it has no process there.
    pub cpu_s_per_gb: Option<f64>,
    /// Most resident memory of a process of the system at a node; none where it has no process there.
    pub rss_max_bytes: Option<u64>,
    /// Payload that entered the zone which most entered, in copies of the content; none without zones.
    pub cross_zone_copies: Option<f64>,
    /// Longest time that a client waited for the next byte, in seconds.
    pub stall_max_s: f64,
    /// Gini coefficient of the bytes that left the links of the nodes that were not killed.
    pub upload_gini: Option<f64>,
    /// Jain's index of the nodes' mean rates.
    pub rate_jain: Option<f64>,
    /// Where some nodes are slow: time over bound of each fast node's own pull, the median.
    pub fast_nodes_over_bound: Option<f64>,
    /// Where nodes pull in waves: time of the last wave's slowest pull over that of the first.
    pub last_over_first: Option<f64>,
}

impl RunFigures {
    /// From a run and what its scenario allows.
    pub(super) fn of(scenario: &Scenario, bounds: &Bounds, run: &RunResult) -> Self {
        let content_bytes = scenario.content.bytes() as f64;
        let first_bytes = || done(run).filter_map(|node| node.first_byte_s);
        let total = |value: fn(&NodeResult) -> u64| run.nodes.iter().map(|node| value(node) as f64).sum::<f64>();
        let arrived = total(|node| node.from_upstream_bytes) + total(|node| node.from_peers_bytes);
        let delivered = total(|node| node.bytes);
        let rss_max_bytes = run.nodes.iter().map(|node| node.rss_max_bytes).max().filter(|bytes| *bytes > 0);
        let cpu_s: f64 = run.nodes.iter().map(|node| node.cpu_s).sum();
        let entered = run.zones.iter().map(|zone| zone.in_bytes).max();
        let uploads: Vec<f64> = alive(run).map(|node| node.link_up_bytes as f64).collect();
        let rates: Vec<f64> = done(run).filter_map(|node| Some(node.bytes as f64 / node.done_s?)).collect();
        Self {
            makespan_s: run.makespan_s,
            bound_s: run.bound_s,
            ratio_to_bound: run.bound_s / run.makespan_s,
            upstream_copies: run.upstream.blob_bytes as f64 / content_bytes,
            upstream_requests: run.upstream.requests as f64,
            duplicate_ratio: (arrived > 0.0).then(|| total(|node| node.duplicate_bytes) / arrived),
            first_byte_p50_s: median(first_bytes()),
            first_byte_max_s: first_bytes().max_by(f64::total_cmp),
            cpu_s_per_gb: rss_max_bytes.filter(|_| delivered > 0.0).map(|_| cpu_s / (delivered / 1e9)),
            rss_max_bytes,
            cross_zone_copies: entered.map(|bytes| bytes as f64 * PAYLOAD_OF_FRAME / content_bytes),
            stall_max_s: done(run).map(|node| node.stall_max_s).fold(0.0, f64::max),
            upload_gini: gini(&uploads),
            rate_jain: jain(&rates),
            fast_nodes_over_bound: scenario.slow_nodes.and_then(|_| fast_nodes_over_bound(scenario, bounds, run)),
            last_over_first: last_over_first(scenario, run),
        }
    }
}

/// Nodes that pulled to the end.
pub(super) fn done(run: &RunResult) -> impl Iterator<Item = &NodeResult> {
    run.nodes.iter().filter(|node| node.outcome == Outcome::Done)
}

/// Nodes whose pull failed.
pub(super) fn failed(run: &RunResult) -> impl Iterator<Item = &NodeResult> {
    run.nodes.iter().filter(|node| node.outcome == Outcome::Failed)
}

fn alive(run: &RunResult) -> impl Iterator<Item = &NodeResult> {
    run.nodes.iter().filter(|node| node.outcome != Outcome::Killed)
}

fn fast_nodes_over_bound(scenario: &Scenario, bounds: &Bounds, run: &RunResult) -> Option<f64> {
    let fast = done(run).filter(|node| scenario.link_of(node.node) == scenario.link);
    median(fast.filter_map(|node| Some(node.done_s? / bounds.node_s.get(node.node as usize)?)))
}

fn last_over_first(scenario: &Scenario, run: &RunResult) -> Option<f64> {
    let Arrival::Rolling { .. } = scenario.arrival else { return None };
    let waves = scenario.waves();
    let slowest = |position: usize| {
        let is_in_wave = |node: &&NodeResult| waves[position].starts.iter().any(|start| start.node == node.node);
        done(run).filter(is_in_wave).filter_map(|node| node.done_s).max_by(f64::total_cmp)
    };
    Some(slowest(waves.len().checked_sub(1)?)? / slowest(0)?)
}
