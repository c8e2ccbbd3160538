//! What a run says in numbers.

use serde::Serialize;
use shoal_sim::{
    run::{End, NodeOutcome, Outcome},
    scenario::{Bounds, Scenario},
    statistics::jain,
};

use super::Context;

/// Figures of a run, as `--json` prints them. What does not apply, or cannot be known because no pull ended, is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Name of the scenario.
    pub scenario: String,
    /// What it is.
    pub about: String,
    /// Version of Shoal.
    pub version: String,
    /// Number of nodes.
    pub nodes: u32,
    /// The seed.
    pub seed: u64,
    /// Bytes of the blobs that each node pulls.
    pub content_bytes: u64,
    /// BLAKE3 of everything that the nodes did and when: equal scenarios, seeds and versions give equal hashes.
    pub event_hash: String,
    /// Events that were worked off.
    pub events: u64,
    /// Time that the run took on the clock of the machine, in seconds.
    pub wall_s: f64,
    /// From the start of the first pull to the end of the last, in virtual seconds.
    pub makespan_s: f64,
    /// Of the pulls that ended well, each from its own start, in seconds.
    pub node_s: Option<NodeSeconds>,
    /// From a node's start to the first byte that a reader could have, in seconds.
    pub first_byte_s: Option<FirstByte>,
    /// The least time that the links allow to any system: the bound with whole pieces where that is exact, the fluid one
    /// otherwise. In seconds.
    pub bound_s: f64,
    /// The fluid bound, in seconds.
    pub bound_fluid_s: f64,
    /// The least time when each node takes everything from the upstream, in seconds.
    pub bound_single_source_s: f64,
    /// `bound_s / makespan_s`: 1 is the optimum. None where a pull failed.
    pub ratio_to_bound: Option<f64>,
    /// `bound_single_source_s / makespan_s`. None where a pull failed.
    pub speedup: Option<f64>,
    /// Bytes of blobs that the upstream sent, in copies of the content.
    pub upstream_copies: f64,
    /// Requests for blobs that the upstream answered.
    pub upstream_blob_requests: u64,
    /// Requests for manifests that it answered.
    pub upstream_manifest_requests: u64,
    /// Bytes that arrived where they were already, for each byte that arrived.
    pub duplicate_ratio: f64,
    /// Jain's index of upload bytes over upload capacity, of the nodes that no fault ended: 1 where all gave equal shares
    /// of what they can give, `1 / N` where one gave all.
    pub jain: Option<f64>,
    /// Copies of the content that entered a zone, the mean over all zones; none without zones.
    pub cross_zone_copies: Option<f64>,
    /// The same for the zone that most entered.
    pub cross_zone_copies_max: Option<f64>,
    /// Bytes of control messages and gossip, of all nodes.
    pub control_bytes: u64,
    /// `control_bytes` for each byte of pieces that arrived.
    pub control_ratio: Option<f64>,
    /// Pulls that ended well.
    pub done_nodes: usize,
    /// Nodes that had everything before.
    pub warm_nodes: usize,
    /// Pulls that a fault of the scenario ended.
    pub killed_nodes: usize,
    /// Nodes that damage what they serve, whose own pulls do not count.
    pub excused_nodes: usize,
    /// Pulls that failed.
    pub failed_nodes: usize,
}

/// Percentiles of the nodes' pulls by nearest rank, so that each is the time of a node: with fewer than 100 nodes `p99`
/// is the largest. In seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NodeSeconds {
    /// The mean.
    pub mean: f64,
    /// Half are not above it.
    pub p50: f64,
    /// 95 of 100 are not above it.
    pub p95: f64,
    /// 99 of 100 are not above it.
    pub p99: f64,
    /// 999 of 1000 are not above it.
    pub p999: f64,
    /// The largest.
    pub max: f64,
    /// Number of pulls.
    pub count: usize,
}

/// Percentiles by nearest rank, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FirstByte {
    /// Half are not above it.
    pub p50: f64,
    /// 99 of 100 are not above it.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Figures {
    pub(super) fn of(scenario: &Scenario, bounds: &Bounds, outcome: &Outcome, context: &Context) -> Self {
        // A run in which a pull failed moved less than the bound is about.
        let is_whole = outcome.makespan_s > 0.0 && outcome.failures() == 0;
        let over_makespan = |seconds: f64| is_whole.then(|| seconds / outcome.makespan_s);
        let content_bytes = outcome.content_bytes as f64;
        let most_entered = outcome.zones.iter().map(|zone| zone.in_bytes).max();
        let control_bytes = outcome.control.message_bytes + outcome.control.datagram_bytes;
        let arrived: u64 = outcome.nodes.iter().map(|node| node.down_bytes).sum();
        let count = |end: End| outcome.nodes.iter().filter(|node| node.end == end).count();
        Self {
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            version: context.version.clone(),
            nodes: scenario.nodes,
            seed: outcome.seed,
            content_bytes: outcome.content_bytes,
            event_hash: outcome.event_hash.clone(),
            events: outcome.events,
            wall_s: context.wall_s,
            makespan_s: outcome.makespan_s,
            node_s: NodeSeconds::of(&outcome.completions_s()),
            first_byte_s: FirstByte::of(outcome),
            bound_s: bounds.makespan_s(),
            bound_fluid_s: bounds.fluid_s,
            bound_single_source_s: bounds.single_source_s,
            ratio_to_bound: over_makespan(bounds.makespan_s()),
            speedup: over_makespan(bounds.single_source_s),
            upstream_copies: outcome.upstream_copies(),
            upstream_blob_requests: outcome.upstream.blob_requests,
            upstream_manifest_requests: outcome.upstream.manifest_requests,
            duplicate_ratio: outcome.duplicate_ratio(),
            jain: jain(&upload_shares(outcome)),
            cross_zone_copies: most_entered.map(|_| outcome.cross_zone_copies()),
            cross_zone_copies_max: most_entered.map(|bytes| bytes as f64 / content_bytes),
            control_bytes,
            control_ratio: (arrived > 0).then(|| control_bytes as f64 / arrived as f64),
            done_nodes: count(End::Done),
            warm_nodes: count(End::Warm),
            killed_nodes: count(End::Killed),
            excused_nodes: count(End::Excused),
            failed_nodes: count(End::Failed),
        }
    }
}

/// Bytes that each node sent over what its link can send in a second, of the nodes that no fault ended.
fn upload_shares(outcome: &Outcome) -> Vec<f64> {
    let alive = outcome.nodes.iter().filter(|node| node.end != End::Killed);
    let share = |node: &NodeOutcome| node.up_bytes as f64 / node.up_bytes_per_s;
    alive.filter(|node| node.up_bytes_per_s > 0.0).map(share).collect()
}

impl NodeSeconds {
    fn of(sorted: &[f64]) -> Option<Self> {
        Some(Self {
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            p50: per_mille(sorted, 500)?,
            p95: per_mille(sorted, 950)?,
            p99: per_mille(sorted, 990)?,
            p999: per_mille(sorted, 999)?,
            max: per_mille(sorted, 1000)?,
            count: sorted.len(),
        })
    }
}

impl FirstByte {
    fn of(outcome: &Outcome) -> Option<Self> {
        let done = outcome.nodes.iter().filter(|node| node.end == End::Done);
        let mut sorted: Vec<f64> = done.filter_map(|node| node.first_byte_s).collect();
        sorted.sort_by(f64::total_cmp);
        Some(Self { p50: per_mille(&sorted, 500)?, p99: per_mille(&sorted, 990)?, max: per_mille(&sorted, 1000)? })
    }
}

/// The value that so many of 1000 are not above, by nearest rank.
fn per_mille(sorted: &[f64], rank: usize) -> Option<f64> {
    sorted.get((sorted.len() * rank).div_ceil(1000).max(1) - 1).copied()
}
