//! What one run leaves: plain values, in seconds and bytes, from which every table and plot is made.

use serde::{Deserialize, Serialize};

/// One system, once, in one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Name of the system, as on the command line.
    pub system: String,
    /// Number of the repeat, from 0.
    pub repeat: u32,
    /// Position among the runs of this invocation, from 0 (systems are run in random order within a repeat).
    pub order: u32,
    /// Why this run does not count: the machine, not the links, decided it. None for a run that counts.
    pub invalid: Option<String>,
    /// From the start of the first pull to the end of the last, in seconds.
    pub makespan_s: f64,
    /// The least time that the links allow, see `shoal_core::bound`, in seconds.
    pub bound_s: f64,
    /// One for each node, in order.
    pub nodes: Vec<NodeResult>,
    /// What the upstream did.
    pub upstream: UpstreamResult,
    /// What entered each zone over its uplink, in order; empty without zones.
    pub zones: Vec<ZoneResult>,
    /// What the machine did meanwhile.
    pub machine: MachineResult,
    /// Samples through time, at most 10 a second, at most 10,000.
    pub timeline: Vec<Sample>,
}

/// One node's pull.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeResult {
    /// Number, from 0.
    pub node: u32,
    /// Zone, from 0; 0 without zones.
    pub zone: u32,
    /// What became of the pull.
    pub outcome: Outcome,
    /// Start of its pull since the start of the run, in seconds.
    pub started_s: f64,
    /// From its start to the first byte of a layer, in seconds.
    pub first_byte_s: Option<f64>,
    /// From its start to its end with all digests right, in seconds.
    pub done_s: Option<f64>,
    /// Longest time without a byte between first and last, in seconds.
    pub stall_max_s: f64,
    /// Body bytes of layers that the client received.
    pub bytes: u64,
    /// Bytes that crossed the node's link (frames as the interface counts them), away from it and towards it.
    pub link_up_bytes: u64,
    /// See `link_up_bytes`.
    pub link_down_bytes: u64,
    /// Payload that the node took from the upstream; 0 where the system has no node process that says so, and for a node
    /// that was killed.
    pub from_upstream_bytes: u64,
    /// Payload that the node took from peers.
    pub from_peers_bytes: u64,
    /// Payload that it received twice.
    pub duplicate_bytes: u64,
    /// Processor time of the system's processes at this node, without the client, in seconds.
    pub cpu_s: f64,
    /// Most resident memory of the system's process at this node.
    pub rss_max_bytes: u64,
    /// Pulled by a client that failed: the error, for people.
    pub error: Option<String>,
}

/// What became of a node's pull.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything arrived and every digest is right.
    #[default]
    Done,
    /// It had everything before the clock started.
    Warm,
    /// A fault of the scenario ended it.
    Killed,
    /// It failed.
    Failed,
}

/// What the upstream sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpstreamResult {
    /// Body bytes of blobs.
    pub blob_bytes: u64,
    /// Requests for blobs.
    pub blob_requests: u64,
    /// Requests for manifests.
    pub manifest_requests: u64,
    /// All requests.
    pub requests: u64,
}

/// What entered and left a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ZoneResult {
    /// Bytes of frames that entered.
    pub in_bytes: u64,
    /// Bytes of frames that left.
    pub out_bytes: u64,
}

/// What the machine did during a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineResult {
    /// Mean share of the processors that was busy, 0 to 1.
    pub busy: f64,
    /// Share of the time (in seconds sampled) in which more than 80 % was busy, 0 to 1.
    pub busy_share: f64,
    /// Share of processor time that a hypervisor took, 0 to 1.
    pub steal: f64,
}

/// One point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Since the start of the run, in seconds.
    pub at_s: f64,
    /// Body bytes that all clients have received.
    pub delivered_bytes: u64,
    /// Bytes of frames that left the upstream.
    pub upstream_bytes: u64,
}
